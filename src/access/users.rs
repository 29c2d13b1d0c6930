//! docxy's own users: htpasswd files with bcrypt and argon2 hashes (threat S7).
//!
//! # What a sign-in tells
//! Which names exist must not be found out by trying. A wrong password runs one hash of every kind and cost that the
//! files hold, each once: the user's own and decoys for the others, or decoys for all where there is no such user. So the
//! functions run, their number and their costs are the same for every name, whatever mix of costs the files hold. A
//! decoy of the highest cost alone would not do: an entry of a lower cost than the decoy's would answer sooner than a
//! name that does not exist. The price is that a mixed file pays for its mix at every wrong password; four kinds and
//! costs are accepted, and one is best. A right password runs its own hash alone: who knows it learns nothing.
//!
//! What is left: the salts and hashes differ in length by a few bytes, and a table is asked for the name, which is
//! nanoseconds beside milliseconds of hashing. Back-off and the full pool are decided by address and load, never by name.
//!
//! # What it costs
//! Hashes run on few threads with a bounded queue. A right password is remembered for five minutes under a keyed hash
//! of name, password and entry, and a wrong one for fifteen, for the network that brought it. Sign-ins with the same name
//! and password at the same time are hashed once.
//!
//! # What is remembered is no way to guess
//! An address that must wait is let in with what it brought before, and with nothing else that is remembered: else
//! whoever waits could try the passwords of all who signed in elsewhere, as fast as docxy answers.

mod file;
pub mod hash;
mod keyed;
pub mod pool;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use self::file::{Entry, Table};
use self::hash::{Checked, Cost};
use self::keyed::Keyed;
use self::pool::{Place, Pool, Runs};
use super::backoff::{Attempt, BackOff, Held};
use super::network::Network;
use super::remembered::Remembered;
use super::watched::{FileError, Look, Watched};
use crate::config::values::Secret;

/// How long a right password is not hashed again.
const RIGHT: Duration = Duration::from_mins(5);
/// What somebody who finds the pool full is told to wait: it empties in about this time.
const BUSY: Duration = Duration::from_secs(1);

/// Values only.
#[derive(Clone, Debug)]
pub struct Config {
    /// htpasswd files; none: there are no users, and every sign-in is wrong at no cost.
    pub files: Vec<PathBuf>,
    /// For fingerprints and what is remembered. Kept between runs, so that docxy's own tokens outlive a restart.
    pub key: Secret<[u8; 32]>,
    pub pool: pool::Size,
}

/// Why somebody is not let in as a user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignInError {
    /// No such user, or not his password: which of the two, nobody is told.
    #[error("the user name or the password is wrong")]
    Wrong,
    /// Too many passwords are being checked.
    #[error("too many sign-ins at once")]
    Busy { retry_after: Duration },
    /// Too many wrong passwords came from this address.
    #[error("too many wrong passwords from this address")]
    BackOff { retry_after: Duration },
}

/// docxy's own users. Clones are the same.
#[derive(Clone)]
pub struct Users(Arc<Inner>);

struct Inner {
    table: Arc<Watched<Table>>,
    are_kept: bool,
    keyed: Keyed,
    remembered: Remembered,
    back_off: Arc<BackOff>,
    pool: Pool,
    /// Passwords that are being checked, by the key they will be remembered under.
    flights: Mutex<HashMap<[u8; 32], Flight>>,
}

#[derive(Clone)]
struct Flight {
    key: [u8; 32],
    verdict: Shared<BoxFuture<'static, Checked>>,
    /// On whose account a wrong password goes.
    from: Network,
}

impl Users {
    /// Reads the files. Blocks on them: call it at start.
    ///
    /// # Errors
    /// The first line of a file that can't be used.
    pub fn load(config: Config) -> Result<Self, FileError> {
        let keyed = Keyed::new(config.key.expose());
        let are_kept = !config.files.is_empty();
        let table = Watched::load("users", config.files, {
            let keyed = keyed.clone();
            move |files| Table::read(files, &keyed)
        })?;
        Ok(Self(Arc::new(Inner {
            table: Arc::new(table),
            are_kept,
            keyed,
            remembered: Remembered::new(RIGHT),
            back_off: Arc::default(),
            pool: Pool::new(config.pool),
            flights: Mutex::default(),
        })))
    }

