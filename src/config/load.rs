//! From file, environment and flags to one checked [`Schema`].
//!
//! Layers, each over the one before: presets, Docxy's old environment names, those of a tool whose place docxy takes, the file, the environment, flags. Files
//! that keys name (certificates, passwords) are not opened here: see [`super::validate::files`].

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;

use super::{
    auth_registries, compat, docxy_names,
    environment::{self, Environment},
    origin::{Origin, Origins, Problems, SourceFile, Warning, join_key},
    parent, presets,
    read::read,
    schema::{PasswordVariable, Schema, UrlEntry},
    tree::{Node, Table, Value, insert, overlay, parse_document, parse_key, parse_value},
    validate,
    values::Secret,
};

/// Read when neither `--config` nor `DOCXY_CONFIG` names another; it may be missing.
pub const DEFAULT_FILE: &str = "/etc/docxy/docxy.toml";

/// Everything a configuration is made from. Explicit, so that a test needs no global environment. Not `Debug`: it holds
/// every secret of the environment.
#[derive(Clone)]
pub struct Sources {
    /// `--config`; wins over `DOCXY_CONFIG`.
    pub config: Option<PathBuf>,
    /// Read when nothing names a file; no error when it is missing.
    pub default_file: Option<PathBuf>,
    pub environment: Environment,
    pub flags: Flags,
}

/// The flags that set keys, in the words they were given.
#[derive(Clone, Default)]
pub struct Flags {
    pub listen: Vec<String>,
    pub public_url: Option<String>,
    pub log_level: Option<String>,
    /// `KEY=VALUE`
    pub set: Vec<String>,
}

impl Sources {
    /// With this process's environment.
    pub fn of_process(config: Option<PathBuf>, flags: Flags) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self {
            config,
            default_file: Some(PathBuf::from(DEFAULT_FILE)),
            environment: std::env::vars_os()
                .map(|(name, value)| (lossy(name), lossy(value)))
                .collect(),
            flags,
        }
    }
}

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub schema: Schema,
    pub origins: Origins,
    pub warnings: Vec<Warning>,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// What was in it.
    pub contents: Option<Contents>,
}

/// Tells whether a file is another now, without keeping its secrets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contents([u8; 32]);

impl Contents {
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(hash)
    }
}

/// Reads and checks everything; on failure all mistakes at once.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let file = find_file(sources, &mut problems);
    problems.into_result()?;
    match file {
        Some((path, text)) => assemble(Some((&path, &text)), sources),
        None => assemble(None, sources),
    }
}

/// Like [`load`], with this text in the place of the file: for documentation and tests.
pub fn load_text(name: &Path, text: &str, sources: &Sources) -> Result<Loaded, Problems> {
    assemble(Some((name, text)), sources)
}

fn assemble(file: Option<(&Path, &str)>, sources: &Sources) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    let mut warnings = Vec::new();

    let mut file_tree =
        file.and_then(|(path, text)| parse_document(text, &SourceFile::new(path), &mut problems));
    // Without the file's keys everything after this would report mistakes that are none.
    std::mem::take(&mut problems).into_result()?;
    if let Some(tree) = &mut file_tree {
        fold_registry_names(tree, &mut problems);
    }

    let mut tree = presets::layer();
    overlay(
        &mut tree,
        docxy_names::layer(&sources.environment, &mut problems, &mut warnings),
    );
    let predecessor = compat::predecessor(&sources.environment, &mut problems, &mut warnings);
    if let Some(predecessor) = &predecessor {
        overlay(&mut tree, predecessor.layer.clone());
    }
    overlay(&mut tree, file_tree.unwrap_or_default());
    let known = registry_names(&tree);
    overlay(
        &mut tree,
        environment::layer(&sources.environment, &known, &mut problems),
    );
    overlay(&mut tree, flag_layer(&sources.flags, &mut problems));

    let (mut schema, mut origins) = read(tree, &mut problems);
    schema.network.environment_proxies = environment::proxies(&sources.environment, &mut problems);
    complete(&mut schema, &sources.environment);
    let environment = &sources.environment;
    auth_registries::apply(
        &mut schema,
        &mut origins,
        environment,
        &mut problems,
        &mut warnings,
    );
    schema.compat = predecessor.map(|it| it.describe(&schema, &origins));
    parent::adopt(&mut schema, &mut origins, &mut problems);

    let found = validate::meaning(&schema, &origins, &sources.environment);
    problems.add_consequences(found.problems);
    warnings.extend(found.warnings);
    problems.into_result()?;
    Ok(Loaded {
        schema,
        origins,
        warnings,
        file: file.map(|(path, _)| path.to_path_buf()),
        contents: file.map(|(_, text)| Contents::of(text.as_bytes())),
    })
}

/// Names of registries are folded to lower case in every layer, so that the layers meet.
fn fold_registry_names(tree: &mut Table, problems: &mut Problems) {
    let Some(Value::Table(registries)) = tree.get_mut("registries").map(|entry| &mut entry.node.value) else {
        return;
    };
    for (name, entry) in std::mem::take(registries) {
        let origin = entry.key_origin.clone();
        let folded = name.to_ascii_lowercase();
        let key = join_key("registries", &name);
        if registries.insert(folded, entry).is_some() {
            let fix = "names of registries have no upper case: keep one of the two".to_owned();
            problems.push(&origin, &key, "this registry is written twice", fix);
        }
    }
}

