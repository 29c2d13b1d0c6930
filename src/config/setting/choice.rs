//! Keys that take one of a few words.

use serde_json::Value as Json;

use super::{Reading, Setting, nearest};
use crate::config::{
    schema::{AuthMode, CacheMode, ChallengeMode, LogFormat, TlsVersion},
    tree::{Node, Value},
};

/// Makes a type a setting by listing its words.
macro_rules! choice {
    ($type:ty, $expected:literal, $($word:literal => $variant:path),+) => {
        impl Setting for $type {
            const EXPECTED: &'static str = $expected;

            fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
                read_choice(node, at, Self::EXPECTED, &[$(($word, $variant)),+])
            }

            fn show(&self) -> Option<Json> {
                match self {
                    $($variant => Some($word.into())),+
                }
            }
        }
    };
}

choice!(AuthMode, "\"passthrough\" or \"configured\"",
    "passthrough" => AuthMode::Passthrough, "configured" => AuthMode::Configured);
choice!(ChallengeMode, "\"auto\" or \"always\"",
    "auto" => ChallengeMode::Auto, "always" => ChallengeMode::Always);
choice!(LogFormat, "\"auto\", \"text\" or \"json\"",
    "auto" => LogFormat::Auto, "text" => LogFormat::Text, "json" => LogFormat::Json);
choice!(TlsVersion, "\"1.2\" or \"1.3\"",
    "1.2" => TlsVersion::Tls12, "1.3" => TlsVersion::Tls13);

impl Setting for CacheMode {
    const EXPECTED: &'static str = "\"off\"";

    /// The words of the modes to come are known, so that nobody looks for a spelling mistake.
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::String(text) | Value::Raw(text) if matches!(text.as_str(), "disk" | "memory") => at.fail(
                &node.origin,
                format!("{text:?} is not built yet"),
                "write \"off\" (pure forwarding), or leave the key out".to_owned(),
            ),
            _ => read_choice(node, at, Self::EXPECTED, &[("off", Self::Off)]),
        }
    }

    fn show(&self) -> Option<Json> {
        match self {
            Self::Off => Some("off".into()),
        }
    }
}

fn read_choice<T: Copy>(
    node: &Node,
    at: &mut Reading<'_>,
    expected: &str,
    choices: &[(&'static str, T)],
) -> Option<T> {
    let text = at.text(node, expected)?;
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let near = nearest(text, choices.iter().map(|(word, _)| *word));
    at.fail(
        &node.origin,
        format!("expected {expected}, found {text:?}"),
        near.map(|near| format!("did you mean {near:?}?")),
    )
}
