//! One thread that brings records to the disk, so that no request waits for an fsync.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::cache::atomic;
use crate::cache::disk::Disk;
use crate::cache::layout::Layout;
use crate::telemetry::Metrics;

/// Files that wait to be written. Beyond it a record lives in memory only, until it is written for another reason.
const LONGEST_QUEUE: usize = 65_536;
/// Files between two syncs of their folders.
const BATCH: usize = 256;
/// After a failed write, until it is tried again.
const RETRY: Duration = Duration::from_mins(1);

/// What shall happen to a file. A later one for the same file takes an earlier one's place.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// These bytes, whole or not at all.
    Replace(Vec<u8>),
    /// There, and empty.
    Touch,
    Remove,
    /// A blob's last use.
    Stamp(SystemTime),
}

/// Ends when it is dropped, after what waits is written.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    changes: HashMap<PathBuf, Change>,
    order: VecDeque<PathBuf>,
    failed: Vec<(PathBuf, Change)>,
    /// When what failed is tried again.
    retry_at: Option<Instant>,
    /// What the thread has taken and not done yet.
    in_hand: HashSet<PathBuf>,
    stopping: bool,
    dropped: u64,
    gate: Gate,
}

/// May records be written?
#[derive(Debug, Default)]
enum Gate {
    #[default]
    Open,
    /// What waits for that.
    Held(HashMap<PathBuf, Change>),
    Shut,
}

