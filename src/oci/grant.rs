//! What a token service answers (distribution's token specification; RFC 6749 section 5.1).

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The tokens of an answer and how long they live. Whoever passes an answer on and whoever remembers what was in it must
/// read the same (threat S1), so this is the only reader. Not `Debug`: all of it is secret.
#[derive(Deserialize)]
pub struct Grant {
    /// docker's name for it
    pub token: Option<String>,
    /// `OAuth2`'s name for it
    pub access_token: Option<String>,
    pub refresh_token: Option<String>,
    /// None when the service says nothing that means seconds.
    #[serde(rename = "expires_in", default, deserialize_with = "seconds")]
    pub life: Option<Duration>,
}

impl Grant {
    /// A field given twice, or a token that is no text, is an error: two readers could take it for different tokens. The
    /// error's own text may quote a token; only its line and column are safe to show.
    pub fn parse(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }
}

/// Some services write the number as text, some with a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds.clamp(0.0, 1e9)).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_read_however_it_is_written() {
        // Registries write it in many ways; a token of any of them must be usable and remembered.
        for (json, life) in [
            (r#"{"expires_in":300}"#, Some(300.0)),
            (r#"{"expires_in":" 300 "}"#, Some(300.0)),
            (r#"{"expires_in":299.5}"#, Some(299.5)),
            (r#"{"expires_in":-1}"#, Some(0.0)),
            (r#"{"expires_in":1e300}"#, Some(1e9)),
            (r#"{"expires_in":"NaN"}"#, None),
            (r#"{"expires_in":"soon"}"#, None),
            (r#"{"expires_in":null}"#, None),
            (r#"{"expires_in":[]}"#, None),
            ("{}", None),
        ] {
            let grant = Grant::parse(json.as_bytes())
                .map_err(|_| json)
                .unwrap_or_else(|json| panic!("{json}"));
            assert_eq!(grant.life, life.map(Duration::from_secs_f64), "{json}");
        }
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        // docxy remembers the token it read; the client uses the one that its own parser read.
        for json in [
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":"a","refresh_token":"b","refresh_token":"c"}"#,
            r#"{"token":"a","refresh_token":7}"#,
            r#"{"token":["a"]}"#,
            r#"["a"]"#,
            "a",
        ] {
            assert!(Grant::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
