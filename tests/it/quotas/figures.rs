//! What an operator is told: metrics, the socket, `docxy upstreams`, the log.

use std::path::Path;

use serde_json::Value;

use super::{hub, signed_in, tag};
use crate::admin::{ask, json, scraped, socket};
use crate::cache::support::Cached;
use crate::cli::{docxy, story};
use crate::support::stub::Quota;

const TEN: Quota = Quota {
    anonymous: 5,
    signed_in: 10,
    retry_after: None,
};

/// Nine of ten are gone.
async fn nearly_empty() -> Cached {
    let docxy = signed_in(hub(TEN, 12).await, "").await;
    for n in 0..9 {
        assert_eq!(docxy.get(&tag(n)).await.status, 200);
    }
    docxy
}

#[tokio::test]
async fn metrics_show_what_is_left() {
    // The alert that comes before the cluster stands still is made of these.
    let docxy = nearly_empty().await;
    let metrics = scraped(&docxy).await;
    let own = [("registry", "docker.io"), ("credential", "alice")];
    assert_eq!(metrics.sum("docxy_upstream_quota_limit", &own), 10);
    assert_eq!(metrics.sum("docxy_upstream_quota_remaining", &own), 1);
    let reset = metrics.sum("docxy_upstream_quota_reset_seconds", &own);
    assert!((21_500..=21_600).contains(&reset), "{reset}");
    let hub = [("registry", "docker.io")];
    assert_eq!(metrics.sum("docxy_upstream_rate_limited_total", &hub), 0);

    for n in 9..11 {
        assert_eq!(docxy.get(&tag(n)).await.status, 200, "the second by the address");
    }
    let metrics = scraped(&docxy).await;
    assert_eq!(metrics.sum("docxy_upstream_quota_remaining", &own), 0);
    let address = [("registry", "docker.io"), ("credential", "anonymous")];
    assert_eq!(metrics.sum("docxy_upstream_quota_remaining", &address), 4);
    assert_eq!(metrics.sum("docxy_upstream_rate_limited_total", &hub), 1);
    // Registries that never said anything have no figures.
    let others = metrics
        .samples
        .iter()
        .filter(|sample| sample.name == "docxy_upstream_quota_limit");
    assert_eq!(others.count(), 2);
}

#[tokio::test]
async fn the_log_says_it_once() {
    // Whoever is woken wants one line that says which account, how much and until when; not one for each pull.
    let docxy = nearly_empty().await;
    for n in 9..12 {
        docxy.get(&tag(n)).await;
    }
    docxy
        .app
        .logged("that it is empty", |line| {
            line["fields"]["message"]
                .as_str()
                .is_some_and(|said| said.contains("used up"))
        })
        .await;
    let lines: Vec<Value> = docxy
        .app
        .log()
        .into_iter()
        .filter(|line| line["fields"]["credential"] == "alice")
        .collect();
    let said: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["fields"]["message"].as_str())
        .collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with("less than a fifth of its pulls are left"),
        "{said:?}"
    );
    assert!(said[1].starts_with("its pulls are used up"), "{said:?}");
    assert!(
        said.iter()
            .all(|said| said.contains("all back by ") && said.contains(" UTC")),
        "{said:?}"
    );
    assert_eq!(
        (&lines[0]["fields"]["remaining"], &lines[0]["fields"]["limit"]),
        (&1.into(), &10.into())
    );
    assert!(lines.iter().all(|line| line["level"] == "WARN"), "{lines:?}");
}

#[tokio::test]
async fn the_socket_tells_all_of_it() {
    // Whoever builds a page or an alert of his own reads this.
    let docxy = nearly_empty().await;
    let answer = json(&ask(&socket(&docxy.app), "GET", "/api/v1/upstreams", "").await);
    let upstreams = answer["upstreams"].as_array().unwrap();
    assert!(upstreams.len() > 10, "the presets too");
    let hub = upstreams
        .iter()
        .find(|one| one["registry"] == "docker.io")
        .unwrap();
    assert_eq!((&hub["rate_limited"], &hub["asked"]), (&0.into(), &0.into()));
    let place = &hub["urls"][0];
    assert_eq!(place["url"], format!("{}/", docxy.stub.url()));
    assert_eq!(
        (&place["role"], &place["health"]),
        (&"authority".into(), &"well".into())
    );
    let credentials = place["credentials"].as_array().unwrap();
    let alice = &credentials[0];
    assert_eq!(
        (&alice["name"], &alice["state"]),
        (&"alice".into(), &"working".into())
    );
    let quota = &alice["quota"];
    assert_eq!((&quota["limit"], &quota["remaining"]), (&10.into(), &1.into()));
    assert_eq!(
        (&quota["window"], &quota["source"]),
        (&21_600.into(), &"alice".into())
    );
    assert_eq!(credentials[1]["state"], "anonymous");
    assert_eq!(credentials.len(), 2);

    docxy.stub.down().await;
    docxy.get(&tag(0)).await;
    let answer = json(&ask(&socket(&docxy.app), "GET", "/api/v1/upstreams", "").await);
    let hub = answer["upstreams"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["registry"] == "docker.io");
    assert_eq!(hub.unwrap()["urls"][0]["health"], "unreachable", "{answer}");
}

/// What `docxy upstreams` says, without what differs from one run to the next.
fn upstreams(config: &Path, arguments: &[&str]) -> String {
    let folder = config.parent().unwrap().to_str().unwrap().to_owned();
    let said = story(docxy(config).arg("upstreams").args(arguments)).replace(&folder, "/FOLDER");
    let hour = regex::Regex::new(r"\d\d:\d\d UTC").unwrap();
    let port = regex::Regex::new(r"127\.0\.0\.1:\d+").unwrap();
    let said = hour.replace_all(&said, "HH:MM UTC");
    port.replace_all(&said, "STUB").into_owned()
}

#[tokio::test]
async fn docxy_upstreams_says_how_it_stands() {
    // The first thing to look at when pulls fail: which account, how much is left, until when.
    let docxy = nearly_empty().await;
    for n in 9..11 {
        docxy.get(&tag(n)).await;
    }
    let config = docxy.app.dir().join("docxy.toml");
    insta::assert_snapshot!(upstreams(&config, &[]));
    let json = upstreams(&config, &["--json"]);
    let body = json
        .split("--- stdout\n")
        .nth(1)
        .unwrap()
        .split("\n--- stderr")
        .next()
        .unwrap();
    let answer: Value = serde_json::from_str(body).unwrap();
    assert_eq!(answer["running"], true);
    assert_eq!(answer["upstreams"].as_array().unwrap().len(), 1, "{answer}");
    assert!(upstreams(&config, &["--all"]).contains("registry.k8s.io\n"));
    let ended = docxy.stop().await;
    insta::assert_snapshot!("not_running", upstreams(&config, &[]));
    drop(ended);
}
