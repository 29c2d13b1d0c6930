//! The intercepting authority as the configuration wants it: where it is kept, for which hosts it may sign, and which of
//! those that docxy is to answer for are left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::access::private::PrivateError;
use crate::config::paths::{self, Machine};
use crate::config::presets::PRESETS;
use crate::config::schema::Schema;
use crate::config::values::HostPattern;
use crate::route::Destination;
use crate::tls::authority::{Config, Origin, Signers, Subtree, signers};
use crate::tls::{self, Authority, CertificateFiles};

use super::intercept::places;
use super::resolve;

/// For the process that serves. `None`: nothing is intercepted. Makes docxy's own where there is none; blocking.
pub(super) fn open(schema: &Schema) -> Result<Option<Arc<Authority>>> {
    if !schema.intercept.enabled {
        return Ok(None);
    }
    let config = config(schema, &Machine::this())?;
    let authority = Authority::open(&config).context("intercept")?;
    if let Some(signers) = signers(&config.origin).context("intercept")? {
        for warning in warnings(schema, &signers) {
            tracing::warn!("{warning}");
        }
    }
    Ok(Some(authority))
}

/// Would the authority of one configuration be that of the other?
pub(super) fn is_as_before(old: &Schema, new: &Schema) -> Result<bool> {
    let machine = Machine::this();
    Ok(new.intercept.enabled && config(old, &machine)? == config(new, &machine)?)
}

/// Where the authority is for a command that makes no folder by looking.
pub fn found(schema: &Schema) -> Result<Config> {
    config(schema, &Machine::onlooker())
}

/// Where it is for whoever may make it: the same folder that `serve` takes.
pub fn to_be_made(schema: &Schema) -> Result<Config> {
    config(schema, &Machine::this())
}

/// What would be wrong with it if `serve` began now; nothing is made.
///
/// # Errors
/// `serve` would not start.
pub fn check(schema: &Schema) -> Result<Vec<String>> {
    if !schema.intercept.enabled {
        return Ok(Vec::new());
    }
    let config = found(schema)?;
    match signers(&config.origin) {
        Ok(Some(signers)) => Ok(warnings(schema, &signers)),
        // It will be made for what is configured then.
        Ok(None) => Ok(Vec::new()),
        // Whoever checks may be another user than the one who serves.
        Err(tls::Error::Private(error @ PrivateError::Io { .. })) => Ok(vec![format!(
            "the intercepting authority can't be looked at: {error}"
        )]),
        Err(error) => Err(error).context("intercept"),
    }
}

fn config(schema: &Schema, machine: &Machine<'_>) -> Result<Config> {
    let intercept = &schema.intercept;
    let origin = match (&intercept.ca_cert, &intercept.ca_key) {
        (Some(cert), Some(key)) => Origin::Files(CertificateFiles {
            cert: cert.clone(),
            key: key.clone(),
        }),
        _ => Origin::State(paths::state(schema, machine)?),
    };
    Ok(Config {
        origin,
        name_constraints: intercept.name_constraints,
        names: permitted(schema),
        oldest: resolve::min_version(schema),
    })
}

fn warnings(schema: &Schema, signers: &Signers) -> Vec<String> {
    let is_own = schema.intercept.ca_cert.is_none();
    let about = signers.in_use.about();
    let mut warnings = Vec::new();
    let hosts = answered_for(schema);
    let outside: Vec<String> = signers.outside(&hosts).iter().map(ToString::to_string).collect();
    if !outside.is_empty() {
        let remedy = if is_own {
            "make one that may (docxy ca rotate), install it on the clients, and run docxy ca activate"
        } else {
            "have ca_cert issued for them, too"
        };
        warnings.push(format!(
            "the intercepting authority's name constraints do not permit {}, which docxy refuses to answer for: {remedy}",
            outside.join(", ")
        ));
    }
    if is_own && about.is_constrained != schema.intercept.name_constraints {
        let (is, wanted) = if about.is_constrained {
            ("has name constraints", "false")
        } else {
            ("has no name constraints", "true")
        };
        warnings.push(format!(
            "the intercepting authority {is} since it was made, and intercept.name_constraints = {wanted} is for the next one: \
             make it with docxy ca rotate"
        ));
    }
    if let Some(lapse) = &about.lapse {
        let remedy = if is_own {
            "make the next one with docxy ca rotate, and install it on the clients"
        } else {
            "renew ca_cert"
        };
        warnings.push(format!("the intercepting authority {lapse}: {remedy}"));
    }
    warnings
}

