//! Where state and cache live when no key says so. Asked when serving begins: `check-config` touches nothing.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Component, Path, PathBuf},
};

use rustix::fs::{Access, access};

use super::schema::{CacheMode, Schema};

/// Why the cache has no folder.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CacheFolderError {
    #[error(transparent)]
    None(#[from] NoFolder),
    /// Found out at start, because the defaults depend on what may be written to.
    #[error(
        "the cache's folder {} and the state's folder {} lie within each other, and emptying the cache must never take keys and tokens along: write cache.path or state_path",
        cache.display(),
        state.display()
    )]
    Overlap { cache: PathBuf, state: PathBuf },
    #[error(
        "neither XDG_RUNTIME_DIR nor /dev/shm can be written to, so there is no place for mode = \"memory\": mount a tmpfs there, or write mode = \"disk\" or \"off\" under [cache]"
    )]
    NoMemory,
}

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
    /// Who runs this process.
    pub user: u32,
}

impl Machine<'static> {
    /// This process's environment and disk.
    pub fn this() -> Self {
        Self {
            variable: &|name| std::env::var(name).ok(),
            writable: &|folder| probe(folder).is_ok(),
            user: rustix::process::getuid().as_raw(),
        }
    }

    /// The same without making anything: for commands that find what [`Self::this`] chose, or will choose.
    pub fn onlooker() -> Self {
        Self {
            writable: &|folder| may_be_made(folder),
            ..Self::this()
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
/// `$XDG_CACHE_HOME/docxy` or `~/.cache/docxy`. Never within the state's folder, nor that within it.
///
/// With `mode = "memory"` it is [`memory`].
pub fn cache(schema: &Schema, machine: &Machine<'_>) -> Result<PathBuf, CacheFolderError> {
    if schema.cache.mode == CacheMode::Memory {
        return memory(machine);
    }
    let cache = disk_cache(schema, machine)?;
    if let Ok(state) = state(schema, machine)
        && overlap(&state, &cache).is_some()
    {
        return Err(CacheFolderError::Overlap { cache, state });
    }
    Ok(cache)
}

/// The cache's folder as it would be on disk, wherever the state's is.
pub(super) fn disk_cache(schema: &Schema, machine: &Machine<'_>) -> Result<PathBuf, NoFolder> {
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

/// For a cache that goes with the process: `$XDG_RUNTIME_DIR/docxy-cache`, else `/dev/shm/docxy-cache-USER`, the first
/// that can be written to. Both are tmpfs on every usual system.
///
/// `/dev/shm` is everybody's: whoever opens the folder must make it with mode 0700, and refuse one that is another user's
/// or no folder.
fn memory(machine: &Machine<'_>) -> Result<PathBuf, CacheFolderError> {
    let runtime = (machine.variable)("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|base| base.is_absolute() && (machine.writable)(base));
    if let Some(base) = runtime {
        return Ok(base.join("docxy-cache"));
    }
    let shared = Path::new("/dev/shm");
    if (machine.writable)(shared) {
        return Ok(shared.join(format!("docxy-cache-{}", machine.user)));
    }
    Err(CacheFolderError::NoMemory)
}

/// How two folders lie that must not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overlap {
    /// Or they are the same.
    StateInCache,
    CacheInState,
}

/// Without looking at the disk; a link may still lead elsewhere.
pub(super) fn overlap(state: &Path, cache: &Path) -> Option<Overlap> {
    let (state, cache) = (without_dots(state), without_dots(cache));
    if state.starts_with(&cache) {
        Some(Overlap::StateInCache)
    } else if cache.starts_with(&state) {
        Some(Overlap::CacheInState)
    } else {
        None
    }
}

pub(super) fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    clean
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

/// What [`probe`] would find out, as far as can be said without writing: the folder, or where it would be made, is one
/// that this user may write to.
fn may_be_made(folder: &Path) -> bool {
    let nearest = folder.ancestors().find(|place| place.symlink_metadata().is_ok());
    nearest.is_some_and(|place| place.is_dir() && access(place, Access::WRITE_OK | Access::EXEC_OK).is_ok())
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
                user: 1000,
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

    fn cache_of(
        schema: &Schema,
        variables: &[(&str, &str)],
        writable: &[&str],
    ) -> Result<PathBuf, CacheFolderError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        };
        cache(
            schema,
            &Machine {
                variable: &variable,
                writable: &|folder| writable.iter().any(|known| Path::new(known) == folder),
                user: 1000,
            },
        )
    }

    #[test]
    fn the_cache_never_holds_the_state() {
        // Whoever empties the cache must keep the keys that his users' tokens were made with, also where no key says
        // where the two are.
        let variables = [
            ("XDG_STATE_HOME", "/data"),
            ("XDG_CACHE_HOME", "/data"),
            ("HOME", "/h"),
        ];
        let both = PathBuf::from("/data/docxy");
        assert_eq!(
            cache_of(&Schema::default(), &variables, &[]),
            Err(CacheFolderError::Overlap {
                cache: both.clone(),
                state: both
            })
        );
        let system = ["/var/lib/docxy", "/var/cache/docxy"];
        assert_eq!(
            cache_of(&Schema::default(), &variables, &system),
            Ok("/var/cache/docxy".into())
        );
        // The home of a service's user is often its state's folder.
        let home = [("HOME", "/var/lib/docxy")];
        assert!(matches!(
            cache_of(&Schema::default(), &home, &["/var/lib/docxy"]),
            Err(CacheFolderError::Overlap { .. })
        ));
        assert_eq!(
            cache_of(&Schema::default(), &home, &system),
            Ok("/var/cache/docxy".into())
        );
    }

    #[test]
    fn a_cache_in_memory_is_the_users_own() {
        // Two users on one machine must not meet in /dev/shm, and without any tmpfs the message says what to do.
        let mut schema = Schema::default();
        schema.cache.mode = CacheMode::Memory;
        let variables = [("XDG_RUNTIME_DIR", "/run/user/1000")];
        let all = ["/run/user/1000", "/dev/shm"];
        assert_eq!(
            cache_of(&schema, &variables, &all),
            Ok("/run/user/1000/docxy-cache".into())
        );
        assert_eq!(
            cache_of(&schema, &variables, &all[1..]),
            Ok("/dev/shm/docxy-cache-1000".into())
        );
        assert_eq!(
            cache_of(&schema, &[], &all),
            Ok("/dev/shm/docxy-cache-1000".into())
        );
        assert_eq!(cache_of(&schema, &[], &[]), Err(CacheFolderError::NoMemory));
    }

    #[test]
    fn a_folder_is_writable_when_it_can_be_written() {
        // Serving must not begin with a state folder that the first write refuses.
        let folder = tempfile::tempdir().unwrap();
        assert!((Machine::this().writable)(&folder.path().join("a/b")));
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(!(Machine::this().writable)(&folder.path().join("file")));
    }

    #[test]
    fn an_onlooker_chooses_as_the_process_that_serves_and_makes_nothing() {
        // On a fresh machine nothing is there yet: a check before the first start must look where serving will.
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        for (path, expected) in [
            ("", true),
            ("a/b", true),
            ("file", false),
            ("file/a", false),
            ("dangling", false),
            ("dangling/a", false),
        ] {
            let path = folder.path().join(path);
            let answer = (Machine::onlooker().writable)(&path);
            assert_eq!(answer, expected, "{}", path.display());
            assert_eq!(
                fs::read_dir(folder.path()).unwrap().count(),
                2,
                "{}",
                path.display()
            );
            assert_eq!((Machine::this().writable)(&path), expected, "{}", path.display());
            let _ = fs::remove_dir_all(folder.path().join("a"));
        }
    }
}
