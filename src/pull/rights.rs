//! Who may read what of the cache (threats S4, S5). A repository is public when the upstream gave something of it to
//! nobody in particular; else a client's own right is proved upstream, by the cheapest request that proves it, and
//! remembered for five minutes. A link (this digest, in this repository) exists only where the upstream itself said so.

mod claim;
mod openness;
mod proofs;
mod sight;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

pub(super) use self::claim::{Claim, Key};
use self::claim::{Places, ProofKey};
pub use self::openness::Withdrawn;
pub use self::proofs::PROOF;
pub(super) use self::proofs::Proofs;
use super::cached::Cached;
use super::joint::Came;
use super::{Error, Missing, Pull};
use crate::cache::{Linked, Openness, Presence};
use crate::oci::accept::Class;
use crate::oci::media;
use crate::oci::{Digest, Endpoint, FullName, Reference, RegistryName};
use crate::serve::headers::DOCKER_CONTENT_DIGEST;
use crate::upstream::{Ask, Health, Method, Sources, Upstream, Word};

const FIRST_BYTE: HeaderValue = HeaderValue::from_static("bytes=0-0");

/// What a client may do with what is cached of a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Read what is linked there.
    Entitled,
    /// The same while the upstream can't be asked: its right was proved not long ago.
    Lapsed,
    /// Nothing, before the upstream has decided about its right.
    Unproved,
}

/// The name of a thing in a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Blob,
    Manifest,
}

impl Kind {
    fn missing(self) -> Missing {
        match self {
            Self::Blob => Missing::Blob,
            Self::Manifest => Missing::Manifest,
        }
    }
}

/// How much an answer of an upstream's shows that it is about the thing that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Evidence {
    /// It names the digest, or has the very length of what is stored or arriving.
    Strong,
    /// It says nothing that speaks against it.
    Weak,
    /// It is something else: a page, other bytes.
    Against,
}

impl Cached {
    pub(super) fn standing(&self, claim: &Claim) -> Standing {
        self.standing_in(claim, self.store.openness(&claim.name))
    }

    /// The same, with the link of this digest there.
    pub(super) fn standing_and_link(&self, claim: &Claim, digest: &Digest) -> (Standing, Option<Linked>) {
        let (openness, linked) = self.store.openness_and_linked(&claim.name, digest);
        (self.standing_in(claim, openness), linked)
    }

    fn standing_in(&self, claim: &Claim, openness: Openness) -> Standing {
        if claim.shared || self.is_for_all(openness) {
            Standing::Entitled
        } else {
            self.proofs.standing(claim)
        }
    }

    /// The upstream answered this claim with what was asked for, when it was asked at this time.
    pub(super) fn granted(&self, claim: &Claim, anonymous: bool, asked: Instant) {
        if anonymous {
            // A download may have begun before the repository was closed, or before its registry became another.
            if !self.proofs.is_shut_since(&claim.name, asked) && !self.proofs.are_of_before() {
                self.store.mark_public_since(&claim.name, asked.elapsed());
            }
        } else if !claim.shared {
            self.proofs.grant(claim, asked);
        }
    }

    /// May the word of this claim's registry open what is here of this digest? Whoever runs a registry can have it say "yes"
    /// to any digest; so its word counts for bytes that it gave itself, or gives now, and for those that everyone may
    /// have. For others it must send them.
    pub(super) fn may_vouch(&self, claim: &Claim, upstream: &Arc<Upstream>, digest: &Digest) -> bool {
        let registry = &claim.name.registry;
        match self.fills.running(digest) {
            Some(fill) => fill.is_from(upstream),
            None => self.store.may_be_from(registry, digest) || self.common(digest).is_some(),
        }
    }

    /// The link of a digest that everyone who may come may have, whatever they call it. Public at its registry is not
    /// enough: users, rules and docxy's own credential keep people from what a registry in the house gives to docxy.
    pub(super) fn common(&self, digest: &Digest) -> Option<Linked> {
        let is_common = |registry: &RegistryName| self.config.commons.contains(registry);
        self.store.linked_in_public(digest, is_common)
    }
}

