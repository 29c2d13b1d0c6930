//! Access tokens: made by an operator with `docxy token create`, shown once, kept as a hash. For robots, and for people
//! who would rather not type their password into a machine. The admin API's own tokens are kept alike, in another file.

mod file;
mod scope;
pub mod text;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use file::FileError;
use file::Stamp;
pub use scope::{Scope, ScopeError};
use text::{Kind, TokenHash};

use super::seal::NoRandom;
use crate::config::values::Secret;

/// How often a running docxy looks for changes that another process made.
const CHECK: Duration = Duration::from_secs(1);
/// Between two writes of when tokens were last used.
const NOTE_USES: Duration = Duration::from_mins(1);
/// Clocks of the machines that make tokens and of those that see them may differ by this.
const SKEW: Duration = Duration::from_mins(5);
/// Digits of an id; the first ones of the hash, so that whoever finds a leaked token can tell which one it is.
const ID: usize = 12;

/// What is kept of a token. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub about: About,
    hash: TokenHash,
}

/// What is told of a token. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Token)]
pub struct About {
    pub id: String,
    pub name: String,
    /// Whose rights it has; none of its own where there is nobody.
    pub user: Option<String>,
    /// What it may pull; empty is whatever the rules allow.
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    /// It may push what it may pull, where that is on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub push: bool,
    pub created: u64,
    pub expires: Option<u64>,
    /// To a minute or so.
    pub last_used: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes every field so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What a new token shall be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WantedToken)]
pub struct Wanted {
    pub name: String,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub scopes: Vec<Scope>,
    #[serde(default)]
    pub push: bool,
    /// Seconds; `None` is for ever.
    pub life: Option<u64>,
}

/// A new token, and the only time that its text is seen.
#[derive(Debug)]
pub struct Created {
    pub about: About,
    pub token: Secret<String>,
}

/// Why nothing was made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum IssuedError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Random(#[from] NoRandom),
    #[error("there is an {0} named {1} already; revoke it, or choose another name")]
    Taken(Kind, String),
    #[error(
        "{1:?} can't be an {0}'s name: write up to 64 letters, digits, and . _ -, beginning with a letter or digit \
         (and not the 12 hex digits of an id)"
    )]
    Name(Kind, String),
    #[error("an {0} must live for a second at least")]
    Life(Kind),
    #[error("there is no {0} with the id or name {1}; `{command} list` shows them all", command = .0.command())]
    Unknown(Kind, String),
    #[error("there is no user {0} in access.user_files; add the user with `htpasswd -B`, or name another")]
    NoUser(String),
}

/// Why a token opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Invalid {
    /// It was never made, or it was revoked, or its time is over.
    Ended,
    /// The file can't be read: nobody knows what was revoked, so nothing is accepted.
    Unreadable,
}

/// All tokens of a kind, as the file says.
#[derive(Debug)]
pub struct Issued {
    kind: Kind,
    path: PathBuf,
    known: ArcSwap<Known>,
    /// Of the file that `known` was read from. Held while it is read, so that an older state never replaces a newer one.
    read: Mutex<Option<Stamp>>,
    had_any: AtomicBool,
}

#[derive(Debug)]
enum Known {
    Tokens(Table),
    Unreadable,
}

#[derive(Debug, Default)]
struct Table {
    by_hash: HashMap<TokenHash, Arc<Live>>,
    by_id: HashMap<String, Arc<Live>>,
}

/// A token that was neither revoked nor, when it was last looked at, over.
#[derive(Debug)]
pub struct Live {
    pub about: About,
    /// Seconds since 1970, 0 before the first use.
    used: AtomicU64,
}

impl Issued {
    /// Reads the file, or finds none; blocking.
    pub fn open(kind: Kind, path: PathBuf) -> Result<Self, FileError> {
        let stamp = Stamp::of(&path);
        let tokens = file::read(&path)?;
        Ok(Self {
            had_any: AtomicBool::new(!tokens.is_empty()),
            known: ArcSwap::from_pointee(Known::Tokens(Table::new(tokens, None))),
            read: Mutex::new(stamp),
            kind,
            path,
        })
    }

