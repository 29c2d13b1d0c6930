//! The files that the configuration names: there, readable, and secret where they must be.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use crate::config::{
    load::{Loaded, reason},
    origin::{Problems, join_key},
    schema::ProxyEntry,
};

/// Who may read a file.
#[derive(Clone, Copy)]
enum Privacy {
    Public,
    /// Passwords: the owner alone (threat S12).
    Owner,
    /// Private keys: the group may, as Debian's `ssl-cert` does.
    OwnerAndGroup,
}

/// Checks every file that an enabled part of the configuration names. What is in them is the business of those who use
/// them.
pub fn files(loaded: &Loaded) -> Result<(), Problems> {
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
    if let Some(path) = proxy_password(schema.network.proxy.as_ref()) {
        check("network.proxy", path, Privacy::Owner);
    }
    for (name, registry) in schema.enabled_registries() {
        let section = join_key("registries", name.as_str());
        if let Some(path) = &registry.ca_file {
            check(&format!("{section}.ca_file"), path, Privacy::Public);
        }
        if let Some(path) = &registry.password_file {
            check(&format!("{section}.password_file"), path, Privacy::Owner);
        }
        if let Some(path) = proxy_password(registry.proxy.as_ref()) {
            check(&format!("{section}.proxy"), path, Privacy::Owner);
        }
        if let Some(program) = registry.exec.first().filter(|program| program.contains('/')) {
            check(&format!("{section}.exec"), Path::new(program), Privacy::Public);
        }
    }
    problems.into_result()
}

fn proxy_password(proxy: Option<&ProxyEntry>) -> Option<&Path> {
    match proxy {
        Some(ProxyEntry::Through(proxy)) => proxy.password_file.as_deref(),
        _ => None,
    }
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
