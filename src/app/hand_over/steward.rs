//! The old one's side: at SIGUSR2 it finds its successor, and goes on as before if that comes to nothing.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Duration;

use tokio::process::Child;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Program;
use super::channel::{self, Hearing, Telling};
use super::heritage::Listening;
use super::words::{Changed, First, FromNew, FromOld, Link, Name};
use crate::admin;
use crate::cache::{Certainty, Legacy, Store};
use crate::listen::{Deed, Drain, Listener, Trigger, systemd};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::HandOver;

/// For a successor to read its configuration, its files and its keys.
const PREPARING: Duration = Duration::from_mins(1);
/// For it to read the cache's folder; meanwhile nothing is stored.
const TAKING_OVER: Duration = Duration::from_mins(3);
/// For the last words to it.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Until a killed successor's lock is free.
const TAKING_BACK: Duration = Duration::from_secs(10);

/// The listeners of operators: one process has them at a time.
#[derive(Debug)]
pub struct Operators {
    config: admin::Config,
    parts: admin::Parts,
    serving: Option<admin::Serving>,
}

impl Operators {
    pub fn new(config: admin::Config, parts: admin::Parts, open: admin::Open) -> Self {
        let serving = Some(open.serve(&parts));
        Self {
            config,
            parts,
            serving,
        }
    }

    async fn close(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.stop().await;
        }
    }

    async fn open_again(&mut self) {
        match admin::open(&self.config).await {
            Ok(open) => self.serving = Some(open.serve(&self.parts)),
            Err(error) => tracing::error!("{error}; operators can't reach this process"),
        }
    }
}

/// Everything that can be handed over, and who does it.
#[derive(Debug)]
pub struct Steward {
    pub program: Program,
    pub store: Option<Store>,
    pub operators: Operators,
    pub metrics: Metrics,
    pub trigger: Trigger,
    pub drain: Drain,
    /// `limits.hand_over`
    pub patience: Duration,
    sockets: Vec<(Deed, TcpListener)>,
    after: Option<After>,
}

/// What is left to do after a hand-over.
#[derive(Debug)]
struct After {
    /// Passes on what the store says.
    telling: JoinHandle<()>,
    _silent: mpsc::UnboundedSender<Legacy>,
    over: CancellationToken,
}

/// Why there was none.
enum Failed {
    /// Nothing was given up.
    Before(String),
    /// The cache was, and the operators' listeners.
    AfterRetirement(String),
}

/// SIGUSR2, taken over at once: until then it kills.
pub fn requests() -> io::Result<Signal> {
    signal(SignalKind::user_defined2())
}

