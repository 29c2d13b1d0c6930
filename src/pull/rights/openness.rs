//! Which repositories everyone may read: found out by asking anonymously, noticed when that ends (threats S4, A7). What is
//! served of a repository that was public once is the operator's choice (`access.withdrawn`).

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use tokio::time::Instant;

use super::sight::one_tag;
use super::{Claim, Evidence, evidence, head};
use crate::access::Permit;
use crate::cache::Openness;
use crate::oci::{Digest, FullName, Reference, Tag};
use crate::pull::cached::Cached;
use crate::pull::{Error, Pull};
use crate::telemetry::metrics::{Why, Word as _};
use crate::upstream::{Failure, Public, Right, Sources};

/// What is served of a repository that was public and is so no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Withdrawn {
    /// Nothing, but to those whose own right the registry confirms.
    Refuse,
    /// What is stored, with a `Warning`.
    Warn,
    /// What is stored.
    Serve,
}

/// What the registry said about a repository to nobody in particular.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    Open,
    Closed,
    Untold,
}

impl Cached {
    /// What is stored of it is for everyone: it is public, or was, and the operator wants that to be enough.
    pub(in crate::pull) fn is_for_all(&self, openness: Openness) -> bool {
        match openness {
            Openness::Public => true,
            Openness::Withdrawn => self.config.withdrawn != Withdrawn::Refuse,
            Openness::Unknown => false,
        }
    }

    /// It was public once and is served on.
    pub(in crate::pull) fn is_served_on(&self, name: &FullName) -> bool {
        self.config.withdrawn != Withdrawn::Refuse && self.store.openness(name) == Openness::Withdrawn
    }

    /// What is said to a client that is served only because the repository once was public.
    pub(in crate::pull) fn warning(&self, claim: &Claim, openness: Openness) -> Option<HeaderValue> {
        let warned = openness == Openness::Withdrawn
            && self.config.withdrawn == Withdrawn::Warn
            && !claim.shared
            && self.proofs.standing(claim) != super::Standing::Entitled;
        warned.then(|| {
            let text = format!(
                "299 - \"{} does not give this repository to everyone any more; this is what it gave before\"",
                claim.name.registry
            );
            HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("299 - \"withdrawn\""))
        })
    }

    /// Whether a repository was found closed to the public a short while ago.
    pub(in crate::pull) fn is_known_closed(&self, name: &FullName) -> bool {
        self.proofs.closed.contains_key(name)
    }

    /// The upstream took it away from everyone after this moment.
    pub(in crate::pull) fn is_shut_since(&self, name: &FullName, then: Instant) -> bool {
        self.proofs.is_shut_since(name, then)
    }

    /// The upstream does not give this repository to everyone any more. Tells whether that is new.
    fn withdraw(&self, name: &FullName, why: Why) -> bool {
        self.proofs.shut(name);
        let keep = self.config.withdrawn != Withdrawn::Refuse;
        if !self.store.withdraw_public(name, keep) {
            return false;
        }
        self.metrics.withdrawn.inc(why);
        let then = match self.config.withdrawn {
            Withdrawn::Refuse => {
                "what is cached of it is only for those whose own right the registry confirms"
            }
            Withdrawn::Warn => {
                "what is cached of it is served on with a Warning (access.withdrawn = \"warn\")"
            }
            Withdrawn::Serve => "what is cached of it is served on (access.withdrawn = \"serve\")",
        };
        tracing::warn!(repository = %name, why = why.word(), "is no longer public: {then}");
        true
    }
}

