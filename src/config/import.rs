//! Other tools' configuration in docxy's keys: a text in, a text out. Nothing here opens a file.

mod distribution;
mod docker_proxy;
mod older_docxy;
mod registries;
mod yaml;

pub(in crate::config) mod draft;
pub(in crate::config) mod env_file;
mod nginx;
pub(in crate::config) mod registry_proxy;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use self::{
    draft::{Draft, Spot},
    registry_proxy::Use,
    yaml::Yaml,
};
use super::{
    auth_registries,
    environment::Environment,
    load::{Flags, Sources, load_text},
    origin::{Origin, Place, Problems, SourceFile},
};

/// So many mistakes are told; a file with more is another kind of file.
const MOST_PROBLEMS: usize = 50;

/// Nobody's configuration is larger.
pub const MAX_BYTES: usize = 1 << 20;

/// Whose configuration it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tool {
    /// Variables in a file.
    DockerRegistryProxy,
    /// A `config.yml` for each registry.
    Distribution,
    /// Docxy's `config/default.toml`.
    Docxy,
    /// The gateway's `config.yaml`, or a `registry-NAME.yml` for each registry.
    DockerProxy,
}

impl Tool {
    /// As `--from` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DockerRegistryProxy => "docker-registry-proxy",
            Self::Distribution => "distribution",
            Self::Docxy => "docxy",
            Self::DockerProxy => "docker-proxy",
        }
    }
}

/// A file of the old tool's. Not `Debug`: it holds passwords.
pub struct Input<'t> {
    pub name: &'t Path,
    pub text: &'t [u8],
}

/// A configuration that docxy loads. Not `Debug`: it may hold passwords.
pub struct Imported {
    pub text: String,
    pub holds_secret: bool,
}

/// Makes a `docxy.toml` of them, with a comment for each thing that has no key here. What can't be right in the old files
/// is told instead, all at once; no message holds a value that may be secret.
pub fn import(tool: Tool, inputs: &[Input<'_>]) -> Result<Imported, Problems> {
    let mut draft = Draft::default();
    let mut variables = Vec::new();
    let mut mirrors = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let file = SourceFile::new(input.name);
        let first = index == 0;
        let Some(text) = text_of(input, &file, &mut draft) else {
            continue;
        };
        match tool {
            Tool::DockerRegistryProxy => {
                variables.extend(env_file::parse(
                    text,
                    &file,
                    registry_proxy::is_variable,
                    &mut draft,
                ));
            }
            Tool::Distribution => mirrors.extend(distribution::translate(text, &file, first, &mut draft)),
            Tool::Docxy => older_docxy::translate(text, &file, &mut draft),
            Tool::DockerProxy => mirrors.extend(docker_proxy::translate(text, &file, first, &mut draft)),
        }
    }
    distribution::say_who_may_come(&mirrors, &mut draft);
    if tool == Tool::DockerRegistryProxy {
        let default = Spot {
            origin: Origin::Default,
            key: "its default".to_owned(),
        };
        registry_proxy::translate(&variables, &default, Use::Import, &mut draft);
        accounts(&variables, &mut draft);
    }
    let sound = std::mem::take(&mut draft.problems).into_result();
    sound.map_err(|problems| problems.at_most(MOST_PROBLEMS))?;
    let names: Vec<String> = inputs
        .iter()
        .map(|input| input.name.display().to_string())
        .collect();
    let title = format!(
        "Made by `docxy config import --from {}` out of {}.",
        tool.name(),
        names.join(", ")
    );
    let text = draft.to_toml(&title);
    // What is in it together may contradict itself: two ports that are one, a host of two registries.
    load_text(
        Path::new("docxy.toml, as it would be made"),
        &text,
        &nothing(BTreeMap::new()),
    )?;
    Ok(Imported {
        text,
        holds_secret: draft.holds_secret(),
    })
}

