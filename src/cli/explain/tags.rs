//! Which rule about tags an image falls under, in words.

use serde_json::{Value as Json, json};

use super::image::Image;
use crate::app;
use crate::config::schema::{Cache, CacheMode, Fresh, StaleOn, TagRule};
use crate::config::values::show_duration;
use crate::config::{Loaded, show};
use crate::oci::Reference;

/// How long its tag may be answered from the cache.
pub(super) struct Tags<'a> {
    loaded: &'a Loaded,
    image: &'a Image<'a>,
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

impl<'a> Tags<'a> {
    pub fn of(loaded: &'a Loaded, image: &'a Image<'a>) -> Self {
        let schema = &loaded.schema;
        let decided = match &image.reference {
            Reference::Digest(_) => Decided::Digest,
            Reference::Tag(tag) => match app::tag_rules(schema).position_for(&image.name, tag) {
                Some(position) => Decided::Rule {
                    position,
                    rule: &schema.cache.tags[position],
                },
                None => Decided::Default(Box::default()),
            },
        };
        Self {
            loaded,
            image,
            decided,
        }
    }

    fn cache(&self) -> &Cache {
        &self.loaded.schema.cache
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

    /// Which one decides, and where it is written.
    pub fn rule_text(&self) -> String {
        match (&self.decided, self.origin()) {
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
        }
    }

    pub fn json(&self) -> Json {
        let (tag, digest) = match &self.image.reference {
            Reference::Tag(tag) => (Some(tag.as_str()), None),
            Reference::Digest(digest) => (None, Some(digest.to_string())),
        };
        let number = match self.decided {
            Decided::Rule { position, .. } => Some(position + 1),
            _ => None,
        };
        json!({
            "image": self.image.whole(),
            "registry": self.image.name.registry.as_str(),
            "urls": self.image.registry.urls.iter().map(|entry| entry.url.as_str()).collect::<Vec<_>>(),
            "repository": self.image.name.repository.as_str(),
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
    pub fn meaning(&self) -> Vec<String> {
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