    /// The user's name, if this is his password. `from` is the client, as far as trusted proxies can be believed.
    ///
    /// An empty password is nobody's, and one that bcrypt would read only in part (over 72 bytes, or with a zero byte in
    /// it) is not that of a user whose hash is bcrypt.
    pub async fn verify(&self, name: &str, password: &[u8], from: IpAddr) -> Result<String, SignInError> {
        let from = Network::of(from);
        let (flight, joined) = match self.begin(name, password, from)? {
            Begun::Known => return Ok(name.to_owned()),
            Begun::Flight(flight, joined) => (flight, joined),
        };
        match flight.verdict.await {
            Checked::Right => {
                self.0.remembered.knows(&flight.key, from);
                Ok(name.to_owned())
            }
            Checked::Wrong | Checked::TooLong => {
                // One guess is one guess, however often it is repeated; but everybody's own.
                if joined && flight.from != from && self.0.remembered.refuse(flight.key, from) {
                    self.0.back_off.wrong(from);
                }
                Err(SignInError::Wrong)
            }
            Checked::Failed => Err(SignInError::Busy { retry_after: BUSY }),
        }
    }

    /// Was this right from there a moment ago? Nothing is hashed. One that was not counts as a look (see [`BackOff`]): else
    /// whoever may ask this could guess.
    pub fn knows_from(&self, name: &str, password: &[u8], from: IpAddr) -> bool {
        let (inner, from) = (&self.0, Network::of(from));
        let table = inner.table.get();
        let Some(entry) = table.entry(name) else {
            return false;
        };
        if !inner.back_off.may_look(from) {
            return false;
        }
        let knows = inner
            .remembered
            .knows_from(&inner.key(Some(entry), name, password), from);
        if !knows {
            inner.back_off.looked_in_vain(from);
        }
        knows
    }

    /// Changes when the user's password does; `None` once there is no such user. A token made for a user ends with it.
    pub fn fingerprint(&self, name: &str) -> Option<[u8; 32]> {
        let table = self.0.table.get();
        table.entry(name).map(|entry| entry.fingerprint)
    }

    /// All users' names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.table.get().names().map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// Reads files that changed. Blocks on them.
    pub fn check(&self) -> Look {
        self.0.table.check()
    }

    /// Reads files that change, until `until` resolves; `taken` is called, and may block, when there are other users.
    pub async fn watch(
        self,
        every: Duration,
        until: impl Future<Output = ()>,
        taken: impl Fn() + Clone + Send + 'static,
    ) {
        Arc::clone(&self.0.table).watch(every, until, taken).await;
    }

    /// There are files of users, even if nobody is in them.
    pub fn are_kept(&self) -> bool {
        self.0.are_kept
    }

    /// How often each hash function ran.
    pub fn runs(&self) -> BTreeMap<Cost, u64> {
        self.0.pool.runs()
    }

    fn begin(&self, name: &str, password: &[u8], from: Network) -> Result<Begun, SignInError> {
        let inner = &self.0;
        let table = inner.table.get();
        if table.is_empty() || password.is_empty() {
            return Err(SignInError::Wrong);
        }
        let entry = table.entry(name);
        let key = inner.key(entry, name, password);
        if let Err(held) = inner.back_off.judge(from) {
            return inner.begin_held(&key, from, held);
        }
        if let Some(known) = inner.known(&key, from) {
            return known;
        }
        let mut flights = inner.flights();
        if let Some(flight) = flights.get(&key) {
            return Ok(Begun::Flight(flight.clone(), true));
        }
        // It may have landed since.
        if let Some(known) = inner.known(&key, from) {
            return known;
        }
        let attempt = inner.back_off.begin(from)?;
        let place = if attempt.is_spotless {
            inner.pool.enter()
        } else {
            inner.pool.enter_as_guesser()
        };
        let place = place.ok_or(SignInError::Busy { retry_after: BUSY })?;
        let task = Task {
            inner: Arc::clone(inner),
            table: Arc::clone(&table),
            key,
            name: name.to_owned(),
            password: Secret::new(password.to_vec()),
            attempt,
        };
        // A task of its own: a client that leaves does not undo that it guessed, nor the wait of those who joined.
        let task = tokio::spawn(task.run(place));
        let verdict = task.map(|done| done.unwrap_or(Checked::Failed)).boxed().shared();
        let flight = Flight { key, verdict, from };
        flights.insert(key, flight.clone());
        Ok(Begun::Flight(flight, false))
    }
}

