//! How one value is read from what a person wrote, and shown again. Reading reports every mistake it finds and never
//! stops at the first.

mod access;
mod cache;
mod choice;
mod credentials;
mod intercept;
mod network;
mod operation;
mod places;
mod proxy;

use std::{borrow::Cow, collections::BTreeMap, fmt::Display, path::PathBuf, time::Duration};

use serde_json::Value as Json;

use super::{
    origin::{Origin, Problems, join_key},
    schema::{CertificateFiles, PasswordVariable},
    tree::{Node, Table, Value, parse_value},
    values::{Secret, Size, parse_duration, show_duration},
};
use crate::oci::RegistryName;

pub(super) use proxy::proxy_from_environment;

/// A type that a key can have.
pub(super) trait Setting: Clone {
    /// For "expected ...": what to write, with an example.
    const EXPECTED: &'static str;

    /// `None` when a problem was reported.
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self>;

    /// As JSON; `None` when nothing is set. Secrets show as `***`.
    fn show(&self) -> Option<Json>;
}

/// The key that is being read, and where mistakes go.
pub(super) struct Reading<'a> {
    pub key: String,
    pub problems: &'a mut Problems,
}

impl Reading<'_> {
    /// Reports a mistake in this value; `None`, so that a reader can return it.
    pub fn fail<T>(
        &mut self,
        origin: &Origin,
        what: impl Into<String>,
        fix: impl Into<Option<String>>,
    ) -> Option<T> {
        self.problems.push(origin, &self.key, what, fix);
        None
    }

    /// Reports a value of the wrong kind.
    pub fn expected<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        self.fail(
            &node.origin,
            format!("expected {expected}, found {}", node.kind()),
            None,
        )
    }

    /// The text of a value that is a text and nothing else.
    pub fn text<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n str> {
        match &node.value {
            Value::String(text) | Value::Raw(text) => Some(text),
            _ => self.expected(node, expected),
        }
    }

    /// The node itself, or the list or table that a variable or flag holds as TOML. Both brackets decide:
    /// `[::]:5000` is no list.
    pub fn structured<'n>(&mut self, node: &'n Node, open: char) -> Option<Cow<'n, Node>> {
        let close = if open == '[' { ']' } else { '}' };
        match &node.value {
            Value::Raw(text) if text.trim_start().starts_with(open) && text.trim_end().ends_with(close) => {
                match parse_value(text.trim(), &node.origin) {
                    Ok(node) => Some(Cow::Owned(node)),
                    Err(reason) => {
                        let fix = "in [ ] and { } texts need quotes, as in [\"a\", \"b\"]".to_owned();
                        self.fail(&node.origin, format!("not a TOML value: {reason}"), fix)
                    }
                }
            }
            _ => Some(Cow::Borrowed(node)),
        }
    }
}

/// Reads the fields of an inline table, then complains about those that nobody asked for.
pub(super) struct Fields<'n> {
    table: &'n Table,
    origin: &'n Origin,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    pub fn new(table: &'n Table, origin: &'n Origin) -> Self {
        Self {
            table,
            origin,
            known: Vec::new(),
        }
    }

    /// The type's default when the field is absent.
    pub fn optional<T: Setting + Default>(&mut self, name: &'static str, at: &mut Reading<'_>) -> Option<T> {
        self.optional_or(name, T::default(), at)
    }

    /// `default` when the field is absent.
    pub fn optional_or<T: Setting>(
        &mut self,
        name: &'static str,
        default: T,
        at: &mut Reading<'_>,
    ) -> Option<T> {
        self.known.push(name);
        match self.table.get(name) {
            Some(entry) => read_field(name, &entry.node, at),
            None => Some(default),
        }
    }

    pub fn required<T: Setting>(&mut self, name: &'static str, at: &mut Reading<'_>) -> Option<T> {
        self.known.push(name);
        match self.table.get(name) {
            Some(entry) => read_field(name, &entry.node, at),
            None => at.fail(
                self.origin,
                format!("`{name}` is missing"),
                format!("`{name}` is {}", T::EXPECTED),
            ),
        }
    }

    pub fn finish(self, at: &mut Reading<'_>) -> Option<()> {
        let mut whole = Some(());
        for (name, entry) in self.table {
            if !self.known.contains(&name.as_str()) {
                let fix =
                    nearest(name, self.known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                let fix = fix.or_else(|| Some(format!("known here: {}", self.known.join(", "))));
                whole = at.fail(&entry.key_origin, format!("unknown field `{name}`"), fix);
            }
        }
        whole
    }
}

