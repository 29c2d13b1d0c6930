//! The shape of `docxy.toml`: every section as a struct, every key as a public field, already parsed.
//!
//! The fields are what a person means, not what a module needs: `app/resolve` turns them into each module's own
//! `Config`. Names of fields are the names of keys; [`super::keys`] is the page that ties the two together.

mod access;
mod acme;
mod cache;
mod compat;
mod credentials;
mod intercept;
mod operation;
mod parent;
mod places;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use url::Url;

use super::values::{DnsServer, Secret, Size};
use crate::oci::RegistryName;

pub use access::{Access, AccessRule, Clients, Effect, RuleAction, Withdrawn};
pub use acme::{Acme, AcmeChallenge};
pub use cache::{Cache, CacheMode, Fresh, Inactive, StaleOn, TagRule, Verify};
pub use compat::Compat;
pub use credentials::{Account, CredentialEntry, Source};
pub use intercept::{Intercept, ProxyAuth, Tunnel};
pub use operation::{Admin, Otlp};
pub use parent::Parent;
pub use places::{MirrorKeys, UrlEntry};

/// The whole configuration. Without any file it listens on 127.0.0.1:5000 and knows all presets.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Plain HTTP listeners.
    pub listen: Vec<ListenEntry>,
    /// Plain HTTP listeners that serve `/metrics` and nothing else.
    pub metrics_listen: Vec<SocketAddr>,
    /// Metrics are also told under the names that distribution gives them.
    pub metrics_aliases: bool,
    /// What realms and Locations are built from (threat S8): http or https, a host, no path beyond `/`.
    pub public_url: Option<Url>,
    /// The registry of references that name none.
    pub default_registry: RegistryName,
    /// Lower-case host names beyond loopback from which the public URL may be derived while `public_url` is unset.
    pub allowed_hosts: Vec<String>,
    /// Whose `X-Forwarded-*` and PROXY headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// For which registries a login on the shared host is; unset means the default registry. See
    /// [`Schema::login_registries`].
    pub login_registries: Option<Vec<RegistryName>>,
    /// Let people sign in over a public URL of `http://` beyond loopback.
    pub allow_plain_login: bool,
    /// `max-age` of what is proved public, by digest.
    pub shared_max_age: Duration,
    /// Keys, tokens and sockets; 0700. Unset: see [`super::paths`].
    pub state_path: Option<PathBuf>,
    /// The configuration's file is looked at for changes.
    pub reload_on_change: bool,
    pub tls: Tls,
    pub access: Access,
    pub cache: Cache,
    pub timeouts: Timeouts,
    pub limits: Limits,
    pub network: Network,
    pub parent: Parent,
    pub intercept: Intercept,
    pub admin: Admin,
    pub otlp: Otlp,
    pub log: Log,
    /// Not a key: `DOCXY_COMPAT`, whose place docxy takes.
    pub compat: Option<Compat>,
    /// Presets and what the person wrote, merged; disabled ones are in it with `enabled = false`.
    pub registries: BTreeMap<RegistryName, Registry>,
}

impl Schema {
    /// The registries a login on the shared host is for, in order; the first is asked when a login names no scope. Where
    /// nothing is written it is the default registry, unless another one alone is for docxy's own users: whoever types a
    /// password for docxy must not send it to Docker Hub because a key was forgotten (threat S1).
    pub fn login_registries(&self) -> Vec<RegistryName> {
        self.login_registries.clone().unwrap_or_else(|| {
            let is_for_users = |name: &RegistryName| {
                self.registries
                    .get(name)
                    .is_some_and(|registry| self.clients_of(registry) == Clients::Users)
            };
            let default = &self.default_registry;
            let mut names = std::iter::once(default).chain(self.enabled_registries().map(|(name, _)| name));
            vec![names.find(|name| is_for_users(name)).unwrap_or(default).clone()]
        })
    }

    /// The registries that answer; those with `enabled = false` are treated as unknown.
    pub fn enabled_registries(&self) -> impl Iterator<Item = (&RegistryName, &Registry)> {
        self.registries.iter().filter(|(_, registry)| registry.enabled)
    }

    /// Who may use a registry: as its section says, else as `[access]` says, else whoever reaches docxy where docxy signs
    /// in upstream, and whoever the registry itself lets in where it does not.
    pub fn clients_of(&self, registry: &Registry) -> Clients {
        registry
            .clients
            .or(self.access.clients)
            .unwrap_or(match registry.auth {
                AuthMode::Configured => Clients::Open,
                AuthMode::Passthrough => Clients::Passthrough,
            })
    }

    /// Who is asked for the addresses of a registry, its realms and its storage. Empty: the system.
    pub fn dns_of<'a>(&'a self, registry: &'a Registry) -> &'a [DnsServer] {
        registry.dns.as_ref().unwrap_or(&self.network.dns)
    }

