//! Outbound proxies: which of them, if any, a URL goes through.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::resolver::canonical;
use crate::config::values::{Credential, Secret};

/// Where the proxy of a registry comes from.
#[derive(Clone, Debug)]
pub enum ProxyConfig {
    /// From the configuration: for everything this registry needs, the first that works.
    List(Vec<Step>),
    /// From the environment. Never used for loopback upstreams.
    Environment(Box<Environment>),
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Direct,
    /// What `no_proxy` names goes directly at this place of the list.
    Through {
        proxy: Proxy,
        no_proxy: NoProxy,
    },
}

/// The values of the usual variables, as `app` read them (upper or lower case).
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// For https:// upstreams
    pub https: Option<Proxy>,
    /// For http:// upstreams
    pub http: Option<Proxy>,
    /// For whatever has none of its own
    pub all: Option<Proxy>,
    pub no_proxy: NoProxy,
}

/// One proxy: `http`, `https`, `socks5` (names are resolved here) or `socks5h` (names are resolved by the proxy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    scheme: Scheme,
    host: Host,
    port: u16,
    credential: Option<Credential>,
    /// Names are not resolved and checked here before they are sent to the proxy.
    remote_dns: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Socks5,
    Socks5h,
}

/// Messages name no user and no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("a proxy is a URL such as http://proxy.example:3128 or socks5://127.0.0.1:1080: {0}")]
    Url(url::ParseError),
    #[error("{0}:// is no kind of proxy; write http, https, socks5 or socks5h")]
    Scheme(String),
    #[error("the proxy needs a host")]
    Host,
    #[error("the user name or password of the proxy is not text")]
    Credential,
}

impl Proxy {
    /// `text` is a URL that may carry user and password; without a scheme it is http, as in curl.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("http://{text}"))
        }
        .map_err(ProxyError::Url)?;
        let (scheme, default_port) = match url.scheme() {
            "http" => (Scheme::Http, 80),
            "https" => (Scheme::Https, 443),
            "socks5" => (Scheme::Socks5, 1080),
            "socks5h" => (Scheme::Socks5h, 1080),
            other => return Err(ProxyError::Scheme(other.to_owned())),
        };
        // Only http and https hosts are normalised by the URL parser, so a socks host is parsed once more as such.
        let host = url.host_str().ok_or(ProxyError::Host)?;
        let host = Host::parse(host).map_err(ProxyError::Url)?;
        let credential = (!url.username().is_empty() || url.password().is_some()).then(|| Credential {
            username: percent_encoding::percent_decode_str(url.username())
                .decode_utf8_lossy()
                .into_owned(),
            password: Secret::new(
                percent_encoding::percent_decode_str(url.password().unwrap_or_default()).collect(),
            ),
        });
        let proxy = Self {
            scheme,
            host,
            port: url.port().unwrap_or(default_port),
            credential: None,
            remote_dns: false,
        };
        match credential {
            Some(credential) => proxy.with_credential(credential),
            None => Ok(proxy),
        }
    }

    pub fn with_credential(mut self, credential: Credential) -> Result<Self, ProxyError> {
        if std::str::from_utf8(credential.password.expose()).is_err() {
            return Err(ProxyError::Credential);
        }
        self.credential = Some(credential);
        Ok(self)
    }

    /// `true`: only hosts of this registry, its realms and https redirects go to the proxy, and nobody checks where
    /// their names lead.
    #[must_use]
    pub fn with_remote_dns(mut self, remote_dns: bool) -> Self {
        self.remote_dns = remote_dns;
        self
    }

    /// Host and port, for messages, and for `app` to refuse one that is docxy itself.
    pub fn address(&self) -> (Host, u16) {
        (self.host.clone(), self.port)
    }

    pub(super) fn remote_dns(&self) -> bool {
        self.remote_dns
    }

    pub(super) fn is_socks(&self) -> bool {
        matches!(self.scheme, Scheme::Socks5 | Scheme::Socks5h)
    }

    /// It is itself reached by TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.scheme == Scheme::Https
    }

    pub(super) fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// The name of the proxy as the resolver sees it; None for a literal address.
    pub(super) fn name(&self) -> Option<String> {
        match &self.host {
            Host::Domain(name) => Some(canonical(name)),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    /// The name is resolved here by the connector itself, so there is nothing to check before.
    pub(super) fn resolves_here(&self) -> bool {
        self.scheme == Scheme::Socks5 && !self.remote_dns
    }

    /// For the HTTP client. The URL holds the password and must never be printed.
    pub(super) fn url(&self) -> Result<Url, ProxyError> {
        let scheme = match (self.scheme, self.remote_dns) {
            (Scheme::Http, _) => "http",
            (Scheme::Https, _) => "https",
            (Scheme::Socks5, false) => "socks5",
            (Scheme::Socks5, true) | (Scheme::Socks5h, _) => "socks5h",
        };
        let mut url =
            Url::parse(&format!("{scheme}://{}:{}/", self.host, self.port)).map_err(ProxyError::Url)?;
        if let Some(credential) = &self.credential {
            let password =
                std::str::from_utf8(credential.password.expose()).map_err(|_| ProxyError::Credential)?;
            url.set_username(&credential.username)
                .and_then(|()| url.set_password(Some(password)))
                .map_err(|()| ProxyError::Host)?;
        }
        Ok(url)
    }
}

impl std::fmt::Display for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl ProxyConfig {
    /// One proxy, and nothing else.
    pub fn only(proxy: Proxy) -> Self {
        Self::List(vec![Step::Through {
            proxy,
            no_proxy: NoProxy::default(),
        }])
    }

    /// The roads to `url` in their order, each once; `None` is the direct one.
    pub(super) fn routes(&self, url: &Url) -> Vec<Option<&Proxy>> {
        let mut routes = Vec::new();
        match self {
            Self::List(steps) => {
                for step in steps {
                    let route = match step {
                        Step::Through { proxy, no_proxy } if !no_proxy.covers(url) => Some(proxy),
                        Step::Through { .. } | Step::Direct => None,
                    };
                    if !routes.contains(&route) {
                        routes.push(route);
                    }
                }
            }
            Self::Environment(environment) => routes.push(environment.route(url)),
        }
        routes
    }

    /// Every proxy that may be used.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        let (steps, environment) = match self {
            Self::List(steps) => (steps.as_slice(), None),
            Self::Environment(environment) => (&[][..], Some(environment)),
        };
        let listed = steps.iter().filter_map(|step| match step {
            Step::Through { proxy, .. } => Some(proxy),
            Step::Direct => None,
        });
        let found = environment.map(|e| [&e.https, &e.http, &e.all]);
        listed.chain(found.into_iter().flatten().flatten())
    }
}

