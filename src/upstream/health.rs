//! Is the registry there? After a connection that failed or an answer that did not come it is suspect, until anything
//! answers (R1). Meanwhile one probe asks in the background, so that nobody's pull has to wait to find out.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::failure::{Failure, Phase};
use crate::oci::RegistryName;

/// From the failure to the first probe; doubled after each one that fails.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Between two probes at most: a registry that is back is noticed within half a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What the last attempts say about a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Well,
    /// It could not be reached, or did not answer in time, and nothing has come from it since. What is cached is best
    /// served at once; asking it will probably take a whole time limit.
    Suspect,
}

/// Why it is suspect, by what was seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// No connection could be made.
    Unreachable,
    /// No answer came within a time limit, or within anybody's patience.
    Late,
}

/// Asks whether the registry answers at all; whatever it answers is a yes.
type Probe = dyn Fn() -> BoxFuture<'static, bool> + Send + Sync;

/// Half-open as breakers are: while it is suspect, `pull` asks nothing that it can answer without, and one probe at a time
/// finds out. Dropping it ends the probe.
pub(super) struct Breaker {
    registry: RegistryName,
    /// Of its several places.
    host: String,
    probe: Arc<Probe>,
    shared: Arc<Shared>,
}

struct Shared {
    /// The same as `State::suspect`, for those who only look.
    suspect: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    suspect: Option<Suspicion>,
    since: Option<Instant>,
    /// Of the running probe. An older one that still finishes must not speak for it.
    number: u64,
    task: Option<AbortHandle>,
}

impl Breaker {
    pub fn new<F>(registry: RegistryName, host: String, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self {
            registry,
            host,
            probe: Arc::new(move || Box::pin(probe())),
            shared: Arc::new(Shared {
                suspect: AtomicBool::new(false),
                state: Mutex::default(),
            }),
        }
    }

    pub fn health(&self) -> Health {
        if self.shared.suspect.load(Ordering::Relaxed) {
            Health::Suspect
        } else {
            Health::Well
        }
    }

    pub fn suspicion(&self) -> Option<Suspicion> {
        match self.health() {
            Health::Well => None,
            Health::Suspect => self.shared.lock().suspect,
        }
    }

    /// Since when.
    pub fn suspect_for(&self) -> Option<Duration> {
        match self.health() {
            Health::Well => None,
            Health::Suspect => self.shared.lock().since.map(|since| since.elapsed()),
        }
    }

    /// Every request to the registry tells how it went.
    pub fn note<T>(&self, outcome: &Result<T, Failure>) {
        match outcome {
            Ok(_) => self.answered(),
            Err(failure) => match news(failure) {
                Some(Health::Well) => self.answered(),
                Some(Health::Suspect) => self.failed(suspicion(failure)),
                None => {}
            },
        }
    }

    /// Somebody who has an older answer to give did not wait any longer.
    pub fn late(&self) {
        self.failed(Suspicion::Late);
    }

    fn answered(&self) {
        if self.health() == Health::Well {
            return;
        }
        let mut state = self.shared.lock();
        if state.suspect.is_some() {
            self.shared.recovered(&mut state);
            if let Some(task) = state.task.take() {
                task.abort();
            }
            tracing::info!(registry = %self.registry, host = %self.host, "the upstream answers again");
        }
    }

