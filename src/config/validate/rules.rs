//! What rules of every kind have in common: the registry that they are for.

use super::Findings;
use crate::config::{schema::Schema, values::Pattern};
use crate::oci::RegistryName;

/// A registry that is written out must be one that a request can mean. `list` is the key of the rules, `index` counts
/// from 0.
pub(super) fn registry(
    schema: &Schema,
    list: &str,
    index: usize,
    pattern: &Pattern,
    findings: &mut Findings<'_>,
) {
    let Some(text) = pattern.literal() else {
        return;
    };
    let Ok(name) = RegistryName::parse(text) else {
        findings.problem_of_rule(
            list,
            index,
            &format!("{text:?} is no registry's name"),
            "write a name such as \"ghcr.io\", or a pattern such as \"*.example.com\"",
        );
        return;
    };
    if schema.registries.contains_key(&name) && name.as_str() == text {
        return;
    }
    let owner = schema
        .registries
        .iter()
        .find(|(own, registry)| **own == name || registry.aliases.contains(&name));
    match owner {
        Some((own, _)) => findings.problem_of_rule(
            list,
            index,
            &format!("rules go by a registry's own name, and {text:?} is another of {own}"),
            &format!("write registry = \"{own}\""),
        ),
        None => findings.problem_of_rule(
            list,
            index,
            &format!("{text} is not configured"),
            &format!("add a section [registries.\"{text}\"], or correct the name"),
        ),
    }
}

/// Does `one` certainly match all that `other` matches?
pub(super) fn is_wider(one: &Pattern, other: &Pattern) -> bool {
    one == other || one.is_everything()
}
