//! The files that the configuration names: there, readable, and secret where they must be.

use std::{collections::BTreeSet, fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use crate::config::{
    load::{Loaded, reason},
    origin::{Origin, Problem, Problems, Warning, join_key},
    schema::{CredentialEntry, ProxyList, Registry, Schema},
    setting::nearest,
    values::{Pattern, is_private},
};

/// Who may read a file.
#[derive(Clone, Copy)]
enum Privacy {
    Public,
    /// Passwords: see [`is_private`].
    Private,
    /// docker's configuration: passwords may be in it, or only names of helpers.
    PrivateIfSecret,
    /// Private keys and hashed passwords: the group may, as Debian's `ssl-cert` does.
    OwnerAndGroup,
}

/// Checks every file that an enabled part of the configuration names. What is in them is the business of those who use
/// them, but for the names of users: those who are spelt otherwise elsewhere are told as warnings.
pub fn files(loaded: &Loaded) -> Result<Vec<Warning>, Problems> {
    let mut problems = Problems::default();
    let mut check = |place: &Place, path: &Path, privacy| {
        if let Err((what, fix)) = check_file(path, privacy) {
            let what = format!("{}: {what}", path.display());
            let origin = match place.index {
                Some(index) => loaded.origins.of_item(&place.key, index),
                None => loaded.origins.of(&place.key),
            };
            problems.push(origin, &place.key, what, fix);
        }
    };
    let schema = &loaded.schema;
    for files in &schema.tls.certificates {
        check(&Place::of("tls.certificates"), &files.cert, Privacy::Public);
        check(&Place::of("tls.certificates"), &files.key, Privacy::OwnerAndGroup);
    }
    let access = &schema.access;
    for path in &access.user_files {
        check(&Place::of("access.user_files"), path, Privacy::OwnerAndGroup);
    }
    for (key, files) in [
        ("access.allow_address_files", &access.allow_address_files),
        ("access.deny_address_files", &access.deny_address_files),
    ] {
        for path in files {
            check(&Place::of(key), path, Privacy::Public);
        }
    }
    if let Some(path) = &schema.tls.client_ca_file {
        check(&Place::of("tls.client_ca_file"), path, Privacy::Public);
    }
    let acme = &schema.tls.acme;
    if let Some(path) = &acme.ca_file {
        check(&Place::of("tls.acme.ca_file"), path, Privacy::Public);
    }
    if let Some(path) = &acme.eab_hmac_key_file {
        check(&Place::of("tls.acme.eab_hmac_key_file"), path, Privacy::Private);
    }
    if let Some(path) = &schema.parent.password_file {
        check(&Place::of("parent.password_file"), path, Privacy::Private);
    }
    if let Some(path) = &schema.parent.ca_file {
        check(&Place::of("parent.ca_file"), path, Privacy::Public);
    }
    if let Some(path) = &schema.parent.client_cert {
        check(&Place::of("parent.client_cert"), path, Privacy::Public);
    }
    if let Some(path) = &schema.parent.client_key {
        check(&Place::of("parent.client_key"), path, Privacy::Private);
    }
    let intercept = &schema.intercept;
    if let Some(path) = intercept.ca_cert.as_ref().filter(|_| intercept.enabled) {
        check(&Place::of("intercept.ca_cert"), path, Privacy::Public);
    }
    if let Some(path) = intercept.ca_key.as_ref().filter(|_| intercept.enabled) {
        check(&Place::of("intercept.ca_key"), path, Privacy::Private);
    }
    for path in proxy_passwords(schema.network.proxy.as_ref()) {
        check(&Place::of("network.proxy"), path, Privacy::Private);
    }
    for (name, registry) in schema.enabled_registries() {
        let section = join_key("registries", name.as_str());
        of_place(registry, |key| Place::of(&format!("{section}.{key}")), &mut check);
        for (index, entry) in registry.credentials.iter().enumerate() {
            let place = |_: &str| Place::of_item(&format!("{section}.credentials"), index);
            of_account(entry, place, &mut check);
        }
        for (index, mirror) in registry.mirrors() {
            // A proxy that is the registry's has been looked at.
            let own = Registry {
                proxy: mirror.proxy.clone().filter(|_| mirror.proxy != registry.proxy),
                ..mirror
            };
            of_place(
                &own,
                |_| Place::of_item(&format!("{section}.urls"), index),
                &mut check,
            );
        }
    }
    problems.into_result()?;
    Ok(strangers(loaded))
}

/// Where a file is named.
struct Place {
    key: String,
    /// In a list, counted from 0.
    index: Option<usize>,
}

impl Place {
    fn of(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            index: None,
        }
    }

    fn of_item(key: &str, index: usize) -> Self {
        Self {
            key: key.to_owned(),
            index: Some(index),
        }
    }
}

