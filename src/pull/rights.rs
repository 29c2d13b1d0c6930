//! Who may read what of the cache (threats S4, S5). A repository is public when the upstream gave something of it to
//! nobody in particular; else a client's own right is proved upstream, by the cheapest request that proves it, and
//! remembered for a minute. A link (this digest, in this repository) exists only where the upstream itself said so.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue, header};
use moka::future::Cache as Joining;

use super::cached::Cached;
use super::{Error, Missing, Pull, content_length};
use crate::access::Permit;
use crate::cache::{Linked, Presence};
use crate::oci::accept::Class;
use crate::oci::media;
use crate::oci::{Digest, Endpoint, FullName, Reference};
use crate::serve::headers::DOCKER_CONTENT_DIGEST;
use crate::upstream::{Ask, Health, Method, Right, Word};

/// How long a client's own right counts as proved.
pub const PROOF: Duration = Duration::from_mins(1);
/// How long a repository that nobody in particular may read is not asked about again.
const CLOSED: Duration = Duration::from_mins(10);
/// Proofs and closed repositories that are remembered; about 100 bytes each.
const REMEMBERED: u64 = 100_000;

/// A keyed hash of a right and a repository: of no use to who reads the memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Key([u8; 32]);

/// Who asks, where, and with what: what a flight keeps of everyone who joined it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub name: FullName,
    pub right: Right,
    /// docxy's operator shares what his credential can read with everyone who reaches docxy.
    pub shared: bool,
    secret: Arc<hmac::Key>,
    key: OnceLock<Key>,
}

/// What a client may do with what is cached of a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Read what is linked there.
    Entitled,
    /// Nothing, before the upstream has decided about its right.
    Unproved,
}

/// The name of a thing in a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Blob,
    Manifest,
}

/// What the registry said about a repository to nobody in particular.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Openness {
    Open,
    Closed,
    Untold,
}

/// How much an answer of an upstream's shows that it is about the thing that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Evidence {
    /// It names the digest, or has the very length of what is stored.
    Strong,
    /// It says nothing that speaks against it.
    Weak,
    /// It is something else: a page, other bytes.
    Against,
}

/// Proofs of this process.
#[derive(Debug)]
pub(super) struct Proofs {
    secret: Arc<hmac::Key>,
    proved: Joining<Key, ()>,
    closed: Joining<FullName, ()>,
}

impl Proofs {
    pub fn new() -> Self {
        let secret: [u8; 32] = rand::random();
        Self {
            secret: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)),
            proved: Joining::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(PROOF)
                .build(),
            closed: Joining::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(CLOSED)
                .build(),
        }
    }

    /// What this permit claims in this repository.
    pub fn claim(&self, permit: &Permit, name: FullName) -> Claim {
        Claim {
            name,
            shared: matches!(permit, Permit::Configured),
            right: permit.right().clone(),
            secret: Arc::clone(&self.secret),
            key: OnceLock::new(),
        }
    }
}

impl Claim {
    /// Equal for equal rights to the same repository. Made when it is first asked for: what is public needs none.
    pub fn key(&self) -> Key {
        *self.key.get_or_init(|| self.hashed())
    }

    fn hashed(&self) -> Key {
        let mut hash = hmac::Context::with_key(&self.secret);
        for part in [self.name.registry.as_str(), self.name.repository.as_str()] {
            hash.update(part.as_bytes());
            hash.update(b"\0");
        }
        match &self.right {
            Right::Anonymous => hash.update(b"anonymous"),
            Right::Configured => hash.update(b"configured"),
            Right::Bearer { token, .. } => {
                hash.update(b"bearer\0");
                hash.update(token.expose().as_bytes());
            }
            Right::Basic { credential, .. } => {
                // The name's length keeps ("a", "bc") apart from ("ab", "c").
                hash.update(b"basic\0");
                hash.update(&(credential.username.len() as u64).to_be_bytes());
                hash.update(credential.username.as_bytes());
                hash.update(credential.password.expose());
            }
        }
        let mut key = [0; 32];
        for (into, from) in key.iter_mut().zip(hash.sign().as_ref()) {
            *into = *from;
        }
        Key(key)
    }
}

impl Cached {
    pub(super) fn standing(&self, claim: &Claim) -> Standing {
        self.standing_in(claim, self.store.is_public(&claim.name))
    }

    /// The same, with the link of this digest there.
    pub(super) fn standing_and_link(&self, claim: &Claim, digest: &Digest) -> (Standing, Option<Linked>) {
        let (public, linked) = self.store.public_and_linked(&claim.name, digest);
        (self.standing_in(claim, public), linked)
    }

    fn standing_in(&self, claim: &Claim, public: bool) -> Standing {
        if claim.shared || public || self.proofs.proved.contains_key(&claim.key()) {
            Standing::Entitled
        } else {
            Standing::Unproved
        }
    }

    /// The upstream answered this claim with what was asked for.
    pub(super) async fn granted(&self, claim: &Claim, anonymous: bool) {
        if anonymous {
            self.store.mark_public(&claim.name);
        } else if !claim.shared {
            self.proofs.proved.insert(claim.key(), ()).await;
        }
    }