    /// The proxies that hold for a registry: its own, else the one of `[network]`. `None` leaves it to the
    /// environment's proxies.
    pub fn proxy_of<'a>(&'a self, registry: &'a Registry) -> Option<&'a ProxyList> {
        registry.proxy.as_ref().or(self.network.proxy.as_ref())
    }
}

/// A listener: `"127.0.0.1:5000"` or `{ address = "...", proxy_protocol = true }`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenEntry {
    pub address: SocketAddr,
    /// Every connection here must begin with a PROXY header, and come from one of `trusted_proxies`.
    pub proxy_protocol: bool,
}

/// `[tls]`: HTTPS towards clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    pub listen: Vec<ListenEntry>,
    /// Chosen by SNI; the first serves clients that send none.
    pub certificates: Vec<CertificateFiles>,
    /// Plain listeners answer 301 to the HTTPS address. Counts only where `listen` here is not empty.
    pub redirect_http: bool,
    pub min_version: TlsVersion,
    /// Clients of `listen` here must show a certificate of one of the authorities in this file.
    pub client_ca_file: Option<PathBuf>,
    pub acme: Acme,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// `[timeouts]`: towards registries. There is no limit on a whole body (threat R1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// TCP and TLS, each address.
    pub connect: Duration,
    /// From the request sent to the response's header.
    pub headers: Duration,
    /// Between two chunks of a body.
    pub idle: Duration,
}

/// `[limits]`: towards clients (threat R6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// 0 derives it from `RLIMIT_NOFILE`.
    pub max_connections: u32,
    /// From the first byte of a request to the end of its header, and for that first byte on a new connection.
    pub header_timeout: Duration,
    /// TLS handshake, PROXY header.
    pub handshake_timeout: Duration,
    /// An idle kept-alive connection.
    pub keep_alive: Duration,
    pub max_header_bytes: Size,
    pub max_header_fields: u32,
    /// How long running transfers may go on after SIGTERM.
    pub drain: Duration,
    /// How long running transfers may go on in a process that another one has taken over from.
    pub hand_over: Duration,
}

/// `[network]`: how registries are reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Network {
    /// Lower-case host name to addresses, in front of the resolver. The address guard still judges them.
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// Who is asked for addresses, in this order. Empty: the system.
    pub dns: Vec<DnsServer>,
    /// Off: IPv6 addresses are never asked for, nor dialled.
    pub ipv6: bool,
    /// For every registry that has no `proxy` of its own.
    pub proxy: Option<ProxyList>,
    /// Connections that one large blob is fetched over; 1 is plain downloading.
    pub segments: u32,
    /// From which size on a blob is large.
    pub segment_threshold: Size,
    /// Not a key: what the usual variables said. They count where no `proxy` key does.
    pub environment_proxies: EnvironmentProxies,
}

/// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` (lower case first, as curl does).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EnvironmentProxies {
    pub https: Option<EnvironmentProxy>,
    pub http: Option<EnvironmentProxy>,
    pub all: Option<EnvironmentProxy>,
    /// As written there, split at commas: names with their subdomains, addresses, networks, `*`.
    pub no_proxy: Vec<String>,
}

/// One of them, with the variable it came from for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnvironmentProxy {
    pub variable: String,
    pub proxy: Proxy,
}

/// `proxy = "..."`, or `proxy = ["...", { url = "..." }, "direct"]`: the first that works. Never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProxyList(pub Vec<ProxyEntry>);

impl ProxyList {
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.0.iter().filter_map(|entry| match entry {
            ProxyEntry::Through(proxy) => Some(proxy),
            ProxyEntry::Direct => None,
        })
    }
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ProxyEntry {
    /// `"none"` or `"direct"`: no proxy, whatever the environment or `[network]` says.
    Direct,
    Through(Proxy),
}

/// An outbound proxy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proxy {
    /// http, https, socks5 or socks5h; never holds a user (it moves into the fields below).
    pub url: Url,
    pub username: Option<String>,
    /// From `user:password@` in the URL.
    pub password: Option<Secret<String>>,
    pub password_file: Option<PathBuf>,
    /// Reached without this proxy; same grammar as `NO_PROXY`.
    pub no_proxy: Vec<String>,
    /// The proxy may resolve names that docxy does not resolve and check itself. Without it `socks5h` names are sent by
    /// name, after their addresses were checked here.
    pub remote_dns: bool,
}

