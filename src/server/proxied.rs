//! What docxy answers as a proxy, inside a tunnel or by a request in absolute form: for which place, and what of it is the
//! place's token service.

use std::sync::Arc;

use http::request::Parts as Head;
use http::{Method, StatusCode, Version};

use super::Parts;
use super::error::Problem;
use crate::access::Account;
use crate::access::challenge::Realm;
use crate::intercept::{Auth, Verdict};
use crate::listen::Tunnel;
use crate::oci::{Code, Endpoint, RegistryName};
use crate::route::destination::HTTP;
use crate::route::{Behind, Clients, Destination, Registry, Visit};
use crate::telemetry::metrics::Denial;

/// Who signed in to docxy as a proxy, for a tunnel or for this request.
pub fn account(head: &Head) -> Option<&Account> {
    match tunnel(head) {
        Some(tunnel) => tunnel.account.as_ref(),
        None => head.extensions.get(),
    }
}

/// The tunnel that a request came through.
pub fn tunnel(head: &Head) -> Option<&Arc<Tunnel>> {
    head.extensions.get()
}

/// The place for which docxy is asked; `None` where it is asked for itself.
///
/// # Errors
/// Inside a tunnel the request is for another place, or docxy is no proxy for this one.
pub fn place(parts: &Parts, head: &Head, visit: &Visit) -> Result<Option<Arc<Destination>>, Problem> {
    match tunnel(head) {
        Some(tunnel) => {
            still_granted(parts, tunnel)?;
            within(tunnel, visit).map(Some)
        }
        None => in_absolute_form(parts, head, visit),
    }
}

/// A tunnel may be older than the configuration: what CONNECT would be refused now is refused inside, too.
fn still_granted(parts: &Parts, tunnel: &Tunnel) -> Result<(), Problem> {
    let destination = &tunnel.destination;
    let granted = parts.intercept.as_ref().is_some_and(|intercept| {
        let signed_in = intercept.auth == Auth::None || tunnel.account.is_some();
        let behind = parts.routes.behind(destination);
        signed_in && intercept.hosts.judge(destination, behind) == Verdict::Answer
    });
    if granted {
        return Ok(());
    }
    parts.metrics.denied.inc(Denial::ProxyHost);
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        Code::Unsupported,
        format!("docxy is no proxy for {destination} any more, or wants you to sign in to it: connect again"),
    ))
}

/// Host = SNI = the target of CONNECT (threat S3).
fn within(tunnel: &Tunnel, visit: &Visit) -> Result<Arc<Destination>, Problem> {
    let destination = &tunnel.destination;
    let host_agrees = visit.host.as_ref().is_some_and(|host| destination.is(host));
    if tunnel.name_agrees && host_agrees {
        return Ok(Arc::clone(destination));
    }
    let what = if tunnel.name_agrees {
        "this request"
    } else {
        "the name in the TLS handshake"
    };
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        Code::Unsupported,
        format!("this tunnel is for {destination}, and {what} is for another host"),
    ))
}

/// `GET http://registry.lan:5000/v2/`, as clients send it to a proxy for plain HTTP.
fn in_absolute_form(parts: &Parts, head: &Head, visit: &Visit) -> Result<Option<Arc<Destination>>, Problem> {
    let (Some(intercept), Some(host)) = (&parts.intercept, &visit.host) else {
        return Ok(None);
    };
    if head.version >= Version::HTTP_2 || head.uri.authority().is_none() {
        return Ok(None);
    }
    let destination = Destination::of(host, HTTP).map_err(|error| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            Code::Unsupported,
            format!("docxy is no proxy for http://{host}: {error}"),
        )
    })?;
    let behind = parts.routes.behind(&destination);
    if intercept.hosts.is_own(&destination) {
        return Ok(None);
    }
    let mut registries = behind
        .iter()
        .flat_map(|behind| behind.registry.iter().chain(&behind.token_services));
    if registries.clone().any(|registry| registry.plain) {
        return Ok(Some(Arc::new(destination)));
    }
    parts.metrics.denied.inc(Denial::ProxyHost);
    match registries.next() {
        Some(registry) => Err(Problem::denied(format!(
            "{} is asked over HTTPS: its clients must use https:// addresses",
            registry.name
        ))),
        None => Err(Problem::denied(format!(
            "docxy is no proxy for http://{host}: it is not the address of a registry that is configured here with an http:// url"
        ))),
    }
}