    /// Forgets what this claim had proved, and that its repository is public; true: it was.
    async fn forget_proof(&self, claim: &Claim) -> bool {
        self.proofs.proved.invalidate(&claim.key()).await;
        let was_public = matches!(claim.right, Right::Anonymous) && self.store.is_public(&claim.name);
        if was_public {
            tracing::warn!(repository = %claim.name, "is no longer public: what is cached of it needs a right from now on");
            self.store.unmark_public(&claim.name);
            // From before it was marked.
            self.proofs.closed.invalidate(&claim.name).await;
        }
        was_public
    }

    /// May the word of this claim's registry open what is here of this digest? Whoever runs a registry can have it say "yes"
    /// to any digest; so its word counts for bytes that it gave itself, or gives now, and for those that everyone may
    /// have. For others it must send them.
    pub(super) fn may_vouch(&self, claim: &Claim, digest: &Digest) -> bool {
        let registry = &claim.name.registry;
        match self.fills.running(digest) {
            Some(fill) => fill.is_from(registry),
            None => self.store.may_be_from(registry, digest) || self.store.linked_in_public(digest).is_some(),
        }
    }

    /// Whether a repository was found closed to the public a short while ago.
    pub(super) fn is_known_closed(&self, name: &FullName) -> bool {
        self.proofs.closed.contains_key(name)
    }
}

impl Pull {
    /// The upstream denied this claim `thing`. A registry may deny one thing (an image that its scanner dislikes) of a
    /// repository that is public: another one is asked for in the background, and until there is an answer the repository
    /// counts as private.
    pub(super) async fn denied(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        thing: Option<&Reference>,
    ) {
        if !cached.forget_proof(claim).await {
            return;
        }
        let (store, name) = (&cached.store, &claim.name);
        let denied = match thing {
            None => Vec::new(),
            Some(Reference::Digest(digest)) => vec![digest.clone()],
            Some(Reference::Tag(tag)) => store
                .tags_of(name, tag)
                .into_iter()
                .map(|tag| tag.digest)
                .collect(),
        };
        let manifest = store.manifest_beside(name, &denied);
        let Some(manifest) = manifest.or_else(|| store.manifests_in(name)) else {
            return;
        };
        let (pull, cached, name) = (Arc::clone(self), Arc::clone(cached), name.clone());
        tokio::spawn(async move {
            if pull.ask_openness(&cached, &name, &manifest).await {
                tracing::info!(repository = %name, "is public after all: something in it was denied, another thing was not");
            }
        });
    }

