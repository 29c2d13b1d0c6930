//! The merged tree becomes a [`Schema`]: each key read by its type, each origin noted, each mistake collected.

use std::collections::BTreeMap;

use super::{
    environment, keys,
    origin::{Origin, Origins, Problems, join_key},
    schema::{Registry, Schema},
    setting::{Reading, Setting, nearest, parse_registry_name},
    tree::{Entry, Node, Table, Value},
};
use crate::oci::RegistryName;

/// Reads everything that is readable; the rest keeps its default and is in `problems`.
pub(super) fn read(tree: Table, problems: &mut Problems) -> (Schema, Origins) {
    let mut schema = Schema::default();
    let mut reader = Reader {
        prefix: String::new(),
        frame: Frame::of(tree),
        origins: Origins::default(),
        problems,
    };
    keys::schema(&mut reader, &mut schema);
    reader.report_unknown();
    let origins = reader.origins;
    (schema, origins)
}

struct Reader<'a> {
    /// The dotted key of the table that is being read.
    prefix: String,
    frame: Frame,
    origins: Origins,
    problems: &'a mut Problems,
}

/// One table: what nobody has asked for yet, and what was asked for.
#[derive(Default)]
struct Frame {
    rest: Table,
    known: Vec<String>,
}

impl Frame {
    fn of(table: Table) -> Self {
        Self {
            rest: table,
            known: Vec::new(),
        }
    }

    fn take(&mut self, name: &str) -> Option<Entry> {
        self.known.push(name.to_owned());
        self.rest.remove(name)
    }
}

impl keys::Visit for Reader<'_> {
    fn key<T: Setting>(&mut self, name: &'static str, value: &mut T) {
        let Some(entry) = self.frame.take(name) else {
            return;
        };
        let mut at = Reading {
            key: join_key(&self.prefix, name),
            problems: self.problems,
        };
        if let Some(read) = T::read(&entry.node, &mut at) {
            *value = read;
        }
        let key = at.key;
        if let Value::Array(items) = &entry.node.value {
            self.origins
                .record_items(&key, items.iter().map(|item| item.origin.clone()));
        }
        self.origins.record(key, entry.node.origin);
    }

    fn section(&mut self, name: &str, keys: impl FnOnce(&mut Self)) {
        if let Some(table) = self.take_table(name) {
            self.within(name, table, keys);
        }
    }

    fn registries(&mut self, name: &'static str, registries: &mut BTreeMap<RegistryName, Registry>) {
        let Some(table) = self.take_table(name) else {
            return;
        };
        self.within(name, table, |reader| {
            for (written, entry) in std::mem::take(&mut reader.frame.rest) {
                match parse_registry_name(&written) {
                    Ok(parsed) => {
                        let section = join_key(&reader.prefix, &written);
                        reader.origins.record(section, entry.key_origin.clone());
                        reader.frame.rest.insert(written.clone(), entry);
                        let registry = registries.entry(parsed).or_default();
                        keys::Visit::section(reader, &written, |reader| keys::registry(reader, registry));
                    }
                    Err((what, fix)) => {
                        let key = join_key(&reader.prefix, &written);
                        reader.problems.push(&entry.key_origin, &key, what, fix);
                    }
                }
            }
        });
    }
}

impl Reader<'_> {
    fn take_table(&mut self, name: &str) -> Option<Table> {
        let entry = self.frame.take(name)?;
        let node = entry.node;
        let kind = node.kind();
        if let Value::Table(table) = node.value {
            return Some(table);
        }
        let key = join_key(&self.prefix, name);
        let fix = match &node.origin {
            Origin::Environment(_) => format!("write {}", environment::variable_of(&join_key(&key, "key"))),
            _ => format!("write its keys under [{key}]"),
        };
        self.problems
            .push(&node.origin, &key, format!("is a section, found {kind}"), fix);
        None
    }

    fn within(&mut self, name: &str, table: Table, keys: impl FnOnce(&mut Self)) {
        let prefix = join_key(&self.prefix, name);
        let outer_prefix = std::mem::replace(&mut self.prefix, prefix);
        let outer = std::mem::replace(&mut self.frame, Frame::of(table));
        keys(self);
        self.report_unknown();
        self.frame = outer;
        self.prefix = outer_prefix;
    }

    fn report_unknown(&mut self) {
        let frame = std::mem::take(&mut self.frame);
        for (name, entry) in &frame.rest {
            let key = join_key(&self.prefix, name);
            let fix = match self.unquoted_registry(name, &entry.node) {
                Some(whole) => format!("put the name in quotes: [registries.{whole:?}]"),
                None => self.suggest(name, &frame.known, &entry.key_origin),
            };
            self.problems.push(&entry.key_origin, &key, "unknown key", fix);
        }
    }

    /// `[registries.ghcr.io]` is TOML for a table `io` in a table `ghcr`; nobody means that.
    fn unquoted_registry(&self, name: &str, node: &Node) -> Option<String> {
        let mut whole = format!("{}.{name}", self.prefix.strip_prefix("registries.")?);
        let mut value = &node.value;
        let mut is_table = false;
        while let Value::Table(table) = value {
            is_table = true;
            match table.iter().next() {
                Some((name, entry)) if table.len() == 1 && matches!(entry.node.value, Value::Table(_)) => {
                    whole = format!("{whole}.{name}");
                    value = &entry.node.value;
                }
                _ => break,
            }
        }
        is_table.then_some(whole)
    }

    /// A key of this table that is one letter away, else the table that has a key of exactly this name, else a key of this table with nearly
    /// this name, else all keys here.
    fn suggest(&self, name: &str, known: &[String], origin: &Origin) -> String {
        let spell = |key: &str| match origin {
            Origin::Environment(_) => environment::variable_of(key),
            _ => key.to_owned(),
        };
        let is_slip = |key: &&String| strsim::damerau_levenshtein(name, key.as_str()) == 1;
        if let Some(near) = known.iter().find(is_slip) {
            return format!("did you mean {}?", spell(&join_key(&self.prefix, near)));
        }
        if let Some(key) = keys::all()
            .iter()
            .find(|key| key.rsplit('.').next() == Some(name))
        {
            return match (key.rsplit_once('.'), origin) {
                (_, Origin::Environment(_) | Origin::Flag(_)) => format!("did you mean {}?", spell(key)),
                (Some((section, _)), _) => format!("`{name}` belongs under [{section}]"),
                (None, _) => format!("`{name}` belongs at the top of the file, before the first [section]"),
            };
        }
        if self.prefix == "cache" && keys::TAG_RULE.contains(&name) {
            return format!("`{name}` belongs under [[cache.tags]]");
        }
        if self.prefix == "access" && keys::ACCESS_RULE.contains(&name) {
            return format!("`{name}` belongs under [[access.rules]]");
        }
        if self.prefix.starts_with("registries.") && keys::CREDENTIAL.contains(&name) {
            return format!("`{name}` belongs under [[{}.credentials]]", self.prefix);
        }
        if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
            return format!("did you mean {}?", spell(&join_key(&self.prefix, near)));
        }
        format!("known here: {}", known.join(", "))
    }
}
