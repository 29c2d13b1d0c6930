//! The handle by which everyone learns that the process is going to end: handed down, never global.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A drain that has not begun: the one who starts it, and what everyone else waits on.
pub fn drain() -> (Trigger, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Trigger(sender), Drain(receiver))
}

/// How far the process is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Another process accepts connections at the same sockets: those that are here are served to their end, with patience.
    HandedOver,
    /// Its sockets are kept open for the next one: what it has accepted and not yet heard would be lost.
    Leaving,
    Draining,
}

/// For whoever has connected to say something, where the next process may have the same socket. Clients that mean it do so
/// at once; others only delay the restart.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// What becomes of the listening sockets when this process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// They are closed with it.
    Own,
    /// Somebody keeps them for the next one.
    Kept,
}

/// Starts the drain.
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<Phase>);

impl Trigger {
    /// From now on no new work is accepted. Once started, a drain stays started.
    pub fn start(&self) {
        self.0.send_replace(Phase::Draining);
    }

    /// As `start`; but where the sockets are kept, whoever was accepted has a moment left to ask for something.
    async fn leave(&self, sockets: Sockets) {
        if sockets == Sockets::Kept {
            self.0.send_replace(Phase::Leaving);
            tokio::time::sleep(FIRST_WORDS).await;
        }
        self.start();
    }

    /// As `start`, because another process has taken over: whoever was accepted here gets an answer, however late the
    /// request comes, and transfers have more time.
    pub fn hand_over(&self) {
        self.0.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::HandedOver;
            }
            serving
        });
    }
}

/// Waits for the drain. A trigger that is dropped unused never drains.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<Phase>);

impl Drain {
    /// A drain that never begins.
    pub fn never() -> Self {
        drain().1
    }

    /// Nobody takes new work: neither this process nor one that it handed over to.
    pub fn ends_service(&self) -> bool {
        *self.0.borrow() >= Phase::Leaving
    }

    /// Another process serves in this one's place.
    pub fn is_handed_over(&self) -> bool {
        *self.0.borrow() == Phase::HandedOver
    }

    /// Resolves as soon as the drain has begun (at once when it already has).
    pub async fn started(&self) {
        self.reached(Phase::HandedOver).await;
    }

    /// The same, but a hand-over does not count: the process was told to end.
    pub async fn ending(&self) {
        self.reached(Phase::Leaving).await;
    }

    /// Whoever has not asked for anything yet is not waited for any more.
    pub async fn hurried(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Resolves as soon as another process serves in this one's place; never after a drain without one.
    pub async fn handed_over(&self) {
        let mut receiver = self.0.clone();
        if receiver
            .wait_for(|phase| *phase == Phase::HandedOver)
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }

    async fn reached(&self, least: Phase) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|phase| *phase >= least).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Takes over SIGTERM and SIGINT at once: call it before anyone is told that docxy runs, since until then they kill.
/// What it returns starts the drain at the first of them and resolves to the process's exit code at the second, so that
/// an impatient operator is obeyed: whoever awaits it then exits without waiting for anything.
///
/// # Errors
/// The runtime could not install a signal handler.
pub fn watch_signals(trigger: Trigger, sockets: Sockets) -> io::Result<impl Future<Output = u8>> {
    let terminate = signal(SignalKind::terminate())?;
    let interrupt = signal(SignalKind::interrupt())?;
    Ok(obey(terminate, interrupt, trigger, sockets))
}

async fn obey(mut terminate: Signal, mut interrupt: Signal, trigger: Trigger, sockets: Sockets) -> u8 {
    let first = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(
        "{first}: no new connections, requests in flight may finish; the same signal again ends at once"
    );
    let leaving = async {
        trigger.leave(sockets).await;
        std::future::pending().await
    };
    // 128 + signal number is what a shell reports for a process that died of it.
    tokio::select! {
        _ = terminate.recv() => 128 + 15,
        _ = interrupt.recv() => 128 + 2,
        never = leaving => never,
    }
}
