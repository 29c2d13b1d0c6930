//! What the docxy that runs knows of a repository.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::image::Image;
use crate::admin::api::About;
use crate::admin::api::explain::{Credential, Decided, Explained, Freshness, Way};
use crate::app::storage;
use crate::cache::Next;
use crate::cli::cache::next::{whereabouts, why};
use crate::cli::running::Running;
use crate::cli::table::{blobs, size};
use crate::config::Schema;
use crate::config::values::show_duration;
use crate::pull::Openness;

/// Who would ask, and by which way.
pub(super) struct ForWhom {
    pub user: Option<String>,
    pub address: Option<IpAddr>,
    pub door: Option<String>,
}

/// It, or why it can't be asked.
pub(super) struct Server<'a> {
    image: &'a Image<'a>,
    answer: Result<(About, Explained), String>,
}

impl<'a> Server<'a> {
    /// The one that answers in the state folder of this configuration. That there is none is no error: what is written
    /// can be explained without it.
    pub fn ask(schema: &Schema, image: &'a Image<'a>, for_whom: &ForWhom) -> Self {
        let answer = || {
            let socket = storage::socket(schema).map_err(|error| format!("{error:#}"))?;
            let found = Running::find(&socket).map_err(|error| format!("{error:#}"))?;
            let (running, about) = found.ok_or_else(|| {
                format!(
                    "no docxy answers at {}: what has been proved, and who was refused, is not known",
                    socket.display()
                )
            })?;
            let address = for_whom.address.map(|address| address.to_string());
            let query: Vec<(&str, &str)> = [
                ("client", address.as_deref()),
                ("user", for_whom.user.as_deref()),
                ("door", for_whom.door.as_deref()),
            ]
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
            let explained = running
                .explain(&image.whole(), &query)
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
            Ok((about, explained)) => {
                let mut answer = serde_json::to_value(explained).unwrap_or_default();
                if let Some(answer) = answer.as_object_mut() {
                    answer.insert("process".to_owned(), json!(about.process));
                }
                answer
            }
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
        let registry = &self.image.name.registry;
        let mut lines = vec![format!(
            "Here and now, says the docxy that runs (process {}):",
            about.process
        )];
        let expected = &explained.expected;
        lines.push(format!(
            "  A pull now: {}; {}.",
            expected.outcome, expected.because
        ));
        lines.extend(doors(explained));
        lines.extend(entitlement(explained));
        if let Some(manifest) = explained.manifest.as_ref().filter(|_| explained.stored.is_none()) {
            lines.push(format!(
                "  Of the repository, {manifest} is stored, by which a right can be proved."
            ));
        }
        for meaning in &explained.tag_means {
            let gone = meaning.withdrawn.map_or_else(String::new, |status| {
                format!(" Since then it said that it is gone ({status}).")
            });
            lines.push(format!(
                "  The tag means {}, as {registry} confirmed {}.{gone}",
                meaning.digest,
                ago(meaning.confirmed)
            ));
        }
        lines.extend(explained.freshness.as_ref().map(freshness));
        lines.extend(stored(explained));
        lines.extend(explained.credential.as_ref().map(with_what));
        if explained.registry_answers == Some(false) {
            lines.push(format!("  {registry} did not answer when it was last asked."));
        }
        lines.extend(explained.eviction.as_ref().map(next_to_go).unwrap_or_default());
        if explained.decisions.is_empty() {
            lines.push("  Nobody has asked for it lately.".to_owned());
        } else {
            lines.push("  Who asked for it lately:".to_owned());
            lines.extend(explained.decisions.iter().map(decided));
        }
        lines.join("\n")
    }
}

/// All of them, or the one that was asked about; where that one leads elsewhere, the outcome says so.
fn doors(explained: &Explained) -> Vec<String> {
    let request = |way: &Way| match &way.host {
        Some(host) => format!("{host}{}", way.target),
        None => way.target.clone(),
    };
    if let Some(wanted) = &explained.door {
        let way = explained.doors.iter().find(|way| way.door == *wanted);
        return way
            .map(|way| format!("  By the door {wanted} it is {}.", request(way)))
            .into_iter()
            .collect();
    }
    let ways = explained.doors.iter();
    std::iter::once("  Doors that lead to it:".to_owned())
        .chain(ways.map(|way| format!("    {:<8} {}", way.door, request(way))))
        .collect()
}

fn entitlement(explained: &Explained) -> Option<String> {
    let because = &explained.entitlement.as_ref()?.because;
    let is_public = explained.openness == Some(Openness::Public) && !explained.served_on;
    let since = explained.public_since.filter(|_| is_public);
    let since = since.map_or_else(String::new, |seconds| format!(", the last time {}", ago(seconds)));
    Some(format!("  {because}{since}."))
}

fn freshness(freshness: &Freshness) -> String {
    let mut text = format!("  Freshness: {}", freshness.because);
    if let Some(seconds) = freshness.fresh_for {
        let _ = write!(text, "; not asked about for {}", rounded(seconds));
    }
    match freshness.stale_for {
        Some(seconds) => {
            let after = freshness.stale_after.join(", ");
            let _ = write!(
                text,
                "; after a failure ({after}) it is served for {}",
                rounded(seconds)
            );
        }
        None if freshness.confirmed.is_some() && !freshness.for_ever && freshness.stale_after.is_empty() => {
            text.push_str("; after a failure it is not served");
        }
        None => {}
    }
    text.push('.');
    text
}

fn stored(explained: &Explained) -> Vec<String> {
    let Some(stored) = &explained.stored else {
        return match explained.openness {
            Some(_) => vec!["  Nothing of it is stored.".to_owned()],
            None => Vec::new(),
        };
    };
    let mut lines = vec![if stored.whole {
        format!(
            "  All of it is stored: {}, {}.",
            blobs(stored.blobs),
            size(stored.bytes)
        )
    } else {
        format!(
            "  Stored of it: {} of {} that are known, {} of {}.",
            stored.stored_blobs,
            blobs(stored.blobs),
            size(stored.stored_bytes),
            size(stored.bytes)
        )
    }];
    if stored.platforms.len() > 1 {
        for platform in &stored.platforms {
            let name = platform.platform.as_deref().unwrap_or("no platform");
            let here = match (platform.is_whole(), platform.stored_blobs) {
                (true, _) => "all".to_owned(),
                (false, 0) => "nothing".to_owned(),
                (false, _) if platform.known => {
                    format!("{} of {}", size(platform.stored_bytes), size(platform.bytes))
                }
                (false, _) => "part of it".to_owned(),
            };
            lines.push(format!("    {name}: {here}"));
        }
    }
    if !stored.linked {
        lines.push("  The registry has not said that this repository has it.".to_owned());
    }
    if !stored.pins.is_empty() {
        lines.push(format!("  It is pinned, by {}.", stored.pins.join(", ")));
    }
    lines.push(match &stored.next {
        Some(place) => format!(
            "  For want of room{} its first blob goes as number {} of {}, after {} of others ({}).",
            if place.of_quota {
                " in its registry's cache_quota"
            } else {
                ""
            },
            place.number,
            place.of,
            size(place.before),
            why(place.why)
        ),
        None => "  Nothing of it goes for want of room.".to_owned(),
    });
    lines
}

fn with_what(credential: &Credential) -> String {
    let left = match &credential.quota {
        None => String::new(),
        Some(quota) => {
            let again = quota.asked_again_in.map_or_else(String::new, |seconds| {
                format!(", asked again in {}", rounded(seconds))
            });
            format!(
                "; {} of {} pulls are left there{again}",
                quota.remaining, quota.limit
            )
        }
    };
    format!("  {}{left}.", credential.because)
}

/// Whatever image it is of.
fn next_to_go(next: &Next) -> Vec<String> {
    if next.going.is_empty() {
        return Vec::new();
    }
    let first = format!(
        "  Of the whole cache nothing goes before {} more have come (of {}); then these, in this order:",
        size(next.room),
        size(next.limit)
    );
    let going = next.going.iter().map(|going| {
        format!(
            "    {} ({}, used {}), of {}: {}",
            going.digest,
            size(going.size),
            ago(going.unused),
            whereabouts(going),
            why(going.why)
        )
    });
    std::iter::once(first).chain(going).collect()
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

fn ago(seconds: u64) -> String {
    match seconds {
        0 => "just now".to_owned(),
        seconds => format!("{} ago", rounded(seconds)),
    }
}

/// In its two largest units at most.
fn rounded(seconds: u64) -> String {
    let rounded = match seconds {
        0..3600 => seconds,
        3600..86_400 => seconds / 60 * 60,
        _ => seconds / 3600 * 3600,
    };
    show_duration(Duration::from_secs(rounded))
}
