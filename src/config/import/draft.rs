//! What became of another tool's configuration: docxy's keys with the place that each came from, and what has no key. It
//! can be printed as a file, or laid under one.

use std::fmt::Write as _;

use crate::config::{
    origin::{Origin, Place, Problem, Problems, SourceFile, Warning, join_key},
    tree::{self, Entry, Node, Table},
};

/// Where the origins stand, if the value is shorter.
const ORIGIN_COLUMN: usize = 56;

/// More would bury the keys.
const MOST_NOTES: usize = 200;

/// A place in the old configuration.
#[derive(Clone, Debug)]
pub(in crate::config) struct Spot {
    pub origin: Origin,
    /// As the old tool calls it; empty where the origin says it all.
    pub key: String,
}

impl Spot {
    pub fn line(file: &std::sync::Arc<SourceFile>, line: u32, key: impl Into<String>) -> Self {
        Self {
            origin: Origin::File(Place {
                file: std::sync::Arc::clone(file),
                line,
                column: 1,
            }),
            key: key.into(),
        }
    }

    /// For a comment: one line, whatever is in a file's name.
    fn comment(&self) -> String {
        let place = match &self.origin {
            Origin::Default => String::new(),
            Origin::Environment(_) => return one_line(&self.origin.to_string()),
            origin => origin.to_string(),
        };
        one_line(format!("{place} {}", self.key).trim())
    }
}

/// One key of docxy's.
struct Setting {
    /// At least one; the last is the key's own name.
    path: Vec<String>,
    value: toml::Value,
    from: Spot,
    /// What a person should do about it, if anything.
    advice: Option<&'static str>,
}

/// One `[[cache.tags]]`.
struct TagRule {
    title: &'static str,
    /// Empty: every tag.
    tag: String,
    fresh: String,
    from: Spot,
}

struct Note {
    from: Spot,
    what: String,
}

#[derive(Default)]
pub(in crate::config) struct Draft {
    settings: Vec<Setting>,
    tags: Vec<TagRule>,
    notes: Vec<Note>,
    pub problems: Problems,
    holds_secret: bool,
}

impl Draft {
    /// Sets a key once: a second value for it becomes a note.
    pub fn set(&mut self, path: &[&str], value: impl Into<toml::Value>, from: &Spot) {
        let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
        let value = value.into();
        if let Some(first) = self.settings.iter().find(|setting| setting.path == path) {
            if first.value != value {
                let what = format!(
                    "{} has its value from {} already",
                    dotted(&path),
                    first.from.comment()
                );
                self.note(from, what);
            }
            return;
        }
        self.settings.push(Setting {
            path,
            value,
            from: from.clone(),
            advice: None,
        });
    }

    /// A key whose value is secret.
    pub fn set_secret(
        &mut self,
        path: &[&str],
        value: impl Into<toml::Value>,
        from: &Spot,
        advice: &'static str,
    ) {
        self.holds_secret = true;
        self.set(path, value, from);
        if let Some(setting) = self.settings.last_mut().filter(|setting| setting.path == path) {
            setting.advice = Some(advice);
        }
    }

    /// As [`Self::add`], of something with a secret in it.
    pub fn add_secret(
        &mut self,
        path: &[&str],
        item: impl Into<toml::Value>,
        from: &Spot,
        advice: &'static str,
    ) {
        self.holds_secret = true;
        self.add(path, item, from);
        if let Some(setting) = self.settings.iter_mut().find(|setting| setting.path == path) {
            setting.advice = Some(advice);
        }
    }

    /// Adds to a list that several places fill.
    pub fn add(&mut self, path: &[&str], item: impl Into<toml::Value>, from: &Spot) {
        let item = item.into();
        let found = self.settings.iter_mut().find(|setting| setting.path == path);
        match found.map(|setting| &mut setting.value) {
            Some(toml::Value::Array(items)) => {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            _ => self.set(path, toml::Value::Array(vec![item]), from),
        }
    }

    pub fn is_set(&self, path: &[&str]) -> bool {
        self.settings.iter().any(|setting| setting.path == path)
    }

    pub fn tag_rule(&mut self, title: &'static str, tag: String, fresh: String, from: &Spot) {
        let from = from.clone();
        self.tags.push(TagRule {
            title,
            tag,
            fresh,
            from,
        });
    }

    /// Something that docxy has no key for, or that a person must see to.
    pub fn note(&mut self, from: &Spot, what: impl Into<String>) {
        self.notes.push(Note {
            from: from.clone(),
            what: what.into(),
        });
    }

    /// Something that can't be right.
    pub fn problem(&mut self, at: &Spot, what: impl Into<String>, fix: impl Into<String>) {
        let key = match at.origin {
            Origin::Environment(_) => "",
            _ => at.key.as_str(),
        };
        self.problems.push(&at.origin, key, what, fix.into());
    }

    pub fn holds_secret(&self) -> bool {
        self.holds_secret
    }

    /// As a layer of the configuration, each value with its origin.
    pub fn layer(&self) -> Table {
        let mut table = Table::new();
        for setting in &self.settings {
            // Keys of one draft are leaves: none is another's table.
            let _ = tree::insert(
                &mut table,
                &setting.path,
                node_of(&setting.value, &setting.from.origin),
            );
        }
        if !self.tags.is_empty() {
            let origin = self.tiers_from().unwrap_or(Origin::Default);
            let items = self
                .tags
                .iter()
                .map(|rule| node_of(&rule.value(), &rule.from.origin));
            let value = tree::Value::Array(items.collect());
            let path = ["cache", "tags"].map(str::to_owned);
            let _ = tree::insert(&mut table, &path, Node { value, origin });
        }
        table
    }

    /// The titles of the rules about tags.
    pub fn tiers(&self) -> impl Iterator<Item = &'static str> {
        self.tags.iter().map(|rule| rule.title)
    }

