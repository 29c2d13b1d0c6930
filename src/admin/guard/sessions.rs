//! Browsers that were given a cookie for an admin token, and a key to it. In memory: a restart signs them out.
//!
//! A browser shows a host's cookies to whatever answers at any port of that host (RFC 6265 section 8.5): another program on
//! localhost sees it. The key is said once, in an answer's body, which only pages of the very listener can read, and comes back
//! in a header that no other one is sent.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::issued::text::{self, Kind, TokenHash};
use crate::access::seal::NoRandom;
use crate::config::values::Secret;

/// How long one lasts at most, and while nothing is asked with it.
pub(in crate::admin) const LONGEST: Duration = Duration::from_hours(12);
const IDLE: Duration = Duration::from_mins(30);
/// At once; the one that was silent longest goes.
const MOST: usize = 64;

#[derive(Debug, Default)]
pub(in crate::admin) struct Sessions(Mutex<HashMap<TokenHash, Row>>);

/// What a browser is given. Both are kept as hashes.
pub(in crate::admin) struct Given {
    pub cookie: Secret<String>,
    pub key: Secret<String>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::admin) struct Session {
    /// Of the cookie.
    hash: TokenHash,
    /// The id of the admin token that it was made for.
    pub token: String,
    /// Until it is over at the latest.
    pub left: Duration,
}

#[derive(Debug)]
struct Row {
    key: TokenHash,
    token: String,
    made: Instant,
    seen: Instant,
}

impl Sessions {
    pub fn begin(&self, token: &str) -> Result<Given, NoRandom> {
        let given = Given {
            cookie: text::generate(Kind::Session)?,
            key: text::generate(Kind::SessionKey)?,
        };
        let now = Instant::now();
        let mut rows = self.rows();
        rows.retain(|_, row| row.is_alive(now));
        if rows.len() >= MOST
            && let Some(oldest) = rows.iter().min_by_key(|(_, row)| row.seen).map(|(hash, _)| *hash)
        {
            rows.remove(&oldest);
        }
        rows.insert(
            text::hash(given.cookie.expose()),
            Row {
                key: text::hash(given.key.expose()),
                token: token.to_owned(),
                made: now,
                seen: now,
            },
        );
        Ok(given)
    }

    /// Finding it is a use. Without its key nobody finds it.
    pub fn find(&self, cookie: &str, key: &str) -> Option<Session> {
        let (now, hash) = (Instant::now(), text::hash(cookie));
        let mut rows = self.rows();
        let own = |row: &&mut Row| row.is_alive(now) && row.key == text::hash(key);
        let row = rows.get_mut(&hash).filter(own)?;
        row.seen = now;
        Some(Session {
            hash,
            token: row.token.clone(),
            left: LONGEST.saturating_sub(now - row.made),
        })
    }

    pub fn end(&self, session: &Session) {
        self.rows().remove(&session.hash);
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<TokenHash, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made) < LONGEST && now.saturating_duration_since(self.seen) < IDLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_browser_is_signed_out() {
        // A page left open on somebody's desk must not stay an administrator for ever, busy or not.
        let sessions = Sessions::default();
        let given = sessions.begin("a").unwrap();
        let find = |given: &Given| sessions.find(given.cookie.expose(), given.key.expose());
        for _ in 0..24 {
            tokio::time::advance(Duration::from_mins(29)).await;
            assert!(find(&given).is_some());
        }
        // 11 h 36 min: the end comes whatever it does.
        tokio::time::advance(Duration::from_mins(25)).await;
        assert!(find(&given).is_none());
        let given = sessions.begin("a").unwrap();
        tokio::time::advance(Duration::from_mins(30)).await;
        assert!(find(&given).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_only_so_many() {
        // A script that signs in at each call must not fill the memory.
        let sessions = Sessions::default();
        let first = sessions.begin("a").unwrap();
        for _ in 0..MOST {
            tokio::time::advance(Duration::from_secs(1)).await;
            sessions.begin("b").unwrap();
        }
        assert_eq!(sessions.rows().len(), MOST);
        assert!(sessions.find(first.cookie.expose(), first.key.expose()).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cookie_without_its_key_neither_opens_nor_prolongs() {
        // Who has taken a cookie must not keep a forgotten session alive with it until he finds the rest.
        let sessions = Sessions::default();
        let (given, other) = (sessions.begin("a").unwrap(), sessions.begin("a").unwrap());
        for _ in 0..3 {
            tokio::time::advance(Duration::from_mins(10)).await;
            for key in ["", given.cookie.expose(), other.key.expose()] {
                assert!(sessions.find(given.cookie.expose(), key).is_none());
            }
        }
        assert!(sessions.find(given.cookie.expose(), given.key.expose()).is_none());
    }
}