impl Writer {
    pub fn start(disk: Arc<dyn Disk>, layout: Layout, metrics: Metrics) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let hand = Hand {
            disk,
            layout,
            metrics,
            queue: queue.clone(),
            quiet_until: None,
        };
        let thread = std::thread::Builder::new()
            .name("docxy-records".into())
            .spawn(move || hand.work())?;
        Ok(Self {
            queue,
            thread: Some(thread),
        })
    }

    /// Never waits.
    pub fn submit(&self, path: PathBuf, change: Change) {
        let mut state = self.queue.locked();
        match &mut state.gate {
            Gate::Open => {}
            Gate::Held(held) => {
                if held.len() < LONGEST_QUEUE || held.contains_key(&path) {
                    held.insert(path, change);
                }
                return;
            }
            Gate::Shut => return,
        }
        state.enqueue(path, change);
        self.queue.changed.notify_all();
    }

    /// What is submitted from now on waits, and what failed is not tried again.
    pub fn hold(&self) {
        self.queue.locked().gate = Gate::Held(HashMap::new());
    }

    /// What waited is written, and what is submitted from now on.
    pub fn release(&self) {
        let mut state = self.queue.locked();
        if let Gate::Held(held) = std::mem::take(&mut state.gate) {
            for (path, change) in held {
                state.enqueue(path, change);
            }
        }
        self.queue.changed.notify_all();
    }

    /// Nothing is written any more.
    pub fn give_up(&self) {
        self.queue.locked().gate = Gate::Shut;
    }

    /// Returns when all that was submitted is on the disk, or failed. Blocking.
    pub fn flush(&self) {
        let mut state = self.queue.locked();
        while !state.in_hand.is_empty() || !state.changes.is_empty() {
            state = self.queue.wait(state);
        }
    }

    /// The same for these files, which go before all others.
    pub fn hasten(&self, paths: &[PathBuf]) {
        let mut state = self.queue.locked();
        for path in paths {
            if state.changes.contains_key(path) {
                // Its old place in the order is passed over.
                state.order.push_front(path.clone());
            }
        }
        while paths
            .iter()
            .any(|path| state.in_hand.contains(path) || state.changes.contains_key(path))
        {
            state = self.queue.wait(state);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.locked().stopping = true;
        self.queue.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next changes; none: it is time to end.
    fn next(&self) -> Vec<(PathBuf, Change)> {
        let mut state = self.locked();
        state.in_hand.clear();
        self.changed.notify_all();
        loop {
            let is_open = matches!(state.gate, Gate::Open);
            if is_open && state.retry_at.is_some_and(|at| at <= Instant::now()) {
                state.retry();
            }
            if !state.changes.is_empty() {
                return state.take(BATCH);
            }
            if state.stopping {
                return Vec::new();
            }
            let woken = self.changed.wait_timeout(state, RETRY);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    fn enqueue(&mut self, path: PathBuf, change: Change) {
        if let Some(waiting) = self.changes.get_mut(&path) {
            *waiting = change;
        } else if self.changes.len() >= LONGEST_QUEUE {
            self.dropped += 1;
        } else {
            self.order.push_back(path.clone());
            self.changes.insert(path, change);
        }
    }

    fn take(&mut self, most: usize) -> Vec<(PathBuf, Change)> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let Some(path) = self.order.pop_front() else { break };
            if let Some(entry) = self.changes.remove_entry(&path) {
                self.in_hand.insert(path);
                taken.push(entry);
            }
        }
        taken
    }

    /// What failed goes again, unless something newer is on its way.
    fn retry(&mut self) {
        self.retry_at = None;
        for (path, change) in std::mem::take(&mut self.failed) {
            if self.changes.len() < LONGEST_QUEUE && !self.changes.contains_key(&path) {
                self.order.push_back(path.clone());
                self.changes.insert(path, change);
            }
        }
    }
}

/// The thread's own.
struct Hand {
    disk: Arc<dyn Disk>,
    layout: Layout,
    metrics: Metrics,
    queue: Arc<Queue>,
    quiet_until: Option<Instant>,
}

impl Hand {
    fn work(mut self) {
        loop {
            let batch = self.queue.next();
            if batch.is_empty() {
                return;
            }
            self.apply(batch);
        }
    }

    fn apply(&mut self, batch: Vec<(PathBuf, Change)>) {
        let mut folders = HashSet::new();
        for (path, change) in batch {
            match self.change(&path, &change) {
                Ok(()) => {
                    if !matches!(change, Change::Stamp(_))
                        && let Some(folder) = path.parent()
                    {
                        folders.insert(folder.to_owned());
                    }
                }
                // The blob went in the meantime.
                Err(_) if matches!(change, Change::Stamp(_)) => {}
                Err(error) => {
                    self.complain(&path, &error);
                    let mut state = self.queue.locked();
                    state.failed.retain(|(failed, _)| *failed != path);
                    state.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
                    if state.failed.len() < LONGEST_QUEUE {
                        state.failed.push((path, change));
                    }
                }
            }
        }
        for folder in folders {
            match self.disk.sync_folder(&folder) {
                // Its last file went, and so did the folder.
                Err(error) if error.kind() != io::ErrorKind::NotFound => self.complain(&folder, &error),
                _ => {}
            }
        }
    }

    fn change(&self, path: &Path, change: &Change) -> io::Result<()> {
        match change {
            Change::Replace(bytes) => {
                self.in_folder(path, || atomic::replace(&*self.disk, &self.layout, path, bytes))
            }
            Change::Touch => self.in_folder(path, || match self.disk.create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }),
            Change::Remove => match self.disk.remove(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => {
                    self.tidy(path);
                    Ok(())
                }
            },
            Change::Stamp(time) => self.disk.stamp(path, *time),
        }
    }

    /// Makes the folder only when it turns out to be missing.
    fn in_folder(&self, path: &Path, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match (write(), path.parent()) {
            (Err(error), Some(folder)) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.make_folder(folder)?;
                write()
            }
            (other, _) => other,
        }
    }

    /// Empty folders would use up the inodes in the end. Nobody else makes or removes folders here.
    fn tidy(&self, path: &Path) {
        let root = self.layout.repositories();
        let above = path.ancestors().skip(1);
        for folder in above.take_while(|folder| folder.starts_with(&root) && **folder != *root) {
            if std::fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }

    /// Counts each, tells once a minute.
    fn complain(&mut self, path: &Path, error: &io::Error) {
        self.metrics.disk_errors.inc();
        let now = Instant::now();
        if self.quiet_until.is_none_or(|until| until <= now) {
            self.quiet_until = Some(now + RETRY);
            let dropped = std::mem::take(&mut self.queue.locked().dropped);
            tracing::warn!(
                path = %path.display(), %error, dropped,
                "a record of the cache could not be written; it is known until docxy stops, and tried again each minute"
            );
        }
    }
}
