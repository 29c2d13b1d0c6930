//! From a name to the addresses that may be dialled. Every connection of the HTTP client comes through here, except
//! those to literal addresses, which `Transport` checks itself.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::Class;
use super::names::{LookUpError, Names};

/// What a resolver goes by.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    rules: Arc<Rules>,
    names: Names,
}

#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub allow_private: bool,
    pub ipv6: bool,
    /// Exact lower-case names.
    pub static_hosts: HashMap<String, Vec<IpAddr>>,
    /// The configured proxy's own name: whoever configures a proxy means its address.
    pub exempt: Option<String>,
    /// Another name for one host: the name in its certificate, under which it is asked for over TLS.
    pub alias: Option<Alias>,
    /// IPv4 addresses come first: of a connector that tries one address only.
    pub v4_first: bool,
}

/// Whoever asks for `name` is told where `host` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alias {
    /// Lower case.
    pub name: String,
    /// A name, or a literal address as URLs write it.
    pub host: String,
}

/// Found again by `classify` in the error chain of the HTTP client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ResolveError {
    #[error(transparent)]
    LookUp(#[from] LookUpError),
    #[error("no address")]
    Empty,
    #[error("only IPv6 addresses, and ipv6 = false")]
    OnlyV6,
    #[error("{host} is at {address}, {class}")]
    Refused {
        host: String,
        address: IpAddr,
        class: Class,
    },
}

impl Resolver {
    pub fn new(rules: Rules, names: Names) -> Self {
        Self {
            rules: Arc::new(rules),
            names,
        }
    }

    /// The addresses of `host` that may be dialled, in the order in which they are tried. Refused ones are dropped as long
    /// as one is left: a name with a public and a private address is reached by its public one.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut name = canonical(host);
        if let Some(alias) = self.rules.alias.as_ref().filter(|alias| alias.name == name) {
            name.clone_from(&alias.host);
        }
        let exempt = self.rules.exempt.as_deref() == Some(name.as_str());
        let mut found = self.look_up(&name).await?;
        if found.is_empty() {
            return Err(ResolveError::Empty);
        }
        if !self.rules.ipv6 {
            found.retain(IpAddr::is_ipv4);
            if found.is_empty() {
                return Err(ResolveError::OnlyV6);
            }
        }
        if self.rules.v4_first {
            found.sort_by_key(IpAddr::is_ipv6);
        }
        if exempt {
            return Ok(found);
        }
        let first = found[0];
        found.retain(|address| Class::of(*address).allowed(self.rules.allow_private));
        if found.is_empty() {
            return Err(ResolveError::Refused {
                host: name,
                address: first,
                class: Class::of(first),
            });
        }
        Ok(found)
    }

    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        // The SOCKS connector asks for literals too.
        if let Ok(literal) = name.trim_matches(['[', ']']).parse() {
            return Ok(vec![literal]);
        }
        if let Some(addresses) = self.rules.static_hosts.get(name) {
            return Ok(addresses.clone());
        }
        Ok(self.names.look_up(name).await?)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let found = this.addresses(name.as_str()).await?;
            // Port 0: the connector puts the URL's port in.
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

/// Lower case, without the root's dot.
pub(super) fn canonical(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    host.strip_suffix('.').map_or(host.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    fn resolver(allow_private: bool, ipv6: bool, exempt: Option<&str>) -> Resolver {
        let hosts: [(&str, &[&str]); 4] = [
            ("both.example", &["10.0.0.1", "8.8.8.8", "2606:4700::1"]),
            ("inside.example", &["10.0.0.1", "169.254.169.254"]),
            ("six.example", &["2606:4700::1"]),
            ("none.example", &[]),
        ];
        let rules = Rules {
            allow_private,
            ipv6,
            static_hosts: hosts
                .map(|(name, ips)| {
                    (
                        name.to_owned(),
                        ips.iter().map(|ip| ip.parse().unwrap()).collect(),
                    )
                })
                .into(),
            exempt: exempt.map(str::to_owned),
            alias: Some(Alias {
                name: "certified.example".to_owned(),
                host: "[2606:4700::7]".to_owned(),
            }),
            v4_first: false,
        };
        Resolver::new(rules, system())
    }

    fn system() -> Names {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let config = names::Config {
            servers: Vec::new(),
            hosts: HashMap::new(),
            ipv6: true,
            tls,
            connect: std::time::Duration::from_secs(5),
        };
        config.build()
    }

    #[tokio::test]
    async fn a_name_is_reached_by_its_public_addresses_only() {
        // An operator must be safe from a name that points inside (S2), and a name with one good address must work.
        let strict = resolver(false, true, None);
        let both = strict.addresses("Both.Example.").await.unwrap();
        assert_eq!(both.len(), 2);
        let refused = strict.addresses("inside.example").await.unwrap_err();
        assert!(
            matches!(
                refused,
                ResolveError::Refused {
                    class: Class::Private,
                    ..
                }
            ),
            "{refused}"
        );
        assert_eq!(
            resolver(true, true, None)
                .addresses("inside.example")
                .await
                .unwrap()
                .len(),
            2
        );
        assert!(strict.addresses("[::1]").await.is_err());
        assert!(strict.addresses("127.0.0.1").await.is_err());
    }

    #[tokio::test]
    async fn an_alias_is_where_its_host_is() {
        // A registry that is asked for under its certificate's name must be dialled where its url says, and judged there.
        let found = resolver(false, true, None).addresses("certified.example").await;
        assert_eq!(found.unwrap(), ["2606:4700::7".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn ipv6_can_be_switched_off() {
        // On networks whose IPv6 leads nowhere a pull must not wait for it.
        let four = resolver(false, false, None);
        assert_eq!(
            four.addresses("both.example").await.unwrap(),
            ["8.8.8.8".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(four.addresses("six.example").await, Err(ResolveError::OnlyV6));
        assert_eq!(four.addresses("none.example").await, Err(ResolveError::Empty));
    }

    #[tokio::test]
    async fn the_configured_proxy_is_exempt() {
        // A proxy in the inner network is what most people have; naming it is the permission.
        let found = resolver(false, true, Some("inside.example"))
            .addresses("inside.example")
            .await;
        assert_eq!(found.unwrap().len(), 2);
    }
}
