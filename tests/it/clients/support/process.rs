//! Foreign programs as child processes: their log is kept, and their end is certain.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Notify;

use super::sandbox::ENTRANCE;

const START_LIMIT: Duration = Duration::from_mins(1);
/// stdout and stderr.
const STREAMS: usize = 2;
const RUN_LIMIT: Duration = Duration::from_mins(2);

/// A program that serves until it is dropped.
pub struct Daemon {
    name: &'static str,
    child: Child,
    log: Log,
    /// The program is the first process of a namespace below `child` (see [`super::sandbox`]).
    inside: bool,
}

impl Daemon {
    /// Starts a program and waits for the log line from which `ready` makes something.
    ///
    /// The line is the program's own word that it accepts connections: nothing here polls or sleeps.
    pub async fn start<T>(
        name: &'static str,
        mut command: Command,
        ready: impl Fn(&str) -> Option<T>,
    ) -> (Self, T) {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error} ({command:?})"));
        let log = Log::default();
        log.follow(child.stdout.take().expect("stdout is piped"));
        log.follow(child.stderr.take().expect("stderr is piped"));
        let inside = command.get_args().any(|argument| argument == ENTRANCE);
        let daemon = Self {
            name,
            child,
            log,
            inside,
        };
        let found = daemon.log.find(START_LIMIT, ready).await;
        let Some(found) = found else {
            panic!("{name} did not say that it serves ({command:?})")
        };
        (daemon, found)
    }

    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl Drop for Daemon {
    /// Kills the program, and everything in its process namespace if it has one.
    fn drop(&mut self) {
        let first = if self.inside {
            children(self.child.id())
        } else {
            Vec::new()
        };
        // The first process of a namespace takes all others with it, and only then does the entrance end.
        for process in &first {
            // One that has just ended by itself is as good.
            let _ = kill_process(*process, Signal::KILL);
        }
        if first.is_empty() {
            drop(self.child.kill());
        }
        drop(self.child.wait());
        if thread::panicking() {
            self.keep_log();
        }
    }
}

impl Daemon {
    #[expect(clippy::print_stderr, reason = "a failed test shows what its programs said")]
    fn keep_log(&self) {
        let lines = self.log.lines();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("logs");
        let file = folder.join(format!("{}-{}.log", self.name, self.child.id()));
        drop(fs::create_dir_all(&folder).and_then(|()| fs::write(&file, lines.join("\n"))));
        let tail = lines[lines.len().saturating_sub(15)..].join("\n");
        eprintln!(
            "--- the end of {}'s log, all of it is in {}\n{tail}",
            self.name,
            file.display()
        );
    }
}

/// The lines a program has written so far, on both of its streams.
#[derive(Clone, Default)]
pub struct Log(Arc<Lines>);

#[derive(Default)]
struct Lines {
    written: Mutex<Vec<String>>,
    /// A stream ends when the program does.
    ended: AtomicUsize,
    grown: Notify,
}

impl Log {
    pub fn lines(&self) -> Vec<String> {
        self.0.written.lock().expect("no writer panics").clone()
    }

    /// The first line from which `pick` makes something, waiting for it if need be; `None` after `limit`, or
    /// when the program has ended without it.
    pub async fn find<T>(&self, limit: Duration, pick: impl Fn(&str) -> Option<T>) -> Option<T> {
        tokio::time::timeout(limit, async {
            loop {
                let grown = self.0.grown.notified();
                tokio::pin!(grown);
                grown.as_mut().enable();
                let ended = self.0.ended.load(Ordering::SeqCst) == STREAMS;
                if let Some(found) = self.lines().iter().find_map(|line| pick(line)) {
                    return Some(found);
                }
                if ended {
                    return None;
                }
                grown.await;
            }
        })
        .await
        .ok()
        .flatten()
    }

    fn follow(&self, stream: impl Read + Send + 'static) {
        let shared = Arc::clone(&self.0);
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                shared.written.lock().expect("no writer panics").push(line);
                shared.grown.notify_waiters();
            }
            shared.ended.fetch_add(1, Ordering::SeqCst);
            shared.grown.notify_waiters();
        });
    }
}

/// A program that dies with the thread that starts it, so that a test that is killed leaves nothing behind.
pub fn mortal(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Runs a program to its end.
pub async fn run(command: Command) -> Finished {
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(RUN_LIMIT, running)
        .await
        .unwrap_or_else(|_| panic!("{shown} ran longer than {RUN_LIMIT:?}"))
        .unwrap_or_else(|error| panic!("{shown} does not start: {error}"));
    Finished {
        command: shown,
        status: output.status,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A program that has ended; whoever gets one says whether that should have been a success.
#[must_use]
pub struct Finished {
    command: String,
    status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    pub fn succeeded(self) -> Self {
        assert!(self.status.success(), "it failed: {self}");
        self
    }

    /// Where either may be right, or failures are counted.
    pub fn is_success(&self) -> bool {
        self.status.success()
    }

    pub fn failed(self) -> Self {
        assert!(!self.status.success(), "it should have failed: {self}");
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error} in the output of {self}"))
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({})\n{}\n{}",
            self.command,
            self.status,
            self.text(),
            self.stderr
        )
    }
}

fn children(process: u32) -> Vec<Pid> {
    let list = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|id| Pid::from_raw(id.parse().ok()?))
        .collect()
}
