//! What a person who starts docxy for the first time should type next.

use super::client_config::Base;
use crate::config::{Schema, presets::PRESETS};

/// Three lines, for a start without any configuration.
pub fn text(schema: &Schema) -> String {
    let base = Base::of(schema);
    let enabled: Vec<&str> = schema
        .enabled_registries()
        .map(|(name, _)| name.as_str())
        .collect();
    let well_known = PRESETS.iter().map(|preset| preset.name);
    let other = well_known
        .filter(|name| *name != schema.default_registry.as_str())
        .find(|name| enabled.contains(name));
    let other = other.map_or(String::new(), |name| {
        format!(
            "    # or {}/{name}/OWNER/IMAGE, and {} registries more",
            base.authority(),
            enabled.len().saturating_sub(2)
        )
    });
    format!(
        "docxy listens on {base}. Next:\n    \
         docker pull {}/library/redis{other}\n    \
         docxy client-config docker    # or containerd, podman, k3s, buildkit: the files that send it all through docxy",
        base.authority(),
    )
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    #[test]
    fn three_lines_that_can_be_typed() {
        // Someone who has just started docxy and read nothing must get to a first pull.
        let sources = Sources {
            config: None,
            default_file: None,
            environment: std::collections::BTreeMap::new(),
            flags: crate::config::load::Flags::default(),
        };
        let text = super::text(&load(&sources).unwrap().schema);
        assert_eq!(text.lines().count(), 3);
        insta::assert_snapshot!(text);
    }
}
