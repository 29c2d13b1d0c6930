//! The environment names of Docxy (feature T1), as a layer under the file: whoever replaces it by docxy need not
//! change a unit file on the same day.

use super::{
    environment::Environment,
    origin::{Origin, Problem, Problems, Warning},
    setting::parse_switch,
    tree::{Node, Table, Value, insert},
};

const CERT_PATH: &str = "DOCXY_CERT_PATH";
const KEY_PATH: &str = "DOCXY_KEY_PATH";
const HTTP_PORT: &str = "DOCXY_HTTP_PORT";
const HTTPS_PORT: &str = "DOCXY_HTTPS_PORT";
const HTTP_ENABLED: &str = "DOCXY_HTTP_ENABLED";
const HTTPS_ENABLED: &str = "DOCXY_HTTPS_ENABLED";
const BEHIND_PROXY: &str = "DOCXY_BEHIND_PROXY";

/// Whom Docxy's "behind a proxy" mode trusts here: the proxy is on this machine or in the same private network.
pub(super) const NEAR: &str = "127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7";

/// What the old names mean in today's keys; empty when none of them is set.
pub(super) fn layer(
    environment: &Environment,
    problems: &mut Problems,
    warnings: &mut Vec<Warning>,
) -> Table {
    let mut names = Names {
        environment,
        problems,
        used: Vec::new(),
        tree: Table::new(),
    };
    let behind_proxy = names.switch(BEHIND_PROXY).unwrap_or(false);
    let http_port = names.port(HTTP_PORT);
    let https_port = names.port(HTTPS_PORT);
    let http_enabled = names.switch(HTTP_ENABLED);
    let https_enabled = names.switch(HTTPS_ENABLED);
    let cert = names.text(CERT_PATH);
    let key = names.text(KEY_PATH);
    if names.used.is_empty() {
        return Table::new();
    }

    if behind_proxy {
        names.listen(HTTP_PORT, BEHIND_PROXY, "listen", http_port.unwrap_or(80));
        names.set(BEHIND_PROXY, "tls.redirect_http", "false");
        names.set(BEHIND_PROXY, "trusted_proxies", NEAR);
    } else {
        match http_enabled {
            Some(false) => names.set(HTTP_ENABLED, "listen", "[]"),
            // Docxy listened on 80 as soon as it had a certificate; without one our own default is kinder.
            enabled => {
                if http_port.is_some() || enabled == Some(true) || cert.is_some() {
                    names.listen(HTTP_PORT, HTTP_ENABLED, "listen", http_port.unwrap_or(80));
                }
            }
        }
        if https_enabled != Some(false) {
            names.https(cert, key, https_port, https_enabled);
        }
    }
    warnings.extend(names.warnings(behind_proxy));
    names.tree
}

struct Names<'a> {
    environment: &'a Environment,
    problems: &'a mut Problems,
    used: Vec<&'static str>,
    tree: Table,
}

impl<'a> Names<'a> {
    fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let text = self.environment.get(name).map(|text| text.trim())?;
        // Kubernetes makes DOCXY_HTTP_PORT=tcp://10.0.0.1:80 out of a Service called docxy-http.
        if text.is_empty() || text.starts_with("tcp://") {
            return None;
        }
        self.used.push(name);
        Some(text)
    }

    fn port(&mut self, name: &'static str) -> Option<u16> {
        let text = self.text(name)?;
        let port = text.parse().ok().filter(|port| *port != 0);
        if port.is_none() {
            self.fail(
                name,
                format!("{text:?} is not a port"),
                "write a number from 1 to 65535",
            );
        }
        port
    }

    fn switch(&mut self, name: &'static str) -> Option<bool> {
        let text = self.text(name)?;
        let value = parse_switch(text);
        if value.is_none() {
            self.fail(
                name,
                format!("expected true or false, found {text:?}"),
                "write true or false",
            );
        }
        value
    }

    fn https(&mut self, cert: Option<&str>, key: Option<&str>, port: Option<u16>, enabled: Option<bool>) {
        match (cert, key) {
            (Some(cert), Some(key)) => {
                let table = serde_json::json!({ "cert": cert, "key": key });
                let list = format!("[{{ cert = {}, key = {} }}]", table["cert"], table["key"]);
                self.set(CERT_PATH, "tls.certificates", &list);
                self.listen(HTTPS_PORT, CERT_PATH, "tls.listen", port.unwrap_or(443));
            }
            (Some(_), None) => self.fail(
                CERT_PATH,
                "has no DOCXY_KEY_PATH beside it",
                "set both, or neither",
            ),
            (None, Some(_)) => self.fail(
                KEY_PATH,
                "has no DOCXY_CERT_PATH beside it",
                "set both, or neither",
            ),
            (None, None) if port.is_some() || enabled == Some(true) => {
                let name = if port.is_some() { HTTPS_PORT } else { HTTPS_ENABLED };
                self.fail(
                    name,
                    "asks for HTTPS, but there is no certificate",
                    "set DOCXY_CERT_PATH and DOCXY_KEY_PATH, or DOCXY_HTTPS_ENABLED=false",
                );
            }
            (None, None) => {}
        }
    }

    /// `otherwise` is the variable that asked for the listener when the port's own is unset.
    fn listen(&mut self, name: &'static str, otherwise: &'static str, key: &str, port: u16) {
        let name = if self.used.contains(&name) {
            name
        } else {
            otherwise
        };
        self.set(name, key, &format!("0.0.0.0:{port}"));
    }

    fn set(&mut self, name: &str, key: &str, value: &str) {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let node = Node {
            value: Value::Raw(value.to_owned()),
            origin: Origin::Environment(name.to_owned()),
        };
        // The keys above are leaves of different tables: none can be in another's way.
        let _ = insert(&mut self.tree, &path, node);
    }

    fn fail(&mut self, name: &str, what: impl Into<String>, fix: &str) {
        self.problems
            .push(&Origin::Environment(name.to_owned()), "", what, fix.to_owned());
    }

    fn warnings(&self, behind_proxy: bool) -> Vec<Warning> {
        let warn = |name: &str, what: String, fix: &str| {
            Warning(Problem {
                origin: Origin::Environment(name.to_owned()),
                key: String::new(),
                what,
                fix: Some(fix.to_owned()),
            })
        };
        let mut warnings = Vec::new();
        if let Some(first) = self.used.first() {
            let names = self.used.join(", ");
            warnings.push(warn(
                first,
                format!("Docxy's old names are in use ({names}); they keep working, and every newer key wins over them"),
                "`docxy check-config` shows what they mean in today's keys",
            ));
        }
        if behind_proxy {
            warnings.push(warn(
                BEHIND_PROXY,
                "X-Forwarded-* headers are believed from loopback and every private network".to_owned(),
                "set trusted_proxies to the reverse proxy's own address",
            ));
        }
        warnings
    }
}
