//! `config/default.toml` of Docxy, the streaming proxy of the same name: `[server]`, `[registry]` with its `upstreams`, and
//! `[tls]`.

use std::sync::Arc;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use url::Url;

use super::{
    draft::{Draft, Spot},
    registries,
};
use crate::config::{
    docxy_names::NEAR,
    origin::{Problems, SourceFile},
    presets::PRESETS,
    tree,
};

pub(super) fn translate(text: &str, file: &Arc<SourceFile>, draft: &mut Draft) {
    let mut problems = Problems::default();
    if tree::parse_document(text, file, &mut problems).is_none() {
        draft.problems = problems;
        return;
    }
    let Ok(root) = DeTable::parse(text) else {
        return;
    };
    let mut old = Old { text, file, draft };
    old.read(root.get_ref());
}

struct Old<'a> {
    text: &'a str,
    file: &'a Arc<SourceFile>,
    draft: &'a mut Draft,
}

type Table<'t> = DeTable<'t>;
type Item<'t> = Spanned<DeValue<'t>>;

impl Old<'_> {
    fn read(&mut self, root: &Table<'_>) {
        for (key, value) in root {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("server" | "tls" | "registry", DeValue::Table(_)) => {}
                (name, _) => self.unknown(value, name),
            }
        }
        let section = |name: &str| root.get(name).and_then(|value| value.get_ref().as_table());
        self.doors(section("server"), section("tls"));
        if let Some(registry) = section("registry") {
            self.registry(registry);
        }
    }

    fn doors(&mut self, server: Option<&Table<'_>>, tls: Option<&Table<'_>>) {
        let certificate = self.certificate(tls);
        let Some(server) = server else {
            let spot = Spot::line(self.file, 1, "server");
            self.draft
                .problem(&spot, "there is no [server]", "name Docxy's config/default.toml");
            return;
        };
        let known = [
            "http_port",
            "https_port",
            "http_enabled",
            "https_enabled",
            "behind_proxy",
            "public_base_url",
        ];
        self.others(server, "server", &known);
        let behind_proxy = self
            .switch(server, "behind_proxy")
            .unwrap_or((false, self.at_top("server")));
        let http_port = self.port(server, "http_port", 80);
        let https_port = self.port(server, "https_port", 443);
        let http = self.switch(server, "http_enabled").is_none_or(|(on, _)| on);
        let https = self.switch(server, "https_enabled").is_none_or(|(on, _)| on);
        if let Some((url, spot)) = self.string(server, "server", "public_base_url") {
            self.draft.set(&["public_url"], url.trim_end_matches('/'), &spot);
        }
        if behind_proxy.0 {
            if let Some((port, spot)) = http_port {
                self.draft.add(&["listen"], format!("0.0.0.0:{port}"), &spot);
            }
            for network in NEAR.split(',') {
                self.draft.add(&["trusted_proxies"], network, &behind_proxy.1);
            }
            self.draft.note(
                &behind_proxy.1,
                "X-Forwarded-* headers are believed from loopback and every private network: set trusted_proxies to the reverse \
                 proxy's own address",
            );
            return;
        }
        match http_port {
            Some((port, spot)) if http => self.draft.add(&["listen"], format!("0.0.0.0:{port}"), &spot),
            Some((_, spot)) => self.draft.set(&["listen"], toml::Value::Array(Vec::new()), &spot),
            None => {}
        }
        match (https, https_port, certificate) {
            (true, Some((port, spot)), Some((files, files_spot))) => {
                self.draft
                    .add(&["tls", "listen"], format!("0.0.0.0:{port}"), &spot);
                self.draft.add(&["tls", "certificates"], files, &files_spot);
            }
            (true, Some((_, spot)), None) => {
                self.draft.problem(
                    &spot,
                    "HTTPS is on and [tls] names no certificate",
                    "write cert_path and key_path, or https_enabled = false",
                );
            }
            _ => {}
        }
    }

    fn certificate(&mut self, tls: Option<&Table<'_>>) -> Option<(toml::Table, Spot)> {
        let tls = tls?;
        self.others(tls, "tls", &["cert_path", "key_path"]);
        let (cert, spot) = self.string(tls, "tls", "cert_path")?;
        let (key, _) = self.string(tls, "tls", "key_path")?;
        let files = [("cert".to_owned(), cert.into()), ("key".to_owned(), key.into())];
        Some((toml::Table::from_iter(files), spot))
    }

    /// Either one registry in the section itself, or a list of them.
    fn registry(&mut self, section: &Table<'_>) {
        const KEYS: [&str; 7] = [
            "default",
            "upstream_registry",
            "auth_realm",
            "auth_service",
            "auto_library_prefix",
            "public_base_url",
            "upstreams",
        ];
        self.others(section, "registry", &KEYS);
        let default = self.string(section, "registry", "default");
        let upstreams = section
            .get("upstreams")
            .and_then(|value| value.get_ref().as_array());
        let Some(upstreams) = upstreams.filter(|list| !list.is_empty()) else {
            if let Some((name, spot)) = self.upstream(section, "registry") {
                self.draft.set(&["default_registry"], name, &spot);
            }
            if let Some((url, spot)) = self.string(section, "registry", "public_base_url") {
                self.draft.set(&["public_url"], url.trim_end_matches('/'), &spot);
            }
            return;
        };
        let mut found = false;
        for upstream in upstreams {
            let Some(table) = upstream.get_ref().as_table() else {
                self.unknown(upstream, "registry.upstreams");
                continue;
            };
            let keys = [
                "name",
                "hosts",
                "upstream_registry",
                "auth_realm",
                "auth_service",
                "auto_library_prefix",
                "public_base_url",
            ];
            self.others(table, "registry.upstreams", &keys);
            let Some((name, _)) = self.upstream(table, "registry.upstreams") else {
                continue;
            };
            for (host, spot) in self.hosts(table) {
                self.draft.add(&["registries", &name, "hosts"], host, &spot);
            }
            let called = self.string(table, "registry.upstreams", "name");
            if let (Some((wanted, spot)), Some((called, _))) = (&default, called)
                && *wanted == called
            {
                self.draft.set(&["default_registry"], name, spot);
                found = true;
            }
        }
        if let Some((_, spot)) = default.filter(|_| !found) {
            self.draft.note(
                &spot,
                "no upstream has this name: the default registry is docker.io",
            );
        }
        let single = ["upstream_registry", "auth_realm"]
            .iter()
            .find_map(|key| section.get(*key));
        if let Some(value) = single {
            let spot = self.spot(value, "registry.upstream_registry");
            self.draft
                .note(&spot, "does not count beside [[registry.upstreams]]");
        }
    }

    fn upstream(&mut self, table: &Table<'_>, section: &str) -> Option<(String, Spot)> {
        let Some((url, spot)) = self.string(table, section, "upstream_registry") else {
            let spot = self.at_top(section);
            self.draft.problem(
                &spot,
                "an upstream has no upstream_registry",
                "write it as in \"https://registry-1.docker.io\"",
            );
            return None;
        };
        let name = registries::at(&url, &spot, self.draft)?;
        let preset = PRESETS.iter().find(|preset| preset.name == name);
        if let Some((realm, spot)) = self.string(table, section, "auth_realm") {
            self.realm(&name, &url, &realm, &spot, preset.is_some());
        }
        if let Some((on, spot)) = self.switch(table, "auto_library_prefix")
            && on != preset.is_some_and(|preset| preset.library_prefix)
        {
            self.draft
                .set(&["registries", &name, "library_prefix"], on, &spot);
        }
        Some((name, spot))
    }

    /// docxy takes the token service from the registry's challenge; it must know only one on another domain.
    fn realm(&mut self, name: &str, url: &str, realm: &str, spot: &Spot, is_preset: bool) {
        let host = |text: &str| {
            Url::parse(text)
                .ok()
                .and_then(|url| url.host_str().map(str::to_owned))
        };
        let (Some(own), Some(other)) = (host(url), host(realm)) else {
            let fix = "write it as in \"https://auth.docker.io/token\"";
            return self.draft.problem(spot, "is not an address", fix);
        };
        let same = psl::domain_str(&own).is_some() && psl::domain_str(&own) == psl::domain_str(&other);
        if own != other && !same && !is_preset {
            self.draft.add(&["registries", name, "realms"], other, spot);
        }
    }

    fn hosts(&mut self, table: &Table<'_>) -> Vec<(String, Spot)> {
        let Some(value) = table.get("hosts") else {
            return Vec::new();
        };
        let spot = self.spot(value, "registry.upstreams.hosts");
        let items = value
            .get_ref()
            .as_array()
            .map(|items| items.iter().map(|item| item.get_ref().as_str()));
        let Some(Some(hosts)) = items.map(Iterator::collect::<Option<Vec<&str>>>) else {
            let fix = "write it as in [\"ghcr.example.com\"]";
            self.draft.problem(&spot, "is not a list of texts", fix);
            return Vec::new();
        };
        // A port does not tell hosts apart here.
        let host = |host: &str| host.split(':').next().unwrap_or_default().to_ascii_lowercase();
        hosts.into_iter().map(|text| (host(text), spot.clone())).collect()
    }

    fn others(&mut self, table: &Table<'_>, section: &str, known: &[&str]) {
        for (key, value) in table {
            if !known.contains(&key.get_ref().as_ref()) {
                self.unknown(value, &format!("{section}.{}", key.get_ref()));
            }
        }
    }

    fn unknown(&mut self, value: &Item<'_>, key: &str) {
        let spot = self.spot(value, key);
        self.draft.note(&spot, "docxy does not know this key");
    }

    fn string(&mut self, table: &Table<'_>, section: &str, key: &str) -> Option<(String, Spot)> {
        let value = table.get(key)?;
        let spot = self.spot(value, &format!("{section}.{key}"));
        match value.get_ref().as_str() {
            Some("") => None,
            Some(text) => Some((text.to_owned(), spot)),
            None => {
                self.draft.problem(&spot, "is not a text", "put it into quotes");
                None
            }
        }
    }

    fn switch(&mut self, table: &Table<'_>, key: &str) -> Option<(bool, Spot)> {
        let value = table.get(key)?;
        let spot = self.spot(value, key);
        let read = value.get_ref().as_bool();
        if read.is_none() {
            self.draft
                .problem(&spot, "is neither true nor false", "write true or false");
        }
        read.map(|on| (on, spot))
    }

    /// `None` was reported.
    fn port(&mut self, table: &Table<'_>, key: &str, default: u16) -> Option<(u16, Spot)> {
        let Some(value) = table.get(key) else {
            return Some((default, self.at_top("server")));
        };
        let spot = self.spot(value, &format!("server.{key}"));
        let number = match value.get_ref() {
            DeValue::Integer(number) => u16::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let port = number.filter(|port| *port != 0);
        if port.is_none() {
            self.draft
                .problem(&spot, "is not a port", "write a number from 1 to 65535");
        }
        port.map(|port| (port, spot))
    }

    fn spot(&self, value: &Item<'_>, key: &str) -> Spot {
        let before = self.text.get(..value.span().start).unwrap_or_default();
        let line = u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX);
        Spot::line(self.file, line, key)
    }

    /// For what stands nowhere.
    fn at_top(&self, section: &str) -> Spot {
        let heading = self
            .text
            .lines()
            .position(|line| line.trim() == format!("[{section}]"));
        let line = heading.and_then(|at| u32::try_from(at + 1).ok()).unwrap_or(1);
        Spot::line(self.file, line, section)
    }
}
