//! The files that the configuration names: there, readable, and secret where they must be.

use std::{collections::BTreeSet, fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use crate::config::{
    load::{Loaded, reason},
    origin::{Origin, Problem, Problems, Warning, join_key},
    schema::{ProxyList, Registry, Schema},
    setting::nearest,
    values::Pattern,
};

/// Who may read a file.
#[derive(Clone, Copy)]
enum Privacy {
    Public,
    /// Passwords: the owner alone (threat S12).
    Owner,
    /// Private keys and hashed passwords: the group may, as Debian's `ssl-cert` does.
    OwnerAndGroup,
}

/// Checks every file that an enabled part of the configuration names. What is in them is the business of those who use
/// them, but for the names of users: those who are spelt otherwise elsewhere are told as warnings.
pub fn files(loaded: &Loaded) -> Result<Vec<Warning>, Problems> {
    let mut problems = Problems::default();
    let mut check = |key: &str, path: &Path, privacy| {
        if let Err((what, fix)) = check_file(path, privacy) {
            let what = format!("{}: {what}", path.display());
            problems.push(loaded.origins.of(key), key, what, fix);
        }
    };
    let schema = &loaded.schema;
    for files in &schema.tls.certificates {
        check("tls.certificates", &files.cert, Privacy::Public);
        check("tls.certificates", &files.key, Privacy::OwnerAndGroup);
    }
    let access = &schema.access;
    for path in &access.user_files {
        check("access.user_files", path, Privacy::OwnerAndGroup);
    }
    for (key, files) in [
        ("access.allow_address_files", &access.allow_address_files),
        ("access.deny_address_files", &access.deny_address_files),
    ] {
        for path in files {
            check(key, path, Privacy::Public);
        }
    }
    if let Some(path) = &schema.tls.client_ca_file {
        check("tls.client_ca_file", path, Privacy::Public);
    }
    if let Some(path) = &schema.parent.password_file {
        check("parent.password_file", path, Privacy::Owner);
    }
    if let Some(path) = &schema.parent.ca_file {
        check("parent.ca_file", path, Privacy::Public);
    }
    if let Some(path) = &schema.parent.client_cert {
        check("parent.client_cert", path, Privacy::Public);
    }
    if let Some(path) = &schema.parent.client_key {
        check("parent.client_key", path, Privacy::Owner);
    }
    for path in proxy_passwords(schema.network.proxy.as_ref()) {
        check("network.proxy", path, Privacy::Owner);
    }
    for (name, registry) in schema.enabled_registries() {
        let section = join_key("registries", name.as_str());
        of_place(registry, |key| format!("{section}.{key}"), &mut check);
        for (_, mirror) in registry.mirrors() {
            // A proxy that is the registry's has been looked at.
            let own = Registry {
                proxy: mirror.proxy.clone().filter(|_| mirror.proxy != registry.proxy),
                ..mirror
            };
            of_place(&own, |_| format!("{section}.urls"), &mut check);
        }
    }
    problems.into_result()?;
    Ok(strangers(loaded))
}

/// The files of a registry's section, or of one of its mirrors.
fn of_place(registry: &Registry, key: impl Fn(&str) -> String, check: &mut impl FnMut(&str, &Path, Privacy)) {
    if let Some(path) = &registry.ca_file {
        check(&key("ca_file"), path, Privacy::Public);
    }
    if let Some(path) = &registry.password_file {
        check(&key("password_file"), path, Privacy::Owner);
    }
    if let Some(path) = &registry.client_cert {
        check(&key("client_cert"), path, Privacy::Public);
    }
    if let Some(path) = &registry.client_key {
        check(&key("client_key"), path, Privacy::Owner);
    }
    for path in proxy_passwords(registry.proxy.as_ref()) {
        check(&key("proxy"), path, Privacy::Owner);
    }
    if let Some(program) = registry.exec.first().filter(|program| program.contains('/')) {
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

/// `Err` holds what is wrong and what to do.
fn check_file(path: &Path, privacy: Privacy) -> Result<(), (String, Option<String>)> {
    let failed = |error: io::Error| (reason(&error), None);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(("is a folder".to_owned(), Some("name the file in it".to_owned())));
    }
    let (forbidden, chmod) = match privacy {
        Privacy::Public => (0, "644"),
        Privacy::Owner => (0o077, "600"),
        Privacy::OwnerAndGroup => (0o007, "600"),
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & forbidden != 0 {
        return Err((
            format!("other users may read this secret (mode {mode:04o})"),
            Some(format!("run: chmod {chmod} {}", path.display())),
        ));
    }
    fs::File::open(path).map_err(failed)?;
    Ok(())
}
