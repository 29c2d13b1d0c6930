//! docker-registry-proxy: its variables in docxy's keys, for `docxy config import` and, where its container is replaced
//! in place, for a start with `DOCXY_COMPAT=docker-registry-proxy`.

use super::{
    draft::{Draft, Spot},
    env_file::Variable,
    nginx,
    registries::{self, Named},
};
use crate::config::{auth_registries, values::Pattern};

/// What it caches beside Docker Hub when nobody says.
const REGISTRIES: &str = "k8s.gcr.io gcr.io quay.io";

/// Its tiers of tags, when they are on.
const PRIMARY_REGEX: &str = "(stable|nightly|production|test)";
const PRIMARY_TIME: &str = "10m";
const SECONDARY_REGEX: &str = r"(.*)(\d|\.)+(.*)(\d|\.)+(.*)(\d|\.)+";
const SECONDARY_TIME: &str = "60d";
const DEFAULT_TIME: &str = "1h";

/// How it titles them, here and in its `X-Docker-Registry-Proxy-Cache-Type`.
pub(in crate::config) const PRIMARY: &str = "manifest-primary";
pub(in crate::config) const SECONDARY: &str = "manifest-secondary";

/// Where it listens, and everything of it is.
const PORT: &str = "0.0.0.0:3128";

/// The variables that mean something here.
const READ: [&str; 20] = [
    "REGISTRIES",
    "AUTH_REGISTRIES",
    "AUTH_REGISTRIES_DELIMITER",
    "AUTH_REGISTRY_DELIMITER",
    "CACHE_MAX_SIZE",
    "CACHE_INACTIVE",
    "ENABLE_MANIFEST_CACHE",
    "MANIFEST_CACHE_PRIMARY_REGEX",
    "MANIFEST_CACHE_PRIMARY_TIME",
    "MANIFEST_CACHE_SECONDARY_REGEX",
    "MANIFEST_CACHE_SECONDARY_TIME",
    "MANIFEST_CACHE_DEFAULT_TIME",
    "ALLOW_PUSH",
    "VERIFY_SSL",
    "DISABLE_IPV6",
    "PROXY_CONNECT_TIMEOUT",
    "PROXY_READ_TIMEOUT",
    "CLIENT_HEADER_TIMEOUT",
    "KEEPALIVE_TIMEOUT",
    "DEBUG_NGINX",
];

/// Those for which docxy has no key, and why none is needed. `true` alone is worth a word where a value stands beside.
const NOT_NEEDED: [(&str, Option<&str>, &str); 16] = [
    (
        "ALLOW_OWN_AUTH",
        Some("true"),
        "with an account of docxy's own for a registry, clients' own accounts are not shown to it; take `auth = \"configured\"` and the account out of its section, and each client signs in as itself",
    ),
    (
        "ALLOW_PUSH_WITH_OWN_AUTH",
        Some("true"),
        "pushing stays off: push.enabled of a registry lets its clients push, with the account that the registry's `auth` says",
    ),
    (
        "PROXY_REQUEST_BUFFERING",
        None,
        "not needed: what is pushed is never buffered",
    ),
    ("PROXY_SEND_TIMEOUT", None, SENDING),
    ("SEND_TIMEOUT", None, SENDING),
    ("CLIENT_BODY_TIMEOUT", None, SENDING),
    ("PROXY_CONNECT_READ_TIMEOUT", None, TUNNELS),
    ("PROXY_CONNECT_CONNECT_TIMEOUT", None, TUNNELS),
    ("PROXY_CONNECT_SEND_TIMEOUT", None, TUNNELS),
    (
        "DEBUG",
        Some("true"),
        "`docxy serve --trace-http FILE` records what clients ask and get",
    ),
    (
        "DEBUG_HUB",
        Some("true"),
        "`docxy serve --trace-http FILE` records what registries are asked and answer; certificates of registries are verified all the same",
    ),
    (
        "DEBUG_CA_CERT",
        Some("true"),
        "`docxy ca show` prints the authority's certificate",
    ),
    (
        "RESOLVERS",
        None,
        "it never counted there: the servers came from /etc/resolv.conf, as docxy's do; network.dns names others",
    ),
    ("CA_SRL_FILE", None, "not needed: serial numbers are random"),
    (
        "ALLDOMAINS",
        None,
        "not needed: each host gets a certificate of its own",
    ),
    ("DO_DEBUG_BUILD", None, "it only counted when the image was built"),
];

const SENDING: &str =
    "docxy has no such time limit; timeouts.idle ends a registry's answer that stands still";
const TUNNELS: &str = "docxy has no time limits of tunnels' own";

