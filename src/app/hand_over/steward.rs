//! The old one's side: at SIGUSR2 it finds its successor, and goes on as before if that comes to nothing.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Program;
use super::candidate::{Candidate, Silence, Successor};
use super::channel::{self, Hearing, Telling};
use super::heritage::Listening;
use super::turns::{Held as _, Turns};
use super::voice::Voice;
use super::words::{First, FromNew};
use crate::admin;
use crate::cache::{Legacy, Store};
use crate::listen::{Deed, Drain, Listener, Trigger, systemd};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::HandOver;

/// For a successor to read its configuration, its files and its keys.
const PREPARING: Duration = Duration::from_mins(1);
/// For it to read the cache's folder; meanwhile nothing is stored.
const TAKING_OVER: Duration = Duration::from_mins(3);
/// For the last words to it.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Between a successor's death and the starts of others.
const AGAIN: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];
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
    turns: Turns,
    /// It handed over, and nobody serves.
    is_alone: bool,
}

/// What is left to do after a hand-over.
#[derive(Debug)]
struct After {
    /// Passes on what the store says.
    telling: JoinHandle<()>,
    _silent: mpsc::UnboundedSender<Legacy>,
    over: CancellationToken,
    /// Until it ends.
    successor: Option<Successor>,
}

/// Why there was none.
enum Failed {
    /// Nothing was given up.
    Before(String),
    /// The cache was, and the operators' listeners.
    AfterRetirement(String),
}

impl Failed {
    fn into_why(self) -> String {
        match self {
            Self::Before(why) | Self::AfterRetirement(why) => why,
        }
    }
}

/// SIGUSR2, taken over at once: until then it kills.
pub fn requests() -> io::Result<Signal> {
    signal(SignalKind::user_defined2())
}

