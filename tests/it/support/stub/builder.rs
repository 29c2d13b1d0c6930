//! How a stub is to behave.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use super::{StubRegistry, serve, state::State};
use crate::support::{ca::TestCa, image::Image};

/// What the registry demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nothing. Private repositories do not exist for anyone.
    Open,
    /// A user and password for every request, as `docker-registry` with htpasswd.
    Basic,
    /// A bearer token for every request, the public ones too (Docker Hub, ghcr.io).
    Token,
    /// A bearer token for private content and for `/v2/`; public content is given to anyone (quay.io).
    TokenForPrivate,
}

/// Where blobs are kept, and how a client is sent there.
#[derive(Clone, Debug)]
pub struct Cdn {
    pub(super) ip: Option<IpAddr>,
    pub(super) code: u16,
    pub(super) life: Duration,
    pub(super) hops: u8,
    pub(super) manifests: bool,
}

impl Cdn {
    /// On a host of its own (`127.0.0.2`): absolute links.
    pub fn on(ip: &str) -> Self {
        Self {
            ip: Some(ip.parse().unwrap()),
            ..Self::relative()
        }
    }

    /// On the registry's host: `Location` is a path.
    pub fn relative() -> Self {
        Self {
            ip: None,
            code: 307,
            life: Duration::from_mins(1),
            hops: 1,
            manifests: false,
        }
    }

    pub fn code(self, code: u16) -> Self {
        Self { code, ..self }
    }

    /// How long a link is good; then the CDN answers 403.
    pub fn life(self, life: Duration) -> Self {
        Self { life, ..self }
    }

    /// Redirects before the bytes come.
    pub fn hops(self, hops: u8) -> Self {
        Self { hops, ..self }
    }

    /// Manifests are redirected too (registry.k8s.io).
    pub fn manifests(self) -> Self {
        Self {
            manifests: true,
            ..self
        }
    }
}

/// Ways in which real registries differ from the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quirk {
    HeadManifestWithoutLength,
    HeadManifestWithoutDigest,
    /// HEAD of a manifest is 405.
    HeadManifestRefused,
    /// HEAD of a blob is 404 until somebody fetched it (Harbor).
    HeadBlobMissing,
    /// A manifest whose type the Accept lines do not name is rewritten into schema 1 (docker-registry 2.8).
    Schema1,
    /// `Docker-Content-Digest` is that of other bytes.
    WrongDigest,
    NoDigest,
    /// No Content-Length on any body.
    Chunked,
    /// `Content-Encoding: gzip`, whatever the client asked.
    Gzip,
    IgnoreRange,
    /// Malformed digests are looked for (404) instead of refused (400).
    AnyDigest,
    /// `n` and `last` of tags/list are ignored: everything, in one page.
    TagsUnpaged,
    /// No referrers API: 404; the tag `sha256-<hex>` holds the index.
    NoReferrers,
    /// `Content-Type: text/html` on manifests.
    BadContentType,
    /// `/v2/` answers 401 to a token without a repository scope (gcr.io).
    PingNeedsScope,
    /// The token service answers 405 to POST.
    TokenPostRefused,
    /// The token service itself denies what it would not grant (ghcr.io).
    TokenDenies,
    /// No `expires_in` (which means 60 s).
    TokenWithoutLife,
    /// `access_token` instead of `token`.
    AccessTokenOnly,
}

/// The shape of `Link` in tags pagination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkForm {
    Relative,
    Absolute,
    /// Relative, with a cursor of the registry's own instead of `last` (quay.io).
    Opaque,
}

/// Pulls (GET of a manifest) that each user, and each anonymous address, may do.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    pub anonymous: u64,
    pub signed_in: u64,
    pub retry_after: Option<u64>,
}

/// What does not change while the stub runs.
pub(super) struct Options {
    pub auth: Auth,
    pub users: BTreeMap<String, String>,
    pub ip: IpAddr,
    pub token_ip: Option<IpAddr>,
    pub token_life: u64,
    pub cdn: Option<Cdn>,
    pub quirks: BTreeSet<Quirk>,
    pub quota: Option<Quota>,
    pub page: Option<usize>,
    pub link: LinkForm,
    pub realm: Option<String>,
    pub service: String,
    pub ca: Option<Arc<TestCa>>,
    pub certificate_names: Vec<String>,
    pub shown: Option<Arc<rustls::ServerConfig>>,
    /// Of the registry, and of its token service.
    pub names: Option<(String, String)>,
}