impl Environment {
    fn route(&self, url: &Url) -> Option<&Proxy> {
        if is_loopback(url) {
            return None;
        }
        let own = if url.scheme() == "https" {
            &self.https
        } else {
            &self.http
        };
        let proxy = own.as_ref().or(self.all.as_ref());
        proxy.filter(|_| !self.no_proxy.covers(url))
    }
}

/// What goes directly: names with their subdomains (`example.com`, `.example.com`, `*.example.com`), addresses,
/// networks (`10.0.0.0/8`), each with an optional port, or `*` for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Everything,
    Network(IpNet),
    Name { suffix: String, port: Option<u16> },
    Address { ip: IpAddr, port: Option<u16> },
}

impl NoProxy {
    /// A list separated by commas or spaces. Nothing is an error: an entry that means nothing matches nothing.
    pub fn parse(list: &str) -> Self {
        Self {
            entries: list
                .split([',', ' '])
                .filter(|part| !part.is_empty())
                .map(Entry::parse)
                .collect(),
        }
    }

    fn covers(&self, url: &Url) -> bool {
        let port = url.port_or_known_default();
        self.entries.iter().any(|entry| entry.covers(url.host(), port))
    }
}

impl Entry {
    fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::Everything;
        }
        if let Ok(network) = text.parse() {
            return Self::Network(network);
        }
        if let Ok(ip) = text.trim_matches(['[', ']']).parse() {
            return Self::Address { ip, port: None };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => match port.parse() {
                Ok(port) => (host, Some(port)),
                Err(_) => (text, None),
            },
            None => (text, None),
        };
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => Self::Address { ip, port },
            Err(_) => Self::Name {
                suffix: canonical(host.trim_start_matches("*.").trim_start_matches('.')),
                port,
            },
        }
    }

    fn covers(&self, host: Option<Host<&str>>, actual: Option<u16>) -> bool {
        let address = match host {
            Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
            Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
            Some(Host::Domain(_)) | None => None,
        };
        let right_port = |port: &Option<u16>| port.is_none() || *port == actual;
        match (self, host) {
            (Self::Everything, _) => true,
            (Self::Network(network), _) => address.is_some_and(|ip| network.contains(&ip)),
            (Self::Address { ip, port }, _) => address == Some(*ip) && right_port(port),
            (Self::Name { suffix, port }, Some(Host::Domain(name))) => {
                let name = canonical(name);
                let inside = name
                    .strip_suffix(suffix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                inside && !suffix.is_empty() && right_port(port)
            }
            (Self::Name { .. }, _) => false,
        }
    }
}