fn read_field<T: Setting>(name: &str, node: &Node, at: &mut Reading<'_>) -> Option<T> {
    let mut inner = Reading {
        key: join_key(&at.key, name),
        problems: at.problems,
    };
    T::read(node, &mut inner)
}

/// The known name that a misspelt one most likely means.
pub(super) fn nearest<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    known
        .map(|candidate| (strsim::damerau_levenshtein(&name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| {
            *distance <= 2.max(candidate.len() / 3) && *distance < candidate.len()
        })
        .map(|(_, candidate)| candidate)
}

impl Setting for String {
    const EXPECTED: &'static str = "a text in quotes";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        at.text(node, Self::EXPECTED).map(str::to_owned)
    }

    fn show(&self) -> Option<Json> {
        Some(self.as_str().into())
    }
}

impl Setting for Secret<String> {
    const EXPECTED: &'static str = "a text in quotes";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        match at.text(node, Self::EXPECTED)? {
            "" => at.fail(&node.origin, "is empty", None),
            text => Some(Self::new(text.to_owned())),
        }
    }

    fn show(&self) -> Option<Json> {
        Some("***".into())
    }
}

impl Setting for PasswordVariable {
    const EXPECTED: &'static str = "the name of an environment variable in quotes";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let name = at.text(node, Self::EXPECTED)?;
        if name.is_empty() || name.contains(['=', '$', ' ']) {
            return at.fail(
                &node.origin,
                "is not the name of an environment variable",
                "write the name alone, as in \"GHCR_TOKEN\"".to_owned(),
            );
        }
        Some(Self {
            name: name.to_owned(),
            value: None,
        })
    }

    fn show(&self) -> Option<Json> {
        Some(self.name.as_str().into())
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false, without quotes";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::Boolean(value) => Some(*value),
            Value::Raw(text) => match parse_switch(text) {
                Some(value) => Some(value),
                None => at.fail(
                    &node.origin,
                    format!("expected true or false, found {text:?}"),
                    None,
                ),
            },
            _ => at.expected(node, Self::EXPECTED),
        }
    }

    fn show(&self) -> Option<Json> {
        Some((*self).into())
    }
}

/// Variables are written in more ways than TOML allows.
pub(super) fn parse_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

impl Setting for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let (Value::Integer(text) | Value::Raw(text)) = &node.value else {
            return at.expected(node, "a whole number, without quotes");
        };
        match text.parse() {
            Ok(number) => Some(number),
            Err(_) => at.fail(
                &node.origin,
                format!("expected a whole number from 0 to {}, found {text}", u32::MAX),
                None,
            ),
        }
    }

    fn show(&self) -> Option<Json> {
        Some((*self).into())
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a duration such as \"10m\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        scalar(node, at, Self::EXPECTED, parse_duration)
    }

    fn show(&self) -> Option<Json> {
        Some(show_duration(*self).into())
    }
}

impl Setting for Size {
    const EXPECTED: &'static str = "a size such as \"32GiB\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        scalar(node, at, Self::EXPECTED, str::parse)
    }

    fn show(&self) -> Option<Json> {
        Some(self.to_string().into())
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path in quotes";

    /// Relative paths count from the folder of the file that names them.
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let text = at.text(node, Self::EXPECTED)?;
        if text.is_empty() {
            return at.fail(
                &node.origin,
                "is empty",
                "write a path, or leave the key out".to_owned(),
            );
        }
        if text == "~" || text.starts_with("~/") {
            let fix = "write the whole path, beginning with /".to_owned();
            return at.fail(&node.origin, "`~` means nothing here", fix);
        }
        Some(match node.origin.folder() {
            Some(folder) => folder.join(text),
            None => Self::from(text),
        })
    }

    fn show(&self) -> Option<Json> {
        Some(self.display().to_string().into())
    }
}

impl Setting for RegistryName {
    const EXPECTED: &'static str = "a registry's name such as \"ghcr.io\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let text = at.text(node, Self::EXPECTED)?;
        match parse_registry_name(text) {
            Ok(name) => Some(name),
            Err((what, fix)) => at.fail(&node.origin, what, fix),
        }
    }

    fn show(&self) -> Option<Json> {
        Some(self.as_str().into())
    }
}

