//! A further source of a registry's public content. It can be asked for a digest of a public repository and for nothing
//! else, and no caller can hand it a right: what it is shown is the credential of its own entry, or nothing (threats S1, S16).

use http::{HeaderMap, StatusCode};

use super::failure::Failure;
use super::places::HAND_OVER;
use super::public::Public;
use super::site::Site;
use super::transport::host_and_port;
use super::{Answer, Ask, Config, Method, Right, place};
use crate::oci::{Digest, Endpoint, Reference};
use crate::upstream::transport::Transport;

/// What a mirror is asked with: the credential of its own entry if it has one.
pub(super) const OWN_RIGHT: Right = Right::Configured;

/// Clones share everything.
#[derive(Clone, Debug)]
pub struct Mirror(Site);

impl Mirror {
    /// `config.credentials` are this entry's own; `config.name` is the registry's name.
    pub fn new(config: Config, transport: Transport) -> Self {
        Self(Site::mirror(config, transport))
    }

    pub fn site(&self) -> &Site {
        &self.0
    }

    /// A manifest by its digest: 200, or why there is none. The bytes are whatever the mirror says; only the digest tells.
    pub async fn manifest(&self, of: &Public, digest: &Digest, accept: HeaderMap) -> Result<Answer, Failure> {
        let repository = of.name().repository.clone();
        let ask = Ask {
            method: Method::Get,
            endpoint: Endpoint::Manifest(repository, Reference::Digest(digest.clone())),
            query: None,
            headers: accept,
        };
        match self.0.send(&ask, &OWN_RIGHT).await {
            Ok(answer) => {
                self.0.standing.note(answer.status, &answer.headers);
                match answer.status {
                    StatusCode::OK => Ok(answer),
                    status => Err(refused(&self.0, status)),
                }
            }
            Err(failure) => Err(told(&self.0, failure)),
        }
    }

    /// It took longer than it may while another can be asked.
    pub fn late(&self) -> Failure {
        self.0.is_late();
        self.0.timed_out(HAND_OVER)
    }

    /// It answered with what can't be used.
    pub fn bad_answer(&self, reason: &str) -> Failure {
        Failure::BadAnswer {
            registry: self.0.config.name.clone(),
            host: host_and_port(place::base(&self.0.config)),
            reason: reason.to_owned(),
        }
    }

    /// It sent bytes that are not what their digest says: it is passed over for a while.
    pub fn distrust(&self) {
        self.0.distrust();
    }
}

impl Site {
    /// See [`Mirror::distrust`].
    pub(super) fn distrust(&self) {
        self.standing.distrust();
        tracing::warn!(
            registry = %self.config.name,
            mirror = %self.url(),
            "this mirror sent wrong bytes; it is not asked for the next ten minutes"
        );
    }
}

/// A mirror's answer that is not content: another place may have it.
pub(super) fn refused(site: &Site, status: StatusCode) -> Failure {
    Failure::MirrorRefused {
        registry: site.config.name.clone(),
        host: host_and_port(place::base(&site.config)),
        status,
    }
}

/// A mirror's denial is no word of the registry's: nobody must take it for one.
pub(super) fn told(site: &Site, failure: Failure) -> Failure {
    match failure {
        Failure::Denied { status, .. } => refused(site, status),
        other => other,
    }
}
