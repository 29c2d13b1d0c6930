//! What docxy counts. Names and help texts are in [`catalogue`], the words of labels in [`words`]: closed sets, so that every
//! figure of a request's way has its cell before the first request, and counting it is an addition.

pub mod catalogue;
mod cells;
mod meter;
mod page;
mod process;
mod told;
pub mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

pub use self::cells::{By, Counters, Distribution, Histogram, Word};
pub use self::meter::Meter;
pub use self::process::Process;
pub use self::told::{Allowance, Now, Stored, Upstream};
pub use self::words::{
    Answered, Certificate, Content, Denial, Ending, Eviction, Failed, Fetched, HandOver, Hop, Kind, Order,
    Outcome, Place, Reason, Reload, Source, Span, Status, Why,
};

/// Handed down from `app`; a test makes its own and reads it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Names>);

impl std::ops::Deref for Metrics {
    type Target = Names;

    fn deref(&self) -> &Names {
        &self.0
    }
}

/// The metrics themselves; each field is the one of the catalogue with the same name.
#[derive(Debug)]
pub struct Names {
    /// By outcome and kind.
    requests: By<Outcome, By<Kind, Counters<Status>>>,
    durations: By<Kind, Histogram>,
    first_bytes: By<Outcome, Histogram>,
    pub bytes: Counters<Source>,
    pub pushed_bytes: Counter,
    pub refused: Counters<Reason>,
    pub denied: Counters<Denial>,
    pub auth_failures: Counters<Failed>,
    pub connections: Gauge,
    pub fills: Counters<Ending>,
    pub resumes: Counter,
    pub segments: Counter,
    pub retries: Counter,
    pub mirrored: Counters<Content>,
    pub pulled_bytes: Counters<Content>,
    /// Of bodies sent to clients, for distribution's names.
    sent: Counters<Content>,
    pub withdrawn: Counters<Why>,
    pub cache_bytes: Gauge,
    pub cache_objects: Gauge,
    pub evictions: Counters<Eviction>,
    pub integrity_failures: Counters<Place>,
    pub disk_errors: Counter,
    pub hand_overs: Counters<HandOver>,
    pub acme_orders: Counters<Order>,
    reloads: Counters<Reload>,
    /// Of the last reload that was taken, or the start; whether the last one was.
    configured: Mutex<(SystemTime, bool)>,
    pub spans: Counters<Span>,
    meters: RwLock<BTreeMap<String, Arc<Meter>>>,
    certificates: By<Certificate, Mutex<Option<Shown>>>,
    aliases: AtomicBool,
    started: SystemTime,
}

/// One request that is over.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub outcome: Outcome,
    pub kind: Kind,
    pub status: Status,
    pub registry: Option<&'a str>,
    /// Sent of the answer's body.
    pub bytes: u64,
    /// Taken of the request's own, where it was read.
    pub received: Option<u64>,
    pub first_byte: Option<Duration>,
    pub took: Duration,
}

/// A certificate's name, and when it ends in seconds since 1970.
pub type Expiry = (String, i64);

/// Who knows the certificates that are shown.
struct Shown(Box<dyn Fn() -> Vec<Expiry> + Send + Sync>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl Default for Names {
    fn default() -> Self {
        let started = SystemTime::now();
        Self {
            requests: By::default(),
            durations: By::new(|| Histogram::new(cells::REQUEST)),
            first_bytes: By::new(|| Histogram::new(cells::REQUEST)),
            bytes: Counters::default(),
            pushed_bytes: Counter::default(),
            refused: Counters::default(),
            denied: Counters::default(),
            auth_failures: Counters::default(),
            connections: Gauge::default(),
            fills: Counters::default(),
            resumes: Counter::default(),
            segments: Counter::default(),
            retries: Counter::default(),
            mirrored: Counters::default(),
            pulled_bytes: Counters::default(),
            sent: Counters::default(),
            withdrawn: Counters::default(),
            cache_bytes: Gauge::default(),
            cache_objects: Gauge::default(),
            evictions: Counters::default(),
            integrity_failures: Counters::default(),
            disk_errors: Counter::default(),
            hand_overs: Counters::default(),
            acme_orders: Counters::default(),
            reloads: Counters::default(),
            configured: Mutex::new((started, true)),
            spans: Counters::default(),
            meters: RwLock::default(),
            certificates: By::default(),
            aliases: AtomicBool::new(false),
            started,
        }
    }
}

impl Names {
    /// Counts a request that is over. On every request's way: nothing is allocated, and one lock is shared.
    pub fn count(&self, request: &Request<'_>) {
        let Request {
            outcome, kind, bytes, ..
        } = *request;
        self.requests.of(outcome).of(kind).inc(request.status);
        self.durations.of(kind).observe(request.took);
        if let Some(first) = request.first_byte {
            self.first_bytes.of(outcome).observe(first);
        }
        if let Some(received) = request.received {
            self.pushed_bytes.inc_by(received);
        }
        let source = Source::of(outcome);
        if let Some(source) = source {
            self.bytes.add(source, bytes);
            if let Some(content) = Content::of(kind) {
                self.sent.add(content, bytes);
                // What is forwarded goes through no other place where it could be counted.
                if outcome == Outcome::Bypass {
                    self.pulled_bytes.add(content, bytes);
                }
            }
        }
        if let Some(registry) = request.registry
            && let Some(meter) = self.read().get(registry)
        {
            meter.requests.inc(outcome);
            if let Some(source) = source {
                meter.bytes.add(source, bytes);
            }
        }
    }

    /// A request was turned away.
    pub fn refuse(&self, reason: Reason) {
        self.refused.inc(reason);
    }

    /// How many requests there were of this kind.
    pub fn requests(&self, outcome: Outcome, kind: Kind, status: Status) -> u64 {
        self.requests.of(outcome).of(kind).get(status)
    }

    /// What is counted of one registry of the configuration: to be asked for where its client is made, and nowhere else,
    /// because each name is a set of series.
    pub fn meter(&self, registry: &str) -> Arc<Meter> {
        if let Some(meter) = self.read().get(registry) {
            return Arc::clone(meter);
        }
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(meters.entry(registry.to_owned()).or_default())
    }

    /// Registries that the configuration has no more are told of no more.
    pub fn keep_meters(&self, is_kept: impl Fn(&str) -> bool) {
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|registry, _| is_kept(registry));
    }

    /// Whether all is also told under the names of distribution's proxy.
    pub fn tell_aliases(&self, are_told: bool) {
        self.aliases.store(are_told, Ordering::Relaxed);
    }

    /// The configuration was read again, and taken or not.
    pub fn reloaded(&self, taken: bool) {
        self.reloads
            .inc(if taken { Reload::Taken } else { Reload::Refused });
        let mut configured = locked(&self.configured);
        if taken {
            *configured = (SystemTime::now(), true);
        } else {
            configured.1 = false;
        }
    }

    /// Who is asked, at each scrape, when certificates end; whoever was named for the same place is asked no more. Names are
    /// the configuration's own (files, domains, registries), or fixed words.
    pub fn certificates(&self, place: Certificate, ask: impl Fn() -> Vec<Expiry> + Send + Sync + 'static) {
        *locked(self.certificates.of(place)) = Some(Shown(Box::new(ask)));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Meter>>> {
        self.meters.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