/// The host and port of something that was written as an address: no scheme, no path, and no user, who may have
/// brought a password.
pub(super) fn authority_of(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

/// A registry's name, or what is wrong with it and what to write.
pub(super) fn parse_registry_name(text: &str) -> Result<RegistryName, (String, String)> {
    const FIX: &str = "write a host with an optional port, as in ghcr.io or harbor.example.com:8443";
    if text.contains(['/', '@']) {
        return Err((
            "is an address, not a registry's name".to_owned(),
            format!("write {:?}", authority_of(text)),
        ));
    }
    RegistryName::parse(text).map_err(|error| (error.to_string(), FIX.to_owned()))
}

impl Setting for CertificateFiles {
    const EXPECTED: &'static str = "a table such as { cert = \"fullchain.pem\", key = \"privkey.pem\" }";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '{')?;
        let node = parsed.as_ref();
        let Value::Table(table) = &node.value else {
            return at.expected(node, Self::EXPECTED);
        };
        let mut fields = Fields::new(table, &node.origin);
        let cert = fields.required("cert", at);
        let key = fields.required("key", at);
        fields.finish(at)?;
        Some(Self {
            cert: cert?,
            key: key?,
        })
    }

    fn show(&self) -> Option<Json> {
        Some(serde_json::json!({ "cert": self.cert.show(), "key": self.key.show() }))
    }
}

impl<T: Setting> Setting for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        T::read(node, at).map(Some)
    }

    fn show(&self) -> Option<Json> {
        self.as_ref().and_then(T::show)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const EXPECTED: &'static str = "a list such as [\"...\", \"...\"]";

    /// A variable may hold a TOML list or plain texts with commas between them.
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '[')?;
        let node = parsed.as_ref();
        match &node.value {
            Value::Array(items) => read_all(items, at),
            // A table has commas of its own.
            Value::Raw(text) if text.trim_start().starts_with('{') => {
                T::read(node, at).map(|item| vec![item])
            }
            Value::Raw(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let items: Vec<Node> = parts
                    .map(|part| Node {
                        value: Value::Raw(part.to_owned()),
                        origin: node.origin.clone(),
                    })
                    .collect();
                read_all(&items, at)
            }
            Value::String(text) => at.fail(
                &node.origin,
                format!("expected a list of values, found {}", node.kind()),
                format!("write [{}]", Json::from(text.as_str())),
            ),
            Value::Table(_) => at.fail(
                &node.origin,
                "expected a list of tables, found one table",
                format!(
                    "write [[{key}]] instead of [{key}], or put the table into [ ]",
                    key = at.key
                ),
            ),
            _ => at.fail(
                &node.origin,
                format!("expected a list of values in [ ], found {}", node.kind()),
                None,
            ),
        }
    }

    fn show(&self) -> Option<Json> {
        Some(self.iter().filter_map(T::show).collect())
    }
}

impl<T: Setting> Setting for BTreeMap<String, T> {
    const EXPECTED: &'static str = "a table such as { \"name\" = [\"...\"] }";

    /// Names are folded to lower case: the only maps are of host names and of header fields.
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '{')?;
        let node = parsed.as_ref();
        let Value::Table(table) = &node.value else {
            return at.expected(node, Self::EXPECTED);
        };
        let mut map = Some(Self::new());
        for (name, entry) in table {
            match (read_field(name, &entry.node, at), &mut map) {
                (Some(value), Some(map)) => drop(map.insert(name.to_ascii_lowercase(), value)),
                _ => map = None,
            }
        }
        map
    }

    fn show(&self) -> Option<Json> {
        let entries = self
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.show()?)));
        Some(Json::Object(entries.collect()))
    }
}

/// Every item is read, so that every mistake is reported; one mistake spoils the list.
fn read_all<T: Setting>(items: &[Node], at: &mut Reading<'_>) -> Option<Vec<T>> {
    let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, at)).collect();
    read.into_iter().collect()
}

/// A text with a grammar of its own; a bare number gets that grammar's message ("has no unit").
fn scalar<T, E: Display>(
    node: &Node,
    at: &mut Reading<'_>,
    expected: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Option<T> {
    let (Value::String(text) | Value::Raw(text) | Value::Integer(text)) = &node.value else {
        return at.expected(node, expected);
    };
    match parse(text) {
        Ok(value) => Some(value),
        Err(error) => at.fail(&node.origin, error.to_string(), None),
    }
}
