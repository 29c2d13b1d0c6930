//! What a client is told when it should sign in.

use std::fmt::Display;

use http::HeaderValue;

use crate::oci::{Challenge, Scope};
use crate::route::{Door, Target};

/// The name docxy's token service goes by; clients send it back and docxy ignores it.
pub const SERVICE: &str = "docxy";

/// Why a client that presented something is asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// It presented nothing.
    No,
    /// It presented a token that the registry did not accept for this: a client fetches a new one for the scope.
    InsufficientScope,
    /// It presented something nobody can read.
    InvalidToken,
}

/// Where a client is sent to sign in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Realm {
    pub url: String,
    pub service: Option<String>,
}

impl Realm {
    /// docxy's own token service. Through `?ns=`, virtual hosts and as a proxy the realm names the registry, because
    /// containerd sends no `ns` to the realm and merges scopes of its own with the challenge's.
    pub fn own(base: &impl Display, target: &Target) -> Self {
        let url = if target.door.names_registry() {
            format!("{base}/auth/token/{}", target.registry.name)
        } else {
            format!("{base}/auth/token")
        };
        Self {
            url,
            service: Some(SERVICE.to_owned()),
        }
    }
}

/// The `WWW-Authenticate` value for a target.
pub fn bearer(realm: Realm, target: &Target, again: Again) -> Option<HeaderValue> {
    let mut params = vec![("realm".to_owned(), realm.url)];
    params.extend(realm.service.map(|service| ("service".to_owned(), service)));
    if let Some(scope) = scope(target) {
        params.push(("scope".to_owned(), scope.to_string()));
    }
    match again {
        Again::No => {}
        Again::InsufficientScope => params.push(("error".to_owned(), "insufficient_scope".to_owned())),
        Again::InvalidToken => params.push(("error".to_owned(), "invalid_token".to_owned())),
    }
    Challenge {
        scheme: "bearer".to_owned(),
        params,
    }
    .header()
    .ok()
}

/// The scope as the client itself would write it: with the prefix it used, but never with one behind `?ns=`.
fn scope(target: &Target) -> Option<Scope> {
    use crate::oci::Endpoint;
    if target.endpoint == Endpoint::Catalog {
        return Some(Scope {
            kind: "registry".into(),
            name: "catalog".into(),
            actions: vec!["*".into()],
        });
    }
    let repository = match target.door {
        Door::Namespace => target.endpoint.repository(),
        _ => target.asked.as_ref(),
    };
    repository.map(|repository| Scope::to(target.action, repository))
}
