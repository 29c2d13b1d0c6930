//! The `config.yml` of distribution (`registry:2`, `registry:3`), one file for each registry that it mirrors.

use std::sync::Arc;

use super::{
    draft::{Draft, Spot},
    registries::{self, Account},
    yaml::{Value, Yaml},
};
use crate::config::origin::SourceFile;

/// What of it has no key here, and why; for whole branches. The longest that matches is told.
const WITHOUT_A_KEY: [(&str, &str); 34] = [
    ("version", ""),
    ("log", "docxy's lines have fields of their own"),
    ("log.accesslog", "see log.access"),
    ("loglevel", "write log.level"),
    (
        "storage",
        "docxy keeps its cache in files: there is no other storage",
    ),
    ("storage.cache", "not needed: docxy's index is in memory"),
    (
        "storage.delete",
        "`docxy cache rm` removes images, by an operator; clients delete nothing in a cache",
    ),
    (
        "storage.maintenance",
        "not needed: what is broken or left over is cleared at start and by the scrub in the background",
    ),
    ("storage.redirect", "not needed: docxy never redirects"),
    ("storage.tag", "not needed"),
    ("storage.filesystem.maxthreads", "not needed"),
    ("auth", "docxy has users in htpasswd files (access.user_files)"),
    ("auth.htpasswd.realm", "not needed"),
    ("http.secret", "not needed: docxy makes its own secrets"),
    ("http.prefix", "docxy's paths begin at /v2/"),
    (
        "http.net",
        "docxy listens on TCP, or on sockets that systemd hands it",
    ),
    ("http.relativeurls", "not needed: docxy's links are relative"),
    ("http.headers", "docxy sets the headers that its answers need"),
    ("http.http2", "HTTP/2 is on wherever TLS is"),
    ("http.h2c", "HTTP/2 is on wherever TLS is"),
    (
        "http.debug",
        "docxy has no debugging pages; metrics_listen serves metrics",
    ),
    (
        "http.tls.letsencrypt",
        "docxy reads certificates from files, and reads them again when they change",
    ),
    ("http.tls.ciphersuites", "docxy offers none but good ones"),
    ("redis", "not needed: docxy's index is in memory"),
    (
        "health",
        "docxy answers /livez and /readyz, and its registries' health is in `docxy upstreams`",
    ),
    (
        "notifications",
        "docxy tells nobody of pulls; the access log does",
    ),
    ("reporting", "docxy reports to nobody"),
    ("middleware", "docxy has no middleware"),
    ("compatibility", "docxy passes manifests on as they are"),
    ("validation", "docxy passes manifests on as they are"),
    ("policy", "see [[access.rules]]"),
    ("catalog", "docxy lists no repositories of registries"),
    ("tracing", "docxy writes logs and metrics"),
    (
        "proxy.ttl",
        "docxy keeps what it has until its room is needed; cache.inactive = \"7d\" removes what nobody asked for so long",
    ),
];

/// A registry that a file mirrors, and who may use it.
pub(super) struct Mirror {
    name: String,
    spot: Spot,
    /// Where it says that users sign in.
    users: Option<Spot>,
    signs_in: bool,
}

/// One file's settings. `first`: what there is only once is taken from it.
pub(super) fn translate(
    text: &str,
    file: &Arc<SourceFile>,
    first: bool,
    draft: &mut Draft,
) -> Option<Mirror> {
    let root = super::document(text, file, draft)?;
    of_document(&root, file, first, draft)
}

/// A password at one of the old ports opened that registry alone, and kept everybody else from it: so it must be here,
/// where all registries, also those that nobody mirrored, are behind one port.
pub(super) fn say_who_may_come(mirrors: &[Mirror], draft: &mut Draft) {
    let Some(users) = mirrors.iter().find_map(|mirror| mirror.users.as_ref()) else {
        return;
    };
    draft.set(&["access", "clients"], "users", users);
    for mirror in mirrors.iter().filter(|mirror| mirror.users.is_none()) {
        let clients = if mirror.signs_in { "open" } else { "passthrough" };
        draft.set(&["registries", &mirror.name, "clients"], clients, &mirror.spot);
    }
}

pub(super) fn of_document(
    root: &Yaml,
    file: &Arc<SourceFile>,
    first: bool,
    draft: &mut Draft,
) -> Option<Mirror> {
    let mut reading = Reading {
        file,
        draft,
        path: String::new(),
        first,
        secure: false,
        mirror: None,
    };
    reading.proxy(root);
    reading.certificate(root);
    reading.walk(root);
    reading.mirror
}

struct Reading<'a> {
    file: &'a Arc<SourceFile>,
    draft: &'a mut Draft,
    /// Dotted, of the branch that is read.
    path: String,
    first: bool,
    /// Does its port speak TLS, with certificates from files?
    secure: bool,
    mirror: Option<Mirror>,
}

