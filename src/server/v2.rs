//! The distribution API.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::Shared;
use super::error::Problem;
use super::{held, proxied, push};
use crate::access::challenge::{Again, Realm, bearer};
use crate::access::decisions::Verdict;
use crate::access::limits::{Pass, Who};
use crate::access::{Account, Authorised, By, Identity, Permit, Refusal, Subject};
use crate::oci::range::RangeHeader;
use crate::oci::{Action, Code, Endpoint};
use crate::pull::{self, CONDITIONS, Error, Outcome, Pulled, Wishes};
use crate::route::{Clients, Target, Visit};
use crate::serve::conditions;
use crate::serve::file::Direct;
use crate::serve::headers::{OCI_NAMESPACE, X_CACHE};
use crate::telemetry::metrics::Denial;
use crate::telemetry::{Record, traces};
use crate::upstream::{Failure, Method as Upstream};

const NO_SIGN_IN: &str = "Signing in is not possible under this address: set public_url in docxy.toml to the https:// \
                          address of this docxy (or allow_plain_login = true for http://)";

/// Everything under `/v2`. A pull has no body: whatever comes with one is not read.
pub async fn handle(
    parts: &Shared,
    request: &Parts,
    body: Option<Body>,
    visit: &Visit,
    record: &Record,
) -> Response {
    let note = |outcome: Outcome, error: Option<String>, upstream: Option<StatusCode>| {
        record.note(|facts| {
            facts.outcome = Some(outcome.as_str());
            facts.error = error;
            facts.upstream_status = upstream;
        });
    };
    let mut pass = None;
    let mut result = answer(parts, request, body, visit, record, &mut pass).await;
    if pass.is_none() {
        // Refused before anybody knew whose it was: it goes on the address's account.
        match parts.enter(Who::at(visit.client)) {
            Ok(counted) => pass = Some(counted),
            Err(problem) => result = Err(Stop::denied(problem, None)),
        }
    }
    let response = match result {
        Ok(pulled) => {
            note(pulled.outcome, None, pulled.upstream_status);
            let mut response = pulled.response;
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, pulled.cache.header());
            response
                .headers_mut()
                .insert(X_CACHE, HeaderValue::from_static(pulled.outcome.as_str()));
            response
        }
        Err(Stop::Own(response)) => {
            note(Outcome::Own, None, None);
            *response
        }
        Err(Stop::Refused(refused)) => {
            let Refused {
                problem,
                outcome,
                upstream_status,
            } = *refused;
            note(outcome, Some(problem.for_log().to_owned()), upstream_status);
            problem.into_response()
        }
    };
    held::hold(response, pass.unwrap_or_default())
}

/// Why there is nothing from upstream.
pub(super) enum Stop {
    /// docxy answered itself.
    Own(Box<Response>),
    Refused(Box<Refused>),
}

pub(super) struct Refused {
    problem: Problem,
    outcome: Outcome,
    upstream_status: Option<StatusCode>,
}

/// A client that may ask, and with what.
pub(super) struct Admitted {
    pub(super) subject: Subject,
    pub(super) permit: Permit,
}

impl Stop {
    fn denied(problem: Problem, upstream_status: Option<StatusCode>) -> Self {
        Self::refused(problem, Outcome::Denied, upstream_status)
    }

