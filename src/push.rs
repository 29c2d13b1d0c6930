//! The story of a push: what a client sends is passed on to the registry as it comes, the registry's word comes back, and
//! what it changed is forgotten here (feature P7). Nothing that is pushed is kept: the next pull fetches it, verified, as it
//! fetches everything.

mod attended;
mod forgetting;

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;

use self::attended::Attended;
use self::forgetting::Forgetting;
pub use self::forgetting::MOST_TAGS;
use crate::access::Permit;
use crate::oci::{Endpoint, ErrorBody, FullName, Repository};
use crate::pull::{Error, Missing, Pull};
use crate::route::Target;
use crate::serve::headers::{allowed, allowed_of_push};
use crate::upstream::{Failure, Goal, Outgoing, UploadUrl, Write, Written};

/// What a client wants done, beyond the target.
#[derive(Debug)]
pub struct Errand {
    pub method: Method,
    /// The upload that it carries on.
    pub upload: Option<UploadUrl>,
    /// The raw query without `ns`, with repositories as the registry names them.
    pub query: Option<String>,
    /// `Content-Type` and `Content-Range`
    pub headers: HeaderMap,
    pub body: Option<Outgoing>,
    /// From where a blob is to be taken over.
    pub from: Option<Repository>,
}

/// The registry's word.
#[derive(Debug)]
pub struct Pushed {
    pub status: StatusCode,
    /// Those that a client may see.
    pub headers: HeaderMap,
    /// Where the upload goes on.
    pub onward: Option<UploadUrl>,
    /// Of a refusal, as far as it can be read.
    pub said: Option<ErrorBody>,
}

/// One for the whole process.
#[derive(Debug)]
pub struct Push {
    pull: Arc<Pull>,
    /// Room for requests whose clients have left.
    unattended: Arc<Semaphore>,
}

impl Push {
    pub fn new(pull: Arc<Pull>) -> Self {
        Self {
            pull,
            unattended: Arc::new(Semaphore::new(attended::MOST_UNATTENDED)),
        }
    }

    /// How long a client may say nothing in the middle of a body.
    pub fn patience(&self, target: &Target) -> Result<Duration, Error> {
        Ok(self.pull.upstream(&target.registry.name)?.patience())
    }

    /// Asks the registry to do it. Refusals that say what is wrong with the push are answers; outages, limits and missing
    /// rights are errors, as they are to a pull. `target` says what is done, and `permit` that it may be asked for.
    pub async fn carry_out(&self, permit: &Permit, target: &Target, errand: Errand) -> Result<Pushed, Error> {
        let registry = &target.registry.name;
        if self.pull.is_offline() {
            return Err(Error::Offline {
                registry: registry.clone(),
                what: Missing::Path,
            });
        }
        let upstream = self.pull.upstream(registry)?;
        let no_repository = || {
            Error::Upstream(Failure::NotAskable {
                registry: registry.clone(),
                reason: "it names no repository".to_owned(),
            })
        };
        let repository = target.endpoint.repository().ok_or_else(no_repository)?;
        let name = FullName {
            registry: registry.clone(),
            repository: upstream.canonical(repository)?,
        };
        let changes = forgetting::changes(&target.endpoint, &errand.method, errand.query.as_deref());
        let resumes = errand.upload.clone();
        let write = Write {
            goal: match errand.upload {
                Some(at) => Goal::Upload {
                    of: repository.clone(),
                    at,
                },
                None => Goal::Endpoint(target.endpoint.clone()),
            },
            method: errand.method,
            query: errand.query,
            headers: errand.headers,
            body: errand.body,
            action: target.action,
            from: errand.from,
        };
        let outcome = if changes.is_empty() {
            upstream.write(&write, permit.right()).await
        } else {
            let forgetting = Forgetting::new(self.pull.clone(), name, changes, &write);
            let attended = Attended::new(
                upstream.clone(),
                write,
                permit.clone(),
                forgetting,
                &self.unattended,
            );
            attended.outcome().await
        };
        self.pushed(target, outcome?, resumes).await
    }

    async fn pushed(
        &self,
        target: &Target,
        written: Written,
        resumes: Option<UploadUrl>,
    ) -> Result<Pushed, Error> {
        let registry = target.registry.name.clone();
        let Written {
            status,
            headers,
            body,
            onward,
        } = written;
        let is_session = matches!(target.endpoint, Endpoint::Session(..));
        match status {
            StatusCode::UNAUTHORIZED => return Err(Failure::denied(registry, status).into()),
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(Error::RateLimited {
                    registry,
                    headers: Box::new(allowed(&headers)),
                });
            }
            _ if status.is_success() || status.is_client_error() => {}
            _ => return Err(Error::Unavailable { registry, status }),
        }
        let said = if status.is_success() {
            None
        } else {
            words(body).await
        };
        // An upload that lives on without a word about where is where it was.
        let lives_on = is_session && status != StatusCode::CREATED && status.is_success();
        Ok(Pushed {
            status,
            headers: allowed_of_push(&headers),
            onward: onward.or_else(|| resumes.filter(|_| lives_on)),
            said,
        })
    }
}

/// What a registry says about a refusal.
async fn words(body: crate::upstream::Body) -> Option<ErrorBody> {
    // The status is the answer; its text is not worth a client's time.
    const PATIENCE: Duration = Duration::from_secs(2);
    let body = Limited::new(body, ErrorBody::MAX_BYTES).collect();
    let body = tokio::time::timeout(PATIENCE, body).await.ok()?.ok()?;
    ErrorBody::parse(&body.to_bytes())
}