/// Where the translation is used.
#[derive(Clone, Copy)]
pub(in crate::config) enum Use<'a> {
    /// A file for a docxy somewhere.
    Import,
    /// In its container's place, with its volumes.
    InPlace {
        /// Is there an authority in `/ca` (or where its variables say)?
        exists: &'a dyn Fn(&str) -> bool,
    },
}

impl std::fmt::Debug for Use<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Import => "Import",
            Self::InPlace { .. } => "InPlace",
        })
    }
}

/// Is it one of that tool's variables?
pub(in crate::config) fn is_variable(name: &str) -> bool {
    READ.contains(&name)
        || ["CA_KEY_FILE", "CA_CRT_FILE"].contains(&name)
        || NOT_NEEDED.iter().any(|(known, _, _)| *known == name)
}

/// Adds what these variables mean. `default` is where values come from that no variable has.
///
/// Accounts are not in it: the loader reads `AUTH_REGISTRIES` itself ([`auth_registries`]).
pub(in crate::config) fn translate(
    variables: &[Variable],
    default: &Spot,
    purpose: Use<'_>,
    draft: &mut Draft,
) {
    let mut tool = Tool {
        variables,
        default,
        draft,
    };
    tool.doors(purpose);
    tool.folders(purpose);
    let names = tool.registries();
    tool.cache();
    tool.tiers();
    tool.network(&names);
    tool.without_a_key();
}

struct Tool<'a> {
    variables: &'a [Variable],
    default: &'a Spot,
    draft: &'a mut Draft,
}

