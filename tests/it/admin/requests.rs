//! What the socket understands, and what it says of all else.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{ask, json, socket};
use crate::cache::support::{Cached, image_of};

#[tokio::test]
async fn what_is_not_understood_is_refused_with_what_is() {
    // A script with a slip must hear of it, and nothing may go by mistake.
    let docxy = Cached::of(image_of(720, &[1000]), "").await;
    docxy.warm().await;
    let path = socket(&docxy.app);
    let long = format!("{{\"digest\":\"{}\"}}", "a".repeat(200_000));
    for (method, target, body, status, said) in [
        ("GET", "/", "", 404, "openapi.json"),
        ("GET", "/api/v1/cache/", "", 404, "openapi.json"),
        ("POST", "/api/v1/cache", "", 405, "does not take POST"),
        ("DELETE", "/api/v1/cache/remove", "", 405, "does not take DELETE"),
        ("GET", "/api/v1/cache/gc", "", 405, "does not take GET"),
        ("GET", "/api/v1/cache/blobs?limt=5", "", 400, "`limt`"),
        ("GET", "/api/v1/cache/blobs?limit=0", "", 400, "from 1 to 10000"),
        ("GET", "/api/v1/cache/blobs?after=redis", "", 400, "after"),
        ("GET", "/api/v1/cache?all=1", "", 400, "no query"),
        ("POST", "/api/v1/cache/remove", "", 400, "the body"),
        ("POST", "/api/v1/cache/remove", "{}", 400, "name one thing"),
        (
            "POST",
            "/api/v1/cache/remove",
            "{\"repo\":\"a.io/b\"}",
            400,
            "expected one of",
        ),
        (
            "POST",
            "/api/v1/cache/remove?dry_run=1",
            "{\"all\":true}",
            400,
            "no query",
        ),
        ("POST", "/api/v1/cache/remove", &long, 413, "longer than"),
        ("POST", "/api/v1/cache/verify", "{\"fast\":true}", 400, "no body"),
        ("POST", "/api/v1/cache/gc?age=1d", "", 400, "no query"),
    ] {
        let answer = ask(&path, method, target, body.to_owned()).await;
        let error = json(&answer)["error"].to_string();
        assert_eq!(answer.status(), status, "{method} {target}: {error}");
        assert!(error.contains(said), "{method} {target}: {error}");
    }
    assert_eq!(docxy.folder().blobs().len(), 3);
}

#[tokio::test]
async fn pages_add_up() {
    // A cache of a hundred thousand blobs is listed in parts, none twice and none left out.
    let docxy = Cached::of(image_of(721, &[1000; 9]), "").await;
    docxy.warm().await;
    let path = socket(&docxy.app);
    let mut digests = Vec::new();
    let mut target = "/api/v1/cache/blobs?limit=4".to_owned();
    loop {
        let page = json(&ask(&path, "GET", &target, "").await);
        let blobs = page["blobs"].as_array().unwrap();
        assert!(blobs.len() <= 4);
        digests.extend(
            blobs
                .iter()
                .map(|blob| blob["digest"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => target = format!("/api/v1/cache/blobs?limit=4&after={next}"),
            None => break,
        }
    }
    assert_eq!(digests.len(), 11);
    let image = docxy.image();
    let held: BTreeSet<&str> = image
        .blobs
        .iter()
        .chain([&image.root])
        .map(|content| &*content.digest)
        .collect();
    assert_eq!(digests.iter().map(String::as_str).collect::<BTreeSet<_>>(), held);
}

#[tokio::test]
async fn a_verification_ends_with_what_it_found() {
    // A program that reads the lines needs no other request to learn the outcome.
    let docxy = Cached::of(image_of(722, &[300_000; 4]), "").await;
    docxy.warm().await;
    let answer = ask(&socket(&docxy.app), "POST", "/api/v1/cache/verify", "").await;
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = std::str::from_utf8(answer.body()).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, before) = lines.split_last().unwrap();
    assert!(
        before.iter().all(|line| line["progress"]["of_blobs"] == 6),
        "{text}"
    );
    assert_eq!(last["done"]["blobs"], 6, "{text}");
    assert_eq!(last["done"]["rotten"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn who_hangs_up_ends_the_verification() {
    // Ctrl-C must give the disk back, and the next one must not be told to wait.
    let docxy = Cached::of(image_of(723, &[3_000_000; 12]), "").await;
    docxy.warm().await;
    let path = socket(&docxy.app);
    let asked = tokio::time::timeout(
        std::time::Duration::from_millis(5),
        ask(&path, "POST", "/api/v1/cache/verify", ""),
    );
    let _ = asked.await;
    crate::support::within("the next verification to be allowed", async {
        while ask(&path, "POST", "/api/v1/cache/verify", "").await.status() == 409 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}
