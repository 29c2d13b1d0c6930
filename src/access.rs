//! Who is asking, whether they may, and what may be presented upstream in their name.
//!
//! A [`Permit`] comes only from [`Access::authorise`], and every call of `pull` takes one. A client's credential is
//! typed with the registry it is for and can't be turned into one for another (threat S1).

pub mod challenge;
pub mod identity;
pub mod login;
pub mod seal;
pub mod subject;
mod token_key;
pub mod tokens;

use std::net::IpAddr;
use std::time::Duration;

pub use identity::Identity;
pub use login::LoginKey;
pub use subject::{Subject, User};
pub use tokens::Tokens;

use crate::route::{Auth, ChallengeWhen, Clients, Routes, Target};
use crate::upstream::Right;

/// Proof that this request may be asked upstream, and with what.
#[derive(Clone, Debug)]
pub enum Permit {
    /// The registry is asked with the operator's credential.
    Configured,
    /// The registry itself decides about this right.
    Try(Right),
    /// The same, with a token that this login asked for in the name of this repository.
    TryFor(Right, LoginKey),
}

impl Permit {
    /// A keyed hash of the login whose other tokens can do the same, if there is one.
    pub fn login(&self) -> Option<[u8; 32]> {
        match self {
            Self::TryFor(_, login) => Some(*login.as_bytes()),
            Self::Configured | Self::Try(_) => None,
        }
    }

    /// What is presented upstream.
    pub fn right(&self) -> &Right {
        match self {
            Self::Configured => &Right::Configured,
            Self::Try(right) | Self::TryFor(right, _) => right,
        }
    }
}

/// Why a client is turned away before anything is asked upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It has to sign in.
    SignInFirst,
    /// What it presented is no sign-in of a user of docxy's: a wrong password, a token that ended.
    BadSignIn,
    /// Not now: too many wrong passwords from this address, or too many to check.
    NotNow { retry_after: Duration },
}

/// The rules of signing in.
#[derive(Debug)]
pub struct Access {
    tokens: Tokens,
}

impl Access {
    pub fn new(tokens: Tokens) -> Self {
        Self { tokens }
    }

    /// Tokens handed out here.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Who this is to docxy. Only where a registry is for docxy's own users does it look at what was presented; elsewhere
    /// that is the registry's business.
    #[expect(clippy::unused_async, reason = "checking a password takes a while")]
    pub async fn identify(
        &self,
        _identity: &Identity,
        target: &Target,
        address: IpAddr,
    ) -> Result<Subject, Refusal> {
        match target.registry.clients {
            Clients::Users => Err(Refusal::SignInFirst),
            Clients::Open | Clients::Passthrough => Ok(Subject { user: None, address }),
        }
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
            Identity::Token(token) => {
                return Ok(self
                    .tokens
                    .permit(token, &registry.name, target.endpoint.repository()));
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