impl<'a> Tool<'a> {
    /// An empty variable is unset, as its script has it.
    fn get(&self, name: &str) -> Option<&'a Variable> {
        let found = self.variables.iter().find(|variable| variable.name == name);
        found.filter(|variable| !variable.value.trim().is_empty())
    }

    fn text(&self, name: &str, default: &'a str) -> (&'a str, Spot) {
        match self.get(name) {
            Some(variable) => (variable.value.trim(), variable.spot.clone()),
            None => (default, self.default.clone()),
        }
    }

    /// Its scripts know `true`, and take all else for false.
    fn is_true(&self, name: &str) -> Option<(bool, Spot)> {
        let variable = self.get(name)?;
        Some((variable.value.trim() == "true", variable.spot.clone()))
    }

    fn doors(&mut self, purpose: Use<'_>) {
        let default = self.default;
        self.draft.add(&["listen"], PORT, default);
        self.draft.set(&["intercept", "enabled"], true, default);
        self.draft.set(&["intercept", "main_port"], true, default);
        self.draft.set(&["intercept", "tunnel"], "all", default);
        if let Use::InPlace { .. } = purpose {
            // The loader itself warns of an open proxy.
            return;
        }
        self.draft.note(
            default,
            "hosts that are no registry are still tunnelled to whoever asks, but never into private networks: set \
             intercept.tunnel = \"none\" when no client needs that",
        );
    }

    fn folders(&mut self, purpose: Use<'_>) {
        let (cert, cert_spot) = self.text("CA_CRT_FILE", "/ca/ca.crt");
        let (key, key_spot) = self.text("CA_KEY_FILE", "/ca/ca.key");
        match purpose {
            Use::Import => self.draft.note(
                &cert_spot,
                format!(
                    "to keep the authority that clients trust, copy {cert} and {key} here and set intercept.ca_cert and \
                     intercept.ca_key (docs/moving.md); else docxy makes its own, which clients must be given. What is in \
                     /docker_mirror_cache is not used"
                ),
            ),
            Use::InPlace { exists } => {
                self.draft.set(&["cache", "path"], "/docker_mirror_cache", self.default);
                // On the volume that is kept: there too an authority of docxy's own is found again.
                self.draft.set(&["state_path"], "/ca/docxy", self.default);
                if exists(cert) {
                    self.draft.set(&["intercept", "ca_cert"], cert, &cert_spot);
                    self.draft.set(&["intercept", "ca_key"], key, &key_spot);
                }
            }
        }
    }

    /// The names of the registries, Docker Hub first.
    fn registries(&mut self) -> Vec<String> {
        let (text, spot) = self.text("REGISTRIES", REGISTRIES);
        let hosts: Vec<&str> = text.split_whitespace().collect();
        let mut names = vec!["docker.io".to_owned()];
        let with_account = self.hosts_with_account();
        for host in &hosts {
            let named = match registries::named(host) {
                Ok(named) => named,
                Err(what) => {
                    self.draft.problem(
                        &spot,
                        what,
                        "write hosts with blanks between them, as in \"quay.io ghcr.io\"",
                    );
                    continue;
                }
            };
            match named {
                Named::Preset(name) => push(&mut names, name),
                Named::Realm { .. } => {}
                Named::Other(name) if name == "docker.caching.proxy.internal" => {}
                Named::Other(name) => {
                    if let Some(owner) = token_service_of(&name, &hosts, &with_account) {
                        self.draft
                            .add(&["registries", &owner, "realms"], name.as_str(), &spot);
                        let what = format!("{name} is taken for the token service of {owner}");
                        self.draft.note(&spot, what);
                    } else {
                        let url = format!("https://{name}");
                        self.draft.add(&["registries", &name, "urls"], url, &spot);
                        push(&mut names, name);
                    }
                }
            }
        }
        names
    }

    /// The registries at which docxy will sign in.
    fn names_with_account(&self) -> Vec<String> {
        let (text, _) = self.text("REGISTRIES", REGISTRIES);
        let hosts: Vec<&str> = text.split_whitespace().collect();
        let with_account = self.hosts_with_account();
        let owner = |host: &String| match registries::named(host).ok()? {
            Named::Preset(name) | Named::Realm { of: name } => Some(name.to_owned()),
            Named::Other(name) => token_service_of(&name, &hosts, &with_account).or(Some(name)),
        };
        with_account.iter().filter_map(owner).collect()
    }

    /// The hosts of `AUTH_REGISTRIES`, as far as they can be read.
    fn hosts_with_account(&self) -> Vec<String> {
        let variable = |name: &str| self.get_raw(name);
        auth_registries::hosts(&variable)
    }

    /// Delimiters may be blanks.
    fn get_raw(&self, name: &str) -> Option<&'a String> {
        let found = self.variables.iter().find(|variable| variable.name == name);
        found.map(|variable| &variable.value)
    }

    fn cache(&mut self) {
        let (text, spot) = self.text("CACHE_MAX_SIZE", "32g");
        match nginx::size(text).filter(|size| size.bytes() > 0) {
            Some(size) => self.draft.set(&["cache", "max_size"], size.to_string(), &spot),
            None => self
                .draft
                .problem(&spot, "is not a size", "write it as in 32g or 500m"),
        }
        // Written out there: what nobody asks for goes after 60 days.
        if let Some((time, spot)) = self.time("CACHE_INACTIVE", "60d") {
            self.draft.set(&["cache", "inactive"], time, &spot);
        }
    }

    fn tiers(&mut self) {
        let Some((true, on)) = self.is_true("ENABLE_MANIFEST_CACHE") else {
            for variable in self.variables {
                if variable.name.starts_with("MANIFEST_CACHE_") && !variable.value.is_empty() {
                    let what = "does not count without ENABLE_MANIFEST_CACHE=true: tags are asked for each time, with one small request";
                    self.draft.note(&variable.spot, what);
                }
            }
            return;
        };
        for (title, [regex, time], [default_regex, default_time]) in [
            (
                PRIMARY,
                ["MANIFEST_CACHE_PRIMARY_REGEX", "MANIFEST_CACHE_PRIMARY_TIME"],
                [PRIMARY_REGEX, PRIMARY_TIME],
            ),
            (
                SECONDARY,
                ["MANIFEST_CACHE_SECONDARY_REGEX", "MANIFEST_CACHE_SECONDARY_TIME"],
                [SECONDARY_REGEX, SECONDARY_TIME],
            ),
        ] {
            // Empty there switches the tier off.
            if self.get_raw(regex).is_some_and(|text| text.trim().is_empty()) {
                continue;
            }
            let (text, spot) = self.text(regex, default_regex);
            // nginx searched it right behind `/manifests/`.
            let tag = format!("/^(?:{text})/");
            match Pattern::parse(&tag) {
                Ok(_) => {
                    if let Some((time, _)) = self.time(time, default_time) {
                        let from = if self.get(regex).is_some() { &spot } else { &on };
                        self.draft.tag_rule(title, tag, time, from);
                    }
                }
                Err(error) => {
                    let reason = error
                        .to_string()
                        .rsplit(": ")
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    let fix = "docxy's expressions have no look-around and no back-references: write it without, or take the \
                               variable out and write [[cache.tags]]";
                    self.draft
                        .problem(&spot, format!("is not a regular expression: {reason}"), fix);
                }
            }
        }
        if let Some((time, spot)) = self.time("MANIFEST_CACHE_DEFAULT_TIME", DEFAULT_TIME) {
            let from = if self.get("MANIFEST_CACHE_DEFAULT_TIME").is_some() {
                &spot
            } else {
                &on
            };
            self.draft.tag_rule("manifest-default", String::new(), time, from);
        }
    }

    /// A time in docxy's words. `proxy_cache_valid` also takes statuses in front of it.
    fn time(&mut self, name: &str, default: &'a str) -> Option<(String, Spot)> {
        let (text, spot) = self.text(name, default);
        let is_status =
            |word: &str| word == "any" || (word.len() == 3 && word.bytes().all(|b| b.is_ascii_digit()));
        let words: Vec<&str> = text.split_whitespace().collect();
        let statuses = words.iter().take_while(|word| is_status(word)).count();
        let text = if statuses > 0 && statuses < words.len() {
            words[statuses..].join(" ")
        } else {
            text.to_owned()
        };
        match nginx::time(&text) {
            Some(time) if time.is_zero() && name.starts_with("MANIFEST_") => {
                Some(("revalidate".to_owned(), spot))
            }
            Some(time) => Some((nginx::show(time), spot)),
            None => {
                self.draft
                    .problem(&spot, "is not a time", "write it as in 30s, 10m, 1h or 60d");
                None
            }
        }
    }

    fn network(&mut self, names: &[String]) {
        if let Some((true, spot)) = self.is_true("ALLOW_PUSH") {
            let with_account = self.names_with_account();
            for name in names {
                self.draft
                    .set(&["registries", name, "push", "enabled"], true, &spot);
                // Whoever reached it could push with its account: here that must be said.
                if with_account.contains(name) {
                    self.draft.set(&["registries", name, "clients"], "open", &spot);
                }
            }
        }
        if let Some((false, spot)) = self.is_true("VERIFY_SSL") {
            for name in names {
                self.draft.set(&["registries", name, "tls_verify"], false, &spot);
            }
        }
        if let Some((true, spot)) = self.is_true("DISABLE_IPV6") {
            self.draft.set(&["network", "ipv6"], false, &spot);
        }
        self.limit("PROXY_CONNECT_TIMEOUT", &[&["timeouts", "connect"]]);
        self.limit(
            "PROXY_READ_TIMEOUT",
            &[&["timeouts", "headers"], &["timeouts", "idle"]],
        );
        self.limit("CLIENT_HEADER_TIMEOUT", &[&["limits", "header_timeout"]]);
        self.limit("KEEPALIVE_TIMEOUT", &[&["limits", "keep_alive"]]);
        if let Some((true, spot)) = self.is_true("DEBUG_NGINX") {
            self.draft.set(&["log", "level"], "debug", &spot);
        }
    }

    fn limit(&mut self, name: &str, keys: &[&[&str]]) {
        let Some(variable) = self.get(name) else {
            return;
        };
        // keepalive_timeout takes a second time, for a header.
        let first = variable.value.split_whitespace().next().unwrap_or_default();
        match nginx::time(first) {
            Some(time) if time.is_zero() => {
                let what = "0 is no time limit here: the default holds";
                self.draft.note(&variable.spot, what);
            }
            Some(time) => {
                for key in keys {
                    self.draft.set(key, nginx::show(time), &variable.spot);
                }
            }
            None => self
                .draft
                .problem(&variable.spot, "is not a time", "write it as in 60s or 5m"),
        }
    }

    fn without_a_key(&mut self) {
        for variable in self.variables {
            let known = NOT_NEEDED.iter().find(|(name, _, _)| *name == variable.name);
            match known {
                Some((_, Some(when), _)) if variable.value.trim() != *when => {}
                Some((_, _, why)) if !variable.value.trim().is_empty() => {
                    self.draft.note(&variable.spot, *why);
                }
                Some(_) => {}
                None if is_variable(&variable.name) => {}
                None => self
                    .draft
                    .note(&variable.spot, "is no variable of docker-registry-proxy's"),
            }
        }
    }
}

fn push(names: &mut Vec<String>, name: impl Into<String>) {
    let name = name.into();
    if !names.contains(&name) {
        names.push(name);
    }
}

/// GitLab is listed there as `git.example.com` with the account and `registry.example.com` without: the first is the
/// token service of the second. Said of a host that is called so, has an account, and has one neighbour without.
fn token_service_of(name: &str, hosts: &[&str], with_account: &[String]) -> Option<String> {
    let label = name.split('.').next().unwrap_or_default();
    let called_so = ["git", "auth", "login", "token", "sso"]
        .iter()
        .any(|word| label.starts_with(word));
    if !called_so || !with_account.iter().any(|host| host == name) {
        return None;
    }
    let domain = psl::domain_str(name)?;
    let neighbours: Vec<String> = hosts
        .iter()
        .filter_map(|host| match registries::named(host) {
            Ok(Named::Other(other)) => Some(other),
            _ => None,
        })
        .filter(|other| other != name && psl::domain_str(other) == Some(domain))
        .filter(|other| !with_account.contains(other))
        .collect();
    match &neighbours[..] {
        [one] => Some(one.clone()),
        _ => None,
    }
}
