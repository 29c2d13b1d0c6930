//! Writes a recording's file on a thread of its own: whatever the disk does, no request waits for it. What comes faster than
//! the disk takes it is counted and lost.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::file::{HarFile, NotWritten};

/// Entries that wait for the disk, at most; and their bytes (16 MiB).
const WAITING: usize = 512;
const WAITING_BYTES: usize = 16 << 20;
/// How long the disk may take to write what waits when a recording is stopped.
const PATIENCE: Duration = Duration::from_secs(5);
/// No recording is that long; for those without an end.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

#[derive(Debug)]
pub(super) struct Writer {
    to: SyncSender<Message>,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    entries: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
    waiting: AtomicUsize,
    ended: OnceLock<String>,
}

enum Message {
    Entry(Vec<u8>),
    /// Why it ends; dropped when that is done.
    Stop(String, SyncSender<()>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub entries: u64,
    pub bytes: u64,
    pub lost: u64,
}

impl Writer {
    pub fn start(file: HarFile, path: PathBuf, life: Option<Duration>) -> io::Result<Self> {
        let (to, from) = sync_channel(WAITING);
        let progress = Arc::new(Progress::default());
        progress.bytes.store(file.length(), Ordering::Relaxed);
        let own = Arc::clone(&progress);
        thread::Builder::new().name("docxy-trace".to_owned()).spawn(move || {
            let (why, told) = own.write(&from, file, life.unwrap_or(FOR_EVER));
            tracing::info!(file = %path.display(), entries = own.entries.load(Ordering::Relaxed), "recorded: {why}");
            // Last: whoever waits for the end sees it.
            drop(own.ended.set(why));
            drop(told);
        })?;
        Ok(Self { to, progress })
    }

    pub fn has_ended(&self) -> bool {
        self.progress.ended.get().is_some()
    }

    pub fn ended(&self) -> Option<String> {
        self.progress.ended.get().cloned()
    }

    pub fn count(&self) -> Count {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Count {
            entries: of(&self.progress.entries),
            bytes: of(&self.progress.bytes),
            lost: of(&self.progress.lost),
        }
    }

    /// Never waits.
    pub fn soon(&self, entry: Vec<u8>) {
        let length = entry.len();
        let waiting = self.progress.waiting.fetch_add(length, Ordering::Relaxed);
        let sent = waiting + length <= WAITING_BYTES && self.to.try_send(Message::Entry(entry)).is_ok();
        if !sent {
            self.progress.waiting.fetch_sub(length, Ordering::Relaxed);
            self.progress.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that waits is written, or the disk was given up.
    pub fn stop(&self, why: &str) {
        let (done, wait) = sync_channel(0);
        if self.to.send(Message::Stop(why.to_owned(), done)).is_ok() {
            let _ = wait.recv_timeout(PATIENCE);
        }
    }
}

impl Progress {
    /// Until the end; says why it came, and what to drop when that is known.
    fn write(
        &self,
        from: &Receiver<Message>,
        mut file: HarFile,
        life: Duration,
    ) -> (String, Option<SyncSender<()>>) {
        let began = Instant::now();
        let (why, told) = loop {
            match from.recv_timeout(life.saturating_sub(began.elapsed())) {
                Ok(Message::Entry(entry)) => {
                    self.waiting.fetch_sub(entry.len(), Ordering::Relaxed);
                    match file.append(&entry) {
                        Ok(()) => {
                            self.entries.fetch_add(1, Ordering::Relaxed);
                            self.bytes.store(file.length(), Ordering::Relaxed);
                        }
                        Err(NotWritten::Full) => break ("its size is reached".to_owned(), None),
                        Err(NotWritten::Failed(error)) => {
                            tracing::warn!("a recording can't be written and ends: {error}");
                            break (format!("it can't be written: {error}"), None);
                        }
                    }
                }
                Ok(Message::Stop(why, told)) => break (why, Some(told)),
                Err(RecvTimeoutError::Timeout) => break ("its time is up".to_owned(), None),
                Err(RecvTimeoutError::Disconnected) => break ("docxy has ended".to_owned(), None),
            }
        };
        let lost = self.lost.load(Ordering::Relaxed);
        let missing = if lost == 0 {
            String::new()
        } else {
            format!("; {lost} requests are missing, because the disk was too slow")
        };
        file.end(&format!("ended: {why}{missing}"));
        (why, told)
    }
}
