//! Whose the folder is. As long as it is this process's, whoever changes something in it holds a [`Ticket`]; a process that
//! hands over gives out no more of them, waits until those are back, and lets go of the lock (threat R7).
//!
//! A retired store serves on: what it finds by its index and its open files. It begins no download, evicts, sweeps, sets
//! aside and writes nothing down. Downloads that run go on in files that only it knows, whose locks it keeps; one that comes
//! to a good end is still put in its place, because a blob there is right whoever put it there, and the successor is told,
//! which hashes it before it serves it, as everything that it found.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::lock::Lock;
use super::memory;
use super::open::Medium;
use crate::oci::{Digest, FullName, Tag};

/// What a retired process still has to say to the one that has the folder now.
#[derive(Debug)]
pub enum Legacy {
    /// So many bytes of the cap its downloads may still take, instead of what it said before.
    Growing(u64),
    /// A blob of so many bytes has come into its place, from these repositories.
    Stored {
        digest: Digest,
        size: u64,
        /// With the media types of manifests.
        links: Vec<(FullName, Option<String>)>,
    },
    /// A repository is not public any more; `keep` remembers that it was.
    Withdrawn { name: FullName, keep: bool },
    /// Something was changed at a registry.
    Changed {
        name: FullName,
        change: Change,
        certainty: Certainty,
        /// The successor knows it.
        heard: oneshot::Sender<()>,
    },
}

/// What of a repository may be another now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It was given to another manifest, or taken away.
    Tag(Tag),
    /// It was deleted, and with it all its tags.
    Manifest(Digest),
    Blob(Digest),
}

/// Did the registry say that it did what it was asked?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Certainty {
    Done,
    /// The request went out, and no answer came.
    Unknown,
}

/// Gone only when nobody reads any more; a folder in memory goes with it.
#[derive(Debug)]
pub(crate) struct Tenure {
    root: PathBuf,
    medium: Medium,
    state: Mutex<State>,
    tickets: TaskTracker,
}

#[derive(Debug)]
enum State {
    /// None in tests of single parts.
    Owner(Option<Lock>),
    Retired(mpsc::UnboundedSender<Legacy>),
    /// Another process may have a folder of this name.
    Left,
}

/// Permission to change something in the folder; for moments, not for as long as a download.
#[derive(Debug)]
pub(crate) struct Ticket {
    _token: TaskTrackerToken,
}

impl Tenure {
    pub fn new(root: PathBuf, medium: Medium, lock: Option<Lock>) -> Self {
        Self {
            root,
            medium,
            state: Mutex::new(State::Owner(lock)),
            tickets: TaskTracker::new(),
        }
    }

    /// `None`: the folder is not ours any more.
    pub fn enter(&self) -> Option<Ticket> {
        let state = self.locked();
        matches!(*state, State::Owner(_)).then(|| Ticket {
            _token: self.tickets.token(),
        })
    }

    pub fn is_retired(&self) -> bool {
        matches!(*self.locked(), State::Retired(_))
    }

    pub fn is_in_memory(&self) -> bool {
        self.medium == Medium::Memory
    }

    /// Whom a retired store tells what it still has to say.
    pub fn heir(&self) -> Option<mpsc::UnboundedSender<Legacy>> {
        match &*self.locked() {
            State::Retired(heir) => Some(heir.clone()),
            State::Owner(_) | State::Left => None,
        }
    }

    /// From now on nobody gets a ticket; comes back when all are, with the lock, which is held until it is dropped. `None`:
    /// it was no owner.
    pub async fn retire(&self, heir: mpsc::UnboundedSender<Legacy>) -> Option<Option<Lock>> {
        let lock = {
            let mut state = self.locked();
            let State::Owner(lock) = &mut *state else {
                return None;
            };
            let lock = lock.take();
            *state = State::Retired(heir);
            lock
        };
        self.tickets.close();
        self.tickets.wait().await;
        Some(lock)
    }

    /// The folder is ours again.
    pub fn resume(&self, lock: Lock) {
        *self.locked() = State::Owner(Some(lock));
        self.tickets.reopen();
    }

    /// Nobody reads or writes here any more. A process that ends does not wait for all who have a store, so that its last
    /// act must not be left to them. Blocking.
    pub fn leave(&self) {
        let mut state = self.locked();
        if self.is_in_memory() && matches!(*state, State::Owner(_)) {
            memory::vanish(&self.root);
            *state = State::Left;
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.leave();
    }
}
