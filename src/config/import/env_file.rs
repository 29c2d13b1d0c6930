//! Variables as people keep them: docker's `--env-file`, a shell's file with `export` and quotes, or the `environment` of
//! a compose file (or the `env` of a Kubernetes manifest). No message holds a value: any may be secret.

use std::sync::Arc;

use super::{
    draft::{Draft, Spot},
    yaml::{Value, Yaml},
};
use crate::config::origin::{Origin, Place, SourceFile};

/// One variable that is set.
pub(in crate::config) struct Variable {
    pub name: String,
    pub value: String,
    pub spot: Spot,
}

/// Reads a file of either form. `wanted` says which variables the tool knows: they tell its service from others in a
/// compose file. Mistakes and what can't be known go into the draft.
pub(super) fn parse(
    text: &str,
    file: &Arc<SourceFile>,
    wanted: impl Fn(&str) -> bool,
    draft: &mut Draft,
) -> Vec<Variable> {
    let mut variables = Variables {
        file,
        draft,
        list: Vec::new(),
    };
    if looks_like_yaml(text) {
        variables.of_yaml(text, wanted);
    } else {
        variables.of_lines(text);
        if !variables.list.iter().any(|variable| wanted(&variable.name))
            && variables.draft.problems.is_empty()
        {
            let at = Spot::line(file, 1, "");
            variables.draft.problem(&at, NOT_OURS, HOW_TO_NAME);
        }
    }
    variables.list
}

struct Variables<'a> {
    file: &'a Arc<SourceFile>,
    draft: &'a mut Draft,
    list: Vec<Variable>,
}

impl Variables<'_> {
    fn of_lines(&mut self, text: &str) {
        let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut line = 1;
        while !rest.is_empty() {
            let taken = self.assignment(rest, line);
            let (done, behind) = rest.split_at(taken.min(rest.len()));
            line += u32::try_from(done.matches('\n').count()).unwrap_or(u32::MAX);
            rest = behind;
        }
    }

    /// Reads what begins here, one line at least; how many bytes that was.
    fn assignment(&mut self, text: &str, line: u32) -> usize {
        let end = text.find('\n').map_or(text.len(), |at| at + 1);
        let written = text[..end].trim();
        if written.is_empty() || written.starts_with('#') {
            return end;
        }
        let start = text.len() - text.trim_start().len();
        let (exported, start) = match text[start..].strip_prefix("export") {
            Some(behind) if behind.starts_with([' ', '\t']) => (true, text.len() - behind.trim_start().len()),
            _ => (false, start),
        };
        let spot = |name: &str| Spot::line(self.file, line, name);
        let Some(equals) = text[start..end.max(start)].find('=') else {
            if is_name(text[start..end.max(start)].trim()) {
                let name = text[start..end].trim();
                let what = "its value is not in the file: it came from the shell that started the container";
                self.draft.note(&spot(name), what);
            } else {
                self.draft.problem(
                    &spot(""),
                    "is not NAME=VALUE",
                    "write one variable a line; a value of several lines needs quotes",
                );
            }
            return end;
        };
        let name = text[start..start + equals].trim_end();
        if !is_name(name) {
            self.draft.problem(
                &spot(""),
                "is not NAME=VALUE",
                "names have letters, digits and _; a value of several lines needs quotes",
            );
            return end;
        }
        let at = start + equals + 1;
        let (value, taken) = if text[at..].starts_with(['"', '\'']) {
            match quoted(&text[at..]) {
                Ok((value, taken)) => (value, at + taken),
                Err(what) => {
                    self.draft.problem(&spot(name), what, HOW_TO_QUOTE);
                    return end;
                }
            }
        } else {
            let raw = text[at..end].trim_end();
            if exported && raw.contains(['$', '`']) {
                self.draft.problem(&spot(name), MADE_BY_SHELL, HOW_TO_QUOTE);
                return end;
            }
            // Docker takes a line as it is; a shell ends at the first blank.
            let raw = if exported {
                raw.split_whitespace().next().unwrap_or_default()
            } else {
                raw
            };
            (raw.to_owned(), end)
        };
        self.push(name, value, &spot(name));
        taken
    }

    fn of_yaml(&mut self, text: &str, wanted: impl Fn(&str) -> bool) {
        let root = match Yaml::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let mut at = Spot::line(self.file, error.line, "");
                if let Origin::File(Place { column, .. }) = &mut at.origin {
                    *column = error.column;
                }
                let fix = "write NAME=VALUE lines, or a compose file with `environment`";
                return self.draft.problem(&at, error.to_string(), fix);
            }
        };
        let mut found = Vec::new();
        environments(&root, &mut found);
        if found.is_empty() {
            found.push(&root);
        }
        let is_ours = |node: &&Yaml| names(node).iter().any(|name| wanted(name));
        let mut ours = found.into_iter().filter(is_ours);
        let (Some(node), other) = (ours.next(), ours.next()) else {
            let at = Spot::line(self.file, 1, "");
            return self.draft.problem(&at, NOT_OURS, HOW_TO_NAME);
        };
        if let Some(other) = other {
            let at = Spot::line(self.file, other.line, "");
            let fix = "take all but one out of a copy of the file, and import that";
            return self
                .draft
                .problem(&at, "a second container with such variables", fix);
        }
        self.of_environment(node);
    }

    fn of_environment(&mut self, node: &Yaml) {
        match &node.value {
            Value::Map(entries) => {
                for (name, value) in entries {
                    let spot = Spot::line(self.file, name.line, name.text.clone());
                    self.scalar(&name.text, value, &spot);
                }
            }
            Value::List(items) => {
                for item in items {
                    self.item(item);
                }
            }
            Value::Null | Value::Text(_) => {}
        }
    }

    /// `- NAME=VALUE`, or `- name: NAME` with `value: VALUE`.
    fn item(&mut self, item: &Yaml) {
        let spot = |name: &str| Spot::line(self.file, item.line, name);
        if let Some(text) = item.text() {
            match text.split_once('=') {
                Some((name, value)) if is_name(name) => {
                    let spot = spot(name);
                    self.interpolated(name, value, &spot);
                }
                _ => {
                    let name = if is_name(text) { text } else { "" };
                    self.draft.note(&spot(name), "its value is not in the file");
                }
            }
        } else if let Some(name) = item.get("name").and_then(Yaml::text) {
            let spot = spot(name);
            match item.get("value") {
                Some(value) => self.scalar(name, value, &spot),
                None => self.draft.note(
                    &spot,
                    "its value is not in the file: it comes from a secret or a config map",
                ),
            }
        }
    }

    fn scalar(&mut self, name: &str, value: &Yaml, spot: &Spot) {
        match &value.value {
            Value::Text(text) => self.interpolated(name, text, spot),
            Value::Null => self.draft.note(spot, "its value is not in the file"),
            Value::List(_) | Value::Map(_) => {
                let what = format!("expected a text, found {}", value.kind());
                self.draft.problem(spot, what, "write the value in quotes");
            }
        }
    }

    /// Compose puts variables of its own shell into `${NAME}`; `$$` is a dollar sign.
    fn interpolated(&mut self, name: &str, text: &str, spot: &Spot) {
        let plain = text.replace("$$", "\u{0}");
        if plain.contains("${") {
            let fix = "write the value itself into a copy of the file; $$ is a dollar sign";
            return self
                .draft
                .problem(spot, "its value is put together by compose (${...})", fix);
        }
        self.push(name, plain.replace('\u{0}', "$"), spot);
    }

    fn push(&mut self, name: &str, value: String, spot: &Spot) {
        if let Some(before) = self.list.iter_mut().find(|variable| variable.name == name) {
            self.draft
                .note(&before.spot, "is written twice; the later one counts");
            before.value = value;
            before.spot = spot.clone();
            return;
        }
        self.list.push(Variable {
            name: name.to_owned(),
            value,
            spot: spot.clone(),
        });
    }
}