    fn failed(&self, suspicion: Suspicion) {
        let mut state = self.shared.lock();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if state.suspect.replace(suspicion).is_some() {
            return;
        }
        state.number += 1;
        state.since = Some(Instant::now());
        self.shared.suspect.store(true, Ordering::Relaxed);
        tracing::warn!(registry = %self.registry, host = %self.host, "the upstream is suspect; probing it in the background");
        let probing = probing(
            self.registry.clone(),
            self.host.clone(),
            self.probe.clone(),
            self.shared.clone(),
            state.number,
        );
        state.task = Some(runtime.spawn(probing).abort_handle());
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if let Some(task) = self.shared.lock().task.take() {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Breaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Breaker({:?})", self.health())
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recovered(&self, state: &mut State) {
        state.suspect = None;
        state.since = None;
        self.suspect.store(false, Ordering::Relaxed);
    }
}

async fn probing(registry: RegistryName, host: String, probe: Arc<Probe>, shared: Arc<Shared>, number: u64) {
    let mut wait = FIRST_WAIT;
    loop {
        // Many registries may have failed together, for example with our own line.
        tokio::time::sleep(wait.mul_f64(rand::random_range(0.75..1.25))).await;
        if probe().await {
            break;
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    let mut state = shared.lock();
    if state.number == number && state.suspect.is_some() {
        shared.recovered(&mut state);
        state.task = None;
        tracing::info!(%registry, %host, "the upstream answers again, to a probe");
    }
}

fn suspicion(failure: &Failure) -> Suspicion {
    match failure {
        Failure::Timeout { .. } => Suspicion::Late,
        _ => Suspicion::Unreachable,
    }
}

/// What a failure says about the registry's health: any answer, even a bad one, is a sign of life; and some failures happen
/// before anything is sent.
pub(super) fn news(failure: &Failure) -> Option<Health> {
    match failure {
        Failure::Unreachable { .. }
        | Failure::Timeout {
            phase: Phase::Connect | Phase::Headers,
            ..
        } => Some(Health::Suspect),
        Failure::Denied { .. }
        | Failure::RateLimited { .. }
        | Failure::RealmRefused { .. }
        | Failure::TooManyRedirects { .. }
        | Failure::BadRedirect { .. }
        | Failure::StorageRefused { .. }
        | Failure::HeadRefused { .. }
        | Failure::BadAnswer { .. }
        | Failure::RestRefused { .. }
        | Failure::MirrorRefused { .. }
        | Failure::OtherBytes { .. }
        | Failure::TokenService { .. } => Some(Health::Well),
        Failure::Timeout {
            phase: Phase::Idle | Phase::Taking | Phase::Settling,
            ..
        }
        | Failure::Upload { .. }
        | Failure::Broken { .. }
        | Failure::ForeignCredential { .. }
        | Failure::CredentialUnavailable { .. }
        | Failure::Spent { .. }
        | Failure::NotAskable { .. }
        | Failure::AddressRefused { .. }
        | Failure::UncheckedRedirect { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn registry() -> RegistryName {
        RegistryName::parse("r.test").unwrap()
    }

    fn unreachable() -> Result<(), Failure> {
        Err(Failure::Unreachable {
            registry: registry(),
            host: "r.test".to_owned(),
            cause: super::super::failure::Cause::Refused,
        })
    }

    fn denied() -> Result<(), Failure> {
        Err(Failure::Denied {
            registry: registry(),
            status: http::StatusCode::FORBIDDEN,
            own: None,
        })
    }

    /// Fails until the nth probe; counts them, and how many ran at once.
    struct Scripted {
        probes: AtomicUsize,
        running: AtomicUsize,
        most: AtomicUsize,
        good: usize,
    }

    fn scripted(good: usize) -> (Arc<Scripted>, Breaker) {
        let script = Arc::new(Scripted {
            probes: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            good,
        });
        let own = script.clone();
        let breaker = Breaker::new(registry(), "r.test".to_owned(), move || {
            let script = own.clone();
            async move {
                let running = script.running.fetch_add(1, Ordering::SeqCst) + 1;
                script.most.fetch_max(running, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_secs(5)).await;
                script.running.fetch_sub(1, Ordering::SeqCst);
                script.probes.fetch_add(1, Ordering::SeqCst) + 1 >= script.good
            }
        });
        (script, breaker)
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_until_it_answers() {
        // A dead registry must cost one request every half minute, however many pulls notice it (R1).
        let (script, breaker) = scripted(8);
        assert_eq!(breaker.health(), Health::Well);
        let start = Instant::now();
        while breaker.health() == Health::Suspect || start.elapsed() == Duration::ZERO {
            breaker.note(&unreachable());
            tokio::time::sleep(Duration::from_millis(100)).await;
            if script.probes.load(Ordering::SeqCst) == 8 {
                break;
            }
        }
        tokio::task::yield_now().await;
        assert_eq!(script.most.load(Ordering::SeqCst), 1);
        // 8 probes of 5 s, and 1 + 2 + 4 + 8 + 16 + 30 + 30 + 30 s between them, a quarter more or less.
        let took = start.elapsed().as_secs_f64();
        assert!(
            (40.0 + 0.75 * 91.0..40.0 + 1.25 * 121.5).contains(&took),
            "{took} s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn any_answer_makes_it_well_and_ends_the_probe() {
        // A 403 proves that the registry is there; nothing is to be found out any more.
        let (script, breaker) = scripted(usize::MAX);
        for answer in [Ok(()), denied()] {
            breaker.note(&unreachable());
            assert_eq!(breaker.health(), Health::Suspect);
            breaker.note(&answer);
            assert_eq!(breaker.health(), Health::Well);
        }
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(script.probes.load(Ordering::SeqCst), 0);
        breaker.note(&unreachable());
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert!(
            script.probes.load(Ordering::SeqCst) > 0,
            "and it is probed when it fails again"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_learnt_from_what_never_left() {
        // Our own broken password file is not the registry's outage, and not a sign of life either.
        let (_script, breaker) = scripted(usize::MAX);
        let own: Result<(), Failure> = Err(Failure::CredentialUnavailable {
            registry: registry(),
            reason: "gone".to_owned(),
        });
        breaker.note(&own);
        assert_eq!(breaker.health(), Health::Well);
        breaker.note(&unreachable());
        breaker.note(&own);
        assert_eq!(breaker.health(), Health::Suspect);
    }

    #[tokio::test(start_paused = true)]
    async fn the_probe_ends_with_its_upstream() {
        // A configuration that is replaced must not leave tasks behind that ask its registries for ever.
        let (script, breaker) = scripted(usize::MAX);
        breaker.note(&unreachable());
        tokio::time::sleep(Duration::from_mins(1)).await;
        let before = script.probes.load(Ordering::SeqCst);
        assert!(before > 0);
        drop(breaker);
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(script.probes.load(Ordering::SeqCst), before);
        assert_eq!(
            Arc::strong_count(&script),
            1,
            "the task is gone with what it held"
        );
    }
}
