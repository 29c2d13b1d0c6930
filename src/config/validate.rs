//! What single keys can't know: whether the values make sense together. No I/O, except in [`files()`].

mod access;
mod acme;
mod addresses;
mod cache;
mod credentials;
mod dns;
mod files;
mod folders;
mod intercept;
mod parent;
mod proxies;
mod registries;
mod rules;
mod static_hosts;

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{
    environment::Environment,
    origin::{Origin, Origins, Problem, Warning},
    schema::{Limits, ListenEntry, Log, Schema, Timeouts},
    setting::{authority_of, nearest},
    values::Size,
};
use crate::oci::RegistryName;

pub use files::{files, user_names};

/// hyper refuses to work with a smaller header buffer; a larger one only helps attackers.
const HEADER_BYTES: std::ops::RangeInclusive<Size> = Size::from_kib(8)..=Size::from_kib(1024);

/// More connections for one blob look like an attack to a registry.
const SEGMENTS: std::ops::RangeInclusive<u32> = 1..=16;
const SMALLEST_SEGMENTED: Size = Size::from_mib(1);

/// Everything found in one pass.
pub(super) struct Findings<'a> {
    origins: &'a Origins,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

impl Findings<'_> {
    fn is_written(&self, key: &str) -> bool {
        *self.origins.of(key) != Origin::Default
    }

    fn problem(&mut self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(self.finding(key, what.into(), fix.into()));
    }

    fn warn(&mut self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.warnings
            .push(Warning(self.finding(key, what.into(), fix.into())));
    }

    /// `index` counts from 0, as everywhere but in messages.
    fn problem_of_rule(&mut self, key: &str, index: usize, what: &str, fix: &str) {
        let problem = self.finding_of_rule(key, index, what, fix);
        self.problems.push(problem);
    }

    fn warn_of_rule(&mut self, key: &str, index: usize, what: &str, fix: &str) {
        let warning = Warning(self.finding_of_rule(key, index, what, fix));
        self.warnings.push(warning);
    }

    /// As [`Self::problem_of_item`], for lists that are no rules.
    fn problem_of_entry(&mut self, key: &str, index: usize, what: &str, fix: &str) {
        let problem = self.finding_of_entry(key, index, what, fix);
        self.problems.push(problem);
    }

    fn warn_of_entry(&mut self, key: &str, index: usize, what: &str, fix: &str) {
        let warning = Warning(self.finding_of_entry(key, index, what, fix));
        self.warnings.push(warning);
    }

    fn finding_of_entry(&self, key: &str, index: usize, what: &str, fix: &str) -> Problem {
        self.finding_of_item(key, index, format!("entry {}: {what}", index + 1), fix)
    }

    fn finding_of_rule(&self, key: &str, index: usize, what: &str, fix: &str) -> Problem {
        self.finding_of_item(key, index, format!("rule {}: {what}", index + 1), fix)
    }

    /// Of one of several values in a list.
    fn finding_of_item(&self, key: &str, index: usize, what: String, fix: &str) -> Problem {
        Problem {
            origin: self.origins.of_item(key, index).clone(),
            key: key.to_owned(),
            what,
            fix: Some(fix.to_owned()),
        }
    }

    fn finding(&self, key: &str, what: String, fix: String) -> Problem {
        Problem {
            origin: self.origins.of(key).clone(),
            key: key.to_owned(),
            what,
            fix: Some(fix),
        }
    }
}

/// Checks a schema that was read without opening any file that it names.
pub(super) fn meaning<'a>(schema: &Schema, origins: &'a Origins, environment: &Environment) -> Findings<'a> {
    let mut findings = Findings {
        origins,
        problems: Vec::new(),
        warnings: Vec::new(),
    };
    let mut listened_on = listeners(schema, &mut findings);
    acme::check(schema, &mut findings);
    intercept::check(schema, &mut listened_on, &mut findings);
    public_url(schema, &mut findings);
    hosts("allowed_hosts", &schema.allowed_hosts, &mut findings);
    trusted_proxies(schema, &mut findings);
    named_registries(schema, &mut findings);
    folders::check(schema, environment, &mut findings);
    cache::check(schema, &mut findings);
    timeouts(&schema.timeouts, &mut findings);
    limits(&schema.limits, &mut findings);
    log(&schema.log, &mut findings);
    static_hosts::check(schema, &mut findings);
    dns::check(schema, &mut findings);
    segments(schema, &mut findings);
    parent::check(schema, &mut findings);
    proxies::check(schema, &mut findings);
    registries::check(schema, &mut findings);
    access::check(schema, &mut findings);
    findings
}

