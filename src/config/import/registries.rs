//! What other tools' names and addresses of registries mean here.

use std::net::IpAddr;

use url::{Host, Url};

use super::draft::{Draft, Spot};
use crate::config::presets::{PRESETS, Preset};
use crate::oci::RegistryName;

/// What a host is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A registry that docxy knows, by its name here.
    Preset(&'static str),
    /// The token service of one.
    Realm {
        of: &'static str,
    },
    Other(String),
}

/// `Err` says what is wrong with it, without repeating it.
pub(super) fn named(host: &str) -> Result<Named, String> {
    let name = RegistryName::parse(host).map_err(|_| "a host in it is no registry's name".to_owned())?;
    let of_preset = |preset: &&Preset| {
        preset.name == name.as_str()
            || preset.aliases.contains(&name.as_str())
            || Url::parse(preset.url).is_ok_and(|url| url.host_str() == Some(name.as_str()))
    };
    if let Some(preset) = PRESETS.iter().find(of_preset) {
        return Ok(Named::Preset(preset.name));
    }
    if let Some(preset) = PRESETS
        .iter()
        .find(|preset| preset.realms.contains(&name.as_str()))
    {
        return Ok(Named::Realm { of: preset.name });
    }
    Ok(Named::Other(name.as_str().to_owned()))
}

/// The registry at an address, with `urls` where they are not what its name says. Its name here.
pub(super) fn at(address: &str, spot: &Spot, draft: &mut Draft) -> Option<String> {
    let fix = "write it as in https://registry.example.com";
    let Ok(url) = Url::parse(address.trim()) else {
        draft.problem(spot, "is not an address", fix);
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        draft.problem(spot, "is not an address of http:// or https://", fix);
        return None;
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        draft.problem(
            spot,
            "holds more than a scheme, a host, a port and a path",
            "give user and password keys of their own",
        );
        return None;
    }
    let host = url.host_str().unwrap_or_default();
    let authority = url
        .port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let Ok(found) = named(&authority) else {
        let fix = "write a host name, or a name in front of the address with a section [registries.\"NAME\"]";
        draft.problem(spot, "its host can't be a registry's name here", fix);
        return None;
    };
    let name = match found {
        Named::Preset(name) if url.scheme() == "https" && url.path() == "/" => return Some(name.to_owned()),
        Named::Preset(name) | Named::Realm { of: name } => {
            draft.problem(
                spot,
                format!("is a strange address of {name}"),
                "write https:// and its host",
            );
            return None;
        }
        Named::Other(name) => name,
    };
    let written = url.as_str().trim_end_matches('/').to_owned();
    draft.set(
        &["registries", &name, "urls"],
        toml::Value::Array(vec![written.into()]),
        spot,
    );
    if is_inner(&url) {
        draft.set(&["registries", &name, "allow_private_addresses"], true, spot);
    }
    Some(name)
}

/// Is it surely on this machine or in a private network? Other names may resolve to such addresses too.
fn is_inner(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_inner_address(address.into()),
        Some(Host::Ipv6(address)) => is_inner_address(address.into()),
        Some(Host::Domain(name)) => !name.contains('.') || name.ends_with(".localhost"),
        None => false,
    }
}

fn is_inner_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// An address to listen on, from what Go's tools take: `:5000`, `0.0.0.0:5000`, `localhost:5000`.
pub(super) fn listener(text: &str, spot: &Spot, draft: &mut Draft) -> Option<String> {
    let text = text.trim();
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let host = match host {
        "" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let port = if port.is_empty() { "0" } else { port };
    match format!("{host}:{port}").parse::<std::net::SocketAddr>() {
        Ok(address) if address.port() != 0 => Some(address.to_string()),
        _ => {
            let fix = "write ADDRESS:PORT, as in 0.0.0.0:5000";
            draft.problem(spot, "is not an address to listen on", fix);
            None
        }
    }
}

/// An account that docxy signs in with, as another tool's file has it. An empty user or password is none.
pub(super) struct Account<'t> {
    pub username: Option<(&'t str, Spot)>,
    pub password: Option<(&'t str, Spot)>,
}

impl Account<'_> {
    pub fn write(self, name: &str, draft: &mut Draft) {
        let is_filled = |found: &(&str, Spot)| !found.0.is_empty();
        match (self.username.filter(is_filled), self.password.filter(is_filled)) {
            (Some((username, user_spot)), Some((password, password_spot))) => {
                draft.set(&["registries", name, "auth"], "configured", &user_spot);
                draft.set(&["registries", name, "username"], username, &user_spot);
                draft.set_secret(
                    &["registries", name, "password"],
                    password,
                    &password_spot,
                    PASSWORD,
                );
            }
            (Some((_, spot)), None) => draft.note(&spot, "a user without a password does not sign in"),
            (None, Some((_, spot))) => draft.note(&spot, "a password without a user does not sign in"),
            (None, None) => {}
        }
    }
}

/// Above every password.
pub(super) const PASSWORD: &str =
    "Better in a file of its own, with mode 0600: password_file = \"/etc/docxy/NAME.password\"";
