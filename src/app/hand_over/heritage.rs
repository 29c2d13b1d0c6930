//! The successor's side.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::VARIABLE;
use super::channel::{self, Hearing, Telling};
use super::words::{First, FromNew, FromOld, certainty};
use crate::cache::{Inheritance, Store};
use crate::listen::Deed;
use crate::oci::Digest;
use crate::pull::Pull;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::HandOver;

/// What a process that was started by its predecessor is given.
#[derive(Debug)]
pub struct Heritage {
    /// To the predecessor.
    pub line: UnixStream,
    pub sockets: Vec<(Deed, TcpListener)>,
}

impl Heritage {
    /// `None`: this process begins by itself. Standard input is nothing from then on.
    pub fn receive() -> Result<Option<Self>> {
        if std::env::var_os(VARIABLE).is_none() || !is_socket(std::io::stdin().as_fd()) {
            return Ok(None);
        }
        Self::take()
            .map(Some)
            .context("a hand-over from the docxy that runs")
    }

    fn take() -> io::Result<Self> {
        let socket: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let socket = UnixStream::from(socket);
        let (First { deeds }, descriptors) = channel::receive_first(&socket)?;
        let sockets = descriptors.into_iter().map(TcpListener::from);
        Ok(Self {
            sockets: deeds.into_iter().zip(sockets).collect(),
            line: socket,
        })
    }
}

fn is_socket(descriptor: impl AsFd) -> bool {
    rustix::net::sockopt::socket_domain(descriptor)
        .is_ok_and(|domain| domain == rustix::net::AddressFamily::UNIX)
}

/// A successor's way into office; for a process that begins by itself every step is done at once.
#[derive(Debug)]
pub struct Succession {
    line: Option<(Hearing, Telling)>,
}

/// The predecessor may still say something.
#[derive(Debug)]
pub struct Listening(Option<JoinHandle<()>>);

impl Succession {
    /// Must be called on the runtime.
    pub fn begin(line: Option<UnixStream>) -> Result<Self> {
        let line = line.map(channel::halves).transpose();
        Ok(Self {
            line: line.context("a hand-over's socket")?,
        })
    }

    /// All that can be known without the cache is in order. Comes back when the cache is ours, or nobody is left to say so.
    pub async fn prepared(&mut self) -> Result<()> {
        let Some((hearing, telling)) = &mut self.line else {
            return Ok(());
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        if telling.say(&FromNew::Prepared { version }).await.is_ok() {
            while let Some(word) = hearing.next().await {
                if matches!(word, FromOld::Yours) {
                    return Ok(());
                }
            }
        }
        tracing::warn!("the docxy that began the hand-over is gone; this one takes over all the same");
        self.line = None;
        Ok(())
    }

    /// Only accepting is left. Comes back when that may begin; from then on what the predecessor says is done.
    pub async fn ready(self, store: Option<&Store>, pull: &Arc<Pull>, metrics: &Metrics) -> Listening {
        let Some((hearing, mut telling)) = self.line else {
            return Listening(None);
        };
        let (go, may_go) = oneshot::channel();
        let (heard, numbers) = mpsc::unbounded_channel();
        if telling.say(&FromNew::Ready).await.is_err() {
            tracing::debug!("the predecessor is gone");
        }
        let heir = Heir {
            inheritance: store.map(Store::inheritance),
            store: store.cloned(),
            pull: Arc::clone(pull),
            heard,
        };
        tokio::spawn(confirm(telling, numbers));
        let listening = tokio::spawn(heir.hear(hearing, go));
        metrics.hand_overs.inc(HandOver::Done);
        // Where it went without a word, there is nobody to wait for.
        let _ = may_go.await;
        Listening(Some(listening))
    }
}

impl Listening {
    /// Resolves when the predecessor has ended.
    pub async fn over(&mut self) {
        if let Some(task) = &mut self.0 {
            let _ = task.await;
            self.0 = None;
        }
    }
}

struct Heir {
    store: Option<Store>,
    inheritance: Option<Inheritance>,
    pull: Arc<Pull>,
    /// The numbers of changes that were heard. Never waited for: the predecessor may be writing, and hear nothing meanwhile.
    heard: mpsc::UnboundedSender<u64>,
}

/// Until either side is gone.
async fn confirm(mut telling: Telling, mut numbers: mpsc::UnboundedReceiver<u64>) {
    while let Some(number) = numbers.recv().await {
        if telling.say(&FromNew::Heard(number)).await.is_err() {
            tracing::debug!("the predecessor does not wait for an answer");
            return;
        }
    }
}

impl Heir {
    async fn hear(mut self, mut hearing: Hearing, go: oneshot::Sender<()>) {
        let mut go = Some(go);
        while let Some(word) = hearing.next().await {
            if matches!(word, FromOld::Go) {
                drop(go.take());
            } else {
                self.heed(word).await;
            }
        }
        if let Some(inheritance) = self.inheritance.take() {
            inheritance.over().await;
        }
        tracing::debug!("the predecessor has ended");
    }

    async fn heed(&mut self, word: FromOld) {
        match word {
            FromOld::Yours | FromOld::Go => {}
            FromOld::Growing(bytes) => {
                if let Some(inheritance) = &mut self.inheritance {
                    inheritance.growing(bytes).await;
                }
            }
            FromOld::Stored { digest, size, links } => {
                let links = links
                    .into_iter()
                    .filter_map(|link| Some((link.name.parsed()?, link.media_type)))
                    .collect();
                if let (Some(inheritance), Ok(digest)) = (&self.inheritance, Digest::parse(&digest)) {
                    inheritance.stored(digest, size, links).await;
                }
            }
            FromOld::Withdrawn { name, keep } => {
                if let (Some(store), Some(name)) = (&self.store, name.parsed()) {
                    store.withdraw_public(&name, keep);
                }
            }
            FromOld::Changed {
                number,
                name,
                change,
                done,
            } => {
                if let (Some(name), Some(change)) = (name.parsed(), change.parsed()) {
                    self.pull
                        .changed(&name, &change, certainty(done))
                        .everywhere()
                        .await;
                }
                let _ = self.heard.send(number);
            }
        }
    }
}
