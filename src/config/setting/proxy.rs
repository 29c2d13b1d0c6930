//! Outbound proxies: the `proxy` keys and the usual variables.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json, json};
use url::Url;

use super::{Fields, Reading, Setting, network::show_url, read_all};
use crate::config::{
    schema::{Proxy, ProxyEntry, ProxyList},
    tree::{Node, Value},
    values::Secret,
};

impl Setting for ProxyList {
    const EXPECTED: &'static str = ProxyEntry::EXPECTED;

    /// One, or a list of them. A variable that holds a list writes it as TOML: a password may have commas.
    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '[')?;
        let node = parsed.as_ref();
        match &node.value {
            Value::Array(items) if items.is_empty() => at.fail(
                &node.origin,
                "is an empty list",
                "write \"none\" to go directly, or take the key out".to_owned(),
            ),
            Value::Array(items) => read_all(items, at).map(Self),
            _ => ProxyEntry::read(node, at).map(|entry| Self(vec![entry])),
        }
    }

    fn show(&self) -> Option<Json> {
        match self.0.as_slice() {
            [only] => only.show(),
            all => Some(
                all.iter()
                    .filter_map(|entry| match entry {
                        ProxyEntry::Direct => Some("direct".into()),
                        through @ ProxyEntry::Through(_) => through.show(),
                    })
                    .collect(),
            ),
        }
    }
}

impl Setting for ProxyEntry {
    const EXPECTED: &'static str = "a proxy such as \"http://proxy.example.com:3128\", or \"none\"";

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        let parsed = at.structured(node, '{')?;
        let node = parsed.as_ref();
        match &node.value {
            Value::String(text) | Value::Raw(text) if matches!(text.as_str(), "none" | "direct") => {
                Some(Self::Direct)
            }
            Value::Table(table) => {
                let mut fields = Fields::new(table, &node.origin);
                let url = fields.required::<ProxyUrl>("url", at);
                let username = fields.optional("username", at);
                let password_file = fields.optional("password_file", at);
                let no_proxy = fields.optional("no_proxy", at);
                let remote_dns: Option<bool> = fields.optional("remote_dns", at);
                fields.finish(at)?;
                let mut proxy = url?.0;
                proxy.remote_dns |= remote_dns?;
                proxy.no_proxy = no_proxy?;
                proxy.password_file = password_file?;
                let username: Option<String> = username?;
                if proxy.username.is_some() && (username.is_some() || proxy.password_file.is_some()) {
                    let fix = "keep `username` and `password_file`, and take the user out of the address"
                        .to_owned();
                    return at.fail(&node.origin, "names the user twice", fix);
                }
                proxy.username = proxy.username.or(username);
                if proxy.password_file.is_some() && proxy.username.is_none() {
                    return at.fail(
                        &node.origin,
                        "has a password_file but no username",
                        "add username = \"...\"".to_owned(),
                    );
                }
                Some(Self::Through(proxy))
            }
            _ => ProxyUrl::read(node, at).map(|url| Self::Through(url.0)),
        }
    }

    fn show(&self) -> Option<Json> {
        let proxy = match self {
            Self::Direct => return Some("none".into()),
            Self::Through(proxy) => proxy,
        };
        let mut table = Map::new();
        if proxy.password.is_none() {
            table.extend(proxy.username.show().map(|name| ("username".to_owned(), name)));
        }
        table.extend(
            proxy
                .password_file
                .show()
                .map(|path| ("password_file".to_owned(), path)),
        );
        if !proxy.no_proxy.is_empty() {
            table.extend(proxy.no_proxy.show().map(|list| ("no_proxy".to_owned(), list)));
        }
        if proxy.remote_dns {
            table.insert("remote_dns".to_owned(), true.into());
        }
        let url = ProxyUrl(proxy.clone()).show()?;
        if table.is_empty() {
            return Some(url);
        }
        table.insert("url".to_owned(), url);
        Some(Json::Object(table))
    }
}

/// A proxy from `HTTPS_PROXY` and its like, where a scheme is often left out (curl reads that as http).
pub(in crate::config) fn proxy_from_environment(text: &str) -> Result<Proxy, String> {
    if text.contains("://") {
        parse_proxy(text)
    } else {
        parse_proxy(&format!("http://{text}"))
    }
}

/// The address alone, with the user that may stand in it.
#[derive(Clone)]
struct ProxyUrl(Proxy);

impl Setting for ProxyUrl {
    const EXPECTED: &'static str = ProxyEntry::EXPECTED;

    fn read(node: &Node, at: &mut Reading<'_>) -> Option<Self> {
        match parse_proxy(at.text(node, Self::EXPECTED)?) {
            Ok(proxy) => Some(Self(proxy)),
            Err(reason) => at.fail(
                &node.origin,
                reason,
                "write http://, https://, socks5:// or socks5h://, a host and a port; or \"none\"".to_owned(),
            ),
        }
    }

    fn show(&self) -> Option<Json> {
        let url = show_url(&self.0.url);
        let user = self.0.username.as_deref().filter(|_| self.0.password.is_some());
        Some(match (user, url.split_once("://")) {
            (Some(user), Some((scheme, rest))) => json!(format!("{scheme}://{user}:***@{rest}")),
            _ => url.into(),
        })
    }
}

/// The messages never repeat the text: it may hold a password.
fn parse_proxy(text: &str) -> Result<Proxy, String> {
    if !text.contains("://") {
        return Err("the address has no scheme".to_owned());
    }
    let mut url = Url::parse(text).map_err(|error| format!("not a proxy's address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h") {
        return Err(format!("the scheme {:?} is no proxy's", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the address has no host".to_owned());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err("a proxy's address ends after the port".to_owned());
    }
    let decode = |part: &str| {
        percent_decode_str(part)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
    };
    let not_text = |_| "the user or the password is not UTF-8".to_owned();
    let username = match url.username() {
        "" => None,
        name => Some(decode(name).map_err(not_text)?),
    };
    let password = match url.password() {
        None | Some("") => None,
        Some(password) => Some(Secret::new(decode(password).map_err(not_text)?)),
    };
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| "the address can't hold a user".to_owned())?;
    Ok(Proxy {
        url,
        username,
        password,
        password_file: None,
        no_proxy: Vec::new(),
        remote_dns: false,
    })
}
