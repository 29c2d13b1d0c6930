//! `docxy check-config --explain IMAGE`: which registry and which rule about tags an image falls under, in words.

use anyhow::{Context as _, bail};
use serde_json::{Value as Json, json};

use super::{naming, to_stdout};
use crate::app;
use crate::config::schema::{Cache, CacheMode, Fresh, Registry, StaleOn, TagRule};
use crate::config::values::show_duration;
use crate::config::{Loaded, Schema, show};
use crate::oci::{FullName, ImageReference, Reference, RegistryName};

/// How the answer is written.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Text,
    Json,
}

pub(super) fn run(loaded: &Loaded, image: &str, form: Form) -> anyhow::Result<()> {
    let parsed = ImageReference::parse(image).with_context(|| format!("{image:?} is no image"))?;
    let explanation = Explanation::of(loaded, &parsed)?;
    match form {
        Form::Text => to_stdout(explanation.text().trim_end()),
        Form::Json => to_stdout(format_args!("{:#}", explanation.json())),
    }
    Ok(())
}

struct Explanation<'a> {
    loaded: &'a Loaded,
    name: FullName,
    registry: &'a Registry,
    /// Why it is this registry, where the image does not simply name it.
    because: Option<String>,
    reference: Reference,
    decided: Decided<'a>,
}

enum Decided<'a> {
    /// A digest means the same for ever.
    Digest,
    /// `position` counts from 0.
    Rule { position: usize, rule: &'a TagRule },
    /// No rule matches.
    Default(Box<TagRule>),
}

impl<'a> Explanation<'a> {
    fn of(loaded: &'a Loaded, image: &ImageReference) -> anyhow::Result<Self> {
        let schema = &loaded.schema;
        let named = image.registry.as_ref();
        let (registry_name, registry) = find(schema, named.unwrap_or(&schema.default_registry))?;
        let because = match named {
            None => Some("the image names none, and this is default_registry".to_owned()),
            Some(named) if named != registry_name => Some(format!("{named} is an alias of it")),
            Some(_) => None,
        };
        let repository = naming::repository(registry, &image.repository)?;
        let name = FullName::new(registry_name.clone(), repository);
        let decided = match &image.reference {
            Reference::Digest(_) => Decided::Digest,
            Reference::Tag(tag) => match app::tag_rules(schema).position_for(&name, tag) {
                Some(position) => Decided::Rule {
                    position,
                    rule: &schema.cache.tags[position],
                },
                None => Decided::Default(Box::default()),
            },
        };
        Ok(Self {
            loaded,
            name,
            registry,
            because,
            reference: image.reference.clone(),
            decided,
        })
    }

    fn cache(&self) -> &Cache {
        &self.loaded.schema.cache
    }

    fn image(&self) -> String {
        match &self.reference {
            Reference::Tag(tag) => format!("{}:{tag}", self.name),
            Reference::Digest(digest) => format!("{}@{digest}", self.name),
        }
    }

    fn rule(&self) -> Option<&TagRule> {
        match &self.decided {
            Decided::Digest => None,
            Decided::Rule { rule, .. } => Some(rule),
            Decided::Default(rule) => Some(rule),
        }
    }

