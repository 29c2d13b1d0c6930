//! A scrape: what was counted, and what is so at this moment.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::catalogue as all;
use super::cells::Word;
use super::page::Page;
use super::process::{Process, since_1970};
use super::words::{Content, Outcome};
use super::{Metrics, Names, locked};

/// What is not counted but looked at when somebody asks.
#[derive(Clone, Default, Debug)]
pub struct Now {
    pub upstreams: Vec<Upstream>,
    /// `None` where docxy only forwards.
    pub cache: Option<Stored>,
    pub process: Process,
}

/// How docxy stands with one registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    pub registry: String,
    /// Its places, and whether each is well.
    pub places: Vec<(String, bool)>,
    pub rate_limited: u64,
    /// By the name of the credential.
    pub allowances: Vec<(String, Allowance)>,
}

/// What a registry allows one credential, as it said last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    pub limit: u64,
    pub remaining: u64,
    /// Until all of it is back.
    pub reset: Duration,
}

/// How the cache's disk stands. Bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub capacity: u64,
    pub min_free: u64,
    /// `None`: the file system does not say.
    pub free: Option<u64>,
    /// Of registries with a quota: what counts to it, and the quota.
    pub quotas: Vec<(String, u64, u64)>,
}

impl Metrics {
    /// In the text format of `OpenMetrics`.
    pub fn text(&self, now: Now) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape {
            metrics: self.clone(),
            now,
        }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct Scrape {
    metrics: Metrics,
    now: Now,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        let (names, now) = (&*self.metrics, &self.now);
        clients(&mut page, names)?;
        filling(&mut page, names)?;
        registries(&mut page, names, now)?;
        cache(&mut page, names, now)?;
        itself(&mut page, names)?;
        process(&mut page, names, &now.process)?;
        if names.aliases.load(Ordering::Relaxed) {
            aliases(&mut page, names)?;
        }
        Ok(())
    }
}

fn clients(page: &mut Page<'_>, names: &Names) -> fmt::Result {
    page.family(&all::REQUESTS, |rows| {
        for (outcome, kinds) in names.requests.each() {
            for (kind, statuses) in kinds.each() {
                // Most of them can't be.
                for (status, count) in statuses.each().filter(|(_, count)| *count > 0) {
                    rows.counter(&[outcome.word(), kind.word(), status.word()], count)?;
                }
            }
        }
        Ok(())
    })?;
    page.family(&all::REGISTRY_REQUESTS, |rows| {
        for (registry, meter) in &*names.read() {
            for (outcome, count) in meter.requests.each() {
                rows.counter(&[registry, outcome.word()], count)?;
            }
        }
        Ok(())
    })?;
    page.family(&all::REQUEST_DURATION, |rows| {
        for (kind, histogram) in names.durations.each() {
            rows.histogram(&[kind.word()], histogram)?;
        }
        Ok(())
    })?;
    page.family(&all::FIRST_BYTE, |rows| {
        for (outcome, histogram) in names.first_bytes.each() {
            rows.histogram(&[outcome.word()], histogram)?;
        }
        Ok(())
    })?;
    page.counters(&all::BYTES, &names.bytes)?;
    page.family(&all::REGISTRY_BYTES, |rows| {
        for (registry, meter) in &*names.read() {
            for (source, count) in meter.bytes.each() {
                rows.counter(&[registry, source.word()], count)?;
            }
        }
        Ok(())
    })?;
    page.counter(&all::PUSHED_BYTES, names.pushed_bytes.get())?;
    page.counters(&all::REFUSED, &names.refused)?;
    page.counters(&all::DENIED, &names.denied)?;
    page.counters(&all::AUTH_FAILURES, &names.auth_failures)?;
    page.family(&all::CONNECTIONS, |rows| {
        rows.signed(&[], names.connections.get())
    })
}

fn filling(page: &mut Page<'_>, names: &Names) -> fmt::Result {
    page.counters(&all::FILLS, &names.fills)?;
    page.counter(&all::RESUMES, names.resumes.get())?;
    page.counter(&all::SEGMENTS, names.segments.get())?;
    page.counter(&all::RETRIES, names.retries.get())?;
    page.counters(&all::MIRRORED, &names.mirrored)?;
    page.counters(&all::PULLED_BYTES, &names.pulled_bytes)
}

fn registries(page: &mut Page<'_>, names: &Names, now: &Now) -> fmt::Result {
    page.family(&all::UPSTREAM_REQUESTS, |rows| {
        for (registry, meter) in &*names.read() {
            for (to, counters) in meter.upstream.each() {
                for (answered, count) in counters.each() {
                    rows.counter(&[registry, to.word(), answered.word()], count)?;
                }
            }
        }
        Ok(())
    })?;
    page.family(&all::UPSTREAM_LATENCY, |rows| {
        for (registry, meter) in &*names.read() {
            for (to, histogram) in meter.latency.each() {
                rows.histogram(&[registry, to.word()], histogram)?;
            }
        }
        Ok(())
    })?;
    page.family(&all::UPSTREAM_HEALTHY, |rows| {
        for upstream in &now.upstreams {
            for (url, is_well) in &upstream.places {
                rows.gauge(&[&upstream.registry, url], u64::from(*is_well))?;
            }
        }
        Ok(())
    })?;
    page.family(&all::TOKENS, |rows| {
        for (registry, meter) in &*names.read() {
            for (fetched, count) in meter.tokens.each() {
                rows.counter(&[registry, fetched.word()], count)?;
            }
        }
        Ok(())
    })?;
    page.family(&all::RATE_LIMITED, |rows| {
        for upstream in &now.upstreams {
            rows.counter(&[&upstream.registry], upstream.rate_limited)?;
        }
        Ok(())
    })?;
    for (metric, of) in [
        (&all::QUOTA_LIMIT, (|known| known.limit) as fn(&Allowance) -> u64),
        (&all::QUOTA_REMAINING, |known| known.remaining),
        (&all::QUOTA_RESET, |known| known.reset.as_secs()),
    ] {
        page.family(metric, |rows| {
            for upstream in &now.upstreams {
                for (credential, allowance) in &upstream.allowances {
                    rows.gauge(&[&upstream.registry, credential], of(allowance))?;
                }
            }
            Ok(())
        })?;
    }
    page.counters(&all::WITHDRAWN, &names.withdrawn)
}

