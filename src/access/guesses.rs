//! Passwords that people try at registries through docxy. docxy must be no way to guess them: to the registry all of it
//! comes from one address, which it would close to everyone, or from an address that it trusts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Refusal;
use super::backoff::{Attempt, BackOff, Held};
use super::network::Network;
use super::remembered::{Key, Remembered, Until};

/// How long what a registry refused is not asked again.
const REFUSED: Duration = Duration::from_mins(1);

/// One for all registries.
#[derive(Debug)]
pub struct Guesses {
    back_off: Arc<BackOff>,
    remembered: Remembered,
    /// By login and scopes: a registry may refuse a right password one thing and give it another.
    refused: Until<Key>,
}

/// A login on its way to its registry. It must be told what the registry said; dropped, it said nothing.
#[derive(Debug)]
pub struct Guess<'a>(Option<Tried<'a>>);

#[derive(Debug)]
struct Tried<'a> {
    all: &'a Guesses,
    /// None: the address has to wait, and brings what was right there before.
    attempt: Option<Attempt>,
    from: Network,
    login: Key,
    asked: Key,
}

impl Guesses {
    /// Right passwords are remembered for `life`: for so long their owners are not held up by others at their address.
    pub fn new(life: Duration) -> Self {
        Self {
            back_off: Arc::new(BackOff::of_others()),
            remembered: Remembered::new(life),
            refused: Until::new(REFUSED),
        }
    }

    /// May this password be tried? `login` is a keyed hash of registry, name and password, `asked` one of these and of
    /// what they are to open.
    pub fn begin(&self, login: Key, asked: Key, from: IpAddr) -> Result<Guess<'_>, Refusal> {
        if self.refused.end(&asked).is_some() {
            return Err(Refusal::BadSignIn);
        }
        let from = Network::of(from);
        let attempt = match self.back_off.begin(from) {
            Ok(attempt) => Some(attempt),
            Err(_) if self.back_off.may_look(from) && self.remembered.knows_from(&login, from) => None,
            Err(Held::Waits { retry_after } | Held::Busy { retry_after }) => {
                self.back_off.looked_in_vain(from);
                return Err(Refusal::NotNow { retry_after });
            }
        };
        Ok(Guess(Some(Tried {
            all: self,
            attempt,
            from,
            login,
            asked,
        })))
    }
}

impl Guess<'_> {
    /// Nothing that anybody could guess: a token.
    pub fn none() -> Self {
        Self(None)
    }

    pub fn right(self) {
        let Some(tried) = self.0 else { return };
        if let Some(attempt) = &tried.attempt {
            attempt.right();
        }
        tried.all.remembered.keep(tried.login, tried.from);
    }

    /// The registry refused it. That is no guess where it accepted the same a while ago: then it is about the scopes.
    pub fn wrong(self) {
        if let Some(Tried { all, asked, .. }) = &self.0 {
            all.refused.insert(*asked, Instant::now() + REFUSED);
        }
        self.unproved();
    }

    /// The registry can't say, and docxy does not know it to be right: told apart from a right one, it is a guess too.
    pub fn unproved(self) {
        let Some(Tried { all, from, login, .. }) = self.0 else {
            return;
        };
        if !all.remembered.knows_from(&login, from) && all.remembered.refuse(login, from) {
            all.back_off.wrong(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn wrong(guesses: &Guesses, number: u8) -> Result<(), Refusal> {
        guesses.begin([number; 32], [number; 32], HOME).map(Guess::wrong)
    }

    #[tokio::test(start_paused = true)]
    async fn a_guesser_at_a_registry_waits_and_who_is_known_there_does_not() {
        // A registry that sees ten thousand wrong passwords from docxy closes to everybody behind docxy.
        let guesses = Guesses::new(Duration::from_hours(1));
        let alice = || guesses.begin([200; 32], [200; 32], HOME);
        alice().expect("a try").right();
        for number in 0..5 {
            assert_eq!(wrong(&guesses, number), Ok(()));
        }
        assert!(matches!(wrong(&guesses, 5), Err(Refusal::NotNow { .. })));
        alice().expect("she is known there").right();
        let elsewhere = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
        assert!(guesses.begin([5; 32], [5; 32], elsewhere).is_ok());
        let mut asked = 0;
        let begin = Instant::now();
        for number in 6..=255 {
            while let Err(Refusal::NotNow { retry_after }) = wrong(&guesses, number) {
                advance(retry_after).await;
            }
            asked += 1;
            if begin.elapsed() > Duration::from_hours(1) {
                break;
            }
        }
        println!("one address guesses at a registry for an hour: {asked} passwords reach it");
        assert!(asked < 70, "{asked}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_refused_password_is_asked_once_a_minute_and_counts_once() {
        // A robot with an old password pulls every second: the registry sees one request a minute, and nobody else waits.
        let guesses = Guesses::new(Duration::from_hours(1));
        let mut asked = 0;
        for _ in 0..14 * 60 {
            asked += usize::from(wrong(&guesses, 1).is_ok());
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(asked, 14);
        for number in 2..6 {
            assert_eq!(wrong(&guesses, number), Ok(()));
        }
        assert!(matches!(wrong(&guesses, 6), Err(Refusal::NotNow { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_password_that_is_refused_a_scope_is_no_guess() {
        // Alice asks for an image of another team: she is refused that, and nothing else.
        let guesses = Guesses::new(Duration::from_hours(1));
        let alice = |asked: u8| guesses.begin([200; 32], [asked; 32], HOME);
        alice(0).expect("a try").right();
        for forbidden in 1..50 {
            alice(forbidden).expect("a try").wrong();
            assert_eq!(alice(forbidden).err(), Some(Refusal::BadSignIn), "for a minute");
        }
        alice(0).expect("a try").right();
        assert_eq!(wrong(&guesses, 100), Ok(()), "nobody has to wait");
    }
}
