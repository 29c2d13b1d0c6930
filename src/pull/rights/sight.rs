//! Who is told that a thing is missing. Where a repository is not known to be public, "missing" would tell from "forbidden"
//! whether it is there at all; so both are the same refusal, after the same questions upstream, to a client that has not
//! shown that it may know (threat S4). Whoever may know gets the upstream's own answer: clients look whether a tag is there
//! before they push, import caches, and look for referrers.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use super::{Claim, Standing, is_page};
use crate::oci::{Endpoint, FullName};
use crate::pull::cached::Cached;
use crate::pull::{Error, Pull, Wanted};
use crate::upstream::{Ask, Failure, Method};

impl Pull {
    /// A refusal as this client may read it.
    pub(in crate::pull) async fn as_shown(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        error: Error,
    ) -> Error {
        let Ok(claim) = self.claim(cached, wanted) else {
            return error;
        };
        if !error.tells_existence() || cached.standing(&claim) == Standing::Entitled {
            return error;
        }
        // A list that was refused has answered the question already.
        let is_list = matches!(wanted.target.endpoint, Endpoint::Tags(_));
        let sees = !is_list && self.sees(cached, &claim).await;
        if sees && !error.is_denial() {
            error
        } else {
            not_shown(&claim, &error)
        }
    }

    /// May this client be told what its repository has not? Else its refusal.
    pub(in crate::pull) async fn may_know(
        self: &Arc<Self>,
        cached: &Arc<Cached>,
        wanted: Wanted<'_>,
        error: &Error,
    ) -> Result<(), Error> {
        let claim = self.claim(cached, wanted)?;
        if cached.standing(&claim) == Standing::Entitled || self.sees(cached, &claim).await {
            Ok(())
        } else {
            Err(not_shown(&claim, error))
        }
    }

    /// Does the upstream show this claim that the repository is there? Who may list its tags may know; that proves no right
    /// to its content. Asked once by all who ask together, whatever came before, so that refusals cost the same.
    pub(super) async fn sees(self: &Arc<Self>, cached: &Arc<Cached>, claim: &Claim) -> bool {
        if let Some(seen) = cached.proofs.seen(claim) {
            return seen;
        }
        let question = || {
            let (pull, cached, claim) = (Arc::clone(self), Arc::clone(cached), claim.clone());
            async move { pull.look(&cached, &claim).await }
        };
        let (answer, _) = cached.sights.ask(claim.key(), question).await;
        answer.unwrap_or(false)
    }

    async fn look(&self, cached: &Cached, claim: &Claim) -> bool {
        let Ok(upstream) = self.upstream(&claim.name.registry) else {
            return false;
        };
        let seen = match Box::pin(upstream.confirm(&one_tag(&claim.name), &claim.right)).await {
            Ok(word) if word.status.is_server_error() || word.status == StatusCode::TOO_MANY_REQUESTS => {
                return false;
            }
            Ok(word) => word.is_yes() && !is_page(&word.headers),
            Err(Failure::Denied { .. }) => false,
            Err(_) => return false,
        };
        cached.proofs.see(claim, seen);
        seen
    }
}

/// The smallest question about a repository as a whole.
pub(super) fn one_tag(name: &FullName) -> Ask {
    Ask {
        method: Method::Get,
        endpoint: Endpoint::Tags(name.repository.clone()),
        query: Some("n=1".to_owned()),
        headers: HeaderMap::new(),
    }
}

fn not_shown(claim: &Claim, error: &Error) -> Error {
    Error::NotShown {
        registry: claim.name.registry.clone(),
        status: error.upstream_status().unwrap_or(StatusCode::FORBIDDEN),
    }
}