fn cache(page: &mut Page<'_>, names: &Names, now: &Now) -> fmt::Result {
    page.family(&all::CACHE_BYTES, |rows| {
        rows.signed(&[], names.cache_bytes.get())
    })?;
    if let Some(stored) = &now.cache {
        page.gauge(&all::CACHE_CAPACITY, stored.capacity)?;
        page.gauge(&all::CACHE_FLOOR, stored.min_free)?;
        if let Some(free) = stored.free {
            page.gauge(&all::CACHE_FREE, free)?;
        }
        page.family(&all::CACHE_REGISTRY_BYTES, |rows| {
            for (registry, held, _) in &stored.quotas {
                rows.gauge(&[registry], *held)?;
            }
            Ok(())
        })?;
        page.family(&all::CACHE_REGISTRY_QUOTA, |rows| {
            for (registry, _, quota) in &stored.quotas {
                rows.gauge(&[registry], *quota)?;
            }
            Ok(())
        })?;
    }
    page.family(&all::CACHE_OBJECTS, |rows| {
        rows.signed(&[], names.cache_objects.get())
    })?;
    page.counters(&all::EVICTIONS, &names.evictions)?;
    page.counters(&all::INTEGRITY_FAILURES, &names.integrity_failures)?;
    page.counter(&all::DISK_ERRORS, names.disk_errors.get())
}

fn itself(page: &mut Page<'_>, names: &Names) -> fmt::Result {
    page.family(&all::CERTIFICATE_EXPIRY, |rows| {
        for (place, shown) in names.certificates.each() {
            let ends = locked(shown).as_ref().map(|shown| (shown.0)());
            // Of several by one name the first to end counts: a series must not be told twice.
            let mut first = BTreeMap::new();
            for (name, at) in ends.into_iter().flatten() {
                first
                    .entry(name)
                    .and_modify(|known: &mut i64| *known = at.min(*known))
                    .or_insert(at);
            }
            for (name, at) in first {
                rows.signed(&[place.word(), &name], at)?;
            }
        }
        Ok(())
    })?;
    page.counters(&all::ACME_ORDERS, &names.acme_orders)?;
    page.counters(&all::RELOADS, &names.reloads)?;
    page.counters(&all::HAND_OVERS, &names.hand_overs)?;
    let (at, was_taken) = *locked(&names.configured);
    page.gauge(&all::RELOAD_SUCCESSFUL, u64::from(was_taken))?;
    page.family(&all::RELOADED_AT, |rows| rows.fraction(&[], since_1970(at)))?;
    page.counters(&all::SPANS, &names.spans)?;
    page.family(&all::BUILD, |rows| rows.gauge(&[env!("CARGO_PKG_VERSION")], 1))
}

fn process(page: &mut Page<'_>, names: &Names, seen: &Process) -> fmt::Result {
    if let Some(cpu) = seen.cpu {
        page.family(&all::CPU, |rows| rows.seconds(&[], cpu.as_secs_f64()))?;
    }
    for (metric, value) in [
        (&all::RESIDENT, seen.resident),
        (&all::VIRTUAL, seen.virtual_memory),
        (&all::OPEN_FILES, seen.open_files),
        (&all::MAX_FILES, seen.max_files),
    ] {
        if let Some(value) = value {
            page.gauge(metric, value)?;
        }
    }
    page.family(&all::STARTED, |rows| {
        rows.fraction(&[], since_1970(names.started))
    })
}

/// In distribution's words. A hit is what it did not have to fetch, and whatever it fetched is a miss.
fn aliases(page: &mut Page<'_>, names: &Names) -> fmt::Result {
    let total = |content: Content, fits: fn(Outcome) -> bool| -> u64 {
        names
            .requests
            .each()
            .filter(|(outcome, _)| fits(*outcome))
            .flat_map(|(_, kinds)| kinds.each())
            .filter(|(kind, _)| Content::of(*kind) == Some(content))
            .flat_map(|(_, statuses)| statuses.each())
            .map(|(_, count)| count)
            .sum()
    };
    let is_hit = |outcome| {
        matches!(
            outcome,
            Outcome::Hit | Outcome::Stale | Outcome::Revalidated | Outcome::Joined
        )
    };
    let is_miss = |outcome| matches!(outcome, Outcome::Miss | Outcome::Bypass);
    let each: [(_, &dyn Fn(Content) -> u64); 5] = [
        (&all::ALIAS_REQUESTS, &|content| total(content, |_| true)),
        (&all::ALIAS_HITS, &|content| total(content, is_hit)),
        (&all::ALIAS_MISSES, &|content| total(content, is_miss)),
        (&all::ALIAS_PULLED, &|content| names.pulled_bytes.get(content)),
        (&all::ALIAS_PUSHED, &|content| names.sent.get(content)),
    ];
    for (metric, of) in each {
        page.family(metric, |rows| {
            for content in Content::ALL {
                rows.counter(&[content.word()], of(*content))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
