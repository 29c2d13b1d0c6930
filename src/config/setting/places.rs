//! One entry of `urls`.

use serde_json::{Map, Value as Json};
use url::Url;

use super::{Fields, Reading, Setting};
use crate::config::{
    schema::{MirrorKeys, UrlEntry},
    tree::{Node, Value},
};

/// `role = "..."`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum PlaceRole {
    #[default]
    Authority,
    Mirror,
}

impl Setting for UrlEntry {
    const EXPECTED: &'static str =
        "an address such as \"https://hub.example.com\", or { url = \"...\", role = \"mirror\" }";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '{')?;
        let node = parsed.as_ref();
        let Value::Table(table) = &node.value else {
            return Url::read(node, at).map(Self::from);
        };
        let default = MirrorKeys::default();
        let mut fields = Fields::new(table, &node.origin);
        let url = fields.required("url", at);
        let role = fields.optional("role", at);
        let username = fields.optional("username", at);
        let password_file = fields.optional("password_file", at);
        let password_env = fields.optional("password_env", at);
        let exec = fields.optional("exec", at);
        let realms = fields.optional("realms", at);
        let allow_private_addresses = fields.optional("allow_private_addresses", at);
        let ca_file = fields.optional("ca_file", at);
        let tls_verify = fields.optional_or("tls_verify", default.tls_verify, at);
        let proxy = fields.optional("proxy", at);
        fields.finish(at)?;
        let keys = MirrorKeys {
            username: username?,
            password_file: password_file?,
            password_env: password_env?,
            exec: exec?,
            realms: realms?,
            allow_private_addresses: allow_private_addresses?,
            ca_file: ca_file?,
            tls_verify: tls_verify?,
            proxy: proxy?,
        };
        let mirror = match role? {
            PlaceRole::Mirror => Some(Box::new(keys)),
            PlaceRole::Authority if keys == default => None,
            PlaceRole::Authority => {
                return at.fail(
                    &node.origin,
                    "only a mirror has keys of its own here",
                    "write role = \"mirror\" if it is one; the keys of the registry itself stand in its section"
                        .to_owned(),
                );
            }
        };
        Some(Self { url: url?, mirror })
    }

    /// As short as it can be written.
    fn show(&self) -> Option<Json> {
        let url = self.url.show()?;
        let Some(keys) = self.mirror.as_deref() else {
            return Some(url);
        };
        let default = MirrorKeys::default();
        let mut table = Map::new();
        let mut put = |name: &str, shown: Option<Json>| {
            table.extend(shown.map(|shown| (name.to_owned(), shown)));
        };
        put("url", Some(url));
        put("role", Some("mirror".into()));
        put("username", keys.username.show());
        put("password_file", keys.password_file.show());
        put("password_env", keys.password_env.show());
        put("exec", unless(&keys.exec, &default.exec));
        put("realms", unless(&keys.realms, &default.realms));
        let (private, verify) = (keys.allow_private_addresses, keys.tls_verify);
        put(
            "allow_private_addresses",
            unless(&private, &default.allow_private_addresses),
        );
        put("ca_file", keys.ca_file.show());
        put("tls_verify", unless(&verify, &default.tls_verify));
        put("proxy", keys.proxy.show());
        Some(Json::Object(table))
    }
}

fn unless<T: Setting + PartialEq>(value: &T, default: &T) -> Option<Json> {
    (value != default).then(|| value.show()).flatten()
}