/// Returns what is listened on.
fn listeners(schema: &Schema, findings: &mut Findings<'_>) -> Vec<SocketAddr> {
    let tls = &schema.tls;
    if schema.listen.is_empty() && tls.listen.is_empty() {
        findings.problem(
            "listen",
            "there is nothing to listen on",
            "write listen = [\"127.0.0.1:5000\"]",
        );
    }
    if !tls.listen.is_empty() && tls.certificates.is_empty() && tls.acme.domains.is_empty() {
        findings.problem(
            "tls.listen",
            "HTTPS needs a certificate",
            "add certificates = [{ cert = \"fullchain.pem\", key = \"privkey.pem\" }] under [tls], or domains = [\"NAME\"] under \
             [tls.acme]",
        );
    }
    let admin = &schema.admin;
    if admin.tls && !admin.listen.is_empty() && tls.certificates.is_empty() && tls.acme.domains.is_empty() {
        findings.problem(
            "admin.tls",
            "HTTPS needs a certificate",
            "add certificates = [{ cert = \"fullchain.pem\", key = \"privkey.pem\" }] under [tls]",
        );
    }
    let open = admin.listen.iter().find(|address| !address.ip().is_loopback());
    if let Some(open) = open.filter(|_| !admin.tls && !schema.allow_plain_login) {
        findings.problem(
            "admin.listen",
            format!("whoever signs in at {open} would send an admin token over the network unencrypted"),
            "add tls = true under [admin], listen on 127.0.0.1, or write allow_plain_login = true if the network is trusted",
        );
    }
    client_authority(schema, findings);
    if tls.listen.is_empty() && !admin.tls && !tls.certificates.is_empty() {
        findings.problem(
            "tls.certificates",
            "no listener uses these certificates",
            "add listen = [\"0.0.0.0:443\"] under [tls]",
        );
    }
    let all = [("listen", &schema.listen), ("tls.listen", &tls.listen)];
    let mut seen: Vec<SocketAddr> = Vec::new();
    for (key, entries) in all {
        let addresses = entries.iter().map(|entry| entry.address);
        listened_on_once(key, addresses, &mut seen, findings);
        if entries.iter().any(|entry| entry.proxy_protocol) && schema.trusted_proxies.is_empty() {
            findings.problem(
                key,
                "proxy_protocol is on, but no proxy is trusted: every connection would be refused",
                "add trusted_proxies = [\"ADDRESS OF THE PROXY\"] at the top of the file",
            );
        }
    }

    let metrics = schema.metrics_listen.iter().copied();
    listened_on_once("metrics_listen", metrics, &mut seen, findings);
    // One that nobody wrote gives way to the others.
    if findings.is_written("admin.listen") {
        let admin = admin.listen.iter().copied();
        listened_on_once("admin.listen", admin, &mut seen, findings);
    }
    seen
}

/// Who demands certificates at one door must not leave another one open.
fn client_authority(schema: &Schema, findings: &mut Findings<'_>) {
    let tls = &schema.tls;
    if tls.client_ca_file.is_none() {
        return;
    }
    let key = "tls.client_ca_file";
    if tls.listen.is_empty() {
        findings.problem(
            key,
            "has no meaning without a TLS listener",
            "add listen = [\"0.0.0.0:5443\"] under [tls], or take the key out",
        );
        return;
    }
    let beyond = |entry: &&ListenEntry| !entry.address.ip().is_loopback();
    let Some(open) = schema.listen.iter().find(beyond) else {
        return;
    };
    let redirects = tls.redirect_http
        && schema
            .public_url
            .as_ref()
            .is_none_or(|url| url.scheme() == "https");
    if !redirects {
        findings.problem(
            "listen",
            format!(
                "{} serves whoever comes over plain HTTP, while tls.client_ca_file demands certificates",
                open.address
            ),
            "listen on 127.0.0.1 or nowhere (listen = []), or leave redirect_http on with an https:// public_url",
        );
    } else if !schema.trusted_proxies.is_empty() {
        findings.warn(
            "listen",
            format!(
                "requests that a trusted proxy brings to {} over HTTPS of its own are served without a client's certificate",
                open.address
            ),
            "let the proxy ask for certificates, or listen on 127.0.0.1 or nowhere (listen = [])",
        );
    }
}