    /// Asks the upstream whether this claim opens its repository. Claims that are the same are asked about once.
    pub(super) async fn prove(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<(), Error> {
        if self.is_open_to_all(cached, claim).await {
            return Ok(());
        }
        let proof = async {
            let answered = match cached.store.manifests_in(&claim.name) {
                Some(manifest) => match self.word_on(cached, claim, Kind::Manifest, &manifest).await {
                    // It may be gone upstream, which tells nothing about the right.
                    Err(Error::NotFound { .. }) => self.word_on(cached, claim, kind, digest).await,
                    answered => answered,
                },
                None => self.word_on(cached, claim, kind, digest).await,
            };
            let (word, evidence) = answered?;
            if word.anonymous && evidence == Evidence::Strong {
                cached.store.mark_public(&claim.name);
            }
            Ok::<_, Error>(())
        };
        match cached.proofs.proved.try_get_with(claim.key(), proof).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = (*error).clone();
                if error.is_denial() {
                    self.denied(cached, claim, None).await;
                }
                Err(error)
            }
        }
    }

    /// What everyone may have, while the upstream is known not to answer: its own word would only be waited for.
    pub(super) fn without_asking(&self, cached: &Cached, claim: &Claim, digest: &Digest) -> Option<Linked> {
        let silent = cached.config.offline
            || self
                .upstream(&claim.name.registry)
                .is_ok_and(|upstream| upstream.health() == Health::Suspect);
        silent.then(|| cached.store.linked_in_public(digest)).flatten()
    }

    /// As [`Self::confirm`]; those who ask with the same right at the same time share one request.
    pub(super) async fn confirm_once(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<Linked, Error> {
        let question = || {
            let (pull, cached, claim) = (Arc::clone(self), Arc::clone(cached), claim.clone());
            let digest = digest.clone();
            async move { pull.confirm(&cached, &claim, kind, &digest).await }
        };
        let (answer, _) = cached
            .confirmations
            .ask((digest.clone(), claim.key()), question)
            .await;
        answer.unwrap_or_else(|| {
            Err(Error::Unsettled {
                registry: claim.name.registry.clone(),
            })
        })
    }

    /// The link of this digest in the claim's repository, by the upstream's own word about exactly that pair.
    async fn confirm(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<Linked, Error> {
        let (word, evidence) = match self.word_on(cached, claim, kind, digest).await {
            Ok(word) => word,
            Err(error) => {
                if error.is_denial() {
                    self.denied(cached, claim, Some(&Reference::Digest(digest.clone())))
                        .await;
                }
                return Err(error);
            }
        };
        cached
            .granted(claim, word.anonymous && evidence == Evidence::Strong)
            .await;
        let media_type = match kind {
            Kind::Blob => None,
            Kind::Manifest => Some(
                word.headers
                    .get(header::CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default(),
            ),
        };
        Ok(cached.store.link(&claim.name, digest, media_type))
    }

    /// The first time that a client's own credential is used for a repository, one HEAD of a manifest, which costs no quota
    /// (wire-facts), tells whether it is public anyway.
    async fn is_open_to_all(&self, cached: &Cached, claim: &Claim) -> bool {
        if matches!(claim.right, Right::Anonymous) || cached.proofs.closed.contains_key(&claim.name) {
            return false;
        }
        let Some(manifest) = cached.store.manifests_in(&claim.name) else {
            return false;
        };
        self.ask_openness(cached, &claim.name, &manifest).await
    }

    /// Asks anonymously for a manifest of this repository, once for all who want to know at the same time; a "no" is
    /// remembered for ten minutes.
    pub(super) async fn ask_openness(&self, cached: &Cached, name: &FullName, manifest: &Digest) -> bool {
        let asked = async {
            match self.openness(cached, name, manifest).await {
                Openness::Closed => Ok(()),
                other => Err(other),
            }
        };
        match cached.proofs.closed.try_get_with(name.clone(), asked).await {
            Ok(()) => false,
            Err(other) => *other == Openness::Open,
        }
    }

    async fn openness(&self, cached: &Cached, name: &FullName, manifest: &Digest) -> Openness {
        let claim = cached.proofs.claim(&Permit::Try(Right::Anonymous), name.clone());
        let ask = head(name, Reference::Digest(manifest.clone()));
        let Ok(upstream) = self.upstream(&name.registry) else {
            return Openness::Untold;
        };
        match Box::pin(upstream.confirm(&ask, &claim.right)).await {
            Ok(word) if word.is_yes() && evidence(cached, &word, manifest) == Evidence::Strong => {
                cached.store.mark_public(name);
                Openness::Open
            }
            // A fault of the upstream's says nothing.
            Ok(word) if word.status.is_server_error() || word.status.as_u16() == 429 => Openness::Untold,
            Err(failure) if failure.may_pass() => Openness::Untold,
            _ => Openness::Closed,
        }
    }

    /// HEAD for manifests; GET stopped at the status for blobs, because Harbor answers 404 to HEAD of one that it has not
    /// cached (wire-facts).
    async fn word_on(
        &self,
        cached: &Cached,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<(Word, Evidence), Error> {
        let name = &claim.name;
        let (ask, what) = match kind {
            Kind::Manifest => (head(name, Reference::Digest(digest.clone())), Missing::Manifest),
            Kind::Blob => (
                Ask {
                    method: Method::Get,
                    endpoint: Endpoint::Blob(name.repository.clone(), digest.clone()),
                    query: None,
                    headers: HeaderMap::new(),
                },
                Missing::Blob,
            ),
        };
        // Rare and long: not within the future of every request.
        let upstream = self.upstream(&name.registry)?;
        let word = Box::pin(upstream.confirm(&ask, &claim.right)).await?;
        if word.is_yes() {
            let registry = name.registry.clone();
            return match evidence(cached, &word, digest) {
                Evidence::Against => Err(Error::AnotherThing { registry, what }),
                evidence => Ok((word, evidence)),
            };
        }
        Err(super::refusal(
            &name.registry,
            what,
            word.status,
            &word.headers,
            None,
        ))
    }
}

fn evidence(cached: &Cached, word: &Word, digest: &Digest) -> Evidence {
    let named = word.headers.get(DOCKER_CONTENT_DIGEST);
    let is_named = named.map(|said| said.as_bytes() == digest.to_string().as_bytes());
    let size = match cached.store.presence(digest) {
        Presence::Stored { size } => Some(size),
        Presence::Arriving | Presence::Absent => None,
    };
    let has_size = content_length(&word.headers)
        .zip(size)
        .map(|(said, size)| said == size);
    let content_type = word
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|said| said.to_str().ok());
    let is_page = content_type.is_some_and(|said| media::essence(said).eq_ignore_ascii_case("text/html"));
    match (is_named, has_size) {
        _ if is_page && is_named != Some(true) => Evidence::Against,
        (Some(false), _) | (_, Some(false)) => Evidence::Against,
        (None, None) => Evidence::Weak,
        _ => Evidence::Strong,
    }
}

fn head(name: &FullName, reference: Reference) -> Ask {
    let mut headers = HeaderMap::new();
    let all: [HeaderValue; 0] = [];
    for line in Class::of(&all).lines() {
        headers.append(header::ACCEPT, line);
    }
    Ask {
        method: Method::Head,
        endpoint: Endpoint::Manifest(name.repository.clone(), reference),
        query: None,
        headers,
    }
}
