//! The house rules that a compiler does not check: arrows only point down, files stay small, no room is called `util`.
//!
//! The layers are those drawn in ARCHITECTURE.md. A file names another module by `crate::x`, by `docxy::x` (in `main.rs`) or by
//! `super::` as far as the root; each such name must be of its own or of a lower layer.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines a file may have.
const LONGEST: usize = 600;

/// Names that say nothing about what belongs there.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "helpers", "helper", "misc"];

#[test]
fn the_source_keeps_the_house_rules() {
    // Whoever opens src/ must be able to guess from the names alone where a line belongs, today and in ten issues' time.
    let files = sources(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(
        files.len() > 20,
        "only {} files found: is this the right folder?",
        files.len()
    );
    let complaints: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| complaints(path.to_str().unwrap(), text))
        .collect();
    assert!(
        complaints.is_empty(),
        "{} breach(es):\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

#[test]
fn an_arrow_that_points_up_is_found_however_it_is_written() {
    // A check that cannot fail is worse than none.
    for (path, text) in [
        ("src/oci/name.rs", "use crate::server::Router;"),
        (
            "src/oci.rs",
            "fn f() { crate::telemetry::x() } fn g() -> crate::pull::Pull {}",
        ),
        ("src/oci/name.rs", "use super::super::route::Target;"),
        ("src/cache/store.rs", "use crate::upstream::Upstream;"),
        ("src/upstream/token.rs", "use crate::cache;"),
        ("src/upstream.rs", "use crate::{oci::Digest, pull::Pull};"),
        (
            "src/upstream.rs",
            "use crate::{\n    config::{presets, values::Secret},\n};",
        ),
        ("src/upstream.rs", "use super::access::Permit;"),
        ("src/pull/blob.rs", "use crate::route::{Routes, Target};"),
        ("src/serve.rs", "use crate::route::Target;"),
        ("src/access.rs", "use crate::server::Layers;"),
        ("src/server/v2.rs", "use crate::app::App;"),
        ("src/server/v2.rs", "use crate::config::Schema;"),
        ("src/server/v2.rs", "use crate::config;"),
        ("src/server/v2.rs", "use crate::*;"),
        ("src/app.rs", "use crate::cli::Arguments;"),
        ("src/server.rs", "use crate::{self as all};"),
        ("src/route.rs", "use crate::config::{self, values::Size};"),
        ("src/config/values.rs", "use crate::config::presets::ALL;"),
        ("src/telemetry/names.rs", "use super::super::super::x;"),
        ("src/unheard_of.rs", "use crate::oci::Digest;"),
        ("src/oci.rs", "use crate::unheard_of::X;"),
    ] {
        assert!(
            !complaints(path, text).is_empty(),
            "not noticed in {path}: {text}"
        );
    }
}

#[test]
fn an_arrow_that_points_down_is_no_breach() {
    // A check that complains of the right thing is soon switched off.
    for (path, text) in [
        (
            "src/oci/name.rs",
            "use super::Digest; use super::digest::Hasher; use crate::oci::tag;",
        ),
        (
            "src/upstream.rs",
            "use crate::config::values::{Credential, Secret}; use crate::oci::{Digest, Scope};",
        ),
        (
            "src/upstream/transport/guard.rs",
            "use super::super::Failure; use crate::telemetry::Log;",
        ),
        (
            "src/pull.rs",
            "use crate::{cache::Store, upstream::{Upstream, Failure}, serve};",
        ),
        (
            "src/server/v2.rs",
            "use crate::{access::Permit, route::Routes, pull, oci};",
        ),
        ("src/pull/blob.rs", "use crate::{access::Permit, route::Target};"),
        ("src/app.rs", "use crate::{config::Schema, listen, server, tls};"),
        ("src/cli/serve.rs", "use crate::{app, config};"),
        (
            "src/config/load.rs",
            "use super::{schema::Schema, presets}; use crate::oci::RegistryName;",
        ),
        ("src/main.rs", "docxy::cli::run()"),
        (
            "src/listen.rs",
            "// was: use crate::app::App;\n/// See [`crate::app`].\nlet s = \"crate::app::x\";",
        ),
        ("src/listen.rs", "#[cfg(test)]\nmod tests { use super::*; }"),
        (
            "src/tls/reload.rs",
            "mod tests { mod deeper { use super::super::super::Files; } }",
        ),
    ] {
        assert_eq!(
            complaints(path, text),
            Vec::<String>::new(),
            "wrongly noticed in {path}: {text}"
        );
    }
}

#[test]
fn one_place_says_what_a_mirror_may_hear_of() {
    // Whoever makes the proof that a repository is public tells its name to mirrors (S16): that must stay one decision.
    let files = sources(Path::new(env!("CARGO_MANIFEST_DIR")));
    let makers: Vec<&str> = files
        .iter()
        .filter(|(_, text)| text.contains("Public::proved("))
        .filter_map(|(path, _)| path.to_str())
        .filter(|path| path.starts_with("src/"))
        .collect();
    assert_eq!(makers, ["src/pull/rights/openness.rs"]);
}

#[test]
fn long_files_and_empty_names_are_found() {
    // Both rules have been broken in every project of this kind that grew.
    assert_eq!(
        complaints("src/oci/name.rs", &"\n".repeat(LONGEST)),
        Vec::<String>::new()
    );
    assert_eq!(complaints("src/oci/name.rs", &"\n".repeat(LONGEST + 1)).len(), 1);
    for path in [
        "src/util.rs",
        "src/server/common/x.rs",
        "src/oci/helpers.rs",
        "src/pull/misc.rs",
    ] {
        assert!(
            complaints(path, "")
                .iter()
                .any(|line| line.contains("says nothing")),
            "not noticed: {path}"
        );
    }
    assert!(!complaints("src/oci.rs", "mod util { fn f() {} }").is_empty());
}

/// Everything that is wrong with one file; `path` from the package's root.
fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push(format!(
            "{path}: {lines} lines, at most {LONGEST}: split it by idea"
        ));
    }
    let code = code_only(text);
    let inside: Vec<&str> = path
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .split('/')
        .collect();
    let declared = words_after(&code, "mod ");
    for name in inside.iter().copied().chain(declared.iter().map(String::as_str)) {
        if EMPTY_NAMES.contains(&name) {
            found.push(format!("{path}: `{name}` says nothing about what belongs there"));
        }
    }
    if path == "src/lib.rs" {
        return found;
    }
    let own = Room::of(&inside);
    for target in mentions(&code, &inside) {
        if let Err(reason) = own.may_name(&target) {
            found.push(format!("{path}: names `{}`: {reason}", target.join("::")));
        }
    }
    found
}