fn find_file(sources: &Sources, problems: &mut Problems) -> Option<(PathBuf, String)> {
    let named = sources
        .environment
        .get("DOCXY_CONFIG")
        .filter(|path| !path.is_empty());
    let (path, origin) = match (&sources.config, named, &sources.default_file) {
        (Some(path), _, _) => (path.clone(), Origin::Flag("--config".to_owned())),
        (None, Some(path), _) => (
            PathBuf::from(path),
            Origin::Environment("DOCXY_CONFIG".to_owned()),
        ),
        (None, None, Some(path)) => (path.clone(), Origin::Default),
        (None, None, None) => return None,
    };
    match fs::read_to_string(&path) {
        Ok(text) => Some((path, text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && origin == Origin::Default => None,
        Err(error) => {
            problems.push(
                &origin,
                "",
                format!("{}: {}", path.display(), reason(&error)),
                None,
            );
            None
        }
    }
}

/// The error without the number that the system adds.
pub(super) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
        io::ErrorKind::IsADirectory => "is a folder; name the file in it".to_owned(),
        io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    }
}

fn registry_names(tree: &Table) -> Vec<String> {
    match tree.get("registries").map(|entry| &entry.node.value) {
        Some(Value::Table(registries)) => registries.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

fn flag_layer(flags: &Flags, problems: &mut Problems) -> Table {
    let mut tree = Table::new();
    for assignment in &flags.set {
        set_flag(assignment, &mut tree, problems);
    }
    let mut put = |key: &[&str], flag: &str, value: Value| {
        let path: Vec<String> = key.iter().map(|&part| part.to_owned()).collect();
        let origin = Origin::Flag(flag.to_owned());
        let node = Node { value, origin };
        if insert(&mut tree, &path, node).is_err() {
            problems.push(
                &Origin::Flag(flag.to_owned()),
                &key.join("."),
                "is set as a whole by --set",
                "keep one of the two".to_owned(),
            );
        }
    };
    if !flags.listen.is_empty() {
        let origin = Origin::Flag("--listen".to_owned());
        let items = flags.listen.iter().map(|text| raw(text.clone(), origin.clone()));
        put(&["listen"], "--listen", Value::Array(items.collect()));
    }
    if let Some(url) = &flags.public_url {
        put(&["public_url"], "--public-url", Value::Raw(url.clone()));
    }
    if let Some(level) = &flags.log_level {
        put(&["log", "level"], "--log-level", Value::Raw(level.clone()));
    }
    tree
}

/// `KEY=VALUE`: a dotted TOML key; a TOML value, or the bare text where it is none.
fn set_flag(assignment: &str, tree: &mut Table, problems: &mut Problems) {
    let parsed = assignment
        .match_indices('=')
        .find_map(|(at, _)| Some((parse_key(&assignment[..at])?, assignment[at + 1..].trim())));
    let Some((path, text)) = parsed else {
        let fix = "write --set KEY=VALUE, as in --set 'cache.mode=\"off\"'".to_owned();
        problems.push(&Origin::Flag("--set".to_owned()), "", "names no key", fix);
        return;
    };
    let path = lower_registry(path);
    let key = path.iter().fold(String::new(), |key, part| join_key(&key, part));
    let origin = Origin::Flag(format!("--set {key}"));
    let node = parse_value(text, &origin).unwrap_or_else(|_| raw(text.to_owned(), origin.clone()));
    if let Err(component) = insert(tree, &path, node) {
        let what = format!("`{component}` is set as a whole by another --set");
        problems.push(&origin, "", what, "keep one of the two".to_owned());
    }
}

fn lower_registry(mut path: Vec<String>) -> Vec<String> {
    if path.len() > 1 && path[0] == "registries" {
        path[1] = path[1].to_ascii_lowercase();
    }
    path
}

fn raw(text: String, origin: Origin) -> Node {
    Node {
        value: Value::Raw(text),
        origin,
    }
}

/// What follows from other values: addresses of registries that named none, host names in lower case, passwords from
/// the environment.
fn complete(schema: &mut Schema, environment: &Environment) {
    for (name, registry) in &mut schema.registries {
        if registry.urls.is_empty() {
            let url = url::Url::parse(&format!("https://{name}"));
            registry.urls.extend(url.map(UrlEntry::from));
        }
        for host in registry.hosts.iter_mut().chain(&mut registry.realms) {
            host.make_ascii_lowercase();
        }
        password_of(&mut registry.password_env, environment);
        for entry in &mut registry.credentials {
            password_of(&mut entry.password_env, environment);
        }
        for keys in registry.urls.iter_mut().filter_map(|entry| entry.mirror.as_mut()) {
            keys.realms
                .iter_mut()
                .for_each(|host| host.make_ascii_lowercase());
            password_of(&mut keys.password_env, environment);
        }
    }
    for host in &mut schema.allowed_hosts {
        host.make_ascii_lowercase();
    }
}

fn password_of(variable: &mut Option<PasswordVariable>, environment: &Environment) {
    if let Some(variable) = variable {
        let value = environment.get(&variable.name).filter(|value| !value.is_empty());
        variable.value = value.cloned().map(Secret::new);
    }
}
