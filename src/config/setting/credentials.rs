//! One table of `credentials`.

use serde_json::{Map, Value as Json};

use super::{Fields, Reading, Setting};
use crate::config::{
    schema::CredentialEntry,
    tree::{Node, Value},
};

impl Setting for CredentialEntry {
    const EXPECTED: &'static str =
        "a table such as { username = \"robot\", password_file = \"robot.password\" }";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '{')?;
        let node = parsed.as_ref();
        let Value::Table(table) = &node.value else {
            return at.expected(node, Self::EXPECTED);
        };
        let mut fields = Fields::new(table, &node.origin);
        let name = fields.optional("name", at);
        let username = fields.optional("username", at);
        let password = fields.optional("password", at);
        let password_file = fields.optional("password_file", at);
        let password_env = fields.optional("password_env", at);
        let exec = fields.optional("exec", at);
        let helper = fields.optional("helper", at);
        let docker_config = fields.optional("docker_config", at);
        let server = fields.optional("server", at);
        let lifetime = fields.optional("lifetime", at);
        fields.finish(at)?;
        Some(Self {
            name: name?,
            username: username?,
            password: password?,
            password_file: password_file?,
            password_env: password_env?,
            exec: exec?,
            helper: helper?,
            docker_config: docker_config?,
            server: server?,
            lifetime: lifetime?,
        })
    }

    fn show(&self) -> Option<Json> {
        let mut table = Map::new();
        let mut put = |field: &str, value: Option<Json>| {
            table.extend(value.map(|value| (field.to_owned(), value)));
        };
        put("name", self.name.show());
        put("username", self.username.show());
        put("password", self.password.show());
        put("password_file", self.password_file.show());
        put("password_env", self.password_env.show());
        if !self.exec.is_empty() {
            put("exec", self.exec.show());
        }
        put("helper", self.helper.show());
        put("docker_config", self.docker_config.show());
        put("server", self.server.show());
        put("lifetime", self.lifetime.show());
        Some(Json::Object(table))
    }
}