impl Pull {
    /// The upstream denied this claim `thing`. A registry may deny one thing (an image that its scanner dislikes) of a
    /// repository that is public: another one is asked for in the background, and until there is an answer the repository
    /// counts as closed.
    pub(in crate::pull) async fn denied(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        thing: Option<&Reference>,
    ) {
        cached.proofs.deny(claim);
        let (store, name) = (&cached.store, &claim.name);
        if !matches!(claim.right, Right::Anonymous) || !cached.withdraw(name, Why::Denied) {
            return;
        }
        // From before it was marked.
        cached.proofs.closed.invalidate(name).await;
        let denied = match thing {
            None => Vec::new(),
            Some(Reference::Digest(digest)) => vec![digest.clone()],
            Some(Reference::Tag(tag)) => {
                let records = store.tags_of(name, tag).into_iter();
                records.map(|record| record.digest).collect()
            }
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

    /// Who may be asked for the content of this repository by digest: the mirrors of its registry only while it is public by
    /// the registry's own word (threat S16).
    pub(in crate::pull) fn sources(&self, cached: &Cached, name: &FullName) -> Sources {
        let has_mirrors = self.has_mirrors(name);
        if has_mirrors && cached.store.is_public(name) {
            Sources::Anyone(Public::proved(name.clone()))
        } else {
            Sources::Authority
        }
    }

    fn has_mirrors(&self, name: &FullName) -> bool {
        self.upstream(&name.registry)
            .is_ok_and(|upstream| upstream.has_mirrors())
    }

    /// Whether a repository is public matters where clients have rights of their own, and where mirrors may be asked only for
    /// what is public; docxy's own credential alone would never find out.
    fn is_openness_of_use(&self, claim: &Claim) -> bool {
        claim.is_own() || (claim.shared && self.has_mirrors(&claim.name))
    }

    /// The first use of a repository with a client's own credential also asks whether everyone may read it: one HEAD of a
    /// manifest, which costs no quota (wire-facts).
    pub(in crate::pull) fn look_whether_open(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        digest: &Digest,
    ) {
        if !self.is_openness_of_use(claim)
            || cached.store.is_public(&claim.name)
            || cached.is_known_closed(&claim.name)
        {
            return;
        }
        let (pull, cached, name) = (Arc::clone(self), Arc::clone(cached), claim.name.clone());
        let digest = digest.clone();
        tokio::spawn(async move {
            pull.ask_openness(&cached, &name, &digest).await;
        });
    }

    /// Asks anonymously for a manifest of this repository, once for all who want to know at the same time; a "no" is
    /// remembered for ten minutes.
    async fn ask_openness(&self, cached: &Cached, name: &FullName, manifest: &Digest) -> bool {
        let asked = async {
            match self.hear(cached, name, manifest).await {
                Heard::Closed => Ok(()),
                other => Err(other),
            }
        };
        match cached.proofs.closed.try_get_with(name.clone(), asked).await {
            Ok(()) => false,
            Err(other) => *other == Heard::Open,
        }
    }

    async fn hear(&self, cached: &Cached, name: &FullName, manifest: &Digest) -> Heard {
        let ask = head(name, Reference::Digest(manifest.clone()));
        let Ok(upstream) = self.upstream(&name.registry) else {
            return Heard::Untold;
        };
        match Box::pin(upstream.confirm(&ask, &Right::Anonymous)).await {
            // A certificate of docxy's may be what opened it.
            Ok(word)
                if word.is_yes()
                    && word.anonymous
                    && evidence(cached, &word, manifest) == Evidence::Strong =>
            {
                cached.store.mark_public(name);
                Heard::Open
            }
            // A fault of the upstream's says nothing.
            Ok(word) if word.status.is_server_error() || word.status.as_u16() == 429 => Heard::Untold,
            Err(failure) if failure.may_pass() => Heard::Untold,
            _ => Heard::Closed,
        }
    }

    /// A tag of this repository was asked for upstream: is it still for everyone? A denial to nobody in particular has said
    /// so already (`Cached::denied`); what is found out here is what stands behind a tag that is gone, and what a client's
    /// own right can't tell.
    pub(in crate::pull) async fn after_revalidation<T: Sync>(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        claim: &Claim,
        tag: &Tag,
        was_there: bool,
        answer: &Result<T, Error>,
    ) {
        let unused = claim.shared && !self.is_openness_of_use(claim);
        if unused || !cached.store.is_public(&claim.name) {
            return;
        }
        match answer {
            Err(error) if error.is_denial() || (error.tells_existence() && was_there) => {
                self.revisit(cached, &claim.name, tag).await;
            }
            Err(error) if error.tells_existence() && cached.proofs.is_due(&claim.name) => {
                self.revisit(cached, &claim.name, tag).await;
            }
            Ok(_) if self.is_openness_of_use(claim) && is_old(cached, &claim.name) => {
                let (pull, cached) = (Arc::clone(self), Arc::clone(cached));
                let (name, tag) = (claim.name.clone(), tag.clone());
                tokio::spawn(async move { pull.revisit(&cached, &name, &tag).await });
            }
            _ => {}
        }
    }

    async fn revisit(self: &Arc<Self>, cached: &Arc<Cached>, name: &FullName, tag: &Tag) {
        let question = || {
            let (pull, cached) = (Arc::clone(self), Arc::clone(cached));
            let (name, tag) = (name.clone(), tag.clone());
            async move { pull.visit(&cached, &name, &tag).await }
        };
        cached.visits.ask(name.clone(), question).await;
    }

    /// Asks anonymously for what was given before. A manifest that is gone may be just that: only where the registry knows
    /// no tags of the repository either (`NAME_UNKNOWN`) is the repository gone.
    async fn visit(self: &Arc<Self>, cached: &Arc<Cached>, name: &FullName, tag: &Tag) {
        let Ok(upstream) = self.upstream(&name.registry) else {
            return;
        };
        let manifest = cached.store.manifests_in(name);
        let reference = manifest
            .clone()
            .map_or_else(|| Reference::Tag(tag.clone()), Reference::Digest);
        match Box::pin(upstream.confirm(&head(name, reference), &Right::Anonymous)).await {
            Ok(word) if word.is_yes() => {
                let is_it =
                    |manifest| word.anonymous && evidence(cached, &word, manifest) == Evidence::Strong;
                if manifest.as_ref().is_some_and(is_it) {
                    cached.store.mark_public(name);
                }
                return;
            }
            Ok(word) if is_gone(word.status) => {}
            Err(Failure::Denied { .. }) => {
                let nobody = Permit::Try(Right::Anonymous);
                let claim = cached.proofs.claim(&nobody, name.clone());
                self.denied(cached, &claim, manifest.map(Reference::Digest).as_ref())
                    .await;
                return;
            }
            Ok(_) | Err(_) => return,
        }
        match Box::pin(upstream.confirm(&one_tag(name), &Right::Anonymous)).await {
            Ok(word) if is_gone(word.status) => {
                cached.withdraw(name, Why::Missing);
            }
            Err(Failure::Denied { .. }) => {
                cached.withdraw(name, Why::Denied);
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Nobody in particular was given anything of it for as long as a proof lasts.
fn is_old(cached: &Cached, name: &FullName) -> bool {
    const OLD: u64 = 300;
    let since = cached.store.public_since(name);
    let now = cached.store.clock().now();
    since.is_some_and(|since| now.saturating_sub(since) >= OLD) && cached.proofs.is_due(name)
}

fn is_gone(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS
    )
}
