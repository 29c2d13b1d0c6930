//! Certificates that docxy gets by itself, of an authority that speaks ACME (RFC 8555), and renews (RFC 9773).
//!
//! One worker looks now and then whether the certificate is there, is for the right names, and is young enough. Nothing waits
//! for it: docxy serves before the first certificate came, and goes on with the last one while the authority can't be reached.

mod account;
mod challenges;
mod client;
mod issued;
mod kept;
mod order;
mod schedule;
mod trouble;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

pub(super) use challenges::self_signed;
pub use challenges::{Challenges, Kind};
pub use issued::Issued;

use self::kept::Kept;
use self::worker::Worker;
use super::Certificates;
use crate::access::private::PrivateError;
use crate::config::values::Secret;
use crate::telemetry::Metrics;
use crate::upstream::transport::Opener;

/// Values only, but for the roads to the authority.
#[derive(Clone, Debug)]
pub struct Config {
    /// In lower case, at least one; one certificate is for all of them.
    pub names: Vec<String>,
    pub directory: Url,
    pub email: Option<String>,
    pub binding: Option<Binding>,
    /// What docxy may answer, in the order in which it is tried; at least one.
    pub kinds: Vec<Kind>,
    /// docxy's state folder.
    pub state: PathBuf,
    pub opener: Opener,
    /// Whom to trust as the authority's own server. ALPN is set here.
    pub tls: rustls::ClientConfig,
    /// Tells whether the files that this was made of have changed since; of no other use.
    pub files: String,
}

/// To an account that somebody has at the authority (RFC 8555, 7.3.4).
#[derive(Clone, Debug)]
pub struct Binding {
    pub id: String,
    pub key: Secret<Vec<u8>>,
}

impl Config {
    fn binding_id(&self) -> Option<String> {
        self.binding.as_ref().map(|binding| binding.id.clone())
    }

    /// For messages.
    fn host(&self) -> &str {
        self.directory.host_str().unwrap_or_default()
    }
}

/// After something broke that nobody thought of.
const AFTER_A_PANIC: Duration = Duration::from_hours(1);

/// The worker. It ends when this is dropped: whoever takes over from this docxy renews from then on.
#[derive(Debug)]
pub struct Acme {
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Acme {
    /// Begins to look after the certificate of this configuration, which `certificates` show. `current` is the one that was
    /// kept, if there is one. It begins when `before` has ended. Needs a runtime; nothing here can fail.
    pub fn start(
        config: Config,
        certificates: Arc<Certificates>,
        mut current: Option<Arc<Issued>>,
        metrics: Metrics,
        before: Option<Self>,
    ) -> Self {
        let end = CancellationToken::new();
        let ended = end.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                before.stop().await;
            }
            loop {
                let worker = Worker::new(
                    config.clone(),
                    certificates.clone(),
                    current.take(),
                    metrics.clone(),
                );
                let work = tokio::spawn(ended.clone().run_until_cancelled_owned(worker.run()));
                let Err(error) = work.await else { return };
                tracing::error!(
                    "looking after the certificate of [tls.acme] failed: {error}; docxy begins anew in {} minutes",
                    AFTER_A_PANIC.as_secs() / 60
                );
                if ended
                    .run_until_cancelled(tokio::time::sleep(AFTER_A_PANIC))
                    .await
                    .is_none()
                {
                    return;
                }
            }
        });
        Self { end, task }
    }

    /// Orders nothing any more, from when this returns.
    pub async fn stop(mut self) {
        self.end.cancel();
        // It has told what went wrong.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Acme {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// The certificate that was issued last, of this state folder. Blocks on files; a folder that can't be used holds none, which
/// is told to the log when there is something to keep.
///
/// # Errors
/// Others may read its key, or exchange it.
pub fn kept(state: &Path) -> Result<Option<Issued>, PrivateError> {
    match Kept::in_state(state).certificate() {
        Err(PrivateError::Io { .. }) => Ok(None),
        found => found,
    }
}
