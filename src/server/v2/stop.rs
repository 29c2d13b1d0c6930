//! Why a client gets nothing, and what it is told.

use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::Asker;
use crate::access::challenge::{Again, bearer};
use crate::access::{By, Identity, Permit, Refusal};
use crate::oci::{Action, Code};
use crate::pull::{self, Error, Outcome};
use crate::route::Target;
use crate::server::error::Problem;
use crate::server::push;
use crate::upstream::Failure;

const NO_SIGN_IN: &str = "Signing in is not possible under this address: set public_url in docxy.toml to the https:// \
                          address of this docxy (or allow_plain_login = true for http://)";

/// Why there is nothing from upstream.
pub(in crate::server) enum Stop {
    /// docxy answered itself.
    Own(Box<Response>),
    Refused(Box<Refused>),
}

pub(in crate::server) struct Refused {
    pub(super) problem: Problem,
    pub(super) outcome: Outcome,
    pub(super) upstream_status: Option<StatusCode>,
}

impl Stop {
    pub(super) fn denied(problem: Problem, upstream_status: Option<StatusCode>) -> Self {
        Self::refused(problem, Outcome::Denied, upstream_status)
    }

    pub(super) fn is_denial(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.outcome == Outcome::Denied)
    }

    pub(in crate::server) fn refused(
        problem: Problem,
        outcome: Outcome,
        upstream_status: Option<StatusCode>,
    ) -> Self {
        Self::Refused(Box::new(Refused {
            problem,
            outcome,
            upstream_status,
        }))
    }
}

impl<P: Into<Problem>> From<P> for Stop {
    fn from(problem: P) -> Self {
        let problem = problem.into();
        let outcome = Outcome::Failed(pull::Blame::Client);
        Self::Refused(Box::new(Refused {
            problem,
            outcome,
            upstream_status: None,
        }))
    }
}

impl Asker<'_> {
    /// What a client is told that docxy itself turns away.
    pub(in crate::server) fn turn_away(&self, refusal: Refusal) -> Stop {
        self.parts.count_refusal(&refusal);
        let again = match &refusal {
            Refusal::SignInFirst => Again::No,
            Refusal::BadSignIn => Again::InvalidToken,
            Refusal::OtherToken => Again::InsufficientScope,
            Refusal::Forbidden { by } => return Stop::denied(Problem::forbidden(self.rule(*by)), None),
            Refusal::OutOfScope | Refusal::PullOnly => return Stop::denied(refusal.into(), None),
            Refusal::Unreadable | Refusal::NotNow { .. } => return Problem::from(refusal).into(),
        };
        self.sign_in(again, &refusal.to_string(), None)
    }

    /// The rule that keeps a client out, for the log.
    fn rule(&self, by: By) -> String {
        let comment = match by {
            By::Rule(position) => self.parts.access.policy().rules()[position].comment.as_deref(),
            By::NoRule | By::NoneMatched => None,
        };
        match comment {
            Some(comment) => format!("{by} of [[access.rules]] denies it: {comment}"),
            None if by == By::NoneMatched => "no allow of [[access.rules]] is for it".to_owned(),
            None => format!("{by} of [[access.rules]] denies it"),
        }
    }

    /// What a client is told when a pull failed. Denials of every kind are asked to sign in where that can help; so
    /// is a client without credentials when the anonymous rate limit is used up, because it may have its own.
    pub(in crate::server) fn refuse(&self, identity: &Identity, permit: &Permit, error: Error) -> Stop {
        let name = &self.target.registry.name;
        let upstream_status = error.upstream_status();
        let passthrough = !matches!(permit, Permit::Configured);
        match error.own() {
            Error::Upstream(Failure::Denied { .. }) | Error::NotShown { .. } if passthrough => {
                let again = match identity {
                    Identity::Nobody => Again::No,
                    _ => Again::InsufficientScope,
                };
                let message = match identity {
                    Identity::Nobody => format!("{name} does not give this to anonymous clients; sign in"),
                    _ => format!("{name} does not give this to you, or does not have it"),
                };
                self.sign_in(again, &message, upstream_status)
            }
            _ if error.is_rate_limit()
                && passthrough
                && *identity == Identity::Nobody
                && self.realm().is_some() =>
            {
                let message =
                    format!("the anonymous rate limit of {name} is used up; sign in to use your own");
                self.sign_in(Again::No, &message, upstream_status)
            }
            Error::CatalogNeedsOwnRight { .. } if passthrough => {
                let again = if *identity == Identity::Nobody {
                    Again::No
                } else {
                    Again::InsufficientScope
                };
                self.sign_in(again, &error.to_string(), None)
            }
            _ if error.is_rate_limit() && self.target.action == Action::Pull => {
                let registry = &self.target.registry;
                refused_as(error, |problem| {
                    problem.under(registry.when_limited, &self.target.endpoint)
                })
            }
            _ => refused(error),
        }
    }

    /// 401 where the client can be told a realm it can trust, else 403.
    pub(in crate::server) fn sign_in(
        &self,
        again: Again,
        message: &str,
        upstream_status: Option<StatusCode>,
    ) -> Stop {
        let challenge = self.realm().and_then(|realm| bearer(realm, self.target, again));
        let problem = if let Some(challenge) = challenge {
            Problem::challenge(challenge, message)
        } else {
            self.hint_once();
            Problem::denied(format!("{message}. {NO_SIGN_IN}"))
        };
        Stop::denied(problem, upstream_status)
    }

    /// Tells the operator, once, what his clients will not: how signing in is turned on.
    fn hint_once(&self) {
        self.parts
            .sign_in_hint
            .call_once(|| tracing::warn!("a client was refused: {NO_SIGN_IN}"));
    }

    /// `Authorization` that nobody can read.
    pub(super) fn unreadable(&self, why: &str) -> Stop {
        match self
            .realm()
            .and_then(|realm| bearer(realm, self.target, Again::InvalidToken))
        {
            Some(challenge) => Stop::denied(Problem::challenge(challenge, why), None),
            None => Problem::new(StatusCode::BAD_REQUEST, Code::Unauthorized, why).into(),
        }
    }
}

pub(in crate::server) fn refused(error: Error) -> Stop {
    refused_as(error, |problem| problem)
}

fn refused_as(error: Error, shown: impl FnOnce(Problem) -> Problem) -> Stop {
    let (outcome, upstream_status) = (error.outcome(), error.upstream_status());
    Stop::Refused(Box::new(Refused {
        problem: shown(error.into()),
        outcome,
        upstream_status,
    }))
}

/// 405: nobody writes here, or not so.
pub(super) fn not_allowed(target: Option<&Target>) -> Problem {
    let registry = target.map(|target| &*target.registry);
    let mut problem = match registry {
        Some(registry) if !registry.push => push::is_off(registry),
        _ => {
            let message = "this can't be done with that here";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message)
        }
    };
    let allow = target.map_or(HeaderValue::from_static("GET, HEAD"), |target| {
        push::allow(&target.endpoint, registry)
    });
    problem.headers.push((header::ALLOW, allow));
    problem
}
