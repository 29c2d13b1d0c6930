//! The effective configuration for people and programs: each value with its origin, secrets masked.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value as Json, json};

use super::{
    keys,
    load::Loaded,
    origin::{Origin, Origins, join_key},
    schema::{AccessRule, EnvironmentProxies, ProxyEntry, Registry, Schema, TagRule},
    setting::Setting,
};
use crate::oci::RegistryName;

/// Where the origins stand, if the value is shorter.
const ORIGIN_COLUMN: usize = 56;

/// As TOML, the origin behind each value. It can be loaded again, apart from masked secrets. Of registries only what
/// differs from the defaults is shown.
pub fn as_toml(loaded: &Loaded) -> String {
    let mut text = String::new();
    let mut section = String::new();
    for line in lines(loaded) {
        let of_registry = line.section.starts_with("registries.");
        if of_registry && line.origin == Origin::Default && line.name != "urls" {
            continue;
        }
        if line.section != section {
            let _ = writeln!(text, "\n[{}]", line.section);
            section.clone_from(&line.section);
        }
        let assignment = match &line.value {
            Some(value) => format!("{} = {}", line.name, toml_value(value)),
            None => format!("# {} is not set", line.name),
        };
        let _ = writeln!(text, "{assignment:ORIGIN_COLUMN$} # {}", line.origin);
    }
    let proxies = environment_proxies(&loaded.schema.network.environment_proxies);
    if !proxies.is_empty() {
        text.push_str("\n# outbound proxies where no `proxy` key says anything\n");
    }
    for (variable, proxy) in proxies {
        let assignment = format!("# {variable} = {}", toml_value(&proxy));
        let _ = writeln!(text, "{assignment:ORIGIN_COLUMN$} # environment {variable}");
    }
    text
}

/// Every key with its value (null when it is not set) and origin, the environment's proxies, and the warnings.
pub fn as_json(loaded: &Loaded) -> Json {
    let keys: Map<String, Json> = lines(loaded)
        .into_iter()
        .map(|line| {
            let value = json!({ "value": line.value, "origin": line.origin.to_string() });
            (join_section(&line.section, line.name), value)
        })
        .collect();
    let proxies: Map<String, Json> = environment_proxies(&loaded.schema.network.environment_proxies)
        .into_iter()
        .collect();
    json!({
        "file": loaded.file.as_ref().map(|path| path.display().to_string()),
        "keys": keys,
        "environment_proxies": proxies,
        "warnings": loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Keys with their values, null where nothing is set.
pub type Values = BTreeMap<String, Json>;

/// All of them; secrets are masked, so that of two only other keys tell whether they are the same.
pub fn values(schema: &Schema) -> Values {
    shown(schema, &Origins::default())
        .into_iter()
        .map(|line| {
            let value = line.value.unwrap_or_default();
            (join_section(&line.section, line.name), value)
        })
        .collect()
}

/// One rule of `[[access.rules]]`, all fields.
pub fn access_rule(rule: &AccessRule) -> Option<Json> {
    rule.show()
}

/// One rule of `[[cache.tags]]`, all fields.
pub fn tag_rule(rule: &TagRule) -> Option<Json> {
    rule.show()
}

struct Line {
    section: String,
    name: &'static str,
    value: Option<Json>,
    origin: Origin,
}

fn lines(loaded: &Loaded) -> Vec<Line> {
    shown(&loaded.schema, &loaded.origins)
}

fn shown(schema: &Schema, origins: &Origins) -> Vec<Line> {
    let mut printer = Printer {
        section: String::new(),
        origins,
        lines: Vec::new(),
    };
    keys::schema(&mut printer, &mut schema.clone());
    printer.lines
}

struct Printer<'a> {
    section: String,
    origins: &'a Origins,
    lines: Vec<Line>,
}

impl keys::Visit for Printer<'_> {
    fn key<T: Setting>(&mut self, name: &'static str, value: &mut T) {
        let origin = self.origins.of(&join_section(&self.section, name)).clone();
        self.lines.push(Line {
            section: self.section.clone(),
            name,
            value: value.show(),
            origin,
        });
    }

    fn section(&mut self, name: &str, keys: impl FnOnce(&mut Self)) {
        let inner = join_key(&self.section, name);
        let outer = std::mem::replace(&mut self.section, inner);
        keys(self);
        self.section = outer;
    }

    fn registries(&mut self, name: &'static str, registries: &mut BTreeMap<RegistryName, Registry>) {
        self.section(name, |printer| {
            for (name, registry) in registries {
                printer.section(name.as_str(), |printer| keys::registry(printer, registry));
            }
        });
    }
}

/// `section` is dotted already.
fn join_section(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

fn environment_proxies(proxies: &EnvironmentProxies) -> Vec<(String, Json)> {
    let all = [&proxies.https, &proxies.http, &proxies.all];
    let mut shown: Vec<(String, Json)> = all
        .into_iter()
        .flatten()
        .filter_map(|found| {
            let value = ProxyEntry::Through(found.proxy.clone()).show()?;
            Some((found.variable.clone(), value))
        })
        .collect();
    if !proxies.no_proxy.is_empty() {
        shown.push(("NO_PROXY".to_owned(), proxies.no_proxy.join(",").into()));
    }
    shown
}

/// JSON's texts, numbers and lists are TOML's; only tables differ.
fn toml_value(value: &Json) -> String {
    match value {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(toml_value).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(entries) if entries.is_empty() => "{}".to_owned(),
        Json::Object(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(name, value)| format!("{} = {}", join_key("", name), toml_value(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}