    /// The token of this text. Finding it is a use.
    pub fn present(&self, text: &str) -> Result<Arc<Live>, Invalid> {
        if !text::is_whole(self.kind, text) {
            return Err(Invalid::Ended);
        }
        let live = self.find(|table| table.by_hash.get(&text::hash(text)))?;
        live.used.store(now(), Ordering::Relaxed);
        Ok(live)
    }

    /// The token of this id, while it lives.
    pub fn of_id(&self, id: &str) -> Result<Arc<Live>, Invalid> {
        let live = self.find(|table| table.by_id.get(id))?;
        live.used.store(now(), Ordering::Relaxed);
        Ok(live)
    }

    fn find(&self, which: impl Fn(&Table) -> Option<&Arc<Live>>) -> Result<Arc<Live>, Invalid> {
        let Known::Tokens(table) = &**self.known.load() else {
            return Err(Invalid::Unreadable);
        };
        let live = which(table).ok_or(Invalid::Ended)?;
        if live.about.is_over(now()) {
            return Err(Invalid::Ended);
        }
        Ok(Arc::clone(live))
    }

    /// Every token there is, those whose time is over too, in the order of their making; blocking.
    pub fn list(&self) -> Result<Vec<About>, IssuedError> {
        let tokens = file::read(&self.path)?;
        let known = self.known.load();
        let used = |about: &About| match &**known {
            Known::Tokens(table) => table.by_id.get(&about.id).and_then(|live| live.last_used()),
            Known::Unreadable => None,
        };
        Ok(tokens
            .into_iter()
            .map(|record| About {
                last_used: record.about.last_used.max(used(&record.about)),
                ..record.about
            })
            .collect())
    }

    /// There is a token, or was one since this process began, whoever made it.
    pub fn had_any(&self) -> bool {
        self.had_any.load(Ordering::Relaxed)
    }

    /// Blocking, as all that follows.
    pub fn create(&self, wanted: Wanted) -> Result<Created, IssuedError> {
        if !is_name(&wanted.name) {
            return Err(IssuedError::Name(self.kind, wanted.name));
        }
        if wanted.life == Some(0) {
            return Err(IssuedError::Life(self.kind));
        }
        let token = text::generate(self.kind)?;
        let hash = text::hash(token.expose());
        let created = now();
        let about = About {
            id: hash.to_string()[..ID].to_owned(),
            name: wanted.name,
            user: wanted.user,
            scopes: wanted.scopes,
            push: wanted.push,
            created,
            expires: wanted.life.map(|life| created.saturating_add(life)),
            last_used: None,
        };
        let record = Record {
            about: about.clone(),
            hash,
        };
        file::change(&self.path, |tokens| {
            if tokens.iter().any(|other| other.about.name == record.about.name) {
                return Err(IssuedError::Taken(self.kind, record.about.name));
            }
            tokens.push(record);
            Ok(())
        })?;
        self.check();
        Ok(Created { about, token })
    }

    /// By id or name.
    pub fn revoke(&self, which: &str) -> Result<About, IssuedError> {
        let revoked = file::change(&self.path, |tokens| {
            let found = tokens
                .iter()
                .position(|record| record.about.id == which || record.about.name == which);
            let at = found.ok_or_else(|| IssuedError::Unknown(self.kind, which.to_owned()))?;
            Ok::<_, IssuedError>(tokens.remove(at).about)
        });
        self.check();
        revoked
    }

    /// Ends every token whose user is gone, for good: another who is given the name later is somebody else.
    pub fn end_with_users(&self, exists: impl Fn(&str) -> bool) {
        let is_gone = |about: &About| about.user.as_deref().is_some_and(|user| !exists(user));
        let Known::Tokens(table) = &**self.known.load() else {
            return;
        };
        if !table.by_id.values().any(|live| is_gone(&live.about)) {
            return;
        }
        let ended = file::change(&self.path, |tokens| {
            let gone = tokens.extract_if(.., |record| is_gone(&record.about));
            Ok::<_, FileError>(gone.map(|record| record.about).collect::<Vec<_>>())
        });
        match ended {
            Ok(ended) => {
                for About { id, name, user, .. } in ended {
                    tracing::warn!(
                        id,
                        name,
                        user,
                        "an access token ended with its user, who is in no file of users"
                    );
                }
            }
            Err(error) => tracing::error!(
                "access tokens of users who are gone can't be taken out, and would open again to others of their names: {error}"
            ),
        }
        self.check();
    }

