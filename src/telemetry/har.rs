//! Recording requests and answers of both sides as HAR (HTTP Archive 1.2), for whoever looks for a fault: what a client
//! asked and got, and every request docxy made for it. For a while, for one client or one repository, or for everything;
//! secrets are hidden as they come (`redact`), of bodies only JSON and forms are kept.
//!
//! While nothing is recorded a request costs one relaxed load.

mod captured;
mod entry;
mod exchange;
mod file;
mod filter;
mod redact;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

pub use exchange::{Exchange, Outgoing, Over};
pub use filter::Filter;

use self::file::HarFile;
use self::filter::Interests;
use self::writer::Writer;
use super::timestamp::Timestamps;

/// Bytes of a file unless another number is asked for (64 MiB).
pub const DEFAULT_SIZE: u64 = 64 << 20;
/// Bytes of a body that are recorded (256 KiB); of a longer one only the size.
const LONGEST_BODY: usize = 256 << 10;

/// Turns recording on and off. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Tracer(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    on: AtomicBool,
    /// The one that runs, or ran last.
    last: Mutex<Option<Arc<Trace>>>,
}

/// What shall be recorded, where, and for how long.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A file that there is not yet.
    pub file: PathBuf,
    pub filter: Filter,
    /// `None`: until it is stopped.
    pub life: Option<Duration>,
    /// Bytes of the file, at most.
    pub size: u64,
}

impl Wanted {
    /// Everything, until it is stopped.
    pub fn all(file: PathBuf) -> Self {
        Self {
            file,
            filter: Filter::default(),
            life: None,
            size: DEFAULT_SIZE,
        }
    }
}

/// Why nothing is recorded.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{} is being recorded already; stop that first (docxy trace stop)", file.display())]
    Running { file: PathBuf },
    #[error("{}: {}", file.display(), made(error))]
    File { file: PathBuf, error: io::Error },
}

fn made(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return "there is such a file, or a link, already; docxy writes over none: name another".to_owned();
    }
    error.to_string()
}

/// How it stands with the recording that runs, or ran last.
#[derive(Clone, Debug)]
pub struct Standing {
    pub file: PathBuf,
    pub filter: Filter,
    pub started: SystemTime,
    /// When it ends by itself.
    pub until: Option<SystemTime>,
    pub entries: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Requests that are not in it because the disk was too slow.
    pub lost: u64,
    /// Why it ended, for people; `None` while it runs.
    pub ended: Option<String>,
}

/// One recording.
#[derive(Debug)]
pub struct Trace {
    wanted: Wanted,
    started: SystemTime,
    interests: Interests,
    writer: Writer,
}

impl Tracer {
    /// Begins to record. Blocks on the making of the file.
    pub fn start(&self, wanted: Wanted) -> Result<(), StartError> {
        let mut last = self.last();
        if let Some(running) = last.as_ref().filter(|trace| !trace.writer.has_ended()) {
            return Err(StartError::Running {
                file: running.wanted.file.clone(),
            });
        }
        let failed = |error| StartError::File {
            file: wanted.file.clone(),
            error,
        };
        let file = HarFile::create(&wanted.file, wanted.size).map_err(failed)?;
        let writer = Writer::start(file, wanted.file.clone(), wanted.life).map_err(failed)?;
        tracing::info!(file = %wanted.file.display(), "recording requests and answers");
        *last = Some(Arc::new(Trace {
            started: SystemTime::now(),
            interests: Interests::default(),
            writer,
            wanted,
        }));
        self.0.on.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Ends the recording that runs, if one does; its file is whole when this returns. Blocks on the disk.
    pub fn stop(&self, why: &str) -> Option<Standing> {
        let running = {
            let last = self.last();
            let running = last.clone()?;
            // While nobody can start another, which would be switched off.
            self.0.on.store(false, Ordering::Relaxed);
            running
        };
        running.writer.stop(why);
        Some(running.standing())
    }

    pub fn standing(&self) -> Option<Standing> {
        self.last().as_ref().map(|trace| trace.standing())
    }

    /// The recording that runs.
    #[inline]
    pub fn current(&self) -> Option<Arc<Trace>> {
        if self.0.on.load(Ordering::Relaxed) {
            self.running()
        } else {
            None
        }
    }

    #[cold]
    fn running(&self) -> Option<Arc<Trace>> {
        let last = self.last();
        let running = last.as_ref().filter(|trace| !trace.writer.has_ended());
        if running.is_none() {
            self.0.on.store(false, Ordering::Relaxed);
        }
        running.cloned()
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Arc<Trace>>> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name for a file that begins now: `trace-20261122T091653Z.har`.
pub fn name_by_time() -> String {
    let mut times = Timestamps::default();
    let digits = times.now().chars().take("2026-11-22T09:16:53".len());
    let digits: String = digits.filter(|c| !matches!(c, '-' | ':')).collect();
    format!("trace-{digits}Z.har")
}

impl Trace {
    pub fn file(&self) -> &Path {
        &self.wanted.file
    }

    fn standing(&self) -> Standing {
        let count = self.writer.count();
        Standing {
            file: self.wanted.file.clone(),
            filter: self.wanted.filter.clone(),
            started: self.started,
            until: self.wanted.life.map(|life| self.started + life),
            entries: count.entries,
            bytes: count.bytes,
            lost: count.lost,
            ended: self.writer.ended(),
        }
    }
}
