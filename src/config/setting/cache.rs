//! The values of `[cache]` that have a grammar of their own.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Fields, Reading, Setting, scalar};
use crate::config::{
    schema::{Fresh, Inactive, TagRule},
    tree::{Node, Value},
    values::{DurationError, Pattern, parse_duration},
};

impl Setting for Pattern {
    const EXPECTED: &'static str = "a pattern such as \"library/*\" or \"/^v[0-9]/\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        match Self::parse(at.text(node, Self::EXPECTED)?) {
            Ok(pattern) => Some(pattern),
            Err(error) => at.fail(&node.origin, error.to_string(), None),
        }
    }

    fn show(&self) -> Option<Json> {
        Some(self.as_str().into())
    }
}

impl Setting for Inactive {
    const EXPECTED: &'static str = "\"never\" or a duration such as \"90d\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        scalar(node, at, Self::EXPECTED, |text| match text {
            "never" => Ok(Self::Never),
            _ => match parse_duration(text) {
                Ok(time) => Ok(Self::After(time)),
                Err(error) => Err(word_or_duration(&error, text, Self::EXPECTED)),
            },
        })
    }

    fn show(&self) -> Option<Json> {
        match self {
            Self::Never => Some("never".into()),
            Self::After(time) => time.show(),
        }
    }
}

impl Setting for Fresh {
    const EXPECTED: &'static str = "\"revalidate\", \"immutable\", \"never\" or a duration such as \"10m\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        scalar(node, at, Self::EXPECTED, |text| match text {
            "revalidate" => Ok(Self::Revalidate),
            "immutable" => Ok(Self::Immutable),
            "never" => Ok(Self::Never),
            _ => match parse_duration(text) {
                Ok(time) => Ok(Self::For(time)),
                Err(error) => Err(word_or_duration(&error, text, Self::EXPECTED)),
            },
        })
    }

    fn show(&self) -> Option<Json> {
        match self {
            Self::Revalidate => Some("revalidate".into()),
            Self::Immutable => Some("immutable".into()),
            Self::Never => Some("never".into()),
            Self::For(time) => time.show(),
        }
    }
}

impl Setting for TagRule {
    const EXPECTED: &'static str = "a table such as { tag = \"v*\", fresh = \"1h\" }";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '{')?;
        let node = parsed.as_ref();
        let Value::Table(table) = &node.value else {
            return at.expected(node, Self::EXPECTED);
        };
        let default = Self::default();
        let mut fields = Fields::new(table, &node.origin);
        let registry = fields.optional_or("registry", default.registry, at);
        let repository = fields.optional_or("repository", default.repository, at);
        let tag = fields.optional_or("tag", default.tag, at);
        let fresh = fields.optional_or("fresh", default.fresh, at);
        let stale = fields.optional_or("stale", default.stale, at);
        let max_stale = fields.optional_or("max_stale", default.max_stale, at);
        let while_revalidate: Option<Duration> =
            fields.optional_or("stale_while_revalidate", default.stale_while_revalidate, at);
        fields.finish(at)?;
        Some(Self {
            registry: registry?,
            repository: repository?,
            tag: tag?,
            fresh: fresh?,
            stale: stale?,
            max_stale: max_stale?,
            stale_while_revalidate: while_revalidate?,
        })
    }

    fn show(&self) -> Option<Json> {
        Some(json!({
            "registry": self.registry.show(),
            "repository": self.repository.show(),
            "tag": self.tag.show(),
            "fresh": self.fresh.show(),
            "stale": self.stale.show(),
            "max_stale": self.max_stale.show(),
            "stale_while_revalidate": self.stale_while_revalidate.show(),
        }))
    }
}

/// A text without a digit was meant to be one of the words.
fn word_or_duration(error: &DurationError, text: &str, expected: &str) -> String {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        error.to_string()
    } else {
        format!("expected {expected}, found {text:?}")
    }
}
