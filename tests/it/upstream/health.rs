//! A registry that fails is suspect until it answers, and one probe finds out (R1).

use std::time::Duration;

use docxy::upstream::{Health, Right};

use super::stub::{Setup, TAGS, get};
use crate::support::stub::{Fault, On, StubRegistry};
use crate::support::within;

#[tokio::test]
async fn a_suspect_registry_is_probed_until_it_answers() {
    // Tags are served stale at once while the registry is away; when it is back, pulls must see it without a restart.
    let registry = StubRegistry::builder().start().await;
    let upstream = Setup::at(&registry.url()).build();
    let ask = get(TAGS);
    assert_eq!(upstream.send(&ask, &Right::Anonymous).await.unwrap().status, 404);
    assert_eq!(upstream.health(), Health::Well);

    registry.fault(On::path("*"), Fault::Status(503));
    assert_eq!(upstream.send(&ask, &Right::Anonymous).await.unwrap().status, 503);
    assert_eq!(upstream.health(), Health::Well, "an answer is a sign of life");

    registry.fault(On::path("*"), Fault::Close);
    upstream.send(&ask, &Right::Anonymous).await.unwrap_err();
    assert_eq!(upstream.health(), Health::Suspect);
    registry.forget();
    registry
        .until("a probe that fails", |seen| !seen.is_empty())
        .await;
    assert_eq!(upstream.health(), Health::Suspect);

    registry.clear_faults();
    let well = async {
        while upstream.health() == Health::Suspect {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within("the next probe", well).await;
    let probes = registry.requests();
    assert!(
        probes.iter().all(|seen| seen.path == "/v2/"),
        "{}",
        registry.story()
    );
    assert!(probes.len() <= 4, "{}", registry.story());
}

#[tokio::test]
async fn a_request_that_succeeds_ends_the_suspicion() {
    // A miss is asked even of a suspect registry: its answer is as good as a probe's.
    let registry = StubRegistry::builder().start().await;
    let upstream = Setup::at(&registry.url()).build();
    registry.fault(On::path("*").first(2), Fault::Close);
    upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap_err();
    assert_eq!(upstream.health(), Health::Suspect);
    upstream.ping(&Right::Anonymous).await.unwrap_err();
    assert_eq!(upstream.ping(&Right::Anonymous).await.unwrap(), 200);
    assert_eq!(upstream.health(), Health::Well);
}