fn listened_on_once(
    key: &str,
    addresses: impl Iterator<Item = SocketAddr>,
    seen: &mut Vec<SocketAddr>,
    findings: &mut Findings<'_>,
) {
    for address in addresses {
        if address.port() != 0 && seen.contains(&address) {
            findings.problem(
                key,
                format!("{address} is listened on twice"),
                "keep one of the two",
            );
        }
        seen.push(address);
    }
}

fn public_url(schema: &Schema, findings: &mut Findings<'_>) {
    let Some(url) = &schema.public_url else {
        return;
    };
    if url.path() != "/" {
        findings.problem(
            "public_url",
            format!(
                "holds the path {:?}; registries live at the root of a host",
                url.path()
            ),
            format!("write \"{}\"", url.origin().ascii_serialization()),
        );
    }
    if url.scheme() != "http" || addresses::is_loopback(url) {
        return;
    }
    if schema.allow_plain_login {
        findings.warn(
            "allow_plain_login",
            "passwords and tokens travel unencrypted to this public URL",
            "use https:// wherever clients are on another machine",
        );
    } else {
        findings.warn(
            "public_url",
            "is http:// beyond this machine, so signing in is off: clients would send passwords unencrypted",
            "use https://, or write allow_plain_login = true if the network is trusted",
        );
    }
}

fn trusted_proxies(schema: &Schema, findings: &mut Findings<'_>) {
    let networks = &schema.trusted_proxies;
    if networks.iter().any(|network| network.prefix_len() == 0) {
        findings.warn(
            "trusted_proxies",
            "every client can claim any address",
            "name the reverse proxy's own address or network",
        );
    } else if let Some(wide) = networks.iter().find(|network| holds_more_than_proxies(network))
        && access::goes_by_address(schema)
    {
        findings.warn(
            "trusted_proxies",
            format!(
                "whoever is in {wide} can claim any address, and so get past lists and rules of addresses, limits, and the \
                 slowing of who guesses passwords"
            ),
            "name the reverse proxies themselves, as in [\"10.0.0.5/32\"]",
        );
    }
}

/// Sixteen IPv4 addresses are still a row of proxies. What is on this machine is the operator's own.
fn holds_more_than_proxies(network: &IpNet) -> bool {
    let narrowest = match network {
        IpNet::V4(_) => 28,
        IpNet::V6(_) => 120,
    };
    network.prefix_len() < narrowest && !network.network().is_loopback()
}

/// `default_registry` and `login_registries` must be registries that answer.
fn named_registries(schema: &Schema, findings: &mut Findings<'_>) {
    named_registry(schema, "default_registry", &schema.default_registry, findings);
    for name in schema.login_registries.iter().flatten() {
        named_registry(schema, "login_registries", name, findings);
    }
}

fn named_registry(schema: &Schema, key: &str, name: &RegistryName, findings: &mut Findings<'_>) {
    match schema.registries.get(name) {
        Some(registry) if registry.enabled => {}
        Some(_) => findings.problem(
            key,
            format!("{name} is disabled"),
            format!("name another registry, or take `enabled = false` out of [registries.\"{name}\"]"),
        ),
        None => {
            let owner = schema
                .registries
                .iter()
                .find(|(_, registry)| registry.aliases.contains(name));
            match owner {
                Some((owner, _)) => findings.problem(
                    key,
                    format!("{name} is an alias of {owner}"),
                    format!("write \"{owner}\""),
                ),
                None => findings.problem(
                    key,
                    format!("{name} is not configured"),
                    format!("add a section [registries.\"{name}\"]"),
                ),
            }
        }
    }
}