/// The files of a registry's section, or of one of its mirrors.
fn of_place(
    registry: &Registry,
    key: impl Fn(&str) -> Place,
    check: &mut impl FnMut(&Place, &Path, Privacy),
) {
    if let Some(path) = &registry.ca_file {
        check(&key("ca_file"), path, Privacy::Public);
    }
    if let Some(path) = &registry.client_cert {
        check(&key("client_cert"), path, Privacy::Public);
    }
    if let Some(path) = &registry.client_key {
        check(&key("client_key"), path, Privacy::Private);
    }
    for path in proxy_passwords(registry.proxy.as_ref()) {
        check(&key("proxy"), path, Privacy::Private);
    }
    of_account(&registry.own_entry(), key, check);
}

fn of_account(
    entry: &CredentialEntry,
    key: impl Fn(&str) -> Place,
    check: &mut impl FnMut(&Place, &Path, Privacy),
) {
    if let Some(path) = &entry.password_file {
        check(&key("password_file"), path, Privacy::Private);
    }
    if let Some(path) = &entry.docker_config {
        check(&key("docker_config"), path, Privacy::PrivateIfSecret);
    }
    if let Some(program) = entry.exec.first().filter(|program| program.contains('/')) {
        check(&key("exec"), Path::new(program), Privacy::Public);
    }
}

/// Members of groups, and users of rules, who are in no file of users: a slip there locks somebody out, or lets somebody
/// in. What names a token (`token:NAME`) is not looked for.
fn strangers(loaded: &Loaded) -> Vec<Warning> {
    let access = &loaded.schema.access;
    if access.user_files.is_empty() {
        return Vec::new();
    }
    let known = user_names(&loaded.schema);
    let is_stranger = |name: &str| !name.starts_with("token:") && !known.contains(name);
    let warning = |origin: &Origin, key: &str, what: String, name: &str| {
        let fix = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => "add the user with `htpasswd -B`, or correct the name".to_owned(),
        };
        Warning(Problem {
            origin: origin.clone(),
            key: key.to_owned(),
            what,
            fix: Some(fix),
        })
    };
    let mut warnings = Vec::new();
    for (group, members) in &access.groups {
        for name in members.iter().filter(|name| is_stranger(name)) {
            let what = format!("{name:?} of the group {group:?} is in no file of users");
            let origin = loaded.origins.of("access.groups");
            warnings.push(warning(origin, "access.groups", what, name));
        }
    }
    for (index, rule) in access.rules.iter().enumerate() {
        for name in rule
            .users
            .iter()
            .filter_map(Pattern::literal)
            .filter(|name| is_stranger(name))
        {
            let what = format!("rule {}: the user {name:?} is in no file of users", index + 1);
            let origin = loaded.origins.of_item("access.rules", index);
            warnings.push(warning(origin, "access.rules", what, name));
        }
    }
    warnings
}

/// Everybody in the files of users, as far as they can be read.
pub fn user_names(schema: &Schema) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for path in &schema.access.user_files {
        let Ok(text) = fs::read(path) else { continue };
        names.extend(
            String::from_utf8_lossy(&text)
                .lines()
                .filter_map(user_of)
                .map(str::to_owned),
        );
    }
    names
}

/// The name in a line of an htpasswd file.
fn user_of(line: &str) -> Option<&str> {
    let line = line.trim_start_matches('\u{feff}');
    let (name, _) = line.split_once(':')?;
    (!name.starts_with('#')).then_some(name)
}

fn proxy_passwords(list: Option<&ProxyList>) -> impl Iterator<Item = &Path> {
    let proxies = list.into_iter().flat_map(ProxyList::proxies);
    proxies.filter_map(|proxy| proxy.password_file.as_deref())
}

/// Has docker written a password or a token into its configuration? What can't be read holds none.
fn holds_secret(path: &Path) -> bool {
    const SECRETS: [&str; 4] = ["auth", "password", "identitytoken", "registrytoken"];
    let read = fs::read(path).ok();
    let json: Option<serde_json::Value> = read.and_then(|text| serde_json::from_slice(&text).ok());
    let auths = json.as_ref().and_then(|json| json["auths"].as_object());
    auths.is_some_and(|auths| {
        auths.values().any(|entry| {
            SECRETS
                .iter()
                .any(|field| entry[field].as_str().is_some_and(|text| !text.is_empty()))
        })
    })
}

/// `Err` holds what is wrong and what to do.
fn check_file(path: &Path, privacy: Privacy) -> Result<(), (String, Option<String>)> {
    let failed = |error: io::Error| (reason(&error), None);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(("is a folder".to_owned(), Some("name the file in it".to_owned())));
    }
    let mode = metadata.permissions().mode() & 0o777;
    let exposed = match privacy {
        Privacy::Public => None,
        Privacy::PrivateIfSecret if !holds_secret(path) => None,
        Privacy::Private | Privacy::PrivateIfSecret => {
            is_private(&metadata).err().map(|exposed| exposed.to_string())
        }
        Privacy::OwnerAndGroup => {
            (mode & 0o007 != 0).then(|| format!("other users may read this secret (mode {mode:04o})"))
        }
    };
    if let Some(what) = exposed {
        return Err((what, Some(format!("run: chmod 600 {}", path.display()))));
    }
    fs::File::open(path).map_err(failed)?;
    Ok(())
}