    fn is_denial(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.outcome == Outcome::Denied)
    }

    pub(super) fn refused(problem: Problem, outcome: Outcome, upstream_status: Option<StatusCode>) -> Self {
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

/// `pass` is filled in as soon as it is known on whose account the request goes.
async fn answer(
    parts: &Shared,
    request: &Parts,
    body: Option<Body>,
    visit: &Visit,
    record: &Record,
    pass: &mut Option<Pass>,
) -> Result<Pulled, Stop> {
    let method = match request.method {
        Method::GET => Some(Upstream::Get),
        Method::HEAD => Some(Upstream::Head),
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => None,
        _ => return Err(not_allowed(None).into()),
    };
    let (path, query) = (request.uri.path(), request.uri.query());
    let step = traces::span("route");
    let target = parts.routes.resolve(visit, path, query);
    drop(step);
    let target = target?;
    let action = push::action(&request.method, &target.endpoint);
    let target = match action {
        Some(action) => target.to(action),
        None => target,
    };
    record.note(|facts| {
        facts.door = Some(target.door.as_str());
        facts.registry = Some(target.registry.name.clone());
        facts.repository = target.endpoint.repository().cloned();
        facts.kind = Some(kind(&target.endpoint));
    });
    let asker = Asker {
        parts,
        target: &target,
        visit,
        by_proxy: proxied::account(request),
    };
    let mut result = match (Identity::of(&request.headers), wishes(request)) {
        _ if action.is_none() && (method.is_none() || matches!(target.endpoint, Endpoint::Upload(_))) => {
            Err(not_allowed(Some(&target)).into())
        }
        _ if action.is_some() && !target.registry.push => Err(not_allowed(Some(&target)).into()),
        (Err(error), _) => Err(asker.unreadable(&error.to_string())),
        (Ok(identity), _) if action.is_some() => {
            Box::pin(asker.push(request, body, record, &identity, pass)).await
        }
        (Ok(identity), _) if target.endpoint == Endpoint::Base => {
            match asker.enter(Who::at(visit.client), pass) {
                Ok(()) => {
                    let stop = Box::pin(asker.base(&identity)).await;
                    if stop.is_denial() {
                        parts.metrics.denied.inc(Denial::SignInFirst);
                    }
                    Err(stop)
                }
                Err(problem) => Err(Stop::denied(problem, None)),
            }
        }
        (Ok(_), Err(problem)) => Err(problem.into()),
        (Ok(identity), Ok(wishes)) => {
            let method = method.unwrap_or(Upstream::Head);
            asker.content(record, &identity, method, wishes, pass).await
        }
    };
    if let Ok(pulled) = &result
        && action.is_none()
        && !conditions::matches(&request.headers, pulled.response.headers())
    {
        result = Err(Problem::unmet().into());
    }
    if let (Some(predecessor), Ok(pulled)) = (&parts.config.predecessor, &mut result) {
        predecessor.mark(&target.endpoint, pulled.outcome, pulled.response.headers_mut());
    }
    if let Some(namespace) = &target.namespace
        && let Ok(value) = HeaderValue::from_str(namespace.as_str())
    {
        match &mut result {
            Ok(pulled) => {
                pulled.response.headers_mut().insert(OCI_NAMESPACE, value);
            }
            Err(Stop::Own(response)) => {
                response.headers_mut().insert(OCI_NAMESPACE, value);
            }
            Err(Stop::Refused(refused)) => refused.problem.headers.push((OCI_NAMESPACE, value)),
        }
    }
    result
}

/// One request's target, and what its client can be asked for.
pub(super) struct Asker<'a> {
    pub(super) parts: &'a Shared,
    pub(super) target: &'a Target,
    pub(super) visit: &'a Visit,
    /// Who signed in to docxy as a proxy.
    pub(super) by_proxy: Option<&'a Account>,
}

