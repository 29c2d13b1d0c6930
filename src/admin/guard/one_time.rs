//! The way in while there is no admin token yet: a text on the terminal that docxy was started from. It lives in memory
//! only, ends with the process, and is good for one token.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::access::issued::text::{self, Kind, TokenHash};
use crate::access::seal::NoRandom;
use crate::config::values::Secret;

/// None is valid until one is made.
#[derive(Debug, Default)]
pub(in crate::admin) struct OneTime(Mutex<Option<TokenHash>>);

impl OneTime {
    /// A new one; the only time that its text is seen.
    pub fn make(&self) -> Result<Secret<String>, NoRandom> {
        let text = text::generate(Kind::OneTime)?;
        *self.kept() = Some(text::hash(text.expose()));
        Ok(text)
    }

    pub fn is(&self, text: &str) -> bool {
        text::is_whole(Kind::OneTime, text) && *self.kept() == Some(text::hash(text))
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

    fn kept(&self) -> MutexGuard<'_, Option<TokenHash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
}
