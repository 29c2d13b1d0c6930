//! Who is asking, and what may be presented upstream in their name.
//!
//! A [`Permit`] comes only from [`Access::authorise`], and every call of `pull` takes one. A client's credential is
//! typed with the registry it is for and can't be turned into one for another (threat S1).

pub mod challenge;
pub mod identity;
pub mod seal;
pub mod tokens;

pub use identity::Identity;
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

/// The client has to sign in before anything is asked upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignInFirst;

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

    /// What this client may present to the target's registry. `can_challenge` tells whether asking it to sign in
    /// would help.
    pub fn authorise(
        &self,
        identity: &Identity,
        target: &Target,
        routes: &Routes,
        can_challenge: bool,
    ) -> Result<Permit, SignInFirst> {
        let registry = &target.registry;
        if registry.auth == Auth::Configured {
            return Ok(Permit::Configured);
        }
        let right = match identity {
            Identity::Nobody if registry.challenge == ChallengeWhen::Always && can_challenge => {
                return Err(SignInFirst);
            }
            Identity::Token(token) => self
                .tokens
                .right(token, &registry.name, target.endpoint.repository()),
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