impl Pull {
    /// What lets this claim read what is here of a digest, where it takes the upstream's word: its right is not proved, or
    /// the digest is not linked in its repository. `None`: its own bytes must come, because the word shows nothing (a gateway
    /// that says "200" to everything) or is not enough.
    ///
    /// What is asked does not depend on whether the digest is linked: else that could be told from outside.
    pub(super) async fn admit(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
        linked: Option<Linked>,
    ) -> Result<Option<Linked>, Error> {
        let lapsed = linked
            .as_ref()
            .filter(|_| cached.standing(claim) == Standing::Lapsed);
        if self.is_silent(cached, claim)
            && let Some(linked) = lapsed.cloned().or_else(|| cached.common(digest))
        {
            return Ok(Some(linked));
        }
        if cached.config.offline {
            return Err(super::blob::offline(claim, kind.missing()));
        }
        let has_mirrors = self.sources(cached, &claim.name) != Sources::Authority;
        if linked.is_none() && has_mirrors && self.is_silent(cached, claim) {
            // The bytes of a mirror say what its word can't.
            return Ok(None);
        }
        let answer = match &linked {
            None if !cached.may_vouch(claim, self.upstream(&claim.name.registry)?, digest) => {
                return Ok(None);
            }
            None => self.confirm_once(cached, claim, kind, digest).await,
            Some(linked) if lapsed.is_some() => {
                // As for tags: whoever has something to fall back on does not wait for ever.
                let patience = cached.config.revalidate_timeout;
                let proof = self.prove(cached, claim, kind, digest);
                if let Ok(proof) = tokio::time::timeout(patience, proof).await {
                    proof.map(|evidence| shown(linked, evidence))
                } else {
                    self.upstream(&claim.name.registry)?.is_late();
                    Ok(Some(linked.clone()))
                }
            }
            Some(linked) => {
                let proof = self.prove(cached, claim, kind, digest).await;
                proof.map(|evidence| shown(linked, evidence))
            }
        };
        match answer {
            Ok(Some(linked)) => Ok(Some(linked)),
            Ok(None) => Ok(readable_in_outage(cached, claim, digest, linked)),
            Err(error) => {
                let mirrors_may_have_it = has_mirrors && linked.is_none() && error.is_outage();
                let readable = error
                    .is_outage_of_rights()
                    .then(|| readable_in_outage(cached, claim, digest, linked))
                    .flatten();
                match readable {
                    None if !mirrors_may_have_it => Err(error),
                    readable => Ok(readable),
                }
            }
        }
    }

    /// The upstream is known not to answer: its word would only be waited for.
    pub(super) fn is_silent(&self, cached: &Cached, claim: &Claim) -> bool {
        cached.config.offline
            || self
                .upstream(&claim.name.registry)
                .is_ok_and(|upstream| upstream.health() == Health::Suspect)
    }