    /// Where the rule is written.
    fn origin(&self) -> Option<String> {
        match self.decided {
            Decided::Rule { position, .. } => {
                Some(self.loaded.origins.of_item("cache.tags", position).to_string())
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        let because = self.because.as_ref();
        let because = because.map_or_else(String::new, |because| format!(" ({because})"));
        let urls: Vec<&str> = self
            .registry
            .urls
            .iter()
            .map(|url| url.as_str().trim_end_matches('/'))
            .collect();
        let decided = match (&self.decided, self.origin()) {
            (Decided::Digest, _) => "none: a digest needs no rule".to_owned(),
            (Decided::Default(_), _) if self.cache().tags.is_empty() => {
                "the default: there are no [[cache.tags]]".to_owned()
            }
            (Decided::Default(_), _) => {
                format!(
                    "the default: none of the {} rules matches",
                    self.cache().tags.len()
                )
            }
            (Decided::Rule { position, rule }, origin) => format!(
                "{} of {}, {}: registry {}, repository {}, tag {}",
                position + 1,
                self.cache().tags.len(),
                origin.unwrap_or_default(),
                rule.registry,
                rule.repository,
                rule.tag
            ),
        };
        format!(
            "image:     {}\nregistry:  {}{because}, at {}\nrule:      {decided}\n\n{}",
            self.image(),
            self.name.registry,
            urls.join(", "),
            self.meaning().join("\n")
        )
    }

    fn json(&self) -> Json {
        let (tag, digest) = match &self.reference {
            Reference::Tag(tag) => (Some(tag.as_str()), None),
            Reference::Digest(digest) => (None, Some(digest.to_string())),
        };
        let number = match self.decided {
            Decided::Rule { position, .. } => Some(position + 1),
            _ => None,
        };
        json!({
            "image": self.image(),
            "registry": self.name.registry.as_str(),
            "urls": self.registry.urls.iter().map(url::Url::as_str).collect::<Vec<_>>(),
            "repository": self.name.repository.as_str(),
            "tag": tag,
            "digest": digest,
            "decided_by": match self.decided {
                Decided::Digest => "digest",
                Decided::Rule { .. } => "rule",
                Decided::Default(_) => "default",
            },
            "rule_number": number,
            "rule_origin": self.origin(),
            "rule": self.rule().and_then(show::tag_rule),
            "meaning": self.meaning(),
        })
    }

    /// Sentences, the most important first.
    fn meaning(&self) -> Vec<String> {
        let mut said = Vec::new();
        match (self.cache().mode, self.cache().offline) {
            (CacheMode::Off, _) => said.push(
                "cache.mode is \"off\": nothing is stored, and every pull asks the registry. With a cache:"
                    .to_owned(),
            ),
            (_, true) => {
                said.push(
                    "cache.offline is on: the registry is never asked. What is stored is served, all else is refused."
                        .to_owned(),
                );
                return said;
            }
            _ => {}
        }
        match self.rule() {
            None => said.push(
                "A digest means the same for ever: what is stored is served without asking whether it still holds."
                    .to_owned(),
            ),
            Some(rule) => said.extend(in_words(rule)),
        }
        said
    }
}

/// The registry of this name or alias.
fn find<'a>(schema: &'a Schema, wanted: &RegistryName) -> anyhow::Result<(&'a RegistryName, &'a Registry)> {
    match naming::registry(schema, wanted) {
        Some((name, registry)) if registry.enabled => Ok((name, registry)),
        Some((name, _)) => bail!("{name} is switched off: docxy refuses it"),
        None => {
            bail!("{wanted} is not configured, so docxy refuses it: add a section [registries.\"{wanted}\"]")
        }
    }
}

fn in_words(rule: &TagRule) -> Vec<String> {
    let beyond = match rule.fresh {
        Fresh::Immutable => {
            return vec![
                "Once stored, the tag is served for ever, and the registry is not asked again.".to_owned(),
            ];
        }
        Fresh::Never => {
            return vec![
                "Every pull asks the registry; when it gives no answer, nothing is served in its place."
                    .to_owned(),
            ];
        }
        Fresh::For(_) => " more",
        Fresh::Revalidate => "",
    };
    let mut said = vec![match rule.fresh {
        Fresh::For(time) => format!(
            "For {} after the registry confirmed it, the stored tag is served without asking.",
            show_duration(time)
        ),
        _ => "Every pull asks the registry with one small request whether the stored tag still holds."
            .to_owned(),
    }];
    if !rule.stale_while_revalidate.is_zero() {
        said.push(format!(
            "For {}{beyond} it is served at once, while the registry is asked in the background.",
            show_duration(rule.stale_while_revalidate)
        ));
    }
    if rule.stale.is_empty() || rule.max_stale.is_zero() {
        said.push("When the registry gives no answer, nothing is served in its place.".to_owned());
        return said;
    }
    said.push(format!(
        "When the registry {}, the stored tag is served for {}{beyond}.",
        joined(rule.stale.iter().copied()),
        show_duration(rule.max_stale)
    ));
    let passed_on = StaleOn::ALL.into_iter().filter(|word| !rule.stale.contains(word));
    if rule.stale.len() < StaleOn::ALL.len() {
        said.push(format!(
            "When it {}, nothing is served in its place.",
            joined(passed_on)
        ));
    }
    said
}

/// `a, b or c`
fn joined(failures: impl Iterator<Item = StaleOn>) -> String {
    let mut words: Vec<&str> = failures.map(verb).collect();
    match words.pop() {
        None => String::new(),
        Some(last) if words.is_empty() => last.to_owned(),
        Some(last) => format!("{} or {last}", words.join(", ")),
    }
}

fn verb(failure: StaleOn) -> &'static str {
    match failure {
        StaleOn::Connect => "can't be reached",
        StaleOn::Timeout => "does not answer in time",
        StaleOn::Server => "fails (5xx)",
        StaleOn::RateLimited => "limits requests (429)",
        StaleOn::Denied => "denies access (401, 403)",
        StaleOn::Missing => "does not have it (404, 410, 451)",
    }
}