impl Steward {
    pub fn new(
        (program, turns): (Program, Turns),
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
            turns,
            is_alone: false,
        })
    }

    /// For ever: what comes of each request is told in the log.
    pub async fn serve(&mut self, mut requests: Signal) -> Infallible {
        loop {
            let successor = self.after.as_mut().and_then(|after| after.successor.as_mut());
            tokio::select! {
                _ = requests.recv() => {}
                ended = ended(successor) => {
                    self.succeed_again(ended).await;
                    continue;
                }
                () = self.drain.ending() => {
                    // Whoever connects now is to be refused, not to wait for nobody.
                    self.sockets.clear();
                    return std::future::pending().await;
                }
            }
            if self.after.is_some() {
                self.refuse("this process has handed over already: ask the one that serves now");
                continue;
            }
            if let Some(why) = self.program.is_waited_for() {
                self.refuse(why);
                continue;
            }
            let metrics = self.metrics.clone();
            let mut attempt = std::pin::pin!(self.attempt());
            loop {
                tokio::select! {
                    () = &mut attempt => break,
                    _ = requests.recv() => {
                        count(&metrics, HandOver::Refused);
                        tracing::warn!("SIGUSR2: refused, a hand-over is under way already");
                    }
                }
            }
        }
    }

    /// After the last connection: says the last words, once the predecessor has said its own, and gives up the operators'
    /// listeners. Says whether all is well: no process that took over has died without another in its place.
    pub async fn finish(mut self, mut predecessor: Listening) -> bool {
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
        !self.is_alone
    }

    fn refuse(&self, why: &str) {
        count(&self.metrics, HandOver::Refused);
        tracing::warn!("SIGUSR2: refused, {why}");
    }

    async fn attempt(&mut self) {
        tracing::info!(program = %self.program.path().display(), "SIGUSR2: handing over to a new process");
        // A reload in between would be one of this process alone.
        let mut turn = self.turns.take().await;
        match self.hand_over().await {
            Ok(process) => turn.serves(process),
            Err(Failed::Before(why)) => {
                count(&self.metrics, HandOver::Failed);
                tracing::error!("the hand-over failed: {why}; this process goes on as before");
            }
            Err(Failed::AfterRetirement(why)) => {
                count(&self.metrics, HandOver::TakenBack);
                tracing::error!("the hand-over failed: {why}; this process takes the cache back");
                self.take_back().await;
            }
        }
    }

    async fn hand_over(&mut self) -> Result<u32, Failed> {
        let (candidate, mut hearing, telling) = self.begin()?;
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
        self.operators.parts.pull().tell_doubts();
        // Without a cache there is nothing to say but that this process lives.
        let (silent, nothing) = mpsc::unbounded_channel();
        let mut voice = Voice::new(retired.unwrap_or(nothing), telling);
        self.operators.close().await;
        let mut heard = match voice.yours().await {
            Ok(()) => self.hear(&mut hearing, TAKING_OVER).await,
            Err(_) => Err(Silence::Gone),
        };
        if matches!(heard, Ok(FromNew::Ready)) {
            heard = match timeout(LAST_WORDS, voice.go()).await {
                Ok(Ok(())) => Ok(FromNew::Ready),
                _ => Err(Silence::AtTheEnd),
            };
        }
        if !matches!(heard, Ok(FromNew::Ready)) {
            let why = candidate.reject(heard).await;
            return Err(Failed::AfterRetirement(why));
        }
        systemd::handed_over_to(process);
        self.trigger.hand_over();
        if let Some(store) = &self.store {
            store.give_up();
        }
        let over = CancellationToken::new();
        self.after = Some(After {
            telling: tokio::spawn(voice.pass_on(hearing, over.clone())),
            _silent: silent,
            over,
            successor: candidate.release(),
        });
        tell_done(process);
        Ok(process)
    }

    /// The process that took over has ended while this one still drains. What it was told to do needs no other; otherwise
    /// connections wait at the sockets, which this one has kept, for another to accept them.
    async fn succeed_again(&mut self, ended: io::Result<ExitStatus>) {
        if let Some(after) = &mut self.after {
            after.successor = None;
        }
        let mut turn = self.turns.take().await;
        *turn = None;
        if ended.as_ref().is_ok_and(ExitStatus::success) {
            tracing::info!("the process that took over was told to end");
            self.sockets.clear();
            return;
        }
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::error!("the process that took over has ended ({how}): starting another");
        for pause in AGAIN {
            tokio::select! {
                () = sleep(pause) => {}
                () = self.drain.ending() => return,
            }
            match self.begin_again().await {
                Ok(process) => {
                    turn.serves(process);
                    return;
                }
                Err(why) => tracing::error!("no process took over again: {why}"),
            }
        }
        tracing::error!(
            "nobody serves any more: what is under way here has limits.drain to end, then this process ends with code 1"
        );
        self.is_alone = true;
        self.sockets.clear();
        systemd::handed_over_to(std::process::id());
        self.trigger.start();
    }

    /// Like a hand-over, but the cache is nobody's: what this process still downloads, its successor's successor finds at the
    /// next start.
    async fn begin_again(&mut self) -> Result<u32, String> {
        let (candidate, mut hearing, telling) = self.begin().map_err(Failed::into_why)?;
        let process = candidate.process();
        let mut heard = self.hear(&mut hearing, PREPARING).await;
        let (_silent, nothing) = mpsc::unbounded_channel();
        let mut voice = Voice::new(nothing, telling);
        if matches!(heard, Ok(FromNew::Prepared { .. })) {
            heard = match voice.yours().await {
                Ok(()) => self.hear(&mut hearing, TAKING_OVER).await,
                Err(_) => Err(Silence::Gone),
            };
        }
        if !matches!(heard, Ok(FromNew::Ready)) || voice.go().await.is_err() {
            return Err(candidate.reject(heard).await);
        }
        systemd::handed_over_to(process);
        if let Some(after) = &mut self.after {
            after.successor = candidate.release();
        }
        tell_done(process);
        Ok(process)
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
        let candidate = Candidate::new(child);
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

async fn ended(successor: Option<&mut Successor>) -> io::Result<ExitStatus> {
    match successor {
        Some(successor) => successor.ended().await,
        None => std::future::pending().await,
    }
}

fn tell_done(process: u32) {
    tracing::info!(
        process,
        "handed over: the new process serves; this one ends when its transfers have"
    );
}

fn count(metrics: &Metrics, result: HandOver) {
    metrics.hand_overs.inc(result);
}
