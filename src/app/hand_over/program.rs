//! The program as it was called: by its path, so that a successor is what lies there by then.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Pid;
use tokio::process::{Child, Command};

use super::VARIABLE;

/// Found once, at the start: the working folder and PATH may mean something else later.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    /// The name it was called by, and its arguments.
    called: OsString,
    arguments: Vec<OsString>,
    /// Where somebody takes this process's end for the service's.
    is_waited_for: Option<&'static str>,
}

impl Program {
    /// This process's own.
    pub fn of_process() -> io::Result<Self> {
        let mut arguments = env::args_os();
        let called = arguments.next().unwrap_or_default();
        let path = match find(Path::new(&called))? {
            Some(path) => path,
            None => env::current_exe()?,
        };
        Ok(Self {
            path,
            called,
            arguments: arguments.collect(),
            is_waited_for: is_waited_for(),
        })
    }

    /// Why no other process may take this one's place.
    pub fn is_waited_for(&self) -> Option<&'static str> {
        self.is_waited_for
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it with the same arguments and environment, and this socket as its standard input. It goes on when the handle
    /// is dropped.
    pub fn start(&self, socket: UnixStream) -> io::Result<Child> {
        let mut command = Command::new(&self.path);
        command
            .arg0(&self.called)
            .args(&self.arguments)
            .env(VARIABLE, "1")
            .stdin(Stdio::from(OwnedFd::from(socket)));
        // They are for this process only; a watchdog that is asked for without a number is every process's.
        for variable in ["WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(variable);
        }
        command.spawn()
    }
}

/// As the process begins: one that was left behind by a shell is nobody's service later.
fn is_waited_for() -> Option<&'static str> {
    if rustix::process::getpid().is_init() {
        return Some(
            "docxy is process 1 of its container, which would end with it: start another container instead",
        );
    }
    let by_init = rustix::process::getppid().is_some_and(Pid::is_init);
    (by_init && env::var_os("NOTIFY_SOCKET").is_none()).then_some(
        "docxy was started by process 1, or by a script that had ended already, and process 1 may take docxy's end for the \
         service's: in a container start another container instead; in a systemd unit set Type=notify; in a script wait for \
         docxy after you started it",
    )
}

/// As a shell does.
fn find(called: &Path) -> io::Result<Option<PathBuf>> {
    if called.as_os_str().is_empty() {
        return Ok(None);
    }
    if called.components().count() > 1 || called.is_absolute() {
        return std::path::absolute(called).map(Some);
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders)
        .map(|folder| folder.join(called))
        .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file());
    found.map(std::path::absolute).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_its_caller_meant_it() {
        // A link that an upgrade turns to another version must be followed anew, so it is the path that counts.
        let absolute = find(Path::new("/usr/local/bin/docxy")).unwrap();
        assert_eq!(absolute, Some(PathBuf::from("/usr/local/bin/docxy")));
        let relative = find(Path::new("./docxy")).unwrap().unwrap();
        assert!(relative.is_absolute() && relative.ends_with("docxy"));
        let shell = find(Path::new("sh")).unwrap().unwrap();
        assert!(shell.is_absolute() && shell.is_file());
        assert_eq!(find(Path::new("no-such-program-here")).unwrap(), None);
    }
}
