//! I8, C3, C4, C6, C8: tags that move, roll back and vanish, and the rules that say how old an answer may be.

use super::support::{Cached, REPOSITORY, TAG, image_of, word};
use crate::support::{
    client::Response,
    image::Image,
    stub::{Fault, On},
};

/// A rule for every tag.
fn rule(keys: &str) -> String {
    format!("[cache]\nrevalidate_timeout = \"1s\"\n[[cache.tags]]\n{keys}\n")
}

fn assert_stale(answer: &Response) {
    assert_eq!(word(answer), "stale", "{:?}", answer.headers);
    let warning = answer.header("warning").unwrap_or_default();
    assert!(warning.starts_with("299 - \""), "Warning: {warning:?}");
    let age = answer.header("age").unwrap_or_default();
    assert!(age.parse::<u64>().is_ok(), "Age: {age:?}");
}

#[tokio::test]
async fn a_tag_that_moves_or_rolls_back_is_followed_at_once() {
    // The default: whoever pulls `latest` gets what the registry has now, for one HEAD and no counted GET.
    let first = image_of(100, &[1000]);
    let second = image_of(101, &[1000]);
    let docxy = Cached::of(first.clone(), "").await;
    docxy.warm().await;
    docxy.stub.forget();
    for (round, image) in [&first, &second, &first, &second, &first].into_iter().enumerate() {
        docxy.stub.put(REPOSITORY, "7", image.clone());
        docxy.get(TAG).await.assert_is(&image.root, &docxy.stub);
        let again = docxy.get(TAG).await;
        again.assert_is(&image.root, &docxy.stub);
        assert_eq!(word(&again), "revalidated", "round {round}");
    }
    let (heads, gets) = (
        docxy.stub.heads("*/manifests/7").len(),
        docxy.stub.gets("*/manifests/*").len(),
    );
    println!(
        "I8 5 moves, 10 pulls of a tag: {heads} HEAD, {gets} counted GET (one for each manifest that is new)"
    );
    assert!(heads <= 10 && gets <= 1, "{}", docxy.stub.story());
}

#[tokio::test]
async fn pulls_by_digest_ask_nobody_once_cached() {
    // A digest never changes: no HEAD, no token, not after a restart either.
    let image = Image::layers(3).oci().platforms(&["amd64", "arm64"]).build();
    let docxy = Cached::of(image.clone(), "").await;
    docxy.get(TAG).await.assert_is(&image.root, &docxy.stub);
    let manifests = || image.children.iter().chain([&image.root]);
    let pull = async |docxy: &Cached| {
        let mut pulled = 0;
        for manifest in manifests() {
            let path = format!("/v2/{REPOSITORY}/manifests/{}", manifest.digest);
            docxy.get(&path).await.assert_is(manifest, &docxy.stub);
            pulled += 1;
        }
        for blob in &image.blobs {
            let path = super::support::blob_path(blob);
            docxy.get(&path).await.assert_is(blob, &docxy.stub);
            let head = docxy.head(&path).await;
            let length = blob.bytes.len().to_string();
            assert_eq!(
                (head.status, head.header("content-length")),
                (200, Some(&*length))
            );
            pulled += 2;
        }
        pulled
    };
    pull(&docxy).await;
    for content in manifests().chain(&image.blobs) {
        docxy.stored(content).await;
    }
    docxy.stub.forget();
    let mut pulled = pull(&docxy).await;
    let docxy = docxy.again().await;
    pulled += pull(&docxy).await;
    println!(
        "I8 {pulled} requests by digest, a restart in between: {} upstream requests",
        docxy.stub.requests().len()
    );
    assert_eq!(docxy.stub.requests().len(), 0, "{}", docxy.stub.story());
}

#[tokio::test]
async fn a_tag_that_vanished_is_gone_and_its_digests_stay() {
    // 404 is the registry's word and no outage: by default it is believed.
    let docxy = Cached::of(image_of(102, &[1000]), "").await;
    docxy.warm().await;
    let image = docxy.image();
    docxy.stub.untag(REPOSITORY, "7");
    docxy
        .get(TAG)
        .await
        .assert_refused(404, &["MANIFEST_UNKNOWN", "NOT_FOUND"], "docker.io", &docxy.stub);
    docxy.stub.forget();
    let path = format!("/v2/{REPOSITORY}/manifests/{}", image.root.digest);
    docxy.get(&path).await.assert_is(&image.root, &docxy.stub);
    assert_eq!(docxy.stub.requests().len(), 0, "{}", docxy.stub.story());
    // And it comes back when it comes back.
    docxy.stub.put(REPOSITORY, "7", image.clone());
    docxy.get(TAG).await.assert_is(&image.root, &docxy.stub);
}

