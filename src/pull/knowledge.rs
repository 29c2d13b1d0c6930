//! What this process knows of a repository without asking anybody, for operators.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Pull;
use crate::oci::{Digest, FullName, Tag};
use crate::upstream::Health;

/// Whom a registry gives a repository to, as far as it is known here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Openness {
    /// The registry gave something of it to nobody in particular.
    Public,
    /// A short while ago it gave nothing of it to nobody in particular.
    Closed,
    /// Nobody has asked, or it is long ago: it is treated as closed.
    Unknown,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// `None`: docxy only forwards, and keeps nothing of the kind.
    pub openness: Option<Openness>,
    /// A manifest that is stored of it, by which a client's right can be proved.
    pub manifest: Option<Digest>,
    /// What the tag means here, with the seconds since the registry confirmed that.
    pub tag_means: Vec<(Digest, u64)>,
    /// Did the registry answer when it was last asked?
    pub registry_answers: bool,
}

impl Pull {
    /// What is known of this repository, and of this tag of it.
    pub fn knowledge(&self, name: &FullName, tag: Option<&Tag>) -> Knowledge {
        let registry_answers = self
            .upstream(&name.registry)
            .is_ok_and(|upstream| upstream.health() != Health::Suspect);
        let Some(cached) = &self.cached else {
            return Knowledge {
                openness: None,
                manifest: None,
                tag_means: Vec::new(),
                registry_answers,
            };
        };
        let store = &cached.store;
        let openness = if cached.is_for_all(store.openness(name)) {
            Openness::Public
        } else if cached.is_known_closed(name) {
            Openness::Closed
        } else {
            Openness::Unknown
        };
        let now = store.clock().now();
        let mut tag_means: Vec<_> = tag
            .into_iter()
            .flat_map(|tag| store.tags_of(name, tag))
            .map(|record| (record.digest, now.saturating_sub(record.checked)))
            .collect();
        tag_means.sort_by_key(|(_, age)| *age);
        tag_means.dedup_by(|one, other| one.0 == other.0);
        Knowledge {
            openness: Some(openness),
            manifest: store.manifests_in(name),
            tag_means,
            registry_answers,
        }
    }
}