    /// Reads the file again if it is another. One that can't be read opens nothing until it can.
    pub fn check(&self) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = Stamp::of(&self.path);
        let known = self.known.load();
        if stamp == *read && matches!(**known, Known::Tokens(_)) {
            return;
        }
        match file::read(&self.path) {
            Ok(tokens) => {
                self.had_any.fetch_or(!tokens.is_empty(), Ordering::Relaxed);
                let before = match &**known {
                    Known::Tokens(table) => Some(table),
                    Known::Unreadable => {
                        tracing::info!("{}s can be read again", self.kind);
                        None
                    }
                };
                self.known
                    .store(Arc::new(Known::Tokens(Table::new(tokens, before))));
            }
            Err(error) => {
                if stamp != *read {
                    tracing::error!("no {} is accepted: {error}", self.kind);
                }
                self.known.store(Arc::new(Known::Unreadable));
            }
        }
        *read = stamp;
    }

    /// Writes down when tokens were last used, if any was.
    pub fn note_uses(&self) {
        let known = self.known.load();
        let Known::Tokens(table) = &**known else {
            return;
        };
        let is_news = |about: &About, live: &Live| live.last_used() > about.last_used;
        if !table.by_id.values().any(|live| is_news(&live.about, live)) {
            return;
        }
        let noted = file::change(&self.path, |tokens| {
            for record in tokens.iter_mut() {
                if let Some(live) = table.by_id.get(&record.about.id) {
                    record.about.last_used = record.about.last_used.max(live.last_used());
                }
            }
            Ok::<_, FileError>(())
        });
        match noted {
            Ok(()) => self.check(),
            Err(error) => tracing::warn!("when {}s were last used can't be kept: {error}", self.kind),
        }
    }

    /// Sees what other processes change, and keeps when tokens were last used; for ever, or until `end`.
    pub async fn watch(self: Arc<Self>, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        let mut noted = tokio::time::Instant::now();
        loop {
            let (ended, note) = tokio::select! {
                () = &mut end => (true, true),
                () = tokio::time::sleep(CHECK) => (false, noted.elapsed() >= NOTE_USES),
            };
            if note {
                noted = tokio::time::Instant::now();
            }
            let issued = Arc::clone(&self);
            let done = tokio::task::spawn_blocking(move || {
                issued.check();
                if note {
                    issued.note_uses();
                }
            });
            if done.await.is_err() || ended {
                return;
            }
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl About {
    /// Its time is over.
    pub fn has_ended(&self) -> bool {
        self.is_over(now())
    }

    /// Also by a clock that says it was not made yet: that one is wrong, and nobody knows what else is over.
    fn is_over(&self, now: u64) -> bool {
        let Some(end) = self.expires else {
            return false;
        };
        end <= now || now.saturating_add(SKEW.as_secs()) < self.created
    }
}

impl Live {
    fn last_used(&self) -> Option<u64> {
        let used = self.used.load(Ordering::Relaxed);
        (used > 0).then_some(used).max(self.about.last_used)
    }
}

impl Table {
    /// Uses that were not written down yet go over from the table before.
    fn new(tokens: Vec<Record>, before: Option<&Self>) -> Self {
        let mut table = Self::default();
        for Record { about, hash } in tokens {
            let used = before
                .and_then(|before| before.by_id.get(&about.id))
                .map_or(0, |live| live.used.load(Ordering::Relaxed));
            let live = Arc::new(Live {
                about,
                used: AtomicU64::new(used),
            });
            table.by_id.insert(live.about.id.clone(), Arc::clone(&live));
            table.by_hash.insert(hash, live);
        }
        table
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let looks_like_id = name.len() == ID && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.len() <= 64
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
        && name.bytes().all(plain)
        && !looks_like_id
}

pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