/// The registry whose token service this request is for, if it is for one. Those of registries that docxy answers for are
/// answered by docxy's own, so that it knows who signed in.
///
/// Only a registry whose clients have accounts of its own is asked under a name of its own choosing, and only while no other
/// one would be asked in the same words: a password is taken for the one registry that it is for, or for none (threat S1).
pub fn token_service(parts: &Parts, head: &Head, destination: &Destination) -> Option<RegistryName> {
    let behind = parts.routes.behind(destination)?;
    let path = head.uri.path();
    if let Some(named) = path.strip_prefix(OWN_REALM) {
        let registry = behind.registry.as_ref()?;
        let named = named.strip_prefix('/').unwrap_or(named);
        return (named.is_empty() || named == registry.name.as_str()).then(|| registry.name.clone());
    }
    let service = parameter(head, "service");
    let services = behind.token_services.iter();
    let mut services = services.filter(|registry| registry.clients == Clients::Passthrough);
    let known = |registry: &Registry| parts.pull.upstream(&registry.name).ok()?.token_service();
    let is_meant = |registry: &&Arc<Registry>| {
        known(registry).is_some_and(|known| known.url.path() == path && known.service == service)
    };
    let mut meant = services.clone().filter(is_meant);
    if let Some(registry) = meant.next() {
        return meant.next().is_none().then(|| registry.name.clone());
    }
    // What no registry has named yet, because docxy has begun anew, looks like one.
    let looks_like_one =
        service.is_some() || parameter(head, "scope").is_some() || head.method == Method::POST;
    if !looks_like_one || (behind.registry.is_some() && Endpoint::parse(path).is_ok()) {
        return None;
    }
    let only = services.next()?;
    services.next().is_none().then(|| only.name.clone())
}

/// Where docxy's own token service is, on a registry's host too.
const OWN_REALM: &str = "/auth/token";

fn parameter(head: &Head, name: &str) -> Option<String> {
    let query = head.uri.query()?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

impl Parts {
    /// Where a registry's clients sign in, if they would find docxy there too.
    pub(super) fn proxied_realm(&self, registry: &Registry) -> Option<Realm> {
        let known = self.pull.upstream(&registry.name).ok()?.token_service()?;
        let port = known.url.port_or_known_default()?;
        let place = Destination::new(known.url.host_str()?, port).ok()?;
        let is_ours = |behind: &Behind| {
            let mut services = behind.token_services.iter();
            services.any(|service| service.name == registry.name)
        };
        let behind = self.routes.behind(&place).filter(|behind| is_ours(behind))?;
        // What another one's clients ask for in the same words would be taken for theirs.
        let is_anothers = |other: &Arc<Registry>| {
            let upstream = self.pull.upstream(&other.name).ok();
            let theirs = upstream.and_then(|upstream| upstream.token_service());
            other.name != registry.name
                && other.clients == Clients::Passthrough
                && theirs.is_some_and(|theirs| {
                    theirs.url.path() == known.url.path() && theirs.service == known.service
                })
        };
        if registry.clients != Clients::Passthrough || behind.token_services.iter().any(is_anothers) {
            return None;
        }
        let judged = self.intercept.as_ref()?.hosts.judge(&place, Some(behind));
        (judged == Verdict::Answer).then(|| Realm {
            url: known.url.to_string(),
            service: known.service,
        })
    }
}
