//! The question that is asked most, by the command and by the API; and that asking changes nothing.

use serde_json::Value;

use crate::cache::support::{Cached, TAG, image_of, word};
use crate::keep::{get, run};

const RULES: &str = "\
[[cache.tags]]
tag = \"fixed\"
fresh = \"1h\"
[[cache.tags]]
tag = \"7\"
fresh = \"revalidate\"
[[access.rules]]
effect = \"deny\"
repository = \"secret/**\"
comment = \"closed\"
";

async fn explained(docxy: &Cached, image: &str) -> Value {
    get(&docxy.app, &format!("/explain?image={image}&client=127.0.0.1")).await
}

#[tokio::test]
async fn asking_asks_nobody_and_touches_nothing() {
    // Whoever looks why something is old must not make it young, nor use up a limit by looking.
    let docxy = Cached::of(image_of(9410, &[5000, 6000]), RULES).await;
    docxy.warm().await;
    let before = (docxy.stub.requests().len(), docxy.stub.connections());
    let next = get(&docxy.app, "/cache/next?limit=1000").await;
    let order = |next: &Value| -> Vec<String> {
        let going = next["going"].as_array().unwrap();
        going.iter().map(|going| going["digest"].to_string()).collect()
    };
    assert_eq!(next["going"].as_array().unwrap().len(), 4);
    for image in ["redis:7", "redis:nope", "secret/app:1", "ghcr.io/o/i"] {
        explained(&docxy, image).await;
        run(&docxy.app, &["explain", image, "--client", "127.0.0.1"])
            .await
            .well();
    }
    // Files learn of uses when docxy ends: this one must not have one that is newer.
    assert_eq!(
        order(&get(&docxy.app, "/cache/next?limit=1000").await),
        order(&next)
    );
    let after = (docxy.stub.requests().len(), docxy.stub.connections());
    assert_eq!(after, before, "{}", docxy.stub.story());
}

#[tokio::test]
async fn for_one_image_why_it_is_stale_public_pinned_and_what_goes_next() {
    // The question that an operator is asked at night, answered in one place.
    let docxy = Cached::of(image_of(9420, &[5000, 6000]), RULES).await;
    docxy.warm().await;
    let other = docxy.stub.put("library/other", "1", image_of(9421, &[7000]));
    docxy
        .get("/v2/library/other/manifests/1")
        .await
        .assert_is(&other.root, &docxy.stub);
    run(&docxy.app, &["cache", "pin", "redis:7"]).await.well();
    docxy.stub.down().await;
    assert_eq!(word(&docxy.get(TAG).await), "stale");
    let said = explained(&docxy, "redis:7").await;
    assert_eq!(said["expected"]["outcome"], "stale");
    assert_eq!(
        (&said["registry"], &said["named_by"]),
        (&"docker.io".into(), &"default".into())
    );
    assert_eq!(
        (&said["entitlement"]["by"], &said["openness"]),
        (&"public".into(), &"public".into())
    );
    assert_eq!(said["freshness"]["rule"], 2);
    assert!(
        said["freshness"]["because"]
            .as_str()
            .unwrap()
            .starts_with("stale: docker.io can't be asked"),
        "{said}"
    );
    assert!(
        said["freshness"]["stale_for"].as_u64().unwrap() > 29 * 24 * 3600,
        "{said}"
    );
    let stored = &said["stored"];
    assert_eq!((&stored["whole"], &stored["blobs"]), (&true.into(), &4.into()));
    assert_eq!(stored["pins"], serde_json::json!(["docker.io/library/redis:7"]));
    assert_eq!(stored["next"], Value::Null, "pinned: nothing of it goes");
    assert_eq!(said["access"]["decided_by"], "default");
    assert_eq!(said["credential"]["name"], "anonymous");
    assert_eq!(said["registry_answers"], false);
    let part = explained(&docxy, "other:1").await;
    assert_eq!(
        (&part["stored"]["stored_blobs"], &part["stored"]["blobs"]),
        (&1.into(), &3.into())
    );
    assert_eq!(part["stored"]["next"]["number"], 1, "{part}");
    let denied = explained(&docxy, "secret/app:1").await;
    assert_eq!(
        (&denied["expected"]["outcome"], &denied["access"]["rule"]),
        (&"denied".into(), &1.into())
    );

    let said = run(&docxy.app, &["explain", "redis:7"]).await.well().out;
    for sentence in [
        "A pull now: stale; docker.io can't be reached: what the tag meant is served, as its rule allows.",
        "library/redis is public: docker.io gave it without an account",
        "All of it is stored: 4 blobs",
        "It is pinned, by docker.io/library/redis:7.",
        "Nothing of it goes for want of room.",
        "Of the whole cache nothing goes before",
        "of docker.io/library/other:1: nobody asked again",
    ] {
        assert!(said.contains(sentence), "{sentence}\n{said}");
    }
    let next = run(&docxy.app, &["cache", "next"]).await.well().out;
    assert!(
        next.contains("nobody asked again") && next.contains("docker.io/library/other:1"),
        "{next}"
    );
    let wrong = run(&docxy.app, &["explain", "ghcr.io/o/i", "--door", "default"]).await;
    assert!(
        wrong
            .out
            .contains("A pull now: failed-client; by the door default /v2/o/i/manifests/latest leads to docker.io, not to ghcr.io; these doors lead there: ns, prefix."),
        "{}",
        wrong.out
    );
}