/// `[log]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// A tracing filter: `info`, `docxy=debug,info`.
    pub level: String,
    pub format: LogFormat,
    /// One line a request.
    pub access: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// `[registries."NAME"]`
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key that a person switches"
)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registry {
    /// Never empty after loading: a registry that is no preset gets `https://NAME`. The first is the registry itself, the
    /// others are mirrors.
    pub urls: Vec<UrlEntry>,
    /// Digests are asked of the mirrors before the registry.
    pub mirrors_first: bool,
    /// Other names that mean this registry as a path prefix or in `ns`; may be a bare word (`harbor`).
    pub aliases: Vec<RegistryName>,
    /// Virtual hosts, lower case, without a port.
    pub hosts: Vec<String>,
    /// One-component repositories get `library/` (Docker Hub).
    pub library_prefix: bool,
    /// Unset: see [`Schema::clients_of`].
    pub clients: Option<Clients>,
    pub auth: AuthMode,
    pub challenge: ChallengeMode,
    pub rate_limited: WhenLimited,
    /// For `auth = "configured"`; see [`Registry::accounts`].
    pub username: Option<String>,
    pub password: Option<Secret<String>>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<PasswordVariable>,
    pub exec: Vec<String>,
    /// More accounts, for `auth = "configured"`.
    pub credentials: Vec<CredentialEntry>,
    /// Hosts (`name` or `name:port`) that may be a token realm beside those of the same registrable domain.
    pub realms: Vec<String>,
    pub allow_private_addresses: bool,
    /// Trusted for this registry beside the usual roots.
    pub ca_file: Option<PathBuf>,
    pub tls_verify: bool,
    /// Shown to this registry's urls where they ask for one.
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// Sent as SNI to this registry's urls instead of their host, and what their certificate must be for; lower case.
    pub server_name: Option<String>,
    /// Instead of `network.dns`.
    pub dns: Option<Vec<DnsServer>>,
    pub proxy: Option<ProxyList>,
    /// Connections to this registry and its storage at a time.
    pub max_connections: u32,
    /// What is stored of this registry, at most. Unset: as much as the cache holds.
    pub cache_quota: Option<Size>,
    pub push: Push,
    pub enabled: bool,
}

/// `[registries."NAME".push]`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Push {
    /// Uploads, and the deletion of what is there, are passed on.
    pub enabled: bool,
}

/// `password_env = "NAME"`, with what the loader found under that name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PasswordVariable {
    pub name: String,
    pub value: Option<Secret<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthMode {
    /// Clients sign in with their own account; docxy passes it on.
    Passthrough,
    /// docxy signs in for everybody.
    Configured,
}

/// What clients are told when the registry's limit is used up and nothing stored helps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenLimited {
    /// 429, with when to come back.
    TooManyRequests,
    /// 404: the client asks its next mirror, or the registry itself.
    NotFound,
    /// 503: the same, for clients that take a 404 for the last word.
    Unavailable,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChallengeMode {
    /// Only what the upstream denies anonymously is challenged.
    Auto,
    /// Every request without Authorization is.
    Always,
}

impl Default for Schema {
    /// No registries: presets are a layer of the loader ([`super::presets`]), not a default.
    fn default() -> Self {
        Self {
            listen: vec![ListenEntry {
                address: SocketAddr::from(([127, 0, 0, 1], 5000)),
                proxy_protocol: false,
            }],
            metrics_listen: Vec::new(),
            metrics_aliases: false,
            public_url: None,
            default_registry: super::presets::default_registry(),
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            login_registries: None,
            allow_plain_login: false,
            shared_max_age: Duration::from_hours(1),
            state_path: None,
            reload_on_change: false,
            tls: Tls::default(),
            access: Access::default(),
            cache: Cache::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            network: Network::default(),
            parent: Parent::default(),
            intercept: Intercept::default(),
            admin: Admin::default(),
            otlp: Otlp::default(),
            log: Log::default(),
            compat: None,
            registries: BTreeMap::new(),
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            certificates: Vec::new(),
            redirect_http: true,
            min_version: TlsVersion::Tls12,
            client_ca_file: None,
            acme: Acme::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            headers: Duration::from_secs(15),
            idle: Duration::from_mins(1),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 0,
            header_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            max_header_bytes: Size::from_kib(64),
            max_header_fields: 100,
            drain: Duration::from_secs(30),
            hand_over: Duration::from_hours(1),
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            dns: Vec::new(),
            ipv6: true,
            proxy: None,
            segments: 4,
            segment_threshold: Size::from_mib(16),
            environment_proxies: EnvironmentProxies::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
            access: true,
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            mirrors_first: false,
            aliases: Vec::new(),
            hosts: Vec::new(),
            library_prefix: false,
            clients: None,
            auth: AuthMode::Passthrough,
            challenge: ChallengeMode::Auto,
            rate_limited: WhenLimited::TooManyRequests,
            username: None,
            password: None,
            password_file: None,
            password_env: None,
            exec: Vec::new(),
            credentials: Vec::new(),
            realms: Vec::new(),
            allow_private_addresses: false,
            ca_file: None,
            tls_verify: true,
            client_cert: None,
            client_key: None,
            server_name: None,
            dns: None,
            proxy: None,
            max_connections: 16,
            cache_quota: None,
            push: Push::default(),
            enabled: true,
        }
    }
}