impl Reading<'_> {
    fn spot(&self, line: u32, key: &str) -> Spot {
        Spot::line(self.file, line, key)
    }

    /// The registry first: other keys are about it.
    fn proxy(&mut self, root: &Yaml) {
        let Some(proxy) = root.get("proxy").filter(|proxy| !proxy.entries().is_empty()) else {
            let spot = self.spot(1, "");
            let fix = "name the files of pull-through caches: they have proxy.remoteurl";
            self.draft
                .problem(&spot, "is a registry of its own, not a cache of another one", fix);
            return;
        };
        let Some(url) = proxy.get("remoteurl") else {
            let spot = self.spot(proxy.line, "proxy.remoteurl");
            self.draft.problem(
                &spot,
                "is missing",
                "write it as in remoteurl: https://registry-1.docker.io",
            );
            return;
        };
        let spot = self.spot(url.line, "proxy.remoteurl");
        let Some(name) = registries::at(url.text().unwrap_or_default(), &spot, self.draft) else {
            return;
        };
        if self.first {
            self.draft.set(&["default_registry"], name.as_str(), &spot);
        }
        let field = |key: &str| {
            let value = proxy.get(key)?;
            Some((
                value.text()?,
                Spot::line(self.file, value.line, format!("proxy.{key}")),
            ))
        };
        let account = Account {
            username: field("username"),
            password: field("password"),
        };
        account.write(&name, self.draft);
        if let Some(exec) = proxy.get("exec") {
            self.exec(&name, exec);
        }
        let signs_in = self.draft.is_set(&["registries", &name, "auth"]);
        self.mirror = Some(Mirror {
            name,
            spot,
            users: None,
            signs_in,
        });
    }

    fn certificate(&mut self, root: &Yaml) {
        let tls = root.get("http").and_then(|http| http.get("tls"));
        let file = |key: &str| {
            let value = tls?.get(key)?;
            let text = value.text().filter(|text| !text.is_empty())?;
            Some((text.to_owned(), self.spot(value.line, &format!("http.tls.{key}"))))
        };
        match (file("certificate"), file("key")) {
            (Some((cert, spot)), Some((key, _))) => {
                let files = toml::Table::from_iter([
                    ("cert".to_owned(), cert.into()),
                    ("key".to_owned(), key.into()),
                ]);
                self.draft.add(&["tls", "certificates"], files, &spot);
                self.secure = true;
            }
            (Some((_, spot)), None) | (None, Some((_, spot))) => {
                self.draft.problem(
                    &spot,
                    "a certificate needs a key, and a key its certificate",
                    "write both or neither",
                );
            }
            (None, None) => {}
        }
    }

    /// `exec`: one of docker's credential helpers.
    fn exec(&mut self, name: &str, exec: &Yaml) {
        let spot = self.spot(exec.line, "proxy.exec");
        let command = exec.get("command").and_then(Yaml::text).unwrap_or_default();
        let program = command.rsplit('/').next().unwrap_or_default();
        let Some(helper) = program
            .strip_prefix("docker-credential-")
            .filter(|helper| !helper.is_empty())
        else {
            self.draft.note(
                &spot,
                "its program is none of docker's credential helpers: see `exec` and `helper` of [registries]",
            );
            return;
        };
        let mut account = toml::Table::new();
        account.insert("helper".to_owned(), helper.into());
        if let Some(lifetime) = exec.get("lifetime") {
            match go_duration(lifetime.text().unwrap_or_default()) {
                Some(lifetime) => drop(account.insert("lifetime".to_owned(), lifetime.into())),
                None => self
                    .draft
                    .note(&spot, "its lifetime is not a time docxy can read"),
            }
        }
        self.draft.set(&["registries", name, "auth"], "configured", &spot);
        let accounts = toml::Value::Array(vec![account.into()]);
        self.draft
            .set(&["registries", name, "credentials"], accounts, &spot);
    }

    fn walk(&mut self, node: &Yaml) {
        for (name, value) in node.entries() {
            let outer = self.path.len();
            if outer > 0 {
                self.path.push('.');
            }
            self.path.push_str(&name.text);
            self.key(name.line, value);
            self.path.truncate(outer);
        }
    }

    fn key(&mut self, line: u32, value: &Yaml) {
        if value.is_null() {
            // Written and left empty: its default.
            if self.path != "storage.inmemory" {
                return;
            }
        }
        let path = self.path.clone();
        let spot = self.spot(line, &path);
        let text = value.text().unwrap_or_default();
        match path.as_str() {
            // Read before: the registry, and the certificate that its listener needs.
            "proxy.remoteurl"
            | "proxy.username"
            | "proxy.password"
            | "proxy.exec"
            | "http.tls.certificate"
            | "http.tls.key" => {}
            "log" | "log.accesslog" | "storage" | "storage.filesystem" | "http" | "http.tls"
            | "http.debug" | "auth" | "auth.htpasswd" | "proxy"
                if matches!(value.value, Value::Map(_)) =>
            {
                self.walk(value);
            }
            "http.addr" => self.listen(text, &spot),
            "http.host" => self.once(&["public_url"], text.trim_end_matches('/'), &spot),
            "http.draintimeout" => match go_duration(text) {
                Some(time) => self.once(&["limits", "drain"], &time, &spot),
                None => self.draft.problem(&spot, "is not a time", "write it as in 60s"),
            },
            "http.debug.addr" => {
                if let Some(address) = registries::listener(text, &spot, self.draft) {
                    self.draft.add(&["metrics_listen"], address, &spot);
                }
            }
            "http.debug.prometheus" => self
                .draft
                .note(&spot, "metrics are at /metrics of metrics_listen"),
            "http.tls.clientcas" => self.client_authorities(value, &spot),
            "http.tls.minimumtls" => match text {
                "tls1.2" | "tls1.3" => self.once(&["tls", "min_version"], &text[3..], &spot),
                _ => self.draft.note(&spot, "docxy speaks TLS 1.2 and 1.3 alone"),
            },
            "storage.filesystem.rootdirectory" => {
                let folder = format!("{}/docxy", text.trim_end_matches('/'));
                self.once(&["cache", "path"], &folder, &spot);
                self.draft.note(
                    &spot,
                    "what the old cache holds is not used: its folders beside docxy's may be removed",
                );
            }
            "storage.inmemory" => self.once(&["cache", "mode"], "memory", &spot),
            "auth.htpasswd.path" => {
                self.draft.add(&["access", "user_files"], text, &spot);
                if let Some(mirror) = &mut self.mirror {
                    mirror.users = Some(spot);
                }
            }
            "log.level" => match text {
                "error" | "warn" | "info" | "debug" => self.once(&["log", "level"], text, &spot),
                _ => self
                    .draft
                    .problem(&spot, "is no level", "write error, warn, info or debug"),
            },
            "log.formatter" => match text {
                "json" | "logstash" => self.once(&["log", "format"], "json", &spot),
                "text" => self.once(&["log", "format"], "text", &spot),
                _ => self.draft.note(&spot, "docxy writes text or JSON"),
            },
            "log.accesslog.disabled" => {
                if text == "true" {
                    self.draft.set(&["log", "access"], false, &spot);
                }
            }
            _ => self.without_a_key(&path, &spot),
        }
    }

    /// There is one of it here, and each file may have another.
    fn once(&mut self, path: &[&str], value: &str, spot: &Spot) {
        self.draft.set(path, value, spot);
    }

    /// Each registry had a port; here all are on one.
    fn listen(&mut self, text: &str, spot: &Spot) {
        let Some(address) = registries::listener(text, spot, self.draft) else {
            return;
        };
        if self.first {
            let listener: &[&str] = if self.secure {
                &["tls", "listen"]
            } else {
                &["listen"]
            };
            self.draft.add(listener, address, spot);
            if self.secure {
                self.draft.set(&["listen"], toml::Value::Array(Vec::new()), spot);
            }
        } else if let Some(Mirror { name, .. }) = &self.mirror {
            // A path has no place for a port.
            let path = if name.contains(':') {
                "ALIAS/... (`aliases`"
            } else {
                &format!("{name}/... (`docxy client-config`")
            };
            let what = format!(
                "docxy has one port for all registries: clients of {address} ask for HOST/{path}), or for a host of its own (`hosts` \
                 of [registries])"
            );
            self.draft.note(spot, what);
        }
    }

    fn client_authorities(&mut self, value: &Yaml, spot: &Spot) {
        match &value.value {
            Value::List(files) if files.len() == 1 => {
                let file = files[0].text().unwrap_or_default().to_owned();
                self.once(&["tls", "client_ca_file"], &file, spot);
            }
            _ => self.draft.note(
                spot,
                "write all of them into one file and name it in tls.client_ca_file",
            ),
        }
    }

    fn without_a_key(&mut self, path: &str, spot: &Spot) {
        let covers =
            |known: &str| path == known || path.strip_prefix(known).is_some_and(|rest| rest.starts_with('.'));
        let known = WITHOUT_A_KEY.iter().filter(|(known, _)| covers(known));
        match known.max_by_key(|(known, _)| known.len()) {
            Some((_, "")) => {}
            Some((_, why)) => self.draft.note(spot, *why),
            None => self.draft.note(spot, "docxy does not know this key"),
        }
    }
}

/// Go's `168h`, `1h30m0s`; a bare number is nanoseconds there, which nobody means.
pub(super) fn go_duration(text: &str) -> Option<String> {
    let time = crate::config::values::parse_duration(text.trim()).ok()?;
    Some(crate::config::values::show_duration(time))
}