    /// Asks the upstream whether this claim opens its repository, by what it asks for. Claims that are the same are asked
    /// about once.
    async fn prove(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<Evidence, Error> {
        let question = || {
            let (pull, cached, claim) = (Arc::clone(self), Arc::clone(cached), claim.clone());
            let digest = digest.clone();
            async move {
                // It may have been proved since it was looked at.
                if cached.standing(&claim) == Standing::Entitled {
                    return Ok(Evidence::Strong);
                }
                evidence_of(pull.ask_right(&cached, &claim, kind, &digest).await)
            }
        };
        let (answer, came) = cached.provings.ask(claim.key(), question).await;
        let answer = answer.unwrap_or_else(|| {
            Err(Error::Unsettled {
                registry: claim.name.registry.clone(),
            })
        });
        let answer = match (answer, came) {
            // Of what another asked for.
            (Err(Error::NotFound { .. }), Came::Joined) => {
                evidence_of(self.ask_right(cached, claim, kind, digest).await)
            }
            (answer, _) => answer,
        };
        match answer {
            // It may be gone upstream, which tells nothing about the right.
            Err(error @ Error::NotFound { .. }) => {
                let other = cached.store.manifests_in(&claim.name);
                match other.filter(|other| other != digest) {
                    Some(other) if self.sees(cached, claim).await => {
                        let proof = self.ask_right(cached, claim, Kind::Manifest, &other).await;
                        evidence_of(proof).map_err(|_| error)
                    }
                    _ => Err(error),
                }
            }
            Ok(evidence) => {
                if let Some(manifest) = cached.store.manifests_in(&claim.name) {
                    self.look_whether_open(cached, claim, &manifest);
                }
                Ok(evidence)
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Self::confirm`]; those who ask with the same right at the same time share one request.
    pub(super) async fn confirm_once(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<Option<Linked>, Error> {
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

    /// The link of this digest in the claim's repository, by the upstream's own word about exactly that pair; `None` where
    /// the word does not show that it is about it.
    async fn confirm(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<Option<Linked>, Error> {
        let (word, evidence) = self.ask_right(cached, claim, kind, digest).await?;
        if evidence != Evidence::Strong {
            return Ok(None);
        }
        let media_type = match kind {
            Kind::Blob => None,
            Kind::Manifest => Some(
                word.headers
                    .get(header::CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default(),
            ),
        };
        Ok(Some(cached.store.link(&claim.name, digest, media_type)))
    }

    /// The upstream's word, and how much it shows. Only one that is surely about the thing proves a right: nobody's own
    /// words open what is private.
    async fn ask_right(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<(Word, Evidence), Error> {
        let asked = Instant::now();
        match self.word_on(cached, claim, kind, digest).await {
            Ok((word, evidence)) => {
                if evidence == Evidence::Strong {
                    cached.granted(claim, word.anonymous, asked);
                }
                Ok((word, evidence))
            }
            Err(error) => {
                if error.is_denial() {
                    let thing = Reference::Digest(digest.clone());
                    self.denied(cached, claim, Some(&thing)).await;
                }
                Err(error)
            }
        }
    }

    /// HEAD for manifests; GET of the first byte for blobs, because Harbor answers 404 to HEAD of one that it has not cached
    /// (wire-facts). A registry that knows no ranges begins to send all of it, and is not read.
    async fn word_on(
        &self,
        cached: &Cached,
        claim: &Claim,
        kind: Kind,
        digest: &Digest,
    ) -> Result<(Word, Evidence), Error> {
        let name = &claim.name;
        let what = kind.missing();
        let ask = match kind {
            Kind::Manifest => head(name, Reference::Digest(digest.clone())),
            Kind::Blob => Ask {
                method: Method::Get,
                endpoint: Endpoint::Blob(name.repository.clone(), digest.clone()),
                query: None,
                headers: HeaderMap::from_iter([(header::RANGE, FIRST_BYTE)]),
            },
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
        let refusal = super::refusal(&name.registry, what, word.status, &word.headers, None);
        Err(refusal.or_unheard(word.unheard))
    }
}

/// What may be read all the same when the upstream can't be asked, or says nothing that shows anything.
fn readable_in_outage(
    cached: &Cached,
    claim: &Claim,
    digest: &Digest,
    linked: Option<Linked>,
) -> Option<Linked> {
    let own = linked.filter(|_| cached.standing(claim) == Standing::Lapsed);
    own.or_else(|| cached.common(digest))
}

fn shown(linked: &Linked, evidence: Evidence) -> Option<Linked> {
    (evidence == Evidence::Strong).then(|| linked.clone())
}

fn evidence_of(answer: Result<(Word, Evidence), Error>) -> Result<Evidence, Error> {
    answer.map(|(_, evidence)| evidence)
}

fn evidence(cached: &Cached, word: &Word, digest: &Digest) -> Evidence {
    let named = word.headers.get(DOCKER_CONTENT_DIGEST);
    let is_named = named.map(|said| said.as_bytes() == digest.to_string().as_bytes());
    let size = match cached.store.presence(digest) {
        Presence::Stored { size } => Some(size),
        Presence::Arriving => cached.store.arriving(digest).and_then(|blob| blob.length()),
        Presence::Absent => None,
    };
    let has_size = word.length().zip(size).map(|(said, size)| said == size);
    match (is_named, has_size) {
        _ if is_page(&word.headers) && is_named != Some(true) => Evidence::Against,
        (Some(false), _) | (_, Some(false)) => Evidence::Against,
        (None, None) => Evidence::Weak,
        _ => Evidence::Strong,
    }
}

/// What gateways and captive portals send to people.
fn is_page(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|said| said.to_str().ok());
    content_type.is_some_and(|said| media::essence(said).eq_ignore_ascii_case("text/html"))
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
