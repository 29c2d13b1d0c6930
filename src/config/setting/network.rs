//! Addresses: of listeners, of networks, of the web.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde_json::{Value as Json, json};
use url::Url;

use super::{Fields, Reading, Setting, authority_of};
use crate::config::{
    schema::ListenEntry,
    tree::{Node, Value},
    values::DnsServer,
};

impl Setting for Url {
    const EXPECTED: &'static str = "an address such as \"https://hub.example.com\"";

    /// http or https with a host; no user, query or fragment (threat S12: such an address would be printed).
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let text = at.text(node, Self::EXPECTED)?;
        if !text.contains("://") {
            return at.fail(
                &node.origin,
                "the address has no scheme",
                format!("write \"https://{}\"", authority_of(text)),
            );
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => return at.fail(&node.origin, format!("not an address: {error}"), None),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return at.fail(
                &node.origin,
                format!("the scheme {:?} is neither http nor https", url.scheme()),
                None,
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return at.fail(
                &node.origin,
                "holds a user or a password",
                "take it out of the address; credentials go into username and password_file".to_owned(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return at.fail(
                &node.origin,
                "holds a query or a fragment",
                "write the address without `?...` and `#...`".to_owned(),
            );
        }
        Some(url)
    }

    fn show(&self) -> Option<Json> {
        Some(show_url(self).into())
    }
}

/// For messages: an address with a user in it stays untold, since a password may stand behind the user.
fn shown(text: &str) -> String {
    if text.contains('@') {
        "this".to_owned()
    } else {
        format!("{text:?}")
    }
}

/// Without the slash that the parser adds to a bare host.
pub(super) fn show_url(url: &Url) -> String {
    let text = url.as_str();
    match url.path() {
        "/" => text.strip_suffix('/').unwrap_or(text).to_owned(),
        _ => text.to_owned(),
    }
}

impl Setting for IpAddr {
    const EXPECTED: &'static str = "an IP address such as \"10.0.0.5\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let text = at.text(node, Self::EXPECTED)?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => at.fail(
                &node.origin,
                format!("{} is not an IP address", shown(text)),
                None,
            ),
        }
    }

    fn show(&self) -> Option<Json> {
        Some(self.to_string().into())
    }
}

impl Setting for DnsServer {
    const EXPECTED: &'static str = "a DNS server such as \"1.1.1.1\" or \"https://dns.google/dns-query\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let text = at.text(node, Self::EXPECTED)?;
        match Self::parse(text) {
            Ok(server) => Some(server),
            Err(error) => at.fail(
                &node.origin,
                error.to_string(),
                "write \"1.1.1.1\", \"tls://1.1.1.1#cloudflare-dns.com\", \"https://dns.google/dns-query\" or \"system\""
                    .to_owned(),
            ),
        }
    }

    fn show(&self) -> Option<Json> {
        Some(self.to_string().into())
    }
}

impl Setting for IpNet {
    const EXPECTED: &'static str = "a network such as \"10.0.0.0/8\"";

    /// A lone address is a network of one.
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let text = at.text(node, Self::EXPECTED)?;
        let network = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(Self::from));
        match network {
            Some(network) => Some(network.trunc()),
            None => at.fail(
                &node.origin,
                format!("{} is neither a network nor an IP address", shown(text)),
                "write it as in \"10.0.0.0/8\", \"fd00::/8\" or \"192.0.2.7\"".to_owned(),
            ),
        }
    }

    fn show(&self) -> Option<Json> {
        let lone = self.prefix_len() == self.max_prefix_len();
        Some(if lone {
            self.addr().to_string().into()
        } else {
            self.to_string().into()
        })
    }
}

impl Setting for SocketAddr {
    const EXPECTED: &'static str = "an address with a port such as \"127.0.0.1:5000\"";

    /// No names: a listener that moves with DNS is a surprise.
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let text = match &node.value {
            Value::Integer(port) => port,
            _ => at.text(node, Self::EXPECTED)?,
        };
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        let host = text.rsplit_once(':').map_or("", |(host, _)| host);
        let fix = match (port, host) {
            (Some(port), "") => Some(format!(
                "write \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for every interface"
            )),
            (Some(port), "*") => Some(format!(
                "write \"0.0.0.0:{port}\", or \"[::]:{port}\" for IPv6 too"
            )),
            (Some(port), "localhost") => Some(format!("write \"127.0.0.1:{port}\"")),
            (None, _) if text.parse::<IpAddr>().is_ok() => {
                Some("add the port, as in \"127.0.0.1:5000\"".to_owned())
            }
            _ => None,
        };
        at.fail(
            &node.origin,
            format!("{} is not an IP address with a port", shown(text)),
            fix.or_else(|| Some("write it as in \"127.0.0.1:5000\" or \"[::1]:5000\"".to_owned())),
        )
    }

    fn show(&self) -> Option<Json> {
        Some(self.to_string().into())
    }
}

impl Setting for ListenEntry {
    const EXPECTED: &'static str = SocketAddr::EXPECTED;

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '{')?;
        let node = parsed.as_ref();
        let Value::Table(table) = &node.value else {
            return Some(Self {
                address: SocketAddr::read(node, at)?,
                proxy_protocol: false,
            });
        };
        let mut fields = Fields::new(table, &node.origin);
        let address = fields.required("address", at);
        let proxy_protocol = fields.optional("proxy_protocol", at);
        fields.finish(at)?;
        Some(Self {
            address: address?,
            proxy_protocol: proxy_protocol?,
        })
    }

    fn show(&self) -> Option<Json> {
        let address = self.address.show()?;
        Some(if self.proxy_protocol {
            json!({ "address": address, "proxy_protocol": true })
        } else {
            address
        })
    }
}