/// A module of the first level, and where it stands.
struct Room<'a> {
    name: &'a str,
    layer: Option<u8>,
}

impl<'a> Room<'a> {
    fn of(path: &[&'a str]) -> Self {
        let name = match path {
            ["config", "values", ..] => "config::values",
            [first, ..] => first,
            [] => "",
        };
        let layer = match name {
            "oci" | "config::values" | "telemetry" => Some(0),
            "upstream" | "cache" => Some(1),
            "serve" => Some(2),
            "pull" | "push" => Some(3),
            "route" | "access" => Some(4),
            "admin" | "ui" | "server" | "listen" | "tls" | "intercept" => Some(5),
            "config" => Some(6),
            "app" => Some(7),
            "cli" => Some(8),
            "main" => Some(9),
            _ => None,
        };
        Self { name, layer }
    }

    fn may_name(&self, target: &[String]) -> Result<(), String> {
        let target: Vec<&str> = target.iter().map(String::as_str).collect();
        let other = Room::of(&target);
        if self.name == other.name {
            return Ok(());
        }
        let Some(own) = self.layer else {
            return Err(format!(
                "`{}` has no layer; give it one in tests/it/architecture.rs",
                self.name
            ));
        };
        let Some(layer) = other.layer else {
            return Err(format!(
                "`{}` has no layer; give it one in tests/it/architecture.rs",
                other.name
            ));
        };
        match (self.name, other.name) {
            // The two words that travel down with a request: what it means, and the proof that it may be asked.
            ("pull" | "push", _) if matches!(target[..], ["access", "Permit"] | ["route", "Target"]) => {
                Ok(())
            }
            // What a person writes is read by the composition root alone; every other room has a Config of its own.
            (_, "config") if own < 7 => Err("only app and cli read the configuration".into()),
            ("config", _) if layer > 0 => Err("the configuration knows the ground only".into()),
            ("upstream", "cache") | ("cache", "upstream") => Err("the ends do not know each other".into()),
            _ if layer > own => Err(format!("an arrow that points up, from `{}`", self.name)),
            _ => Ok(()),
        }
    }
}

/// Every path from the crate's root that the code names, as far as two components.
fn mentions(code: &str, inside: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let root = if inside == ["main"] { "docxy" } else { "crate" };
    for at in word_starts(code, root) {
        expand(&code[at + root.len()..], &[], &mut found);
    }
    for at in word_starts(code, "super") {
        // `super::super::` is handled at its first `super`.
        if code[..at].trim_end().ends_with("super::") {
            continue;
        }
        let mut rest = &code[at..];
        let mut ups = 0;
        while let Some(tail) = rest.strip_prefix("super") {
            ups += 1;
            let Some(next) = tail.strip_prefix("::") else {
                break;
            };
            rest = next;
            if !rest.starts_with("super") {
                let depth = inside.len() + open_modules(&code[..at]);
                if let Some(left) = depth.checked_sub(ups) {
                    let base: Vec<String> = inside.iter().take(left).map(|&part| part.to_owned()).collect();
                    expand(&format!("::{rest}"), &base, &mut found);
                } else {
                    found.push(vec!["beyond the root".into()]);
                }
            }
        }
    }
    found
}

/// Reads `::a::b`, `::{a::b, c::{d, e}}` or `::*` behind `base`, and notes the paths.
fn expand(text: &str, base: &[String], found: &mut Vec<Vec<String>>) {
    let Some(rest) = text.strip_prefix("::").map(str::trim_start) else {
        note(base, found);
        return;
    };
    if let Some(group) = rest.strip_prefix('{') {
        for item in items(group) {
            let item = item.trim();
            if item == "self" || item.starts_with("self ") {
                note(base, found);
            } else if !item.is_empty() {
                expand(&format!("::{item}"), base, found);
            }
        }
        return;
    }
    let end = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let (name, tail) = rest.split_at(end);
    let name = if name.is_empty() { "*" } else { name };
    let path: Vec<String> = base.iter().cloned().chain([name.to_owned()]).collect();
    if tail.starts_with("::") {
        expand(tail, &path, found);
    } else {
        note(&path, found);
    }
}

/// A path of the crate's root itself (`crate::*`, `use crate::{self}`) names every room.
fn note(path: &[String], found: &mut Vec<Vec<String>>) {
    if path.is_empty() {
        found.push(vec!["*".into()]);
    } else {
        found.push(path.iter().take(2).cloned().collect());
    }
}

/// The items of a group, as far as its closing brace.
fn items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[start..at]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

/// How many inline modules are open at the end of this code.
fn open_modules(code: &str) -> usize {
    let mut open: Vec<bool> = Vec::new();
    let mut since = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => {
                let head = code[since..at].trim();
                let words: Vec<&str> = head.split_whitespace().collect();
                open.push(words.len() >= 2 && words[words.len() - 2] == "mod");
                since = at + 1;
            }
            '}' => {
                open.pop();
                since = at + 1;
            }
            ';' => since = at + 1,
            _ => {}
        }
    }
    open.into_iter().filter(|module| *module).count()
}

/// Where `word` stands as a word of its own, followed by a path.
fn word_starts(code: &str, word: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .filter(|(at, _)| !code[..*at].ends_with(part) && code[at + word.len()..].starts_with("::"))
        .map(|(at, _)| at)
        .collect()
}

fn words_after(code: &str, before: &str) -> Vec<String> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(before)
        .filter(|(at, _)| !code[..*at].ends_with(part))
        .map(|(at, _)| {
            code[at + before.len()..]
                .chars()
                .take_while(|&c| part(c))
                .collect()
        })
        .collect()
}

/// The text without comments and the insides of string literals, which may name whom they like.
fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if c == '"' {
            string_end(rest)
        } else if let Some(inside) = rest.strip_prefix("r#\"") {
            inside.find("\"#").map_or(rest.len(), |at| at + 5)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[skipped..];
    }
    code
}

/// The length of the string literal that `text` starts with.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Every Rust file below src/, with its path from the package's root.
fn sources(package: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![package.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(package).unwrap().to_owned(), text));
            }
        }
    }
    files
}