impl Steward {
    pub fn new(
        program: Program,
        listeners: &[Listener],
        store: Option<Store>,
        operators: Operators,
        metrics: Metrics,
        (trigger, drain): (Trigger, Drain),
        patience: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            program,
            store,
            operators,
            metrics,
            trigger,
            drain,
            patience,
            sockets: listeners
                .iter()
                .map(Listener::bequeath)
                .collect::<io::Result<_>>()?,
            after: None,
        })
    }

    /// For ever: what comes of each request is told in the log.
    pub async fn serve(&mut self, mut requests: Signal) -> Infallible {
        loop {
            if requests.recv().await.is_none() {
                return std::future::pending().await;
            }
            if self.after.is_some() {
                self.refuse("this process has handed over already: ask the one that serves now");
                continue;
            }
            if std::process::id() == 1 {
                self.refuse(
                    "docxy is process 1 of its container, which would end with it: start another container instead",
                );
                continue;
            }
            let metrics = self.metrics.clone();
            let mut attempt = std::pin::pin!(self.attempt());
            loop {
                tokio::select! {
                    () = &mut attempt => break,
                    _ = requests.recv() => {
                        count(&metrics, "refused");
                        tracing::warn!("SIGUSR2: refused, a hand-over is under way already");
                    }
                }
            }
        }
    }

    /// After the last connection: says the last words, once the predecessor has said its own, and gives up the operators'
    /// listeners.
    pub async fn finish(mut self, mut predecessor: Listening) {
        if let Some(After { telling, over, .. }) = self.after.take() {
            tokio::select! {
                () = predecessor.over() => {}
                () = self.drain.ending() => {}
                () = sleep(self.patience) => {}
            }
            over.cancel();
            let _ = timeout(LAST_WORDS, telling).await;
        }
        self.operators.close().await;
    }

    fn refuse(&self, why: &str) {
        count(&self.metrics, "refused");
        tracing::warn!("SIGUSR2: refused, {why}");
    }

    async fn attempt(&mut self) {
        tracing::info!(program = %self.program.path().display(), "SIGUSR2: handing over to a new process");
        match self.hand_over().await {
            Ok(()) => {}
            Err(Failed::Before(why)) => {
                count(&self.metrics, "failed");
                tracing::error!("the hand-over failed: {why}; this process goes on as before");
            }
            Err(Failed::AfterRetirement(why)) => {
                count(&self.metrics, "taken-back");
                tracing::error!("the hand-over failed: {why}; this process takes the cache back");
                self.take_back().await;
            }
        }
    }

    async fn hand_over(&mut self) -> Result<(), Failed> {
        let (mut candidate, mut hearing, telling) = self.begin()?;
        let process = candidate.process();
        let version = match self.hear(&mut hearing, PREPARING).await {
            Ok(FromNew::Prepared { version }) => version,
            heard => return Err(Failed::Before(candidate.reject(heard).await)),
        };
        tracing::info!(process, version, "the new process is prepared");
        let retired = match &self.store {
            Some(store) => store.retire().await,
            None => None,
        };
        // Without a cache there is nothing to say but that this process lives.
        let (silent, nothing) = mpsc::unbounded_channel();
        let mut voice = Voice {
            legacy: retired.unwrap_or(nothing),
            telling,
            waiting: HashMap::new(),
            number: 0,
        };
        self.operators.close().await;
        let heard = match voice.telling.say(&FromOld::Yours).await {
            Ok(()) => self.hear(&mut hearing, TAKING_OVER).await,
            Err(_) => Err(Silence::Gone),
        };
        let may_go = matches!(heard, Ok(FromNew::Ready)) && voice.go().await.is_ok();
        if !may_go {
            let why = candidate.reject(heard).await;
            return Err(Failed::AfterRetirement(why));
        }
        candidate.release();
        systemd::handed_over_to(process);
        self.trigger.hand_over();
        // A socket that nobody accepts from must not be kept open: if the successor dies, another has to listen there.
        self.sockets.clear();
        if let Some(store) = &self.store {
            store.give_up();
        }
        let over = CancellationToken::new();
        self.after = Some(After {
            telling: tokio::spawn(voice.pass_on(hearing, over.clone())),
            _silent: silent,
            over,
        });
        tracing::info!(
            process,
            "handed over: the new process serves; this one ends when its transfers have"
        );
        Ok(())
    }

    fn begin(&self) -> Result<(Candidate, Hearing, Telling), Failed> {
        let failed = |what: &str, error: io::Error| Failed::Before(format!("{what}: {error}"));
        let (ours, theirs) = channel::pair().map_err(|error| failed("a pair of sockets", error))?;
        let first = First {
            deeds: self.sockets.iter().map(|(deed, _)| deed.clone()).collect(),
        };
        let descriptors: Vec<_> = self.sockets.iter().map(|(_, socket)| socket.as_fd()).collect();
        channel::send_first(&ours, &first, &descriptors)
            .map_err(|error| failed("the listening sockets can't be sent", error))?;
        let child = self.program.start(theirs).map_err(|error| {
            failed(
                &format!("{} can't be started", self.program.path().display()),
                error,
            )
        })?;
        let candidate = Candidate(Some(child));
        let (hearing, telling) = channel::halves(ours).map_err(|error| failed("its socket", error))?;
        Ok((candidate, hearing, telling))
    }

    async fn hear(&self, hearing: &mut Hearing, limit: Duration) -> Result<FromNew, Silence> {
        tokio::select! {
            word = hearing.next() => word.ok_or(Silence::Gone),
            () = sleep(limit) => Err(Silence::Late(limit)),
            () = self.drain.ending() => Err(Silence::Stopping),
        }
    }

    async fn take_back(&mut self) {
        if let Some(store) = &self.store {
            let tries = async {
                loop {
                    match store.resume().await {
                        Ok(()) => break,
                        Err(error) => tracing::warn!("{error}; trying on"),
                    }
                    sleep(TAKING_BACK / 20).await;
                }
            };
            if timeout(TAKING_BACK, tries).await.is_err() {
                tracing::error!(
                    "the cache can't be taken back: what is asked for is forwarded; restart docxy"
                );
            }
        }
        self.operators.open_again().await;
    }
}

