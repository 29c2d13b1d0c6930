//! The environment as a layer: `DOCXY__SECTION__KEY`, and the usual proxy variables.

use std::collections::BTreeMap;

use super::{
    keys,
    origin::{Origin, Problems},
    schema::{EnvironmentProxies, EnvironmentProxy},
    setting::proxy_from_environment,
    tree::{Node, Table, Value, insert, parse_value},
};

/// What all of docxy's own variables begin with. `DOCXY_CONFIG` is the one exception.
const PREFIX: &str = "DOCXY__";

/// All variables, or those a test makes up.
pub type Environment = BTreeMap<String, String>;

/// Every `DOCXY__` variable as a tree. Empty ones count as unset: compose files pass those along.
///
/// A registry is named by its own name (`DOCXY__REGISTRIES__ghcr.io__AUTH`), or by one that every shell can export:
/// `known` names in upper case with `_` for whatever else is in them (`DOCXY__REGISTRIES__GHCR_IO__AUTH`).
pub(super) fn layer(environment: &Environment, known: &[String], problems: &mut Problems) -> Table {
    let mut tree = Table::new();
    for (variable, value) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        if value.is_empty() {
            continue;
        }
        let origin = Origin::Environment(variable.clone());
        let mut path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        if path.iter().any(String::is_empty) {
            let fix = "write DOCXY__KEY or DOCXY__SECTION__KEY".to_owned();
            problems.push(&origin, "", "names no key", fix);
            continue;
        }
        if path.len() > 1 && path[0] == "registries" {
            match registry_of(&path[1], known) {
                Ok(name) => path[1] = name,
                Err(what) => {
                    let fix = "write its name with dots (DOCXY__REGISTRIES__registry.example.com__AUTH), \
                               or give it a [registries.\"NAME\"] section in the file"
                        .to_owned();
                    problems.push(&origin, "", what, fix);
                    continue;
                }
            }
        }
        let table = is_section(&path)
            .then(|| parse_value(value.trim(), &origin).ok())
            .flatten();
        let node = table.unwrap_or_else(|| Node {
            value: Value::Raw(value.clone()),
            origin: origin.clone(),
        });
        if let Err(component) = insert(&mut tree, &path, node) {
            let what = format!("`{component}` is set as a whole by another variable");
            problems.push(&origin, "", what, "keep one of the two".to_owned());
        }
    }
    tree
}

/// A whole section may come as a TOML table, and is merged with the layers below like one.
fn is_section(path: &[String]) -> bool {
    match path {
        [one] => keys::all().iter().any(|key| key.starts_with(&format!("{one}."))),
        [registries, _] => registries == "registries",
        _ => false,
    }
}

/// How a key is spelt as a variable.
pub(super) fn variable_of(key: &str) -> String {
    let parts = split_key(key);
    let parts: Vec<String> = parts.iter().map(|part| shell_name(part)).collect();
    format!("{PREFIX}{}", parts.join("__"))
}

/// `HTTPS_PROXY` and its like. The lower-case names count first, as in curl; `HTTP_PROXY` in upper case is not read
/// where a CGI server could have made it from a `Proxy:` header.
pub(super) fn proxies(environment: &Environment, problems: &mut Problems) -> EnvironmentProxies {
    let mut find = |name: &str| {
        let (variable, text) = variable(environment, name)?;
        match proxy_from_environment(text) {
            Ok(proxy) => Some(EnvironmentProxy { variable, proxy }),
            Err(reason) => {
                let fix = "write it as in http://proxy.example.com:3128, or unset it".to_owned();
                problems.push(&Origin::Environment(variable), "", reason, fix);
                None
            }
        }
    };
    let https = find("https_proxy");
    let http = if environment.contains_key("REQUEST_METHOD") {
        None
    } else {
        find("http_proxy")
    };
    let all = find("all_proxy");
    let no_proxy = variable(environment, "no_proxy").map_or_else(Vec::new, |(_, text)| {
        let entries = text.split([',', ' ']).filter(|entry| !entry.is_empty());
        entries.map(str::to_ascii_lowercase).collect()
    });
    EnvironmentProxies {
        https,
        http,
        all,
        no_proxy,
    }
}

fn variable<'e>(environment: &'e Environment, lower: &str) -> Option<(String, &'e str)> {
    [lower.to_owned(), lower.to_ascii_uppercase()]
        .into_iter()
        .find_map(|name| {
            let text = environment.get(&name)?.trim();
            (!text.is_empty()).then_some((name, text))
        })
}

fn registry_of(written: &str, known: &[String]) -> Result<String, String> {
    if written.contains(['.', ':']) || known.iter().any(|name| name == written) {
        return Ok(written.to_owned());
    }
    let wanted = shell_name(written);
    let mut matching = known.iter().filter(|name| shell_name(name) == wanted);
    match (matching.next(), matching.next()) {
        (Some(name), None) => Ok(name.clone()),
        (Some(one), Some(other)) => Err(format!("could mean {one} or {other}")),
        (None, _) => Err(format!("no registry is called {written}")),
    }
}

/// Upper case, `_` for everything that a shell does not take in a name.
fn shell_name(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect()
}

/// Splits at the dots outside quotes.
fn split_key(key: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in key.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            _ => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shells_can_name_every_known_registry() {
        // Operators of containers configure by environment alone, and their shell refuses dots in names.
        let known = ["ghcr.io", "registry-1.example.com:5000"].map(str::to_owned);
        assert_eq!(registry_of("ghcr_io", &known), Ok("ghcr.io".to_owned()));
        assert_eq!(
            registry_of("registry_1_example_com_5000", &known),
            Ok("registry-1.example.com:5000".to_owned())
        );
        assert_eq!(
            registry_of("new.example.com", &known),
            Ok("new.example.com".to_owned())
        );
        assert_eq!(
            registry_of("quay_io", &known),
            Err("no registry is called quay_io".to_owned())
        );
        let twins = ["a-b.io", "a.b.io"].map(str::to_owned);
        assert_eq!(
            registry_of("a_b_io", &twins),
            Err("could mean a-b.io or a.b.io".to_owned())
        );
    }

    #[test]
    fn keys_are_spelt_as_variables() {
        // A suggestion is only useful when it can be pasted.
        assert_eq!(variable_of("cache.mode"), "DOCXY__CACHE__MODE");
        assert_eq!(
            variable_of("registries.\"ghcr.io\".auth"),
            "DOCXY__REGISTRIES__GHCR_IO__AUTH"
        );
    }
}
