//! Who is asking, whether they may, and what may be presented upstream in their name.
//!
//! A [`Permit`] comes only from [`Access::authorise`], and every call of `pull` takes one. A client's credential is
//! typed with the registry it is for and can't be turned into one for another (threat S1).

pub mod accounts;
pub mod addresses;
pub mod backoff;
pub mod challenge;
pub mod decisions;
mod guesses;
mod identify;
pub mod identity;
pub mod issued;
pub mod limits;
pub mod login;
pub mod made_here;
pub mod network;
pub mod policy;
pub mod private;
mod remembered;
pub mod seal;
pub mod subject;
mod token_key;
pub mod tokens;
pub mod uploads;
pub mod users;
pub mod watched;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use accounts::{Account, Accounts};
pub use addresses::Addresses;
pub use decisions::Decisions;
pub use guesses::Guess;
pub use identity::Identity;
pub use limits::Limits;
pub use login::LoginKey;
pub use policy::{By, Policy};
pub use subject::{Subject, User};
pub use tokens::Tokens;

use self::guesses::Guesses;
use crate::oci::RegistryName;
use crate::route::{Auth, ChallengeWhen, Clients, Registry, Routes, Target};
use crate::upstream::{ClientSecret, Login, Right};

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
    /// For docxy's operator, who fetches for the cache and reads nothing: docxy's own account, or nobody's.
    pub fn of_operator(registry: &Registry) -> Self {
        match registry.auth {
            Auth::Configured => Self::Configured,
            Auth::Anonymous | Auth::Passthrough => Self::Try(Right::Anonymous),
        }
    }

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

/// What a client may present upstream, and which rule of the operator's let it.
#[derive(Clone, Debug)]
pub struct Authorised {
    pub permit: Permit,
    /// The client's name at the registry, where docxy saw it sign in there.
    pub user: Option<Box<str>>,
    pub by: By,
}

/// Why a client is turned away before anything is asked upstream; the text is what it is told.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("sign in first")]
    SignInFirst,
    /// What it presented is no sign-in of a user of docxy's: a wrong password, a token that ended.
    #[error("docxy does not know this user name and password, or token")]
    BadSignIn,
    /// It presented a token that is for something else: it is to fetch one for this.
    #[error("this token is not for this repository; sign in, and ask for a token for it")]
    OtherToken,
    /// The access token it signed in with is not for this. No other sign-in with it would be.
    #[error("this access token is not for this repository; docxy's operator can make one that is")]
    OutOfScope,
    /// It was made for pulling only.
    #[error(
        "this access token is for pulling; docxy's operator can make one that may push (docxy token create --push)"
    )]
    PullOnly,
    #[error("docxy can't check access tokens now; its operator finds the reason in its log")]
    Unreadable,
    /// The operator's rules keep it out. Signing in would not help.
    #[error("the rules of this docxy do not give you this; its operator can tell why")]
    Forbidden { by: By },
    /// Too many wrong passwords from this address, or too many to check.
    #[error("too many requests; try again in {} s", retry_after.as_secs().max(1))]
    NotNow { retry_after: Duration },
}

/// The rules of signing in.
#[derive(Debug)]
pub struct Access {
    tokens: Arc<Tokens>,
    accounts: Arc<Accounts>,
    guesses: Arc<Guesses>,
    grace: Duration,
    policy: Policy,
    decisions: Arc<Decisions>,
}

impl Access {
    /// Without rules. `grace` is how long a login counts, from when its registry accepted it, while that can't be asked.
    pub fn new(tokens: Tokens, accounts: Arc<Accounts>, grace: Duration) -> Self {
        Self {
            tokens: Arc::new(tokens),
            accounts,
            guesses: Arc::new(Guesses::new(grace)),
            grace,
            policy: Policy::default(),
            decisions: Arc::default(),
        }
    }

    /// With these; what they decide is remembered for the operator.
    #[must_use]
    pub fn ruled_by(self, policy: Policy, decisions: Arc<Decisions>) -> Self {
        Self {
            policy,
            decisions,
            ..self
        }
    }

    /// Under another configuration: tokens that were handed out stay good, and who guessed passwords is remembered.
    #[must_use]
    pub fn renewed(&self, accounts: Arc<Accounts>, policy: Policy, grace: Duration) -> Self {
        let guesses = if grace == self.grace {
            Arc::clone(&self.guesses)
        } else {
            Arc::new(Guesses::new(grace))
        };
        Self {
            tokens: Arc::clone(&self.tokens),
            accounts,
            guesses,
            grace,
            policy,
            decisions: Arc::clone(&self.decisions),
        }
    }

    /// The operator's rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What was granted and refused last.
    pub fn decisions(&self) -> &Arc<Decisions> {
        &self.decisions
    }

    /// Tokens handed out here.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// docxy's own users and access tokens.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// May this login be tried at the registry now?
    pub fn guess(&self, registry: &RegistryName, login: &Login, from: IpAddr) -> Result<Guess<'_>, Refusal> {
        let ClientSecret::Password(_) = &login.credential else {
            return Ok(Guess::none());
        };
        let (key, asked) = self.tokens.keys_of(registry, login);
        self.guesses.begin(key, asked, from)
    }

    /// Whether the operator's rules let this client, and what it may present to the target's registry. `can_challenge`
    /// tells whether asking it to sign in would help.
    pub fn authorise(
        &self,
        subject: &Subject,
        identity: &Identity,
        target: &Target,
        routes: &Routes,
        can_challenge: bool,
    ) -> Result<Authorised, Refusal> {
        let decision = self.policy.decide_target(subject, target);
        if !decision.allowed {
            // Whoever has not said who he is may be one whom the rules let.
            return Err(match (target.registry.clients, &subject.user) {
                (Clients::Users, None) => Refusal::SignInFirst,
                _ => Refusal::Forbidden { by: decision.by },
            });
        }
        let (permit, user) = self.presented(identity, subject.address, target, routes, can_challenge)?;
        Ok(Authorised {
            permit,
            user,
            by: decision.by,
        })
    }

    fn presented(
        &self,
        identity: &Identity,
        address: IpAddr,
        target: &Target,
        routes: &Routes,
        can_challenge: bool,
    ) -> Result<(Permit, Option<Box<str>>), Refusal> {
        let registry = &target.registry;
        match registry.auth {
            Auth::Configured => return Ok((Permit::Configured, None)),
            Auth::Anonymous => return Ok((Permit::Try(Right::Anonymous), None)),
            Auth::Passthrough => {}
        }
        let right = match identity {
            Identity::Nobody if registry.challenge == ChallengeWhen::Always && can_challenge => {
                return Err(Refusal::SignInFirst);
            }
            Identity::Token(token) => {
                let repository = target.endpoint.repository();
                let names_registry = target.door.names_registry();
                return Ok(self.tokens.permit(
                    token,
                    target.action,
                    &registry.name,
                    repository,
                    names_registry,
                ));
            }
            // Good only here, whichever registry it is shown to.
            Identity::Password(credential) if self.accounts.are_docxys(credential, address) => {
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
        Ok((Permit::Try(right), None))
    }
}
