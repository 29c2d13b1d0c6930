//! The values of `[otlp]` and `[tls.acme]` that have a grammar of their own.

use serde_json::Value as Json;

use super::{Reading, Setting};
use crate::config::tree::{Node, Value};
use crate::config::values::Share;

impl Setting for Share {
    const EXPECTED: &'static str = "a number from 0 to 1 such as 0.01";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let (Value::Float(text) | Value::Integer(text) | Value::Raw(text)) = &node.value else {
            return at.expected(node, "a number from 0 to 1, without quotes");
        };
        match text.parse() {
            Ok(share) => Some(share),
            Err(error) => at.fail(&node.origin, format!("{text}: {error}"), None),
        }
    }

    fn show(&self) -> Option<Json> {
        let number = f64::from(self.millionths()) / 1e6;
        serde_json::Number::from_f64(number).map(Json::Number)
    }
}
