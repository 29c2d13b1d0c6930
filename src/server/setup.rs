//! `/setup/systemd`: a script that sends a machine through the intercepting door. Everything in it that differs from one docxy
//! to another is made here, from the configuration and never from what a client says of itself (threat S8).

use std::fmt;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use url::Url;

use super::Shared;
use super::error::Problem;
use crate::oci::Code;
use crate::route::Visit;
use crate::route::visit::Host;
use crate::tls::authority::fingerprints_in;

const TEMPLATE: &str = include_str!("setup/systemd.sh");
/// Where the values go.
const VALUES: &str = "#@values@";

/// Values only. `None` in the server's configuration: docxy is nobody's proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// On which CONNECT is taken over plain HTTP; `None`: on none, because docxy takes it over TLS alone, which docker's and
    /// containerd's `HTTPS_PROXY` does not mean by an `http://` address.
    pub port: Option<u16>,
    /// Who uses the proxy must sign in to it.
    pub signs_in: bool,
}

/// All that a script is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Door {
    /// Without a slash at its end.
    public_url: String,
    host: String,
    port: u16,
    signs_in: bool,
    fingerprints: Vec<String>,
}

/// Why there is no script; the message names the key.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NoScript {
    #[error(
        "docxy is nobody's proxy here, so there is nothing to set up; enabled = true under [intercept] in docxy.toml \
         switches that on"
    )]
    Off,
    #[error(
        "docxy does not know under which address machines reach it; set public_url in docxy.toml, as in \
         public_url = \"https://hub.example.com\""
    )]
    NoUrl,
    #[error("the host of {0:?} is no host name: write another public_url in docxy.toml")]
    BadHost(String),
    #[error(
        "docxy takes CONNECT over TLS alone, and docker and containerd want a proxy of http://; add \
         listen = [\"0.0.0.0:3128\"] under [intercept] in docxy.toml"
    )]
    NoPort,
    #[error("docxy's authority is not made yet: start docxy, or run docxy ca init")]
    NoAuthority,
}

impl Door {
    /// `certificates`: what `/ca.crt` answers.
    pub fn new(
        config: Option<Config>,
        public_url: Option<&Url>,
        certificates: &str,
    ) -> Result<Self, NoScript> {
        let config = config.ok_or(NoScript::Off)?;
        let url = public_url.ok_or(NoScript::NoUrl)?;
        let bad = || NoScript::BadHost(url.as_str().to_owned());
        let host = url.host_str().ok_or_else(bad)?;
        // A URL may hold `$(...)` and quotes in its host.
        let host = Host::parse(host).map_err(|_| bad())?.name().to_owned();
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let fingerprints = fingerprints_in(certificates);
        if fingerprints.is_empty() {
            return Err(NoScript::NoAuthority);
        }
        Ok(Self {
            public_url: format!("{}://{host}{port}", url.scheme()),
            host,
            port: config.port.ok_or(NoScript::NoPort)?,
            signs_in: config.signs_in,
            fingerprints,
        })
    }

    /// `http://hub.example.com:3128`, as `HTTPS_PROXY` takes it.
    pub fn proxy(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// Without a slash at its end.
    pub fn public_url(&self) -> &str {
        &self.public_url
    }

    /// SHA-256, of the certificates that are to be trusted.
    pub fn fingerprints(&self) -> &[String] {
        &self.fingerprints
    }

    /// Of what is not to go through the proxy, docxy's own host.
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn signs_in(&self) -> bool {
        self.signs_in
    }

    /// For docker and containerd below systemd, in POSIX sh.
    pub fn systemd(&self) -> String {
        let values = [
            ("public_url", self.public_url.clone()),
            ("proxy_host", self.host.clone()),
            ("proxy_port", self.port.to_string()),
            ("signs_in", if self.signs_in { "yes" } else { "no" }.to_owned()),
            ("fingerprints", self.fingerprints.join("\n")),
        ];
        let lines = values.map(|(name, value)| format!("{name}={}", Quoted(&value)));
        TEMPLATE.replacen(VALUES, &lines.join("\n"), 1)
    }
}

/// A word of a shell, whatever is in it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\'', r"'\''"))
    }
}

/// `GET /setup/systemd`
pub async fn systemd(State(parts): State<Shared>, Extension(visit): Extension<Visit>) -> Response {
    let base = parts.routes.origins().base(&visit).map(|base| base.to_string());
    let url = base.and_then(|base| Url::parse(&base).ok());
    let certificates = parts
        .authority
        .as_ref()
        .map_or_else(String::new, |authority| authority.certificates_pem());
    match Door::new(parts.config.setup, url.as_ref(), &certificates) {
        Ok(door) => (
            [(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8")],
            door.systemd(),
        )
            .into_response(),
        Err(why) => Problem::new(StatusCode::NOT_FOUND, Code::Unsupported, why.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        // Nothing that a configuration holds may run on the machine of whoever runs the script.
        for text in ["", "a b", "it's", "$(touch x)`id`\"\\", "a\nb", "''';'"] {
            let script = format!("printf %s {}", Quoted(text));
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), text);
        }
    }

    #[test]
    fn a_script_is_made_of_a_good_configuration_only() {
        // Each refusal names the key that helps.
        let on = Some(Config {
            port: Some(3128),
            signs_in: false,
        });
        let without_port = Some(Config {
            port: None,
            signs_in: false,
        });
        let url = |text: &str| Url::parse(text).ok();
        let pem = pem::encode(&pem::Pem::new("CERTIFICATE", b"any bytes".to_vec()));
        for (config, public_url, certificates, said) in [
            (None, url("https://a.test"), &*pem, "enabled = true"),
            (on, None, &pem, "set public_url"),
            (on, url("https://a$(id).test"), &pem, "no host name"),
            (on, url("https://a';id;'.test"), &pem, "no host name"),
            (on, url("https://a.test"), "", "docxy ca init"),
            (without_port, url("https://a.test"), &pem, "listen = "),
        ] {
            let error = Door::new(config, public_url.as_ref(), certificates)
                .unwrap_err()
                .to_string();
            assert!(error.contains(said), "{error}");
        }
        let door = Door::new(on, url("https://[2001:db8::1]:8443").as_ref(), &pem).unwrap();
        assert_eq!(
            (&*door.proxy(), door.bare_host()),
            ("http://[2001:db8::1]:3128", "2001:db8::1")
        );
        let script = door.systemd();
        assert!(script.contains(
            "public_url='https://[2001:db8::1]:8443'\nproxy_host='[2001:db8::1]'\nproxy_port='3128'\n"
        ));
        assert!(!script.contains(VALUES));
    }
}
