//! Keys that take one of a few words.

use serde_json::Value as Json;

use super::{Reading, Setting, nearest, places::PlaceRole};
use crate::config::{
    schema::{
        AcmeChallenge, AuthMode, CacheMode, ChallengeMode, Clients, Effect, LogFormat, ProxyAuth, RuleAction,
        StaleOn, TlsVersion, Tunnel, Verify, WhenLimited, Withdrawn,
    },
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

choice!(Clients, "\"open\", \"users\" or \"passthrough\"",
    "open" => Clients::Open, "users" => Clients::Users, "passthrough" => Clients::Passthrough);
choice!(Effect, "\"allow\" or \"deny\"", "allow" => Effect::Allow, "deny" => Effect::Deny);
choice!(RuleAction, "\"pull\", \"push\" or \"delete\"",
    "pull" => RuleAction::Pull, "push" => RuleAction::Push, "delete" => RuleAction::Delete);
choice!(Withdrawn, "\"refuse\", \"warn\" or \"serve\"",
    "refuse" => Withdrawn::Refuse, "warn" => Withdrawn::Warn, "serve" => Withdrawn::Serve);
choice!(AuthMode, "\"passthrough\" or \"configured\"",
    "passthrough" => AuthMode::Passthrough, "configured" => AuthMode::Configured);
choice!(PlaceRole, "\"authority\" or \"mirror\"",
    "authority" => PlaceRole::Authority, "mirror" => PlaceRole::Mirror);
choice!(ChallengeMode, "\"auto\" or \"always\"",
    "auto" => ChallengeMode::Auto, "always" => ChallengeMode::Always);
choice!(LogFormat, "\"auto\", \"text\" or \"json\"",
    "auto" => LogFormat::Auto, "text" => LogFormat::Text, "json" => LogFormat::Json);
choice!(TlsVersion, "\"1.2\" or \"1.3\"",
    "1.2" => TlsVersion::Tls12, "1.3" => TlsVersion::Tls13);

choice!(AcmeChallenge, "\"auto\", \"http-01\" or \"tls-alpn-01\"",
    "auto" => AcmeChallenge::Auto, "http-01" => AcmeChallenge::Http01, "tls-alpn-01" => AcmeChallenge::TlsAlpn01);
choice!(Tunnel, "\"none\" or \"all\"", "none" => Tunnel::None, "all" => Tunnel::All);
choice!(ProxyAuth, "\"none\" or \"users\"", "none" => ProxyAuth::None, "users" => ProxyAuth::Users);

choice!(CacheMode, "\"disk\", \"memory\" or \"off\"",
    "disk" => CacheMode::Disk, "memory" => CacheMode::Memory, "off" => CacheMode::Off);
choice!(Verify, "\"first\", \"always\" or \"scrub\"",
    "first" => Verify::First, "always" => Verify::Always, "scrub" => Verify::Scrub);
choice!(StaleOn, "\"connect\", \"timeout\", \"5xx\", \"429\", \"denied\" or \"missing\"",
    "connect" => StaleOn::Connect, "timeout" => StaleOn::Timeout, "5xx" => StaleOn::Server,
    "429" => StaleOn::RateLimited, "denied" => StaleOn::Denied, "missing" => StaleOn::Missing);

impl Setting for WhenLimited {
    const EXPECTED: &'static str = "429, 404 or 503";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let (Value::Integer(text) | Value::Raw(text)) = &node.value else {
            return at.expected(node, "429, 404 or 503, without quotes");
        };
        match text.as_str() {
            "429" => Some(Self::TooManyRequests),
            "404" => Some(Self::NotFound),
            "503" => Some(Self::Unavailable),
            other => at.fail(
                &node.origin,
                format!("expected {}, found {other}", Self::EXPECTED),
                None,
            ),
        }
    }

    fn show(&self) -> Option<Json> {
        let status = match self {
            Self::TooManyRequests => 429,
            Self::NotFound => 404,
            Self::Unavailable => 503,
        };
        Some(status.into())
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