enum Begun {
    /// Right, and known to be.
    Known,
    /// Being hashed; true: somebody else began it.
    Flight(Flight, bool),
}

impl Inner {
    /// Under which a right password is remembered; differs once the entry does.
    fn key(&self, entry: Option<&Entry>, name: &str, password: &[u8]) -> [u8; 32] {
        let entry = entry.map_or([0; 32], |entry| entry.fingerprint);
        self.keyed.hash(&[b"right", name.as_bytes(), password, &entry])
    }

    /// What is remembered of a password that this network brings; nothing of it is hashed.
    fn known(&self, key: &[u8; 32], from: Network) -> Option<Result<Begun, SignInError>> {
        if self.remembered.knows(key, from) {
            return Some(Ok(Begun::Known));
        }
        // One robot with an old password must not lock out all who share its address.
        let is_wrong = self.remembered.refuses(key, from);
        is_wrong.then_some(Err(SignInError::Wrong))
    }

    /// The same while the network has to wait: who signed in from there before is not slowed by the failures of others
    /// behind the same address.
    fn begin_held(&self, key: &[u8; 32], from: Network, held: Held) -> Result<Begun, SignInError> {
        if self.remembered.refuses(key, from) {
            return Err(SignInError::Wrong);
        }
        if self.back_off.may_look(from) && self.remembered.knows_from(key, from) {
            return Ok(Begun::Known);
        }
        self.back_off.looked_in_vain(from);
        Err(held.into())
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<[u8; 32], Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One password on its way through the pool.
struct Task {
    inner: Arc<Inner>,
    table: Arc<Table>,
    key: [u8; 32],
    name: String,
    password: Secret<Vec<u8>>,
    attempt: Attempt,
}

impl Task {
    async fn run(self, place: Place) -> Checked {
        let (table, name) = (Arc::clone(&self.table), self.name.clone());
        let password = self.password.clone();
        let hashing = move |runs: &Runs| judge(runs, &table, &name, password.expose());
        let verdict = self
            .inner
            .pool
            .run(place, hashing)
            .await
            .unwrap_or(Checked::Failed);
        match verdict {
            Checked::Right => {
                self.attempt.right();
                self.inner.remembered.keep(self.key, self.attempt.from());
            }
            Checked::Wrong => self.wrong(),
            Checked::TooLong => {
                self.wrong();
                tracing::warn!(
                    user = self.name,
                    "refused a password of more than 72 bytes, of which bcrypt checks only the first 72; give the user a \
                     shorter one, or an argon2 hash"
                );
            }
            Checked::Failed => {
                tracing::error!("a password could not be checked: not enough memory to hash it");
            }
        }
        verdict
    }

    fn wrong(&self) {
        self.attempt.wrong();
        self.inner.remembered.refuse(self.key, self.attempt.from());
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.inner.flights().remove(&self.key);
    }
}

/// The user's own hash, and after a wrong password all that other users would have cost.
fn judge(runs: &Runs, table: &Table, name: &str, password: &[u8]) -> Checked {
    let entry = table.entry(name);
    let own = entry.map(|entry| runs.check(&entry.stored, password));
    if own == Some(Checked::Right) {
        return Checked::Right;
    }
    let spent = entry.map(|entry| entry.stored.cost());
    for decoy in table.decoys() {
        if spent != Some(decoy.cost()) {
            let _nobody = runs.check(decoy, password);
        }
    }
    own.unwrap_or(Checked::Wrong)
}

impl From<Held> for SignInError {
    fn from(held: Held) -> Self {
        match held {
            Held::Waits { retry_after } => Self::BackOff { retry_after },
            Held::Busy { retry_after } => Self::Busy { retry_after },
        }
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({:?})", self.0.table)
    }
}

#[cfg(test)]
mod tests;
