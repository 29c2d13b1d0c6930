//! The way in while there is no admin token yet: a text on the terminal that docxy was started from, or in the journal. It
//! lives in memory only, for an hour, and is good for one token: who reads logs later must find nothing in them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::access::issued::text::{self, Kind, TokenHash};
use crate::access::seal::NoRandom;
use crate::config::values::Secret;

/// From when it is made.
const LIFE: Duration = Duration::from_hours(1);

/// None is valid until one is made.
#[derive(Debug, Default)]
pub(in crate::admin) struct OneTime(Mutex<Option<(TokenHash, Instant)>>);

impl OneTime {
    /// A new one; the only time that its text is seen.
    pub fn make(&self) -> Result<Secret<String>, NoRandom> {
        let text = text::generate(Kind::OneTime)?;
        *self.kept() = Some((text::hash(text.expose()), Instant::now()));
        Ok(text)
    }

    pub fn is(&self, text: &str) -> bool {
        text::is_whole(Kind::OneTime, text)
            && self
                .kept()
                .as_ref()
                .is_some_and(|(hash, _)| *hash == text::hash(text))
    }

    /// Ends it, if `work` succeeds; none that is used a second time meanwhile gets that far.
    pub fn spend<T, E>(&self, work: impl FnOnce() -> Result<T, E>) -> Option<Result<T, E>> {
        let mut kept = self.kept();
        kept.as_ref()?;
        let done = work();
        if done.is_ok() {
            *kept = None;
        }
        Some(done)
    }

    /// There is another way in now.
    pub fn end(&self) {
        *self.kept() = None;
    }

    /// What counts now.
    fn kept(&self) -> MutexGuard<'_, Option<(TokenHash, Instant)>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|(_, made)| made.elapsed() >= LIFE) {
            *kept = None;
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_good_for_one_token() {
        // What stands in a terminal's history must open nothing later.
        let one_time = OneTime::default();
        assert!(!one_time.is("") && one_time.spend(|| Ok::<_, ()>(())).is_none());
        let text = one_time.make().unwrap();
        assert!(one_time.is(text.expose()));
        assert!(!one_time.is(&text.expose()[1..]));
        // A name that was no good is no use.
        assert_eq!(one_time.spend(|| Err::<(), _>("name")), Some(Err("name")));
        assert!(one_time.is(text.expose()));
        assert_eq!(one_time.spend(|| Ok::<_, ()>(7)), Some(Ok(7)));
        assert!(!one_time.is(text.expose()));
        assert!(one_time.spend(|| Ok::<_, ()>(7)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_within_the_hour() {
        // Whoever may read the journal a month later must not become an administrator.
        let one_time = OneTime::default();
        let text = one_time.make().unwrap();
        tokio::time::advance(Duration::from_mins(59)).await;
        assert!(one_time.is(text.expose()));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(!one_time.is(text.expose()) && one_time.spend(|| Ok::<_, ()>(())).is_none());
    }
}