/// By its spelling: a literal loopback address, or the name localhost (RFC 6761 section 6.3).
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => super::guard::Class::of(ip.into()) == super::guard::Class::Loopback,
        Some(Host::Ipv6(ip)) => super::guard::Class::of(ip.into()) == super::guard::Class::Loopback,
        Some(Host::Domain(name)) => {
            let name = canonical(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn no_proxy_names_suffixes_networks_and_ports() {
        // An operator's NO_PROXY must mean here what it means to curl, or inner registries go through the outer proxy.
        let list = NoProxy::parse("example.com, .corp.test,10.0.0.0/8 [fd00::1],one.test:5000,192.168.1.1");
        let table = [
            ("https://example.com/", true),
            ("https://EXAMPLE.com./", true),
            ("https://sub.example.com/", true),
            ("https://badexample.com/", false),
            ("https://corp.test/", true),
            ("https://a.b.corp.test/", true),
            ("http://10.9.8.7/", true),
            ("http://0xa.1/", true),
            ("http://11.0.0.1/", false),
            ("http://[fd00::1]:5000/", true),
            ("http://one.test:5000/", true),
            ("http://one.test/", false),
            ("http://192.168.1.1:81/", true),
        ];
        for (target, direct) in table {
            assert_eq!(list.covers(&url(target)), direct, "{target}");
        }
        assert!(NoProxy::parse("*").covers(&url("https://any.test/")));
        assert!(!NoProxy::parse("").covers(&url("https://any.test/")));
    }

    #[test]
    fn the_environment_has_a_proxy_for_each_scheme_but_none_for_loopback() {
        // A developer with HTTPS_PROXY set still pulls from the registry on their own machine.
        let environment = Environment {
            https: Some(Proxy::parse("http://s.test:3128").unwrap()),
            http: None,
            all: Some(Proxy::parse("socks5h://a.test").unwrap()),
            no_proxy: NoProxy::default(),
        };
        let to = |target: &str| environment.route(&url(target)).map(ToString::to_string);
        assert_eq!(to("https://x.test/").as_deref(), Some("s.test:3128"));
        assert_eq!(to("http://x.test/").as_deref(), Some("a.test:1080"));
        for loopback in [
            "http://127.0.0.1:5000/",
            "https://localhost/",
            "http://[::1]/",
            "http://0x7f.1/",
        ] {
            assert_eq!(to(loopback), None, "{loopback}");
        }
    }

    #[test]
    fn a_list_is_taken_in_order_and_directly_only_where_it_says_so() {
        // Whoever configures proxies because the direct road is watched must never be seen on it.
        let through = |at: &str, no_proxy: &str| Step::Through {
            proxy: Proxy::parse(at).unwrap(),
            no_proxy: NoProxy::parse(no_proxy),
        };
        let routes = |steps: &[Step], target: &str| -> Vec<String> {
            let list = ProxyConfig::List(steps.to_vec());
            let routes = list.routes(&url(target)).into_iter();
            routes
                .map(|proxy| proxy.map_or("direct".to_owned(), ToString::to_string))
                .collect()
        };
        let two = [
            through("http://a.test:1", "corp.test"),
            through("http://b.test:2", ""),
        ];
        assert_eq!(routes(&two, "https://x.test/"), ["a.test:1", "b.test:2"]);
        assert_eq!(routes(&two, "https://corp.test/"), ["direct", "b.test:2"]);
        let last = [two[1].clone(), Step::Direct, two[0].clone()];
        assert_eq!(
            routes(&last, "https://x.test/"),
            ["b.test:2", "direct", "a.test:1"]
        );
        assert_eq!(routes(&last, "https://corp.test/"), ["b.test:2", "direct"]);
        assert_eq!(routes(&[Step::Direct], "https://x.test/"), ["direct"]);
    }

    #[test]
    fn a_proxy_never_prints_its_password() {
        // An operator's proxy password must not reach a log (S12), and odd characters must still reach the proxy.
        let proxy = Proxy::parse("socks5://us%40er:p%3Aa%2Fss@10.0.0.1:9").unwrap();
        assert!(!format!("{proxy:?} {proxy}").contains("ss"), "{proxy:?}");
        assert_eq!(
            proxy.url().unwrap().as_str(),
            "socks5://us%40er:p%3Aa%2Fss@10.0.0.1:9/"
        );
        assert_eq!(Proxy::parse("proxy.test").unwrap().to_string(), "proxy.test:80");
        assert!(matches!(Proxy::parse("ftp://x"), Err(ProxyError::Scheme(_))));
    }
}
