//! Who is asking, whether they may, and what may be presented upstream in their name.
//!
//! A [`Permit`] comes only from [`Access::authorise`], and every call of `pull` takes one. A client's credential is
//! typed with the registry it is for and can't be turned into one for another (threat S1).

pub mod accounts;
pub mod challenge;
mod identify;
pub mod identity;
pub mod issued;
pub mod private;
pub mod seal;
pub mod subject;
pub mod tokens;
pub mod users;
pub mod watched;

use std::sync::Arc;
use std::time::Duration;

pub use accounts::Accounts;
pub use identity::Identity;
pub use subject::{Subject, User};
pub use tokens::Tokens;

use crate::route::{Auth, ChallengeWhen, Routes, Target};
use crate::upstream::Right;

/// Proof that this request may be asked upstream, and with what.
#[derive(Clone, Debug)]
pub enum Permit {
    /// The registry is asked with the operator's credential.
    Configured,
    /// The registry itself decides about this right.
    Try(Right),
}

impl Permit {
    /// What is presented upstream.
    pub fn right(&self) -> &Right {
        match self {
            Self::Configured => &Right::Configured,
            Self::Try(right) => right,
        }
    }
}

/// Why a client is turned away before anything is asked upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It has to sign in.
    SignInFirst,
    /// What it presented is no sign-in of a user of docxy's: a wrong password, a token that ended.
    BadSignIn,
    /// It presented a token that is for something else: it is to fetch one for this.
    OtherToken,
    /// The access token it signed in with is not for this. No other sign-in with it would be.
    OutOfScope,
    /// docxy can't read which access tokens there are, so it accepts none.
    Unreadable,
    /// Not now: too many wrong passwords from this address, or too many to check.
    NotNow { retry_after: Duration },
}

/// The rules of signing in.
#[derive(Debug)]
pub struct Access {
    tokens: Tokens,
    accounts: Arc<Accounts>,
}

impl Access {
    pub fn new(tokens: Tokens, accounts: Arc<Accounts>) -> Self {
        Self { tokens, accounts }
    }

    /// Tokens handed out here.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// docxy's own users and access tokens.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// What this client may present to the target's registry. `can_challenge` tells whether asking it to sign in
    /// would help.
    pub fn authorise(
        &self,
        _subject: &Subject,
        identity: &Identity,
        target: &Target,
        routes: &Routes,
        can_challenge: bool,
    ) -> Result<Permit, Refusal> {
        let registry = &target.registry;
        match registry.auth {
            Auth::Configured => return Ok(Permit::Configured),
            Auth::Anonymous => return Ok(Permit::Try(Right::Anonymous)),
            Auth::Passthrough => {}
        }
        let right = match identity {
            Identity::Nobody if registry.challenge == ChallengeWhen::Always && can_challenge => {
                return Err(Refusal::SignInFirst);
            }
            Identity::Token(token) => self
                .tokens
                .right(token, &registry.name, target.endpoint.repository()),
            // Made here and good only here, whichever registry it is shown to.
            Identity::Password(credential) if accounts::access_token(credential).is_some() => {
                Right::Anonymous
            }
            Identity::Password(credential)
                if target.door.names_registry() || routes.login_is_for(registry) =>
            {
                Right::Basic {
                    registry: registry.name.clone(),
                    credential: credential.clone(),
                }
            }
            Identity::Nobody | Identity::Password(_) => Right::Anonymous,
        };
        Ok(Permit::Try(right))
    }
}
