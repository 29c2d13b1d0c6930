//! Where a value came from, and what is wrong with it.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

/// The source of one value. `Display` is what `check-config` shows behind each line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    Default,
    /// The table of well-known registries.
    Preset,
    File(Place),
    /// The variable's name.
    Environment(String),
    /// The flag's name, with its dashes.
    Flag(String),
}

impl Origin {
    /// The folder that relative paths count from: that of the file which names them, else the working folder.
    pub fn folder(&self) -> Option<&PathBuf> {
        match self {
            Self::File(place) => Some(&place.file.folder),
            _ => None,
        }
    }

    /// File positions first and in order, so that problems read like the file.
    fn rank(&self) -> (u8, u32, u32, &str) {
        match self {
            Self::File(place) => (0, place.line, place.column, ""),
            Self::Environment(name) => (1, 0, 0, name),
            Self::Flag(name) => (2, 0, 0, name),
            Self::Preset => (3, 0, 0, ""),
            Self::Default => (4, 0, 0, ""),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset => f.write_str("preset"),
            Self::File(place) => write!(f, "{}:{}", place.file.name, place.line),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A position in the configuration file; line and column (in characters) count from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub file: Arc<SourceFile>,
    pub line: u32,
    pub column: u32,
}

/// The configuration file, as messages name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFile {
    pub name: String,
    /// What relative paths in it count from.
    pub folder: PathBuf,
}

/// The origin of every key that has a value other than its default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origins {
    keys: BTreeMap<String, Origin>,
    /// Of the items of lists that a file spells out.
    items: BTreeMap<String, Vec<Origin>>,
}

impl Origins {
    /// `key` as [`join_key`] writes it: `cache.mode`, `registries."ghcr.io".auth`, and for a registry's section as a
    /// whole `registries."ghcr.io"`.
    pub fn of(&self, key: &str) -> &Origin {
        self.keys.get(key).unwrap_or(&Origin::Default)
    }

    /// Where one item of a list is written (`index` counts from 0); that of the whole list where it is not known.
    pub fn of_item(&self, key: &str, index: usize) -> &Origin {
        let items = self.items.get(key);
        items
            .and_then(|items| items.get(index))
            .unwrap_or_else(|| self.of(key))
    }

    pub(super) fn record(&mut self, key: String, origin: Origin) {
        self.keys.insert(key, origin);
    }

    pub(super) fn record_items(&mut self, key: &str, origins: impl Iterator<Item = Origin>) {
        self.items.insert(key.to_owned(), origins.collect());
    }
}

/// Appends one component to a dotted key, quoted as TOML wants it.
pub fn join_key(parent: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let name = if bare {
        name.to_owned()
    } else {
        serde_json::Value::from(name).to_string()
    };
    if parent.is_empty() {
        name
    } else {
        format!("{parent}.{name}")
    }
}

/// One mistake: where, which key, what is wrong, what to do. No value of a secret key is ever part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    pub origin: Origin,
    pub key: String,
    pub what: String,
    pub fix: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(place) => write!(f, "{}:{}:{}: ", place.file.name, place.line, place.column)?,
            Origin::Default => {}
            other => write!(f, "{other}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if let Some(fix) = &self.fix {
            write!(f, "\n    {fix}")?;
        }
        Ok(())
    }
}

/// Every mistake that was found: a person wants to fix them in one go.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn push(
        &mut self,
        origin: &Origin,
        key: &str,
        what: impl Into<String>,
        fix: impl Into<Option<String>>,
    ) {
        self.0.push(Problem {
            origin: origin.clone(),
            key: key.to_owned(),
            what: what.into(),
            fix: fix.into(),
        });
    }

    /// Adds what checks of meaning found, but not where the values they looked at could not even be read: those
    /// findings would vanish with the first mistake.
    pub(super) fn add_consequences(&mut self, found: Vec<Problem>) {
        let broken: Vec<String> = self.0.iter().map(|problem| problem.key.clone()).collect();
        let spoiled = |finding: &Problem| {
            let section = section_of(&finding.key);
            broken.iter().any(|key| {
                let within = section_of(key);
                within == section || (!section.is_empty() && within.starts_with(&format!("{section}.")))
            })
        };
        self.0
            .extend(found.into_iter().filter(|finding| !spoiled(finding)));
    }

    /// The first of them, in the order of the file, where there are more than anybody reads.
    pub(super) fn at_most(mut self, most: usize) -> Self {
        self.0.truncate(most);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// `Ok` when nothing was found; otherwise all of them, in the order of the file.
    pub fn into_result(mut self) -> Result<(), Self> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by(|a, b| a.origin.rank().cmp(&b.origin.rank()));
        Err(self)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The key without its last component.
fn section_of(key: &str) -> &str {
    key.rsplit_once('.').map_or("", |(section, _)| section)
}

/// Something that works and that a person should know all the same. Same shape as a [`Problem`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning(pub Problem);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
