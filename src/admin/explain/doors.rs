//! The requests that lead to an image, door by door.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::admin::api::explain::Way;
use crate::admin::refusal::Refusal;
use crate::intercept::Verdict;
use crate::oci::{Endpoint, Repository};
use crate::route::visit::Host;
use crate::route::{Door, Meant, RouteError, Target, Visit};
use crate::server::Shared;

const ALL: [Door; 5] = [
    Door::Namespace,
    Door::VirtualHost,
    Door::Prefix,
    Door::Default,
    Door::Proxy,
];

/// All five.
pub(super) struct Doors {
    open: Vec<(Door, Way)>,
    /// And why not.
    closed: Vec<(Door, String)>,
}

/// One request for it.
struct Attempt {
    visit: Visit,
    endpoint: Endpoint,
    query: Option<String>,
    /// Where it is sent to, where docxy's own name does not do.
    host: Option<String>,
}

pub(super) fn parse(word: &str) -> Result<Door, Refusal> {
    let known = ALL.into_iter().find(|door| door.as_str() == word);
    known.ok_or_else(|| {
        Refusal::malformed(format!(
            "door: {word:?}: write ns, host, prefix, default or proxy"
        ))
    })
}

impl Doors {
    pub fn to(front: &Shared, meant: &Meant) -> Self {
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for door in ALL {
            match way(front, meant, door) {
                Ok(way) => open.push((door, way)),
                Err(why) => closed.push((door, why)),
            }
        }
        Self { open, closed }
    }

    /// Why it does not lead there.
    pub fn why_closed(&self, door: Door) -> Option<String> {
        let (_, why) = self.closed.iter().find(|(closed, _)| *closed == door)?;
        let open: Vec<&str> = self.open.iter().map(|(open, _)| open.as_str()).collect();
        Some(format!("{why}; these doors lead there: {}", open.join(", ")))
    }

    pub fn told(self) -> Vec<Way> {
        self.open.into_iter().map(|(_, way)| way).collect()
    }
}

/// What really comes of the requests that one would try.
fn way(front: &Shared, meant: &Meant, door: Door) -> Result<Way, String> {
    let registry = &meant.registry.name;
    let mut why = match door {
        Door::VirtualHost => format!("{registry} has no host of its own (hosts of its section)"),
        Door::Prefix => format!("{registry} can't stand in a path; an alias could"),
        Door::Proxy if front.intercept.is_some() => {
            format!("docxy as a proxy does not answer for {registry}")
        }
        Door::Proxy => "docxy is no proxy here (intercept.mode)".to_owned(),
        Door::Namespace | Door::Default => {
            format!("nothing leads to {registry} by the door {}", door.as_str())
        }
    };
    for attempt in attempts(front, meant, door) {
        let (path, query) = (attempt.endpoint.path(), attempt.query.as_deref());
        match front.routes.resolve(&attempt.visit, &path, query) {
            Ok(found) if found.door == door && is_it(&found, meant) => {
                return Ok(Way {
                    door: door.as_str().to_owned(),
                    target: query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")),
                    host: attempt.host,
                });
            }
            Ok(found) => {
                why = format!(
                    "by the door {} {path} leads to {}, not to {registry}",
                    door.as_str(),
                    found.registry.name
                );
            }
            Err(error @ RouteError::UnknownHost { .. }) if door == Door::Proxy => {
                why = format!("docxy as a proxy: {error}");
            }
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn is_it(found: &Target, meant: &Meant) -> bool {
    let repository = found.endpoint.repository();
    found.registry.name == meant.registry.name
        && repository.is_some_and(|found| *meant.registry.canonical(found) == meant.name.repository)
}

fn attempts(front: &Shared, meant: &Meant, door: Door) -> Vec<Attempt> {
    let registry = &meant.registry;
    let repository = &meant.name.repository;
    let plain = |repository: Repository| Attempt {
        // docxy answers under it whatever names it has.
        visit: visit(Host::parse("localhost").ok()),
        endpoint: Endpoint::Manifest(repository, meant.reference.clone()),
        query: None,
        host: None,
    };
    match door {
        Door::Namespace => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("ns", registry.name.as_str());
            vec![Attempt {
                visit: visit(None),
                query: Some(query.finish()),
                ..plain(repository.clone())
            }]
        }
        Door::VirtualHost => registry
            .hosts
            .iter()
            .map(|host| Attempt {
                visit: visit(Host::parse(host).ok()),
                host: Some(host.clone()),
                ..plain(repository.clone())
            })
            .collect(),
        Door::Prefix => std::iter::once(&registry.name)
            .chain(&registry.aliases)
            .filter_map(|name| Repository::parse(&format!("{name}/{repository}")).ok())
            .map(plain)
            .collect(),
        Door::Default => vec![plain(repository.clone())],
        Door::Proxy => {
            let Some(intercept) = &front.intercept else {
                return Vec::new();
            };
            let answered = registry.authorities.iter().filter(|place| {
                let behind = front.routes.behind(place);
                intercept.hosts.judge(place, behind) == Verdict::Answer
            });
            answered
                .map(|place| Attempt {
                    visit: Visit {
                        proxied: Some(Arc::new(place.clone())),
                        ..visit(None)
                    },
                    host: Some(place.to_string()),
                    ..plain(repository.clone())
                })
                .collect()
        }
    }
}

fn visit(host: Option<Host>) -> Visit {
    Visit {
        client: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        host,
        secure: false,
        proxied: None,
    }
}