fn text_of<'t>(input: &Input<'t>, file: &Arc<SourceFile>, draft: &mut Draft) -> Option<&'t str> {
    let start = Spot::line(file, 1, "");
    if input.text.len() > MAX_BYTES {
        let fix = "name the tool's configuration file";
        draft.problem(&start, "is larger than 1 MiB: no configuration is", fix);
        return None;
    }
    match std::str::from_utf8(input.text) {
        Ok(text) if text.contains('\0') => {
            draft.problem(&start, "is no text", "name the tool's configuration file");
            None
        }
        Ok(text) => Some(text),
        Err(error) => {
            let before = String::from_utf8_lossy(&input.text[..error.valid_up_to()]);
            let lines = before.matches('\n').count();
            let at = Spot::line(file, u32::try_from(lines + 1).unwrap_or(u32::MAX), "");
            draft.problem(
                &at,
                "is not UTF-8 text",
                "name the tool's configuration file, in UTF-8",
            );
            None
        }
    }
}

/// The root of a YAML file, which must be a map.
fn document(text: &str, file: &Arc<SourceFile>, draft: &mut Draft) -> Option<Yaml> {
    let fault = |line, column, what: String, draft: &mut Draft| {
        let mut at = Spot::line(file, line, "");
        if let Origin::File(Place { column: place, .. }) = &mut at.origin {
            *place = column;
        }
        draft.problem(&at, what, "name the tool's configuration file");
    };
    match Yaml::parse(text) {
        Ok(root) if matches!(root.value, yaml::Value::Map(_)) => Some(root),
        Ok(root) => {
            fault(
                root.line,
                1,
                format!("expected keys with values, found {}", root.kind()),
                draft,
            );
            None
        }
        Err(error) => {
            fault(error.line, error.column, error.to_string(), draft);
            None
        }
    }
}

/// `AUTH_REGISTRIES` is read by the same code as at a start, against the registries that the draft has.
fn accounts(variables: &[env_file::Variable], draft: &mut Draft) {
    let mut environment = Environment::new();
    for variable in variables {
        if auth_registries::VARIABLES.contains(&variable.name.as_str()) {
            environment.insert(variable.name.clone(), variable.value.clone());
        }
    }
    let spot_of = |name: &str| {
        variables
            .iter()
            .find(|it| it.name == name)
            .map(|it| it.spot.clone())
    };
    let Some(spot) = spot_of(auth_registries::VARIABLES[0]) else {
        return;
    };
    if !draft.problems.is_empty() {
        return;
    }
    environment.insert(
        super::compat::VARIABLE.to_owned(),
        Tool::DockerRegistryProxy.name().to_owned(),
    );
    let text = draft.to_toml("");
    let loaded = match load_text(
        Path::new("docxy.toml, as it would be made"),
        &text,
        &nothing(environment),
    ) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in problems.iter() {
                let fix = problem.fix.clone().unwrap_or_default();
                draft.problem(&spot, problem.what.clone(), fix);
            }
            return;
        }
    };
    for (name, registry) in &loaded.schema.registries {
        let [only] = &registry.credentials[..] else {
            several(name.as_str(), &registry.credentials, &spot, draft);
            continue;
        };
        let (Some(username), Some(password)) = (&only.username, &only.password) else {
            continue;
        };
        let account = registries::Account {
            username: Some((username, spot.clone())),
            password: Some((password.expose(), spot.clone())),
        };
        account.write(name.as_str(), draft);
    }
    let is_ours = |origin: &Origin| matches!(origin, Origin::Environment(name) if auth_registries::VARIABLES.contains(&name.as_str()));
    // Those of keys are the new file's, and told whenever it is loaded.
    let told = loaded
        .warnings
        .iter()
        .filter(|it| is_ours(&it.0.origin) && it.0.key.is_empty());
    for warning in told {
        draft.note(&spot, warning.0.what.clone());
    }
}

fn several(name: &str, entries: &[super::schema::CredentialEntry], spot: &Spot, draft: &mut Draft) {
    for entry in entries {
        let (Some(username), Some(password)) = (&entry.username, &entry.password) else {
            continue;
        };
        draft.set(&["registries", name, "auth"], "configured", spot);
        let account = [
            ("username".to_owned(), username.as_str().into()),
            ("password".to_owned(), password.expose().as_str().into()),
        ];
        draft.add_secret(
            &["registries", name, "credentials"],
            toml::Table::from_iter(account),
            spot,
            registries::PASSWORD,
        );
    }
}

fn nothing(environment: Environment) -> Sources {
    Sources {
        config: None,
        default_file: None,
        environment,
        flags: Flags::default(),
    }
}