/// A process that is not the successor yet: killed if it is dropped.
struct Candidate(Option<Child>);

/// Why nothing was heard of it.
enum Silence {
    Gone,
    Late(Duration),
    Stopping,
}

impl Candidate {
    fn process(&self) -> u32 {
        self.0.as_ref().and_then(Child::id).unwrap_or_default()
    }

    /// It serves from now on.
    fn release(&mut self) {
        if let Some(mut child) = self.0.take() {
            tokio::spawn(async move {
                if let Ok(status) = child.wait().await {
                    tracing::warn!(%status, "the process that took over has ended before this one");
                }
            });
        }
    }

    /// Makes sure that it is gone, and tells why it must be.
    async fn reject(mut self, heard: Result<FromNew, Silence>) -> String {
        let process = self.process();
        let Some(mut child) = self.0.take() else {
            return "it is gone".to_owned();
        };
        if matches!(heard, Err(Silence::Gone))
            && let Ok(Ok(status)) = timeout(Duration::from_secs(1), child.wait()).await
        {
            return format!("the new process {process} ended with {status}; what it said stands above");
        }
        if let Err(error) = child.kill().await {
            tracing::warn!(process, %error, "the new process can't be killed");
        }
        match heard {
            Ok(_) => format!("the new process {process} spoke out of turn"),
            Err(Silence::Gone) => format!("the new process {process} does not answer"),
            Err(Silence::Late(limit)) => format!("the new process {process} was not ready within {limit:?}"),
            Err(Silence::Stopping) => "docxy is to end".to_owned(),
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.start_kill();
        }
    }
}

/// Tells the successor what the store says, and whoever waits for it that it was heard.
struct Voice {
    legacy: mpsc::UnboundedReceiver<Legacy>,
    telling: Telling,
    /// Changes that the successor has not heard of yet.
    waiting: HashMap<u64, oneshot::Sender<()>>,
    number: u64,
}

impl Voice {
    /// Before it may begin, the successor knows what our downloads may still take.
    async fn go(&mut self) -> io::Result<()> {
        while let Ok(next) = self.legacy.try_recv() {
            self.say(next).await?;
        }
        self.telling.say(&FromOld::Go).await
    }

    /// Until it is `over` and all is said, or the successor is gone.
    async fn pass_on(mut self, mut hearing: Hearing, over: CancellationToken) {
        loop {
            tokio::select! {
                next = self.legacy.recv() => {
                    let Some(next) = next else { return };
                    if self.say(next).await.is_err() {
                        return;
                    }
                }
                answer = hearing.next() => match answer {
                    Some(FromNew::Heard(number)) => {
                        if let Some(heard) = self.waiting.remove(&number) {
                            let _ = heard.send(());
                        }
                    }
                    Some(_) => {}
                    None => return,
                },
                () = over.cancelled(), if !self.legacy.is_closed() => self.legacy.close(),
            }
        }
    }

    async fn say(&mut self, legacy: Legacy) -> io::Result<()> {
        self.number += 1;
        let (word, heard) = spoken(legacy, self.number);
        self.telling.say(&word).await?;
        if let Some(heard) = heard {
            self.waiting.insert(self.number, heard);
        }
        Ok(())
    }
}

fn spoken(legacy: Legacy, number: u64) -> (FromOld, Option<oneshot::Sender<()>>) {
    match legacy {
        Legacy::Growing(bytes) => (FromOld::Growing(bytes), None),
        Legacy::Stored { digest, size, links } => {
            let links = links.iter().map(|(name, media_type)| Link {
                name: Name::from(name),
                media_type: media_type.clone(),
            });
            let word = FromOld::Stored {
                digest: digest.to_string(),
                size,
                links: links.collect(),
            };
            (word, None)
        }
        Legacy::Withdrawn { name, keep } => {
            let name = Name::from(&name);
            (FromOld::Withdrawn { name, keep }, None)
        }
        Legacy::Changed {
            name,
            change,
            certainty,
            heard,
        } => {
            let word = FromOld::Changed {
                number,
                name: Name::from(&name),
                change: Changed::from(&change),
                done: certainty == Certainty::Done,
            };
            (word, Some(heard))
        }
    }
}

fn count(metrics: &Metrics, result: &'static str) {
    metrics.hand_overs.get_or_create(&HandOver { result }).inc();
}
