//! Files that are read again when they change: users, address lists.
//!
//! What is in use is always one whole good state of all files. A new state that can't be used is told to the log once,
//! with file and line, and the one in use stays.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;

/// Bytes one file may have: a list of half a million networks. More is a mistake (a log, a device), not a list.
const LARGEST: u64 = 16 << 20;
/// A file whose last change is younger than this may change again without a new time, as its file system counts it:
/// it is read at the next look, too.
const RACY: Duration = Duration::from_secs(2);
/// How long a file must lie still before it is believed. Programs that write in place (`htpasswd` does) leave it empty
/// or half there for a moment, and half a list of addresses to deny is a valid one.
const QUIET: Duration = Duration::from_millis(200);
/// Looks after which a file that never lies still is read as it is.
const PATIENCE: u32 = 10;

type Parse<T> = dyn Fn(&[Content]) -> Result<T, FileError> + Send + Sync;

/// A value made of files, and made anew when they change.
pub struct Watched<T> {
    /// What the files hold, for the log: "users".
    what: &'static str,
    files: Vec<PathBuf>,
    parse: Box<Parse<T>>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

/// What a look at the files brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// They hold what was read last.
    Unchanged,
    /// They hold something new, which is in use from now on.
    Taken,
    /// They hold something new that can't be used; what was in use stays.
    Refused,
}

/// One file, read.
pub struct Content {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// A file that can't be used: which, where in it, and why.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    /// Lines count from 1.
    #[error("{}:{line}: {reason}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        reason: String,
    },
}

/// What was read last, good or not: a mistake is told once, not at every look.
struct Seen {
    stamps: Vec<Option<Stamp>>,
    /// False: the next look reads, whatever the stamps say.
    settled: bool,
    read: Result<[u8; 32], FileError>,
}

/// Differs when a file was written, exchanged by a rename, or reached through another link (as Kubernetes switches
/// the files of a secret).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// As `modified`; what `touch` and `cp --preserve` can't set.
    changed: (i64, i64),
}

impl<T> Watched<T> {
    /// Reads the files; no file at all is a state like any other. Blocks on files: call it at start.
    ///
    /// `parse` gets all files, in the order given, at the start and whenever one of them changed.
    ///
    /// # Errors
    /// The first file, or line of one, that can't be used.
    pub fn load(
        what: &'static str,
        files: Vec<PathBuf>,
        parse: impl Fn(&[Content]) -> Result<T, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        let stamps = stamps(&files);
        let contents = read(&files)?;
        let first = parse(&contents)?;
        Ok(Self {
            what,
            parse: Box::new(parse),
            current: ArcSwap::from_pointee(first),
            seen: Mutex::new(Seen {
                settled: settled(&stamps),
                stamps,
                read: Ok(fingerprint(&contents)),
            }),
            files,
        })
    }

    /// What is in use.
    pub fn get(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Reads what changed since the last look. Blocks on files.
    pub fn check(&self) -> Look {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken before the files are read: a change after it is found at the next look.
        let stamps = stamps(&self.files);
        if seen.settled && stamps == seen.stamps {
            return Look::Unchanged;
        }
        seen.settled = settled(&stamps);
        seen.stamps = stamps;
        let contents = read(&self.files);
        let read = contents.as_ref().map(|c| fingerprint(c)).map_err(Clone::clone);
        if read == seen.read {
            return Look::Unchanged;
        }
        seen.read = read;
        match contents.and_then(|contents| (self.parse)(&contents)) {
            Ok(new) => {
                self.current.store(Arc::new(new));
                tracing::info!("took the new {}", self.what);
                Look::Taken
            }
            Err(error) => {
                tracing::error!("kept the {} that are in use: {error}", self.what);
                Look::Refused
            }
        }
    }

    /// Has anything changed since the last look, as far as one can tell without reading?
    fn look(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        !seen.settled || stamps(&self.files) != seen.stamps
    }
}

impl<T: Send + Sync + 'static> Watched<T> {
    /// Looks at the files every so often and takes what changed, until `until` resolves. `taken` may block.
    pub async fn watch(
        self: Arc<Self>,
        every: Duration,
        until: impl Future<Output = ()>,
        taken: impl Fn() + Clone + Send + 'static,
    ) {
        if self.files.is_empty() {
            return;
        }
        let looking = async {
            loop {
                tokio::time::sleep(every).await;
                if self.blocking(Self::look).await {
                    self.lie_still().await;
                    let taken = taken.clone();
                    let check = move |this: &Self| {
                        if this.check() == Look::Taken {
                            taken();
                        }
                    };
                    self.blocking(check).await;
                }
            }
        };
        tokio::select! {
            () = looking => {}
            () = until => {}
        }
    }

