//! The distribution API.

mod stop;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

pub(super) use self::stop::{Stop, refused};

use self::stop::{Refused, not_allowed};
use super::Shared;
use super::error::Problem;
use super::{held, proxied, push};
use crate::access::challenge::Realm;
use crate::access::decisions::Verdict;
use crate::access::limits::{Pass, Who};
use crate::access::{Account, Authorised, Identity, Permit, Refusal, Subject};
use crate::oci::range::RangeHeader;
use crate::oci::{Code, Endpoint};
use crate::pull::{self, CONDITIONS, Outcome, Pulled, Wishes};
use crate::route::{Clients, Target, Visit};
use crate::serve::conditions;
use crate::serve::file::Direct;
use crate::serve::headers::{OCI_NAMESPACE, X_CACHE};
use crate::telemetry::metrics::Denial;
use crate::telemetry::{Record, traces};
use crate::upstream::Method as Upstream;

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

/// A client that may ask, and with what.
pub(super) struct Admitted {
    pub(super) subject: Subject,
    pub(super) permit: Permit,
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