#[tokio::test]
async fn each_class_of_error_serves_or_refuses_as_the_rule_says() {
    // Defaults: stale on outages and 429, never on denials and removals; a rule turns each round.
    let statuses = [(500, true), (502, true), (503, true), (504, true), (429, true)];
    let refusals = [
        (401, false),
        (403, false),
        (404, false),
        (410, false),
        (451, false),
    ];
    let all = "stale = [\"connect\", \"timeout\", \"5xx\", \"429\", \"denied\", \"missing\"]";
    let (mut tried, mut as_ruled) = (0, 0);
    for (keys, turned) in [("", None), (all, Some(true)), ("stale = []", Some(false))] {
        let config = match keys {
            "" => rule("tag = \"**\""),
            // Else a denial to everyone, or a repository that is gone, closes what was public, whatever a rule about tags
            // says.
            keys if turned == Some(true) => rule(keys) + "[access]\nwithdrawn = \"serve\"\n",
            keys => rule(keys),
        };
        let docxy = Cached::of(image_of(103, &[1000]), &config).await;
        docxy.warm().await;
        let image = docxy.image();
        for (status, default) in statuses.into_iter().chain(refusals) {
            docxy.stub.clear_faults();
            // A denial may have taken away what was known of the repository.
            docxy.get(TAG).await.assert_is(&image.root, &docxy.stub);
            docxy.stub.fault(On::path("/v2/*"), Fault::Status(status));
            let answer = docxy.get(TAG).await;
            tried += 1;
            let stale = turned.unwrap_or(default);
            if stale {
                let right = answer.status == 200 && answer.body == image.root.bytes;
                as_ruled += usize::from(right);
                if right {
                    assert_stale(&answer);
                } else {
                    println!("{status} under {keys:?}: {}", answer.everything());
                }
            } else {
                as_ruled += usize::from(answer.status >= 400);
                if answer.status < 400 {
                    println!("{status} under {keys:?}: {:?}", answer.headers);
                }
            }
        }
    }
    println!("C6 errors by class: {as_ruled} of {tried} as the rule says");
    assert_eq!(as_ruled, tried);
}

#[tokio::test]
async fn a_fresh_tag_asks_nobody_until_its_time_is_over() {
    // Three tiers in one configuration: immutable releases, an hour for the rest, nothing kept of `dev`.
    let config = "[[cache.tags]]\ntag = \"v*\"\nfresh = \"immutable\"\n\
                  [[cache.tags]]\ntag = \"dev\"\nfresh = \"never\"\n\
                  [[cache.tags]]\nfresh = \"1h\"\n";
    let docxy = Cached::of(image_of(104, &[1000]), config).await;
    let image = docxy.image();
    let mut asked = Vec::new();
    for tag in ["v1", "dev", "7"] {
        docxy.stub.put(REPOSITORY, tag, image.clone());
        let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
        docxy.get(&path).await.assert_is(&image.root, &docxy.stub);
        docxy.stored(&image.root).await;
        docxy.stub.forget();
        for _ in 0..5 {
            docxy.get(&path).await.assert_is(&image.root, &docxy.stub);
        }
        asked.push(docxy.stub.count("*/manifests/*"));
    }
    println!(
        "C3 upstream requests of 5 pulls each: immutable {}, never {}, an hour {}",
        asked[0], asked[1], asked[2]
    );
    assert_eq!((asked[0], asked[2]), (0, 0), "{}", docxy.stub.story());
    assert_eq!(asked[1], 5, "`never` asks each time");
}

#[tokio::test]
async fn a_changed_rule_covers_what_was_stored_before_it() {
    // Rules are read when a tag is asked for, not when it is stored: nothing must be flushed after an edit.
    let docxy = Cached::of(image_of(105, &[1000]), "").await;
    docxy.warm().await;
    let image = docxy.image();
    let docxy = docxy
        .stop()
        .await
        .start_with("[[cache.tags]]\nfresh = \"immutable\"")
        .await;
    docxy.stub.forget();
    let answer = docxy.get(TAG).await;
    answer.assert_is(&image.root, &docxy.stub);
    assert_eq!(word(&answer), "hit");
    assert_eq!(docxy.stub.requests().len(), 0, "{}", docxy.stub.story());
    let docxy = docxy
        .stop()
        .await
        .start_with("[[cache.tags]]\nfresh = \"0s\"\nstale = []")
        .await;
    docxy.stub.fault(On::path("/v2/*"), Fault::Status(503));
    assert!(docxy.get(TAG).await.status >= 500);
}

#[tokio::test]
async fn concurrent_askers_of_a_tag_share_one_question() {
    // A hundred machines that start at once must not be a hundred HEADs.
    let docxy = Cached::of(image_of(106, &[1000]), "").await;
    docxy.warm().await;
    let image = docxy.image();
    docxy.stub.forget();
    let gate = crate::support::stub::Gate::closed();
    docxy
        .stub
        .fault(On::head("*/manifests/*"), Fault::Head(gate.clone()));
    let client = docxy.client();
    let askers: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.ask(TAG).await })
        })
        .collect();
    gate.held().await;
    // Everyone has asked: each is a connection of its own, and the health answer comes behind them.
    docxy.get("/livez").await;
    gate.open();
    for asker in askers {
        asker.await.unwrap().assert_is(&image.root, &docxy.stub);
    }
    let heads = docxy.stub.heads("*/manifests/*").len();
    println!("C3 50 concurrent askers of one tag: {heads} HEAD");
    // The last of them may have come after the answer.
    assert!(heads <= 3, "{}", docxy.stub.story());
    assert_eq!(docxy.stub.gets("*/manifests/*").len(), 0);
}

#[tokio::test]
async fn stale_while_revalidate_answers_first_and_asks_after() {
    // An option for those whose pods start more often than their tags move.
    let config = rule("fresh = \"1s\"\nstale_while_revalidate = \"1h\"");
    let docxy = Cached::of(image_of(107, &[1000]), &config).await;
    docxy.warm().await;
    let old = docxy.image();
    let new = docxy.stub.put(REPOSITORY, "7", image_of(108, &[1000]));
    // The time of freshness itself is the subject.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    let gate = crate::support::stub::Gate::closed();
    docxy
        .stub
        .fault(On::path("*/manifests/*"), Fault::Head(gate.clone()));
    let answer = docxy.get(TAG).await;
    answer.assert_is(&old.root, &docxy.stub);
    assert_stale(&answer);
    let warning = answer.header("warning").unwrap_or_default();
    assert!(warning.contains("is being asked"), "nothing failed: {warning}");
    gate.held().await;
    gate.open();
    docxy.stored(&new.root).await;
    docxy.get(TAG).await.assert_is(&new.root, &docxy.stub);
}