    /// Waits until nobody writes.
    async fn lie_still(self: &Arc<Self>) {
        let mut last = self.blocking(|this| stamps(&this.files)).await;
        for _ in 0..PATIENCE {
            tokio::time::sleep(QUIET).await;
            let now = self.blocking(|this| stamps(&this.files)).await;
            if now == last {
                return;
            }
            last = now;
        }
    }

    async fn blocking<R: Default + Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> R + Send + 'static,
    ) -> R {
        let this = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&this)).await;
        done.unwrap_or_else(|error| {
            tracing::error!("looking for new {} failed: {error}", self.what);
            R::default()
        })
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({}, {:?})", self.what, self.files)
    }
}

impl Default for Look {
    /// What a look that could not be had counts as.
    fn default() -> Self {
        Self::Unchanged
    }
}

impl Content {
    /// The lines that say something, with their numbers, counted from 1: without blank ones and those that begin with
    /// `#`, without the blanks around them, line ends of any system, and the byte order mark some editors write.
    ///
    /// Each that is not UTF-8 is an error.
    pub fn lines(&self) -> impl Iterator<Item = Result<(usize, &str), FileError>> {
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes);
        let lines = bytes.split(|byte| *byte == b'\n').enumerate();
        lines
            .map(|(index, line)| match std::str::from_utf8(line) {
                Ok(text) => Ok((index + 1, text.trim())),
                Err(_) => Err(self.error(index + 1, "is not UTF-8 text")),
            })
            .filter(|line| !matches!(line, Ok((_, text)) if text.is_empty() || text.starts_with('#')))
    }

    /// What is wrong with a line. The reason must not quote it where it may hold a secret.
    pub fn error(&self, line: usize, reason: impl Into<String>) -> FileError {
        FileError::Line {
            path: self.path.clone(),
            line,
            reason: reason.into(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As if read from a file.
    #[cfg(test)]
    pub fn of(path: &str, bytes: &[u8]) -> Self {
        Self {
            path: path.into(),
            bytes: bytes.to_vec(),
        }
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |metadata: fs::Metadata| Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    };
    files
        .iter()
        .map(|path| fs::metadata(path).ok().map(stamp))
        .collect()
}

/// Would every later change show in the stamps?
fn settled(stamps: &[Option<Stamp>]) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    stamps.iter().flatten().all(|stamp| {
        let changed = u64::try_from(stamp.changed.0).map_or(Duration::ZERO, Duration::from_secs);
        changed + RACY < now
    })
}

fn read(files: &[PathBuf]) -> Result<Vec<Content>, FileError> {
    files
        .iter()
        .map(|path| {
            let bytes = read_one(path).map_err(|reason| FileError::File {
                path: path.clone(),
                reason,
            })?;
            Ok(Content {
                path: path.clone(),
                bytes,
            })
        })
        .collect()
}

/// `Err` is what is wrong, for people.
fn read_one(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::PermissionDenied => "docxy may not read it: change its owner or mode".to_owned(),
        _ => error.to_string(),
    };
    // Asked before it is opened: opening a pipe would wait for whoever writes it.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err("is not a plain file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!(
            "has more than {} MiB: is this the right file?",
            LARGEST >> 20
        ));
    }
    Ok(bytes)
}

fn fingerprint(contents: &[Content]) -> [u8; 32] {
    let mut all = digest::Context::new(&digest::SHA256);
    for content in contents {
        all.update(digest::digest(&digest::SHA256, &content.bytes).as_ref());
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(all.finish().as_ref());
    bytes
}

#[cfg(test)]
mod tests;