impl Asker<'_> {
    /// Where the client could sign in. On docxy's way as a proxy it is the registry's own token service, whose place docxy
    /// takes too, as soon as the registry has named it.
    pub(super) fn realm(&self) -> Option<Realm> {
        if self.visit.proxied.is_none() {
            let base = self.parts.routes.origins().sign_in_base(self.visit)?;
            return Some(Realm::own(&base, self.target));
        }
        // Whoever came by TLS is not sent elsewhere with his password in plain text (threat S1).
        let theirs = self.parts.proxied_realm(&self.target.registry);
        let theirs = theirs.filter(|realm| !self.visit.secure || realm.url.starts_with("https://"));
        theirs.or_else(|| {
            let scheme = if self.visit.secure { "https" } else { "http" };
            let host = self.visit.host.as_ref()?.authority();
            Some(Realm::own(&format!("{scheme}://{host}"), self.target))
        })
    }

    /// What is behind the name, for those who may have it. Who that was, and what came of it, is noted for the operator.
    async fn content(
        &self,
        record: &Record,
        identity: &Identity,
        method: Upstream,
        wishes: Wishes,
        pass: &mut Option<Pass>,
    ) -> Result<Pulled, Stop> {
        let mut subject = self.stranger();
        let result = match self.permitted(&mut subject, record, identity, pass).await {
            Ok(permit) => match self.parts.pull.get(&permit, self.target, method, &wishes).await {
                Ok(pulled) => Ok(pulled),
                Err(error) => {
                    let stop = self.refuse(identity, &permit, error);
                    if stop.is_denial() {
                        self.parts.metrics.denied.inc(Denial::Registry);
                    }
                    Err(stop)
                }
            },
            Err(stop) => Err(stop),
        };
        self.remember(&subject, &result);
        result
    }

    /// Who it is, and what may be asked in his name.
    pub(super) async fn admit(
        &self,
        record: &Record,
        identity: &Identity,
        pass: &mut Option<Pass>,
    ) -> Result<Admitted, Stop> {
        let mut subject = self.stranger();
        let permit = self.permitted(&mut subject, record, identity, pass).await?;
        Ok(Admitted { subject, permit })
    }

    fn stranger(&self) -> Subject {
        Subject {
            user: None,
            address: self.visit.client,
        }
    }

    async fn permitted(
        &self,
        subject: &mut Subject,
        record: &Record,
        identity: &Identity,
        pass: &mut Option<Pass>,
    ) -> Result<Permit, Stop> {
        let _step = traces::span("access");
        let can_challenge = self.target.challenges_everyone() && self.realm().is_some();
        let access = &self.parts.access;
        let waiting = self.wait(identity, pass)?;
        *subject = access
            .identify(identity, self.target, self.visit.client, self.by_proxy)
            .await
            .map_err(|refusal| self.turn_away(refusal))?;
        drop(waiting);
        if let Some(user) = &subject.user {
            record.note(|facts| facts.user = Some(user.name.clone()));
        }
        self.enter(Who::of(subject), pass)
            .map_err(|problem| Stop::denied(problem, None))?;
        let authorised = access.authorise(subject, identity, self.target, &self.parts.routes, can_challenge);
        let by = match &authorised {
            Ok(authorised) => Some(authorised.by),
            Err(Refusal::Forbidden { by }) => Some(*by),
            Err(_) => None,
        };
        if let Some(by) = by.filter(|_| !access.policy().is_empty()) {
            record.note(|facts| facts.rule = Some(by.word()));
        }
        let Authorised { permit, user, .. } = authorised.map_err(|refusal| self.turn_away(refusal))?;
        if let Some(user) = user {
            record.note(|facts| facts.user = Some(user.into()));
        }
        Ok(permit)
    }

    /// While a password is looked at, which may take a while, it is not known whose request it is: it is one of its
    /// address's under way.
    fn wait(&self, identity: &Identity, pass: &mut Option<Pass>) -> Result<Pass, Stop> {
        if !matches!(identity, Identity::Password(_)) || self.target.registry.clients != Clients::Users {
            return Ok(Pass::default());
        }
        self.parts.wait(Who::at(self.visit.client)).map_err(|problem| {
            *pass = Some(Pass::default());
            Stop::denied(problem, None)
        })
    }

    /// Counts the request; what is refused here is on nobody's account.
    fn enter(&self, who: Who<'_>, pass: &mut Option<Pass>) -> Result<(), Problem> {
        *pass = Some(Pass::default());
        *pass = Some(self.parts.enter(who)?);
        Ok(())
    }

    /// For `docxy explain`. Blobs follow a manifest, so that it is enough to note which of them were refused.
    fn remember(&self, subject: &Subject, result: &Result<Pulled, Stop>) {
        let endpoint = &self.target.endpoint;
        let verdict = match result {
            Ok(_) if matches!(endpoint, Endpoint::Blob(..)) => return,
            Ok(_) => Verdict::Granted,
            Err(Stop::Own(_)) => return,
            Err(Stop::Refused(refused)) => Verdict::Refused(refused.problem.for_log().into()),
        };
        let decisions = self.parts.access.decisions();
        decisions.note(subject, &self.target.registry, endpoint.repository(), verdict);
    }

    /// What a client is told that docxy itself turns away.
    pub(super) fn turn_away(&self, refusal: Refusal) -> Stop {
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
    pub(super) fn refuse(&self, identity: &Identity, permit: &Permit, error: Error) -> Stop {
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
    pub(super) fn sign_in(&self, again: Again, message: &str, upstream_status: Option<StatusCode>) -> Stop {
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
    fn unreadable(&self, why: &str) -> Stop {
        match self
            .realm()
            .and_then(|realm| bearer(realm, self.target, Again::InvalidToken))
        {
            Some(challenge) => Stop::denied(Problem::challenge(challenge, why), None),
            None => Problem::new(StatusCode::BAD_REQUEST, Code::Unauthorized, why).into(),
        }
    }
}

pub(super) fn refused(error: Error) -> Stop {
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
fn not_allowed(target: Option<&Target>) -> Problem {
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

/// The client's wishes; its other headers stay here.
fn wishes(request: &Parts) -> Result<Wishes, Problem> {
    let headers = &request.headers;
    // Range means nothing with HEAD (RFC 9110 14.2).
    let range = headers
        .get(header::RANGE)
        .filter(|_| request.method == Method::GET);
    let range = match range.map(RangeHeader::parse) {
        None | Some(Ok(RangeHeader::OtherUnit)) => None,
        Some(Ok(range)) => Some(range),
        Some(Err(error)) => {
            return Err(Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                Code::RangeInvalid,
                error.to_string(),
            ));
        }
    };
    let mut conditions = HeaderMap::new();
    for (name, value) in headers {
        if CONDITIONS.contains(name) {
            conditions.append(name.clone(), value.clone());
        }
    }
    Ok(Wishes {
        accept: headers.get_all(header::ACCEPT).iter().cloned().collect(),
        range,
        conditions,
        query: pull::without_namespace(request.uri.query()),
        direct: request.extensions.get::<Direct>().cloned(),
    })
}

fn kind(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Base => "base",
        Endpoint::Catalog => "catalog",
        Endpoint::Manifest(..) => "manifest",
        Endpoint::Blob(..) => "blob",
        Endpoint::Tags(_) => "tags",
        Endpoint::Referrers(..) => "referrers",
        Endpoint::Upload(_) | Endpoint::Session(..) => "upload",
    }
}