fn timeouts(timeouts: &Timeouts, findings: &mut Findings<'_>) {
    for (key, value) in [
        ("timeouts.connect", timeouts.connect),
        ("timeouts.headers", timeouts.headers),
        ("timeouts.idle", timeouts.idle),
    ] {
        not_zero(key, value, findings);
    }
}

fn limits(limits: &Limits, findings: &mut Findings<'_>) {
    for (key, value) in [
        ("limits.header_timeout", limits.header_timeout),
        ("limits.handshake_timeout", limits.handshake_timeout),
        ("limits.keep_alive", limits.keep_alive),
    ] {
        not_zero(key, value, findings);
    }
    if !HEADER_BYTES.contains(&limits.max_header_bytes) {
        findings.problem(
            "limits.max_header_bytes",
            format!(
                "{} is not between {} and {}",
                limits.max_header_bytes,
                HEADER_BYTES.start(),
                HEADER_BYTES.end()
            ),
            "write \"64KiB\", or leave the key out",
        );
    }
    if limits.max_header_fields < 16 {
        findings.problem(
            "limits.max_header_fields",
            format!(
                "{} is less than the 16 that ordinary clients may need",
                limits.max_header_fields
            ),
            "write 100, or leave the key out",
        );
    }
}

fn not_zero(key: &str, value: Duration, findings: &mut Findings<'_>) {
    if value.is_zero() {
        findings.problem(
            key,
            "a time limit of 0 would end everything at once",
            "write a time such as \"10s\"",
        );
    }
}

fn segments(schema: &Schema, findings: &mut Findings<'_>) {
    let network = &schema.network;
    if !SEGMENTS.contains(&network.segments) {
        findings.problem(
            "network.segments",
            format!("{} is not between 1 and 16", network.segments),
            "write 4, or 1 to fetch every blob over one connection",
        );
    }
    if network.segment_threshold < SMALLEST_SEGMENTED {
        findings.problem(
            "network.segment_threshold",
            format!(
                "{} is less than {SMALLEST_SEGMENTED}: a second connection costs more than it brings",
                network.segment_threshold
            ),
            "write \"16MiB\", or segments = 1 to switch segments off",
        );
    }
}

fn log(log: &Log, findings: &mut Findings<'_>) {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    // A filter takes any lone word as the name of a module: a misspelt level would silence everything.
    for word in log.level.split(',').map(str::trim) {
        let lone = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric());
        let lower = word.to_ascii_lowercase();
        let known = LEVELS.contains(&lower.as_str()) || lower == "docxy";
        if lone && !known {
            let near = nearest(&lower, LEVELS.into_iter());
            let fix = near.map_or_else(
                || {
                    format!(
                        "write one of {}, or a filter such as \"docxy=debug,info\"",
                        LEVELS.join(", ")
                    )
                },
                |near| format!("did you mean {near:?}?"),
            );
            findings.problem("log.level", format!("{word:?} is not a level"), fix);
            return;
        }
    }
    if let Err(error) = EnvFilter::builder().parse(&log.level) {
        let fix = "write a level such as \"info\", or a filter such as \"docxy=debug,info\"";
        findings.problem("log.level", format!("is not a filter: {error}"), fix);
    }
}

/// Plain host names: no scheme, port, path or wildcard.
fn hosts(key: &str, names: &[String], findings: &mut Findings<'_>) {
    for name in names {
        if let Err(reason) = addresses::check_host(name) {
            let authority = authority_of(name);
            let bare = authority.split(':').next().unwrap_or(authority);
            let fix = if bare == name || bare.is_empty() {
                "write a name such as \"hub.example.com\"".to_owned()
            } else {
                format!("write {bare:?}")
            };
            let what = if authority == name {
                format!("{name:?} {reason}")
            } else {
                reason.to_owned()
            };
            findings.problem(key, what, fix);
        }
    }
}

/// Is any listener open to other machines?
fn listens_beyond_loopback(schema: &Schema) -> bool {
    schema
        .listen
        .iter()
        .chain(&schema.tls.listen)
        .chain(
            schema
                .intercept
                .listen
                .iter()
                .filter(|_| schema.intercept.enabled),
        )
        .any(|entry| !entry.address.ip().is_loopback())
}

/// For messages: the address without a path.
fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}
