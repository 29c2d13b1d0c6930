//! What the docxy that runs knows of a repository.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::image::Image;
use crate::admin::api::{About, Decided, Explained};
use crate::app::storage;
use crate::cli::running::Running;
use crate::config::Schema;
use crate::config::values::show_duration;
use crate::oci::Reference;
use crate::pull::Openness;

/// It, or why it can't be asked.
pub(super) struct Server<'a> {
    image: &'a Image<'a>,
    answer: Result<(About, Explained), String>,
}

impl<'a> Server<'a> {
    /// The one that answers in the state folder of this configuration. That there is none is no error: what is written
    /// can be explained without it.
    pub fn ask(schema: &Schema, image: &'a Image<'a>) -> Self {
        let answer = || {
            let socket = storage::socket(schema).map_err(|error| format!("{error:#}"))?;
            let found = Running::find(&socket).map_err(|error| format!("{error:#}"))?;
            let (running, about) = found.ok_or_else(|| {
                format!(
                    "no docxy answers at {}: what has been proved, and who was refused, is not known",
                    socket.display()
                )
            })?;
            let tag = match &image.reference {
                Reference::Tag(tag) => Some(tag),
                Reference::Digest(_) => None,
            };
            let explained = running
                .explain(&image.name, tag)
                .map_err(|error| format!("{error:#}"))?;
            Ok((about, explained))
        };
        Self {
            image,
            answer: answer(),
        }
    }

    pub fn json(&self) -> Json {
        match &self.answer {
            Ok((about, explained)) => json!({
                "process": about.process,
                "openness": explained.openness,
                "manifest": explained.manifest,
                "tag_means": explained.tag_means,
                "registry_answers": explained.registry_answers,
                "decisions": explained.decisions,
            }),
            Err(why) => json!({ "error": why }),
        }
    }

    pub fn text(&self) -> String {
        match &self.answer {
            Ok((about, explained)) => self.told(about, explained),
            Err(why) => format!("Here and now: {why}"),
        }
    }

    fn told(&self, about: &About, explained: &Explained) -> String {
        let (registry, repository) = (&self.image.name.registry, &self.image.name.repository);
        let mut lines = vec![format!(
            "Here and now, says the docxy that runs (process {}):",
            about.process
        )];
        lines.push(match explained.openness {
            None => "  It only forwards, and remembers nothing of what is public.".to_owned(),
            Some(Openness::Public) => {
                format!("  {repository} is public: {registry} gave it without an account.")
            }
            Some(Openness::Closed) => {
                format!(
                    "  {repository} is private: {registry} refused it a short while ago without an account."
                )
            }
            Some(Openness::Unknown) => {
                format!("  Whether {repository} is public is not proved, so it is treated as private.")
            }
        });
        if explained.openness.is_some() {
            lines.push(match &explained.manifest {
                Some(digest) => format!("  Of it, {digest} is stored, by which a right can be proved."),
                None => "  No manifest of it is stored.".to_owned(),
            });
        }
        for meaning in &explained.tag_means {
            lines.push(format!(
                "  The tag means {}, as {registry} confirmed {}.",
                meaning.digest,
                ago(meaning.confirmed)
            ));
        }
        if !explained.registry_answers {
            lines.push(format!("  {registry} did not answer when it was last asked."));
        }
        if explained.decisions.is_empty() {
            lines.push("  Nobody has asked for it lately.".to_owned());
        } else {
            lines.push("  Who asked for it lately:".to_owned());
            lines.extend(explained.decisions.iter().map(decided));
        }
        lines.join("\n")
    }
}

fn decided(decided: &Decided) -> String {
    let who = match &decided.user {
        Some(user) => format!("{user} at {}", decided.client),
        None => decided.client.to_string(),
    };
    let times = match decided.count {
        1 => String::new(),
        count => format!(" ({count} times)"),
    };
    let what = match &decided.reason {
        None => "granted".to_owned(),
        Some(reason) => format!("refused: {reason}"),
    };
    format!("    {}, {who}{times}: {what}", ago(decided.ago))
}

/// In its two largest units at most.
fn ago(seconds: u64) -> String {
    let rounded = match seconds {
        0 => return "just now".to_owned(),
        1..3600 => seconds,
        3600..86_400 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    format!("{} ago", show_duration(Duration::from_secs(rounded)))
}
