//! Where passwords are hashed: few at once, few waiting, everyone else is told to come back.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::hash::{Checked, Cost, Stored};

/// How much may be hashed, and wait for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Hashes at once; each keeps a processor busy, and an argon2 one its memory.
    pub hashing: usize,
    /// Sign-ins that wait for one to end.
    pub waiting: usize,
}

impl Default for Size {
    /// Half of the processors, four at most: the others go on with pulls, whoever guesses passwords.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Self {
            hashing: (processors / 2).clamp(1, 4),
            waiting: 64,
        }
    }
}

/// Bounded hands.
#[derive(Debug)]
pub struct Pool {
    /// Those who hash and those who wait.
    places: Arc<Semaphore>,
    /// Of those, the ones for whoever was wrong lately: the rest is kept for everyone else, however many guess.
    open_to_guessers: Arc<Semaphore>,
    hands: Arc<Semaphore>,
    runs: Arc<Runs>,
}

/// The right to wait for a hand.
#[derive(Debug)]
pub struct Place {
    _place: OwnedSemaphorePermit,
    _of_guessers: Option<OwnedSemaphorePermit>,
}

/// How often each function ran, by kind and cost.
#[derive(Debug, Default)]
pub struct Runs(Mutex<BTreeMap<Cost, u64>>);

impl Pool {
    pub fn new(size: Size) -> Self {
        let hashing = size.hashing.max(1);
        let places = hashing + size.waiting;
        Self {
            places: Arc::new(Semaphore::new(places)),
            open_to_guessers: Arc::new(Semaphore::new((places * 3 / 4).max(1))),
            hands: Arc::new(Semaphore::new(hashing)),
            runs: Arc::default(),
        }
    }

    /// `None`: too many wait already.
    pub fn enter(&self) -> Option<Place> {
        Some(Place {
            _of_guessers: None,
            _place: Arc::clone(&self.places).try_acquire_owned().ok()?,
        })
    }

    /// The same, for an address from which something wrong came lately.
    pub fn enter_as_guesser(&self) -> Option<Place> {
        Some(Place {
            _of_guessers: Some(Arc::clone(&self.open_to_guessers).try_acquire_owned().ok()?),
            _place: Arc::clone(&self.places).try_acquire_owned().ok()?,
        })
    }

    /// Runs the work on a thread of its own once a hand is free. `None`: the process is ending, or the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(&Runs) -> T + Send + 'static,
    ) -> Option<T> {
        let hand = Arc::clone(&self.hands).acquire_owned().await.ok()?;
        let runs = Arc::clone(&self.runs);
        let hashing = tokio::task::spawn_blocking(move || {
            let done = work(&runs);
            drop((hand, place));
            done
        });
        hashing.await.ok()
    }

    pub fn runs(&self) -> BTreeMap<Cost, u64> {
        self.runs.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Runs {
    /// Checks and counts it. The only way a hash function is run.
    pub fn check(&self, stored: &Stored, password: &[u8]) -> Checked {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *runs.entry(stored.cost()).or_default() += 1;
        drop(runs);
        // Nobody looks at what a decoy brings, and the compiler must not see that.
        black_box(stored.check(black_box(password)))
    }
}