/// What docxy's own may sign for, once it is made: every registry that is known or configured, and their hosts for tokens.
fn permitted(schema: &Schema) -> Vec<Subtree> {
    let mut trees = BTreeSet::new();
    for preset in PRESETS {
        let hosts = [&[preset.name], preset.aliases, preset.realms].concat();
        trees.extend(hosts.into_iter().filter_map(|host| Subtree::parse(host).ok()));
    }
    for (name, registry) in &schema.registries {
        trees.extend(places(name, registry).all().filter_map(|place| tree(&place)));
    }
    for pattern in &schema.intercept.hosts {
        let text = pattern.suffix().or_else(|| pattern.literal());
        trees.extend(text.and_then(|text| Subtree::parse(text).ok()));
    }
    trees.into_iter().collect()
}

/// The hosts of registries that docxy is to answer for, as far as they can be said in advance.
fn answered_for(schema: &Schema) -> Vec<Subtree> {
    let chosen = &schema.intercept.hosts;
    let is_chosen = |place: &Destination| {
        let matches = |pattern: &HostPattern| pattern.matches(place.host(), place.port());
        chosen.is_empty() || chosen.iter().any(matches)
    };
    let all: BTreeSet<Subtree> = schema
        .enabled_registries()
        .flat_map(|(name, registry)| places(name, registry).all())
        .filter(is_chosen)
        .filter_map(|place| tree(&place))
        .collect();
    all.into_iter().collect()
}

fn tree(place: &Destination) -> Option<Subtree> {
    Subtree::parse(place.host()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::Flags;
    use crate::config::{Sources, load};

    fn schema(set: &[&str]) -> Schema {
        let flags = Flags {
            set: set.iter().map(|&key| key.to_owned()).collect(),
            ..Flags::default()
        };
        let sources = Sources {
            config: None,
            default_file: None,
            environment: std::collections::BTreeMap::new(),
            flags,
        };
        load(&sources).expect("a configuration").schema
    }

    fn texts(trees: &[Subtree]) -> Vec<String> {
        trees.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_well_known_registries_and_their_hosts_for_tokens_are_permitted() {
        // Whoever installs the certificate today must not have to do it again for the next well-known registry, even one
        // that is switched off now.
        let schema = schema(&["registries.\"quay.io\".enabled=false"]);
        let permitted = texts(&permitted(&schema));
        for host in [
            "docker.io",
            "registry-1.docker.io",
            "index.docker.io",
            "registry.hub.docker.com",
            "auth.docker.io",
            "ghcr.io",
            "gcr.io",
            "quay.io",
            "registry.k8s.io",
            "mcr.microsoft.com",
            "docker-auth.elastic.co",
            "gitlab.com",
            "registry.gitlab.com",
            "nvcr.io",
            "public.ecr.aws",
        ] {
            assert!(permitted.iter().any(|name| name == host), "{host}: {permitted:?}");
        }
        assert!(!texts(&answered_for(&schema)).contains(&"quay.io".to_owned()));
    }

    #[test]
    fn what_is_configured_is_permitted_with_its_other_names() {
        // A company's registry with its token service, an address, and a suffix that is chosen; no mirror and no parent.
        let schema = schema(&[
            "registries.\"harbor.corp.example:8443\".urls=[\"https://core.corp.example:8443\", \
             { url = \"https://mirror.example\", role = \"mirror\" }]",
            "registries.\"harbor.corp.example:8443\".aliases=[\"harbor\", \"old.corp.example\"]",
            "registries.\"harbor.corp.example:8443\".realms=[\"sso.corp.example:9443\"]",
            "registries.\"10.0.0.5:5000\".allow_private_addresses=true",
            "intercept.hosts=[\"*.pkg.dev\", \"docker.io\", \"*.corp.example:8443\", \"old.corp.example\", \"10.0.0.5:5000\"]",
            "parent.url=\"https://parent.example\"",
            "parent.password_file=\"/nowhere\"",
        ]);
        let all = texts(&permitted(&schema));
        for host in [
            "harbor.corp.example",
            "core.corp.example",
            "old.corp.example",
            "sso.corp.example",
            "10.0.0.5",
            "pkg.dev",
        ] {
            assert!(all.iter().any(|name| name == host), "{host}: {all:?}");
        }
        for host in ["harbor", "mirror.example", "parent.example"] {
            assert!(!all.iter().any(|name| name == host), "{host}: {all:?}");
        }
        assert_eq!(
            texts(&answered_for(&schema)),
            [
                "core.corp.example",
                "docker.io",
                "harbor.corp.example",
                "old.corp.example",
                "10.0.0.5"
            ]
        );
    }
}
