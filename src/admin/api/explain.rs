//! What is said about one image and one client: what would happen, and why. Spans are whole seconds.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::upstreams::{Quota, Upstream};
use crate::cache::{Next, OnePlatform, Place};
use crate::pull::{self, Openness};

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// In full, as in `docker.io/library/redis:7`.
    pub image: String,
    /// With its registry, as that one names it.
    pub repository: String,
    /// None: no registry of this docxy's is meant; `expected` says why.
    pub registry: Option<String>,
    /// How the registry was found: `itself`, `default`, or the alias that was written.
    pub named_by: Option<String>,
    /// Why it is that one, where the image does not simply name it.
    pub registry_because: Option<String>,
    /// The door that was asked about; none: whichever.
    pub door: Option<String>,
    /// All that lead to it.
    pub doors: Vec<Way>,
    /// What would come of a pull now.
    pub expected: Expected,
    pub access: Option<Access>,
    /// On what it depends who may read it.
    pub entitlement: Option<Entitlement>,
    /// None where docxy only forwards.
    pub openness: Option<Openness>,
    /// Since the registry last gave something of it to nobody in particular.
    pub public_since: Option<u64>,
    /// It was public, is so no more, and is served all the same (`access.withdrawn`).
    pub served_on: bool,
    /// Of a tag.
    pub freshness: Option<Freshness>,
    /// What is stored of it.
    pub stored: Option<Stored>,
    /// A manifest that is stored of the repository, by which a right can be proved.
    pub manifest: Option<String>,
    /// What the tag means here, the last confirmed first; several where clients accept different types.
    pub tag_means: Vec<TagMeaning>,
    /// Did the registry answer when it was last asked?
    pub registry_answers: Option<bool>,
    /// How docxy stands with it.
    pub upstream: Option<Upstream>,
    /// What it would be asked with.
    pub credential: Option<Credential>,
    /// What goes next for want of room, whatever image it is of: the first five blobs. None where docxy only forwards.
    pub eviction: Option<Next>,
    /// Answers to clients about this repository, the newest first.
    pub decisions: Vec<Decided>,
}

/// A request that leads to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = WayToImage)]
pub struct Way {
    /// ns, host, prefix, default or proxy.
    pub door: String,
    /// What the client asks for.
    pub target: String,
    /// Under which host; none: docxy's own name.
    pub host: Option<String>,
}

/// One word, as the access log has it, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Expected {
    /// hit, stale, revalidated, miss, bypass, denied, failed-upstream, failed-local or failed-client.
    pub outcome: String,
    pub because: String,
}

/// Whether this client may come, before any registry is asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ExplainedAccess)]
pub struct Access {
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    pub user: Option<String>,
    /// The user's.
    pub groups: Vec<String>,
    pub allowed: bool,
    /// address, sign-in, no-such-user, scope (of an access token), rule, default (there is no allow) or none (no allow is for it).
    pub decided_by: String,
    /// The rule's number, counted from 1.
    pub rule: Option<u64>,
    /// The rule's own.
    pub comment: Option<String>,
    pub because: String,
}

/// By what a client may read it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Entitled)]
pub struct Entitlement {
    pub by: pull::Entitlement,
    pub because: String,
}

/// What its registry would be shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = ShownCredential)]
pub struct Credential {
    pub kind: CredentialKind,
    /// Of the account, as `docxy upstreams` names it; `anonymous` where docxy's address pays. None: it is the client's own.
    pub name: Option<String>,
    /// What is left there; none: the registry has not said, or does not limit, or it is the client's own.
    pub quota: Option<Quota>,
    pub because: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ShownCredentialKind)]
pub enum CredentialKind {
    /// docxy's own.
    OwnAccount,
    /// No account, but docxy's own certificate.
    OwnCertificate,
    /// The client's own account there.
    Clients,
    Nothing,
}

/// How long a tag may be answered without asking.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Freshness {
    /// The number of the rule of `[[cache.tags]]` that decides, counted from 1; none: the default.
    pub rule: Option<u64>,
    /// fresh, stale-while-revalidate, revalidate, never (it is asked about each time, and not kept); none: nothing is known of
    /// the tag.
    pub state: Option<String>,
    /// Since the registry last confirmed it.
    pub confirmed: Option<u64>,
    /// Until it is asked about again; none: it is asked each time.
    pub fresh_for: Option<u64>,
    /// It is never asked about again.
    pub for_ever: bool,
    /// How long it is served while the registry can't be asked; none: it is not.
    pub stale_for: Option<u64>,
    /// And after which failures: connect, timeout, 5xx, 429, denied, missing.
    pub stale_after: Vec<String>,
    /// In one sentence.
    pub because: String,
}

/// What is here of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = StoredImage)]
pub struct Stored {
    pub digest: String,
    pub media_type: String,
    /// All of it, for every platform.
    pub whole: bool,
    /// The registry said that this repository has it.
    pub linked: bool,
    /// All that its stored manifests name.
    pub blobs: u64,
    pub bytes: u64,
    /// Of these.
    pub stored_blobs: u64,
    pub stored_bytes: u64,
    pub platforms: Vec<OnePlatform>,
    /// The pins that keep it.
    pub pins: Vec<String>,
    /// Where it stands in the order of what goes for want of room; none: nothing of it can go.
    pub next: Option<Place>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TagMeaning {
    pub digest: String,
    pub media_type: String,
    /// Since the registry confirmed it.
    pub confirmed: u64,
    /// Since it began to mean this here.
    pub known: u64,
    /// The status with which the registry said that it is no more.
    pub withdrawn: Option<u16>,
}

/// One answer to a client, or several alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Decided {
    /// Since the last of them.
    pub ago: u64,
    pub count: u32,
    #[schema(value_type = String)]
    pub client: IpAddr,
    /// One of docxy's own.
    pub user: Option<String>,
    pub granted: bool,
    /// Why not.
    pub reason: Option<String>,
}
