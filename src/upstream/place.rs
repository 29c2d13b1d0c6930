//! Where a question goes: the URL and the token scope of an endpoint at one registry.

use url::Url;

use super::Config;
use super::failure::Failure;
use crate::oci::{Action, Endpoint, Repository, Scope};

/// Origin as RFC 6454 section 4 defines it: what a credential is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin(url::Origin);

impl Origin {
    pub fn of(url: &Url) -> Self {
        Self(url.origin())
    }
}

/// What every URL of this place begins with.
pub(super) fn base(config: &Config) -> &Url {
    &config.url
}

/// The endpoint with its repository as this registry names it: `library/` before a single component of Docker Hub's.
pub(super) fn endpoint(config: &Config, endpoint: &Endpoint) -> Result<Endpoint, Failure> {
    match endpoint.repository() {
        Some(repository) => Ok(endpoint.with_repository(own_name(config, repository)?)),
        None => Ok(endpoint.clone()),
    }
}

/// `base` and `endpoint` as a URL. A path of the base stands behind `/v2/`, as registries behind one host want it.
pub(super) fn url(base: &Url, endpoint: &Endpoint, query: Option<&str>) -> Url {
    let mut url = base.clone();
    let path = endpoint.path();
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    match prefix(base) {
        Some(prefix) if !rest.is_empty() => url.set_path(&format!("/v2/{prefix}/{rest}")),
        _ => url.set_path(&path),
    }
    url.set_query(query);
    url.set_fragment(None);
    url
}

/// What a token must allow for this to be done to a repository of the registry's own naming.
pub(super) fn scope(base: &Url, action: Action, repository: &Repository) -> Scope {
    let mut scope = Scope::to(action, repository);
    scope.name = with_prefix(base, &scope.name);
    scope
}

/// What a token must allow for this endpoint to be read; its repository is already the registry's own.
pub(super) fn scopes(base: &Url, endpoint: &Endpoint) -> Vec<Scope> {
    match (endpoint, endpoint.repository()) {
        (Endpoint::Catalog, _) => vec![Scope {
            kind: "registry".to_owned(),
            name: "catalog".to_owned(),
            actions: vec!["*".to_owned()],
        }],
        (_, Some(repository)) => vec![scope(base, Action::Pull, repository)],
        (_, None) => Vec::new(),
    }
}

/// A client's scope in the registry's own names.
pub(super) fn own_scope(config: &Config, base: &Url, scope: &Scope) -> Scope {
    let mut scope = scope.clone();
    if scope.is_of_repository() {
        if let Ok(name) = Repository::parse(&scope.name).and_then(|name| with_library(config, &name)) {
            scope.name = name.to_string();
        }
        scope.name = with_prefix(base, &scope.name);
    }
    scope
}

pub(super) fn own_name(config: &Config, repository: &Repository) -> Result<Repository, Failure> {
    with_library(config, repository).map_err(|error| Failure::NotAskable {
        registry: config.name.clone(),
        reason: format!("library/{repository} is no repository name: {error}"),
    })
}

fn with_library(config: &Config, repository: &Repository) -> Result<Repository, crate::oci::name::NameError> {
    if config.library_prefix && !repository.as_str().contains('/') {
        repository.with_prefix(&Repository::parse("library")?)
    } else {
        Ok(repository.clone())
    }
}

fn with_prefix(base: &Url, name: &str) -> String {
    prefix(base).map_or_else(|| name.to_owned(), |prefix| format!("{prefix}/{name}"))
}

fn prefix(base: &Url) -> Option<&str> {
    let path = base.path().trim_matches('/');
    (!path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(library_prefix: bool, url: &str) -> Config {
        Config {
            name: crate::oci::RegistryName::parse("docker.io").unwrap(),
            url: Url::parse(url).unwrap(),
            library_prefix,
            credentials: Vec::new(),
            realms: Vec::new(),
            shows_certificate: false,
            max_token_answer: 65536,
            timeouts: super::super::Timeouts {
                connect: std::time::Duration::from_secs(5),
                headers: std::time::Duration::from_secs(15),
                idle: std::time::Duration::from_mins(1),
            },
            max_redirects: 10,
            segments: 4,
            segment_threshold: 16 * 1024 * 1024,
            max_connections: 16,
        }
    }

    #[test]
    fn library_goes_into_the_path_and_into_every_scope() {
        // `docker pull redis` through docxy must ask for library/redis, also in tokens (P6); others' names stay.
        for (library, base, path, expected, scope) in [
            (
                true,
                "https://r.test",
                "/v2/redis/tags/list",
                "https://r.test/v2/library/redis/tags/list",
                "repository:library/redis:pull",
            ),
            (
                true,
                "https://r.test",
                "/v2/a/b/tags/list",
                "https://r.test/v2/a/b/tags/list",
                "repository:a/b:pull",
            ),
            (
                false,
                "https://r.test",
                "/v2/redis/tags/list",
                "https://r.test/v2/redis/tags/list",
                "repository:redis:pull",
            ),
            (
                true,
                "http://far.test:81/docker.io/",
                "/v2/redis/tags/list",
                "http://far.test:81/v2/docker.io/library/redis/tags/list",
                "repository:docker.io/library/redis:pull",
            ),
            (
                false,
                "https://r.test",
                "/v2/_catalog",
                "https://r.test/v2/_catalog",
                "registry:catalog:*",
            ),
        ] {
            let config = config(library, base);
            let own = endpoint(&config, &Endpoint::parse(path).unwrap()).unwrap();
            assert_eq!(url(&config.url, &own, None).as_str(), expected);
            assert_eq!(scopes(&config.url, &own)[0].to_string(), scope);
        }
        let config = config(true, "https://r.test");
        let clients = Scope::parse("repository:redis:pull,push").unwrap();
        let own = own_scope(&config, &config.url, &clients);
        assert_eq!(own.to_string(), "repository:library/redis:pull,push");
    }

    #[test]
    fn the_base_and_its_query() {
        // A health check asks /v2/ itself, whatever path the url has; the client's query is kept.
        let base = Url::parse("https://far.test/docker.io").unwrap();
        assert_eq!(url(&base, &Endpoint::Base, None).as_str(), "https://far.test/v2/");
        assert_eq!(
            url(&base, &Endpoint::Catalog, Some("n=2&last=a%2Fb")).as_str(),
            "https://far.test/v2/docker.io/_catalog?n=2&last=a%2Fb"
        );
    }
}