const NOT_OURS: &str = "holds no variable of this tool's";
const HOW_TO_NAME: &str = "name the file with REGISTRIES and the other variables of its container";
const MADE_BY_SHELL: &str = "its value is made by a shell ($ or `)";
const HOW_TO_QUOTE: &str = "write the value itself, in single quotes where a shell reads the file";

/// A shell's word that begins with a quote, and what follows on its line: the value, and the bytes of it all.
fn quoted(text: &str) -> Result<(String, usize), &'static str> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        if let Some(inside) = rest.strip_prefix('\'') {
            let end = inside.find('\'').ok_or(NEVER_CLOSED)?;
            value.push_str(&inside[..end]);
            rest = &inside[end + 1..];
        } else if let Some(inside) = rest.strip_prefix('"') {
            rest = double_quoted(inside, &mut value)?;
        } else {
            break;
        }
    }
    let end = rest.find('\n').map_or(rest.len(), |at| at + 1);
    let behind = rest[..end].trim();
    if !behind.is_empty() && !behind.starts_with('#') {
        return Err("there is text behind its closing quote");
    }
    Ok((value, text.len() - rest.len() + end))
}

const NEVER_CLOSED: &str = "its quote is never closed";

/// What is behind the closing quote.
fn double_quoted<'t>(inside: &'t str, value: &mut String) -> Result<&'t str, &'static str> {
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(&inside[at + 1..]),
            '\\' => match chars.next() {
                Some((_, escaped @ ('"' | '\\' | '$' | '`'))) => value.push(escaped),
                Some((_, '\n')) => {}
                Some((_, other)) => value.extend(['\\', other]),
                None => return Err(NEVER_CLOSED),
            },
            '`' => return Err(MADE_BY_SHELL),
            '$' => {
                let next = inside[at + 1..].chars().next().unwrap_or(' ');
                if next.is_ascii_alphanumeric() || "_({".contains(next) {
                    return Err(MADE_BY_SHELL);
                }
                value.push('$');
            }
            other => value.push(other),
        }
    }
    Err(NEVER_CLOSED)
}

fn looks_like_yaml(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .unwrap_or_default();
    let name = first.split('=').next().unwrap_or_default();
    let name = name.strip_prefix("export ").unwrap_or(name).trim();
    let is_assignment = is_name(name);
    !is_assignment
        && (first == "---" || first.starts_with("- ") || first.ends_with(':') || first.contains(": "))
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Every `environment` (compose) and `env` (Kubernetes) in a document.
fn environments<'y>(node: &'y Yaml, found: &mut Vec<&'y Yaml>) {
    match &node.value {
        Value::Map(entries) => {
            for (name, value) in entries {
                if ["environment", "env"].contains(&name.text.as_str()) {
                    found.push(value);
                } else {
                    environments(value, found);
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| environments(item, found)),
        Value::Null | Value::Text(_) => {}
    }
}

fn names(node: &Yaml) -> Vec<&str> {
    match &node.value {
        Value::Map(entries) => entries.iter().map(|(name, _)| name.text.as_str()).collect(),
        Value::List(items) => items.iter().filter_map(name_of).collect(),
        Value::Null | Value::Text(_) => Vec::new(),
    }
}

fn name_of(item: &Yaml) -> Option<&str> {
    match item.text() {
        Some(text) => text.split('=').next(),
        None => item.get("name").and_then(Yaml::text),
    }
}

#[cfg(test)]
mod tests;
