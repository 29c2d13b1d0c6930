//! The values of `[access]` that have a grammar of their own.

use serde_json::{Value as Json, json};

use super::{Fields, Reading, Setting};
use crate::config::{
    schema::AccessRule,
    tree::{Node, Value},
    values::Pattern,
};

impl Setting for AccessRule {
    const EXPECTED: &'static str =
        "a table such as { effect = \"allow\", groups = [\"dev\"], repository = \"team/**\" }";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '{')?;
        let node = parsed.as_ref();
        let Value::Table(table) = &node.value else {
            return at.expected(node, Self::EXPECTED);
        };
        let mut fields = Fields::new(table, &node.origin);
        let effect = fields.required("effect", at);
        let users = fields.optional::<Vec<Pattern>>("users", at);
        let groups = fields.optional("groups", at);
        let addresses = fields.optional("addresses", at);
        let registry = fields.optional_or("registry", Pattern::everything(), at);
        let repository = fields.optional_or("repository", Pattern::everything(), at);
        let tag = fields.optional_or("tag", Pattern::everything(), at);
        let actions = fields.optional("actions", at);
        let comment = fields.optional("comment", at);
        fields.finish(at)?;
        Some(Self {
            effect: effect?,
            users: users?.into_iter().map(Pattern::across_slashes).collect(),
            groups: groups?,
            addresses: addresses?,
            registry: registry?,
            repository: repository?,
            tag: tag?,
            actions: actions?,
            comment: comment?,
        })
    }

    fn show(&self) -> Option<Json> {
        Some(json!({
            "effect": self.effect.show(),
            "users": self.users.show(),
            "groups": self.groups.show(),
            "addresses": self.addresses.show(),
            "registry": self.registry.show(),
            "repository": self.repository.show(),
            "tag": self.tag.show(),
            "actions": self.actions.show(),
            "comment": self.comment.show(),
        }))
    }
}
