//! One layer of configuration before it has types: tables and values, each with its origin. Layers are laid over each
//! other here, so that the reader sees one tree.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::origin::{Origin, Place, Problems, SourceFile};

/// Keys of a table with their values.
pub(super) type Table = BTreeMap<String, Entry>;

/// A key and its value; the key's own position serves "unknown key".
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key_origin: Origin,
    pub node: Node,
}

impl Entry {
    fn is_table(&self) -> bool {
        matches!(self.node.value, Value::Table(_))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub value: Value,
    pub origin: Origin,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    /// Text from the environment or a flag: what it is depends on the key that it is for.
    Raw(String),
    /// In decimal, sign included.
    Integer(String),
    /// In decimal, with a fraction or an exponent.
    Float(String),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A date: no key takes one.
    Other(&'static str),
}

impl Node {
    /// What a person would call the value.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) | Value::Raw(_) => "a text",
            Value::Integer(_) => "a number",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
            Value::Other(kind) => kind,
        }
    }
}

/// Reads a TOML document. All its syntax errors go to `problems`; then there is no tree.
pub(super) fn parse_document(text: &str, file: &Arc<SourceFile>, problems: &mut Problems) -> Option<Table> {
    let locate = |offset: usize| {
        let (line, column) = line_and_column(text, offset);
        Origin::File(Place {
            file: Arc::clone(file),
            line,
            column,
        })
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(table_of(document.get_ref(), &locate));
    }
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message();
        let what = if message.contains("duplicate key") {
            "this key is written twice: keep one of them".to_owned()
        } else {
            format!("not TOML: {message}")
        };
        problems.push(&locate(offset), "", what, None);
    }
    None
}

/// Reads one TOML value from a variable or a flag; every part of it gets the same origin.
pub(super) fn parse_value(text: &str, origin: &Origin) -> Result<Node, String> {
    let (value, errors) = DeValue::parse_recoverable(text);
    match errors.first() {
        None => Ok(node_of(&value, &|_| origin.clone())),
        Some(error) => Err(error.message().to_owned()),
    }
}

/// Reads a dotted TOML key into its components.
pub(super) fn parse_key(text: &str) -> Option<Vec<String>> {
    let document = format!("{text} = 0");
    let document = DeTable::parse(&document).ok()?;
    let mut path = Vec::new();
    let mut table = document.get_ref();
    loop {
        let mut entries = table.iter();
        let (key, value) = entries.next()?;
        if entries.next().is_some() {
            return None;
        }
        path.push(key.get_ref().to_string());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

/// Lays `upper` over `lower`: tables are merged, everything else is replaced.
pub(super) fn overlay(lower: &mut Table, upper: Table) {
    for (key, above) in upper {
        match (lower.get_mut(&key), above) {
            (Some(below), above) if below.is_table() && above.is_table() => {
                below.key_origin = above.key_origin;
                if let (Value::Table(below), Value::Table(above)) = (&mut below.node.value, above.node.value)
                {
                    overlay(below, above);
                }
            }
            (_, above) => drop(lower.insert(key, above)),
        }
    }
}

/// Puts a value under a path, making the tables on the way. `Err` names the component that is a value already.
pub(super) fn insert(table: &mut Table, path: &[String], node: Node) -> Result<(), String> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(());
    };
    let origin = node.origin.clone();
    if rest.is_empty() {
        table.insert(
            first.clone(),
            Entry {
                key_origin: origin,
                node,
            },
        );
        return Ok(());
    }
    let entry = table.entry(first.clone()).or_insert_with(|| Entry {
        key_origin: origin.clone(),
        node: Node {
            value: Value::Table(Table::new()),
            origin,
        },
    });
    match &mut entry.node.value {
        Value::Table(inner) => insert(inner, rest, node),
        _ => Err(first.clone()),
    }
}

impl SourceFile {
    pub(super) fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self {
            name: path.display().to_string(),
            folder: path.parent().map(Path::to_path_buf).unwrap_or_default(),
        })
    }
}

fn table_of(table: &DeTable<'_>, locate: &impl Fn(usize) -> Origin) -> Table {
    table
        .iter()
        .map(|(key, value)| {
            let entry = Entry {
                key_origin: locate(key.span().start),
                node: node_of(value, locate),
            };
            (key.get_ref().to_string(), entry)
        })
        .collect()
}

fn node_of(value: &Spanned<DeValue<'_>>, locate: &impl Fn(usize) -> Origin) -> Node {
    let origin = locate(value.span().start);
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number.to_string()),
            Err(_) => Value::Other("a number out of range"),
        },
        DeValue::Float(number) => Value::Float(number.to_string()),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| node_of(item, locate)).collect()),
        DeValue::Table(table) => Value::Table(table_of(table, locate)),
    };
    Node { value, origin }
}

fn line_and_column(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (count(line), count(column))
}