impl Options {
    pub fn has(&self, quirk: Quirk) -> bool {
        self.quirks.contains(&quirk)
    }
}

pub struct Builder {
    options: Options,
    private: BTreeMap<String, Vec<String>>,
    images: Vec<(String, String, Image)>,
}

impl Builder {
    pub(super) fn new() -> Self {
        let options = Options {
            auth: Auth::Open,
            users: BTreeMap::new(),
            ip: Ipv4Addr::LOCALHOST.into(),
            token_ip: None,
            token_life: 300,
            cdn: None,
            quirks: BTreeSet::new(),
            quota: None,
            page: None,
            link: LinkForm::Relative,
            realm: None,
            service: "scripted".to_owned(),
            ca: None,
            certificate_names: Vec::new(),
            shown: None,
            names: None,
        };
        Self {
            options,
            private: BTreeMap::new(),
            images: Vec::new(),
        }
    }

    pub fn auth(mut self, auth: Auth) -> Self {
        self.options.auth = auth;
        self
    }

    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.options.users.insert(name.to_owned(), password.to_owned());
        self
    }

    /// Only these users may read this repository.
    pub fn private(mut self, repository: &str, readers: &[&str]) -> Self {
        let readers = readers.iter().map(|&reader| reader.to_owned()).collect();
        self.private.insert(repository.to_owned(), readers);
        self
    }

    pub fn image(mut self, repository: &str, tag: &str, image: impl Into<Image>) -> Self {
        self.images
            .push((repository.to_owned(), tag.to_owned(), image.into()));
        self
    }

    /// Another loopback address than 127.0.0.1.
    pub fn on(mut self, ip: &str) -> Self {
        self.options.ip = ip.parse().unwrap();
        self
    }

    /// The token service is a host of its own.
    pub fn token_on(mut self, ip: &str) -> Self {
        self.options.token_ip = Some(ip.parse().unwrap());
        self
    }

    /// Seconds that tokens live.
    pub fn token_life(mut self, seconds: u64) -> Self {
        self.options.token_life = seconds;
        self
    }

    pub fn cdn(mut self, cdn: Cdn) -> Self {
        self.options.cdn = Some(cdn);
        self
    }

    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.options.quirks.insert(quirk);
        self
    }

    pub fn quota(mut self, quota: Quota) -> Self {
        self.options.quota = Some(quota);
        self
    }

    /// Pages of tags hold this many at most, and say where the next one is.
    pub fn pages(mut self, size: usize, link: LinkForm) -> Self {
        self.options.page = Some(size);
        self.options.link = link;
        self
    }

    /// The challenge names this realm instead of the stub's own token service (a hostile one).
    pub fn realm(mut self, realm: impl Into<String>) -> Self {
        self.options.realm = Some(realm.into());
        self
    }

    /// What the challenge calls the service.
    pub fn service(mut self, service: &str) -> Self {
        service.clone_into(&mut self.options.service);
        self
    }

    /// All doors speak TLS, with a certificate of this authority for their addresses and `localhost`.
    pub fn tls(mut self, ca: &Arc<TestCa>) -> Self {
        self.options.ca = Some(Arc::clone(ca));
        self
    }

    /// The certificate is for these names and no others.
    pub fn certificate_names(mut self, names: &[&str]) -> Self {
        self.options.certificate_names = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// All doors speak TLS just so: with whatever certificate is in there.
    pub fn shows(mut self, tls: Arc<rustls::ServerConfig>) -> Self {
        self.options.shown = Some(tls);
        self
    }

    /// It and its token service call themselves by these names, which must be resolved for docxy.
    pub fn named(mut self, registry: &str, token: &str) -> Self {
        self.options.names = Some((registry.to_owned(), token.to_owned()));
        self
    }

    pub async fn start(self) -> StubRegistry {
        let state = Arc::new(State::new(self.options, self.private));
        for (repository, tag, image) in &self.images {
            state.put(repository, tag, image);
        }
        let running = serve::start(&state).await;
        StubRegistry { state, running }
    }
}
