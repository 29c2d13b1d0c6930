//! Docker-Proxy: the `config.yaml` of its gateway, which names all registries; or, of its older bundles, one
//! `registry-NAME.yml` for each, in distribution's form.

use std::sync::Arc;

use super::{
    distribution,
    draft::{Draft, Spot},
    registries::{self, Account},
    yaml::{Value, Yaml},
};
use crate::config::origin::SourceFile;
use crate::config::values::show_duration;

/// Where its gateway listens when nobody says.
const PORT: &str = ":5000";

pub(super) fn translate(
    text: &str,
    file: &Arc<SourceFile>,
    first: bool,
    draft: &mut Draft,
) -> Option<distribution::Mirror> {
    let root = super::document(text, file, draft)?;
    if root.get("registries").is_none() {
        return distribution::of_document(&root, file, first, draft);
    }
    let mut gateway = Gateway { file, draft };
    gateway.read(&root);
    None
}

struct Gateway<'a> {
    file: &'a Arc<SourceFile>,
    draft: &'a mut Draft,
}

impl Gateway<'_> {
    fn read(&mut self, root: &Yaml) {
        let names = self.registries(root);
        for (name, value) in root.entries() {
            let spot = self.spot(name.line, &name.text);
            let text = value.text().unwrap_or_default();
            match name.text.as_str() {
                "registries" => {}
                _ if value.is_null() => {}
                "default" => match names.iter().find(|(called, _)| called == text) {
                    Some((_, name)) => self.draft.set(&["default_registry"], name.as_str(), &spot),
                    None => self.draft.note(
                        &spot,
                        "no registry has this name: the default registry is docker.io",
                    ),
                },
                "server" => self.server(value),
                "log_level" => match text {
                    "quiet" => self.draft.set(&["log", "level"], "error", &spot),
                    "normal" => self.draft.set(&["log", "level"], "info", &spot),
                    "debug" => self.draft.set(&["log", "level"], "debug", &spot),
                    _ => self
                        .draft
                        .note(&spot, "is no level of Docker-Proxy's: docxy's default holds"),
                },
                "access_control" => self.access(value),
                "cache" => self.cache(value),
                _ => self.unknown(&spot),
            }
        }
        let has_port = root
            .get("server")
            .and_then(|server| server.get("listen"))
            .is_some_and(|it| !it.is_null());
        if !has_port {
            let spot = self.spot(1, "its default");
            self.listen(PORT, &spot);
        }
    }

    /// What each is called there, and its name here.
    fn registries(&mut self, root: &Yaml) -> Vec<(String, String)> {
        let list = root.get("registries").map(|list| &list.value);
        let Some(Value::List(items)) = list else {
            let spot = self.spot(root.line, "registries");
            self.draft.problem(
                &spot,
                "is not a list",
                "write - name: ... with upstream: ... for each",
            );
            return Vec::new();
        };
        items.iter().filter_map(|item| self.registry(item)).collect()
    }

    fn registry(&mut self, item: &Yaml) -> Option<(String, String)> {
        let called = item
            .get("name")
            .and_then(Yaml::text)
            .unwrap_or_default()
            .to_owned();
        let Some(url) = item.get("upstream") else {
            let spot = self.spot(item.line, "registries");
            self.draft.problem(
                &spot,
                "a registry has no upstream",
                "write it as in upstream: https://ghcr.io",
            );
            return None;
        };
        let spot = self.spot(url.line, "registries.upstream");
        let name = registries::at(url.text().unwrap_or_default(), &spot, self.draft)?;
        for (key, value) in item.entries() {
            let spot = self.spot(key.line, &format!("registries.{}", key.text));
            let is_true = value.text() == Some("true");
            match key.text.as_str() {
                "name" | "upstream" => {}
                _ if value.is_null() => {}
                "hosts" => self.hosts(&name, value, &spot),
                "auth" => self.account(&name, value),
                "insecure_skip_verify" if is_true => {
                    self.draft.set(&["registries", &name, "tls_verify"], false, &spot);
                }
                "enabled" if value.text() == Some("false") => {
                    self.draft.set(&["registries", &name, "enabled"], false, &spot);
                }
                "enabled" | "insecure_skip_verify" => {}
                "token_cache_ttl" => self
                    .draft
                    .note(&spot, "not needed: tokens are kept as long as they say"),
                _ => self.unknown(&spot),
            }
        }
        Some((called, name))
    }

    fn hosts(&mut self, name: &str, value: &Yaml, spot: &Spot) {
        let Value::List(items) = &value.value else {
            return self
                .draft
                .problem(spot, "is not a list", "write - \"ghcr.example.com\"");
        };
        for host in items.iter().filter_map(Yaml::text) {
            // Clients' own names for it: here they are known without a key.
            let is_own =
                matches!(registries::named(host), Ok(registries::Named::Preset(preset)) if preset == name);
            if !is_own {
                let host = host.split(':').next().unwrap_or_default().to_ascii_lowercase();
                self.draft.add(&["registries", name, "hosts"], host, spot);
            }
        }
    }

    fn account(&mut self, name: &str, auth: &Yaml) {
        let field = |key: &str| {
            let value = auth.get(key)?;
            Some((
                value.text()?,
                Spot::line(self.file, value.line, format!("registries.auth.{key}")),
            ))
        };
        let account = Account {
            username: field("username"),
            password: field("password"),
        };
        account.write(name, self.draft);
        for (key, value) in auth.entries() {
            let known = ["type", "username", "password"].contains(&key.text.as_str());
            if !known && !value.is_null() {
                let spot = self.spot(key.line, &format!("registries.auth.{}", key.text));
                self.unknown(&spot);
            }
        }
    }

    fn server(&mut self, server: &Yaml) {
        for (key, value) in server.entries() {
            let spot = self.spot(key.line, &format!("server.{}", key.text));
            let text = value.text().unwrap_or_default();
            match key.text.as_str() {
                _ if value.is_null() => {}
                "listen" => self.listen(text, &spot),
                "idle_timeout" => {
                    if let Some(seconds) = self.number(text, &spot).filter(|seconds| *seconds > 0) {
                        let time = show_duration(std::time::Duration::from_secs(seconds));
                        self.draft.set(&["limits", "keep_alive"], time, &spot);
                    }
                }
                "read_timeout" | "write_timeout" => {
                    self.draft.note(&spot, "docxy has no limit on a whole request or answer; limits.header_timeout is for a request's header");
                }
                "admin_listen" => self.draft.note(
                    &spot,
                    "operators use docxy's socket: `docxy cache`, `docxy upstreams`, `docxy explain`",
                ),
                "stats_idle_timeout" | "stats_janitor_interval" => self.draft.note(&spot, "not needed"),
                _ => self.unknown(&spot),
            }
        }
    }

    fn listen(&mut self, text: &str, spot: &Spot) {
        if let Some(address) = registries::listener(text, spot, self.draft) {
            self.draft.add(&["listen"], address, spot);
        }
    }

    fn cache(&mut self, cache: &Yaml) {
        let is_on = cache.get("enabled").and_then(Yaml::text) == Some("true");
        let spot = self.spot(cache.line, "cache.enabled");
        if !is_on {
            return self.draft.set(&["cache", "mode"], "off", &spot);
        }
        let on_disk = cache
            .get("backend")
            .and_then(Yaml::text)
            .is_none_or(|backend| backend == "disk");
        for (key, value) in cache.entries() {
            let spot = self.spot(key.line, &format!("cache.{}", key.text));
            let text = value.text().unwrap_or_default();
            match key.text.as_str() {
                "enabled" => {}
                _ if value.is_null() => {}
                "backend" if on_disk => {}
                "backend" => self
                    .draft
                    .note(&spot, "docxy keeps its cache on disk: there is no object storage"),
                "dir" if on_disk => {
                    self.draft.set(
                        &["cache", "path"],
                        format!("{}/docxy", text.trim_end_matches('/')),
                        &spot,
                    );
                    self.draft.note(
                        &spot,
                        "what the old cache holds is not used: its folders beside docxy's may be removed",
                    );
                }
                "max_size_gb" if on_disk => match self.number(text, &spot) {
                    Some(0) => self
                        .draft
                        .note(&spot, "docxy's cache always has a limit: cache.max_size (32GiB)"),
                    Some(size) => self
                        .draft
                        .set(&["cache", "max_size"], format!("{size}GiB"), &spot),
                    None => {}
                },
                "manifest_ttl" => {
                    let seconds = self
                        .number(text, &spot)
                        .map(|seconds| if seconds == 0 { 3600 } else { seconds });
                    if let Some(seconds) = seconds {
                        let time = show_duration(std::time::Duration::from_secs(seconds));
                        self.draft.tag_rule("every tag", String::new(), time, &spot);
                    }
                }
                "blob_ttl" | "tags_ttl" => self.draft.note(
                    &spot,
                    "docxy keeps content until its room is needed, and asks for lists of tags each time",
                ),
                "provider" | "endpoint" | "region" | "bucket" | "access_key" | "secret_key"
                | "path_style" => {
                    if !on_disk {
                        self.draft
                            .note(&spot, "docxy keeps its cache on disk: there is no object storage");
                    }
                }
                "dir" | "max_size_gb" => {}
                _ => self.unknown(&spot),
            }
        }
    }

    fn access(&mut self, access: &Yaml) {
        let mode = access.get("mode").and_then(Yaml::text).unwrap_or("off");
        for (list, when, key) in [
            ("whitelist", "whitelist", "allow_addresses"),
            ("blacklist", "blacklist", "deny_addresses"),
        ] {
            let Some(Value::List(items)) = access.get(list).map(|node| &node.value) else {
                continue;
            };
            for item in items {
                let spot = self.spot(item.line, &format!("access_control.{list}"));
                let text = item.text().unwrap_or_default();
                let address = text.split('#').next().unwrap_or_default().trim();
                let is_network =
                    address.parse::<ipnet::IpNet>().is_ok() || address.parse::<std::net::IpAddr>().is_ok();
                if !is_network {
                    self.draft.problem(
                        &spot,
                        "is not an address or a network",
                        "write it as in 10.0.0.0/8",
                    );
                } else if mode == when {
                    self.draft.add(&["access", key], address, &spot);
                } else {
                    let what = "does not count: the list's mode is not switched on";
                    self.draft.note(&spot, what);
                }
            }
        }
        if mode == "whitelist" && !self.draft.is_set(&["access", "allow_addresses"]) {
            let spot = self.spot(access.line, "access_control.whitelist");
            self.draft.problem(
                &spot,
                "an empty list would let nobody in",
                "name addresses, or write mode: off",
            );
        }
    }

    fn number(&mut self, text: &str, spot: &Spot) -> Option<u64> {
        let number = text.parse().ok();
        if number.is_none() {
            self.draft
                .problem(spot, "is not a number", "write it without a unit");
        }
        number
    }

    fn unknown(&mut self, spot: &Spot) {
        self.draft.note(spot, "docxy does not know this key");
    }

    fn spot(&self, line: u32, key: &str) -> Spot {
        Spot::line(self.file, line, key)
    }
}
