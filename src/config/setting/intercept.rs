//! The values of `[intercept]` that have a grammar of their own.

use serde_json::Value as Json;

use super::{Reading, Setting};
use crate::config::{tree::Node, values::HostPattern};

impl Setting for HostPattern {
    const EXPECTED: &'static str =
        "a host such as \"registry.example.com\", \"registry.example.com:5000\" or \"*.pkg.dev\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        match Self::parse(at.text(node, Self::EXPECTED)?) {
            Ok(pattern) => Some(pattern),
            Err(error) => at.fail(
                &node.origin,
                error.to_string(),
                format!("write {}", Self::EXPECTED),
            ),
        }
    }

    fn show(&self) -> Option<Json> {
        Some(self.as_str().into())
    }
}
