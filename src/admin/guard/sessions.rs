//! Browsers that were given a cookie for an admin token. In memory: a restart signs them out.

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

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::admin) struct Session {
    key: TokenHash,
    /// The id of the admin token that it was made for.
    pub token: String,
    /// Until it is over at the latest.
    pub left: Duration,
}

#[derive(Debug)]
struct Row {
    token: String,
    made: Instant,
    seen: Instant,
}

impl Sessions {
    /// The text of the cookie, which is kept as a hash.
    pub fn begin(&self, token: &str) -> Result<Secret<String>, NoRandom> {
        let text = text::generate(Kind::Session)?;
        let now = Instant::now();
        let mut rows = self.rows();
        rows.retain(|_, row| row.is_alive(now));
        if rows.len() >= MOST
            && let Some(oldest) = rows.iter().min_by_key(|(_, row)| row.seen).map(|(key, _)| *key)
        {
            rows.remove(&oldest);
        }
        rows.insert(
            text::hash(text.expose()),
            Row {
                token: token.to_owned(),
                made: now,
                seen: now,
            },
        );
        Ok(text)
    }

    /// Finding it is a use.
    pub fn find(&self, key: &TokenHash) -> Option<Session> {
        let now = Instant::now();
        let mut rows = self.rows();
        let row = rows.get_mut(key).filter(|row| row.is_alive(now))?;
        row.seen = now;
        Some(Session {
            key: *key,
            token: row.token.clone(),
            left: LONGEST.saturating_sub(now - row.made),
        })
    }

    pub fn end(&self, session: &Session) {
        self.rows().remove(&session.key);
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
        let text = sessions.begin("a").unwrap();
        let key = text::hash(text.expose());
        for _ in 0..24 {
            tokio::time::advance(Duration::from_mins(29)).await;
            assert!(sessions.find(&key).is_some());
        }
        // 11 h 36 min: the end comes whatever it does.
        tokio::time::advance(Duration::from_mins(25)).await;
        assert!(sessions.find(&key).is_none());
        let text = sessions.begin("a").unwrap();
        tokio::time::advance(Duration::from_mins(30)).await;
        assert!(sessions.find(&text::hash(text.expose())).is_none());
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
        assert!(sessions.find(&text::hash(first.expose())).is_none());
    }
}
