//! The text of a scrape, its names and labels, against the catalogue and the manual.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use docxy::pull::{Blame, Outcome as Told};
use docxy::telemetry::Metrics as Counted;
use docxy::telemetry::metrics::catalogue::{ALIASES, Metric, OWN};
use docxy::telemetry::metrics::{
    Allowance, Answered, Certificate, Hop, Kind, Now, Outcome, Process, Request, Status, Stored, Upstream,
    Word as _,
};

use crate::admin::metrics::Metrics;

/// What a label may be called; each is a closed set, or names of the configuration.
const LABELS: [&str; 17] = [
    "outcome",
    "kind",
    "status",
    "registry",
    "source",
    "reason",
    "ending",
    "to",
    "url",
    "result",
    "credential",
    "why",
    "place",
    "name",
    "version",
    "type",
    "le",
];

/// Each metric with at least one sample.
fn full() -> Metrics {
    let metrics = Counted::default();
    metrics.tell_aliases(true);
    let meter = metrics.meter("docker.io");
    meter.asked(Hop::Registry, Answered::Success, Duration::from_millis(20));
    metrics.count(&Request {
        outcome: Outcome::Hit,
        kind: Kind::Blob,
        status: Status::Success,
        registry: Some("docker.io"),
        bytes: 7,
        received: None,
        first_byte: Some(Duration::from_micros(70)),
        took: Duration::from_micros(90),
    });
    metrics.certificates(Certificate::Listener, || {
        vec![("/etc/docxy/tls.pem".to_owned(), 1_800_000_000)]
    });
    let allowance = Allowance {
        limit: 2,
        remaining: 1,
        reset: Duration::from_mins(1),
    };
    let text = metrics.text(Now {
        upstreams: vec![Upstream {
            registry: "docker.io".to_owned(),
            places: vec![("https://registry-1.docker.io/".to_owned(), true)],
            rate_limited: 3,
            allowances: vec![("ann".to_owned(), allowance)],
        }],
        cache: Some(Stored {
            capacity: 10,
            min_free: 1,
            free: Some(5),
            quotas: vec![("docker.io".to_owned(), 1, 2)],
        }),
        process: Process::now(),
    });
    Metrics::parse(&text.unwrap())
}

fn all() -> impl Iterator<Item = &'static Metric> {
    OWN.iter().chain(ALIASES)
}

#[test]
fn the_text_is_the_catalogue() {
    // A label that somebody adds in passing, or a metric without a word about it, is what every dashboard pays for.
    let seen = full();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sample in &seen.samples {
        let own = labels.entry(seen.family(&sample.name)).or_default();
        own.extend(
            sample
                .labels
                .keys()
                .map(String::as_str)
                .filter(|label| *label != "le"),
        );
    }
    for metric in all() {
        assert_eq!(
            seen.types.get(metric.name).map(String::as_str),
            Some(metric.kind.word()),
            "{}",
            metric.name
        );
        assert_eq!(seen.helps[metric.name], metric.help);
        assert!(
            metric.help.len() > 10 || metric.name.starts_with("process_"),
            "{}",
            metric.name
        );
        assert!(!metric.help.ends_with('.'), "{}", metric.name);
        let own: BTreeSet<&str> = metric.labels.iter().copied().collect();
        assert_eq!(labels.get(metric.name), Some(&own), "{}", metric.name);
        assert!(own.iter().all(|label| LABELS.contains(label)), "{own:?}");
    }
    assert_eq!(seen.types.len(), all().count(), "nothing else is told");
    let healthy = seen.sum("docxy_upstream_healthy", &[("registry", "docker.io")]);
    assert_eq!(healthy, 1);
    assert_eq!(
        seen.sum("docxy_first_byte_seconds_count", &[("outcome", "hit")]),
        1
    );
    assert_eq!(
        seen.sum(
            "docxy_first_byte_seconds_bucket",
            &[("outcome", "hit"), ("le", "0.0001")]
        ),
        1
    );
    assert_eq!(
        seen.sum("docxy_upstream_latency_seconds_bucket", &[("le", "0.01")]),
        0
    );
    assert_eq!(
        seen.sum("docxy_upstream_latency_seconds_bucket", &[("le", "+Inf")]),
        1
    );
}

#[test]
fn without_being_asked_there_are_no_aliases() {
    // Two names for one figure count twice in a sum over all of them.
    let text = Counted::default().text(Now::default()).unwrap();
    assert!(!text.contains("registry_proxy"), "{text}");
    Metrics::parse(&text);
}

#[test]
fn the_manual_is_the_catalogue() {
    // docs/metrics.md is what an operator writes his own alerts from.
    let row = |name: &str, kind: &str, labels: &[&str]| {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        format!("`{name}` {kind} {}", labels.join(", "))
    };
    let known: Vec<String> = all()
        .map(|metric| row(metric.name, metric.kind.word(), metric.labels))
        .collect();
    let written: Vec<String> = include_str!("../../../docs/metrics.md")
        .lines()
        .filter(|line| {
            ["| `docxy_", "| `process_", "| `registry_proxy_"]
                .iter()
                .any(|begin| line.starts_with(begin))
        })
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            assert!(!cells[4].is_empty(), "{line}");
            format!("{} {} {}", cells[1], cells[2], cells[3])
        })
        .collect();
    let sorted = |mut rows: Vec<String>| {
        rows.sort_unstable();
        rows
    };
    assert_eq!(sorted(written), sorted(known));
}

#[test]
fn every_outcome_has_its_own_word() {
    // A new outcome would be counted as docxy's own answer, and missing from every ratio.
    let blames = [Blame::Client, Blame::Upstream, Blame::Local].map(Told::Failed);
    let others = [
        Told::Hit,
        Told::Joined,
        Told::Miss,
        Told::Stale,
        Told::Revalidated,
        Told::Bypass,
        Told::Denied,
        Told::Own,
    ];
    let told: BTreeSet<&str> = blames.into_iter().chain(others).map(Told::as_str).collect();
    let counted: BTreeSet<&str> = Outcome::ALL.iter().map(|word| word.word()).collect();
    assert_eq!(told, counted);
}