    /// Where the first of them came from: the origin of all of them as a list.
    pub fn tiers_from(&self) -> Option<Origin> {
        self.tags.first().map(|rule| rule.from.origin.clone())
    }

    /// What a start says about the notes.
    pub fn warnings(&self) -> Vec<Warning> {
        let warning = |note: &Note| {
            Warning(Problem {
                origin: note.from.origin.clone(),
                key: match note.from.origin {
                    Origin::Environment(_) => String::new(),
                    _ => note.from.key.clone(),
                },
                what: note.what.clone(),
                fix: None,
            })
        };
        self.notes.iter().map(warning).collect()
    }

    /// As a file. `title` is its first line.
    pub fn to_toml(&self, title: &str) -> String {
        let mut text = format!(
            "# {}\n# Behind each key stands what it was made from. Look through it, then: docxy check-config --config FILE\n",
            one_line(title)
        );
        if !self.notes.is_empty() {
            text.push_str("#\n# Not carried over, or to be looked at:\n");
        }
        for note in self.notes.iter().take(MOST_NOTES) {
            let _ = writeln!(text, "# - {}: {}", note.from.comment(), one_line(&note.what));
        }
        if self.notes.len() > MOST_NOTES {
            let _ = writeln!(text, "# - and {} more", self.notes.len() - MOST_NOTES);
        }
        let mut sections: Vec<&[String]> = Vec::new();
        for setting in &self.settings {
            let section = section_of(setting);
            if !sections.contains(&section) {
                sections.push(section);
            }
        }
        let cache = ["cache".to_owned()];
        if !self.tags.is_empty() && !sections.contains(&&cache[..]) {
            sections.push(&cache);
        }
        sections.sort_by_key(|section| (rank(section), section.to_vec()));
        for section in sections {
            self.print_section(section, &mut text);
        }
        text
    }

    fn print_section(&self, section: &[String], text: &mut String) {
        let own: Vec<&Setting> = self
            .settings
            .iter()
            .filter(|setting| section_of(setting) == section)
            .collect();
        if section.is_empty() {
            text.push('\n');
        } else if !own.is_empty() {
            let _ = writeln!(text, "\n[{}]", dotted(section));
        }
        for setting in own {
            if let Some(advice) = setting.advice {
                let _ = writeln!(text, "# {advice}");
            }
            let name = setting.path.last().map_or("", String::as_str);
            let assignment = format!("{} = {}", join_key("", name), setting.value);
            print(&assignment, &setting.from.comment(), text);
        }
        if *section == ["cache"] {
            for rule in &self.tags {
                rule.print(text);
            }
        }
    }
}

impl TagRule {
    fn print(&self, text: &mut String) {
        let _ = writeln!(text, "\n# {}\n[[cache.tags]]", self.title);
        if !self.tag.is_empty() {
            let _ = writeln!(text, "tag = {}", toml::Value::from(self.tag.as_str()));
        }
        let fresh = format!("fresh = {}", toml::Value::from(self.fresh.as_str()));
        print(&fresh, &self.from.comment(), text);
    }

    fn value(&self) -> toml::Value {
        let mut table = toml::Table::new();
        if !self.tag.is_empty() {
            table.insert("tag".to_owned(), self.tag.as_str().into());
        }
        table.insert("fresh".to_owned(), self.fresh.as_str().into());
        table.into()
    }
}

fn print(assignment: &str, from: &str, text: &mut String) {
    let _ = if from.is_empty() {
        writeln!(text, "{assignment}")
    } else {
        writeln!(text, "{assignment:ORIGIN_COLUMN$} # {from}")
    };
}

fn section_of(setting: &Setting) -> &[String] {
    setting.path.split_last().map_or(&[], |(_, section)| section)
}

/// What a person looks for first comes first; registries last.
fn rank(section: &[String]) -> usize {
    const ORDER: [&str; 9] = [
        "intercept",
        "tls",
        "access",
        "cache",
        "timeouts",
        "limits",
        "network",
        "parent",
        "log",
    ];
    let Some(name) = section.first() else {
        return 0;
    };
    1 + ORDER
        .iter()
        .position(|known| known == name)
        .unwrap_or(ORDER.len())
}

fn dotted(path: &[String]) -> String {
    path.iter().fold(String::new(), |key, part| {
        let part = join_key("", part);
        if key.is_empty() {
            part
        } else {
            format!("{key}.{part}")
        }
    })
}

/// TOML forbids control characters in comments, and a line break would end one.
fn one_line(text: &str) -> String {
    const MOST: usize = 400;
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(MOST).collect()
}

fn node_of(value: &toml::Value, origin: &Origin) -> Node {
    let value = match value {
        toml::Value::String(text) => tree::Value::String(text.clone()),
        toml::Value::Integer(number) => tree::Value::Integer(number.to_string()),
        toml::Value::Boolean(value) => tree::Value::Boolean(*value),
        toml::Value::Float(number) => tree::Value::Float(number.to_string()),
        toml::Value::Datetime(_) => tree::Value::Other("a date"),
        toml::Value::Array(items) => {
            tree::Value::Array(items.iter().map(|item| node_of(item, origin)).collect())
        }
        toml::Value::Table(table) => {
            let entry = |(key, value): (&String, &toml::Value)| {
                let entry = Entry {
                    key_origin: origin.clone(),
                    node: node_of(value, origin),
                };
                (key.clone(), entry)
            };
            tree::Value::Table(table.iter().map(entry).collect())
        }
    };
    Node {
        value,
        origin: origin.clone(),
    }
}
