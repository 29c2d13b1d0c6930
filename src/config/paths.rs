//! Where state and cache live when no key says so. Asked when serving begins: `check-config` touches nothing.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::schema::Schema;

/// No folder can be found: there is neither a service manager nor a home.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "{system} is not writable, and neither {service}, {xdg} nor HOME is set: write {key} = \"/some/folder\""
)]
pub struct NoFolder {
    key: &'static str,
    service: &'static str,
    system: &'static str,
    xdg: &'static str,
}

/// The two questions about this machine, so that a test can answer them.
pub struct Machine<'a> {
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// May this folder be made and written to?
    pub writable: &'a dyn Fn(&Path) -> bool,
}

impl Machine<'static> {
    /// This process's environment and disk.
    pub fn this() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok(),
            writable: &|folder| probe(folder).is_ok(),
        }
    }
}

/// `state_path`, else `$STATE_DIRECTORY` (systemd), else /var/lib/docxy if that is writable, else
/// `$XDG_STATE_HOME/docxy` or `~/.local/state/docxy`.
pub fn state(schema: &Schema, machine: &Machine<'_>) -> Result<PathBuf, NoFolder> {
    let places = Places {
        names: NoFolder {
            key: "state_path",
            service: "STATE_DIRECTORY",
            system: "/var/lib/docxy",
            xdg: "XDG_STATE_HOME",
        },
        home: ".local/state",
    };
    places.choose(schema.state_path.as_deref(), machine)
}

/// `cache.path`, else `$CACHE_DIRECTORY` (systemd), else /var/cache/docxy if that is writable, else
/// `$XDG_CACHE_HOME/docxy` or `~/.cache/docxy`.
pub fn cache(schema: &Schema, machine: &Machine<'_>) -> Result<PathBuf, NoFolder> {
    let places = Places {
        names: NoFolder {
            key: "cache.path",
            service: "CACHE_DIRECTORY",
            system: "/var/cache/docxy",
            xdg: "XDG_CACHE_HOME",
        },
        home: ".cache",
    };
    places.choose(schema.cache.path.as_deref(), machine)
}

struct Places {
    names: NoFolder,
    home: &'static str,
}

impl Places {
    fn choose(&self, configured: Option<&Path>, machine: &Machine<'_>) -> Result<PathBuf, NoFolder> {
        if let Some(path) = configured {
            return Ok(path.to_path_buf());
        }
        let variable = |name| (machine.variable)(name).filter(|value| !value.is_empty());
        if let Some(folders) = variable(self.names.service) {
            // systemd puts several folders there with colons between them.
            let first = folders.split(':').next().unwrap_or(&folders);
            return Ok(PathBuf::from(first));
        }
        let system = Path::new(self.names.system);
        if (machine.writable)(system) {
            return Ok(system.to_path_buf());
        }
        // The XDG specification has relative paths ignored.
        if let Some(base) = variable(self.names.xdg).filter(|base| Path::new(base).is_absolute()) {
            return Ok(Path::new(&base).join("docxy"));
        }
        match variable("HOME") {
            Some(home) => Ok(Path::new(&home).join(self.home).join("docxy")),
            None => Err(self.names),
        }
    }
}

/// Permission bits lie (read-only mounts, capabilities): only writing tells.
fn probe(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let file = folder.join(format!(".probe-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&file)?;
    fs::remove_file(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(
        configured: Option<&str>,
        variables: &[(&str, &str)],
        writable: bool,
    ) -> Result<PathBuf, NoFolder> {
        let schema = Schema {
            state_path: configured.map(PathBuf::from),
            ..Schema::default()
        };
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        };
        state(
            &schema,
            &Machine {
                variable: &variable,
                writable: &|_| writable,
            },
        )
    }

    #[test]
    fn the_nearest_word_wins() {
        // Keys and tokens must be found again after a restart: the order may never change.
        let all = [
            ("STATE_DIRECTORY", "/run/a:/run/b"),
            ("XDG_STATE_HOME", "/x"),
            ("HOME", "/home/u"),
        ];
        assert_eq!(chosen(Some("/own"), &all, true), Ok("/own".into()));
        assert_eq!(chosen(None, &all, true), Ok("/run/a".into()));
        assert_eq!(chosen(None, &all[1..], true), Ok("/var/lib/docxy".into()));
        assert_eq!(chosen(None, &all[1..], false), Ok("/x/docxy".into()));
        assert_eq!(
            chosen(None, &all[2..], false),
            Ok("/home/u/.local/state/docxy".into())
        );
        assert_eq!(
            chosen(None, &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")], false),
            Ok("/h/.local/state/docxy".into())
        );
    }

    #[test]
    fn without_any_folder_the_key_is_named() {
        // A container with a random user and no home gets told which key to write.
        assert_eq!(
            chosen(None, &[], false).map_err(|error| error.to_string()),
            Err(
                "/var/lib/docxy is not writable, and neither STATE_DIRECTORY, XDG_STATE_HOME nor HOME is set: \
                 write state_path = \"/some/folder\""
                    .to_owned()
            )
        );
    }

    #[test]
    fn a_folder_is_writable_when_it_can_be_written() {
        // Serving must not begin with a state folder that the first write refuses.
        let folder = tempfile::tempdir().unwrap();
        assert!((Machine::this().writable)(&folder.path().join("a/b")));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(!(Machine::this().writable)(&folder.path().join("file")));
    }
}
