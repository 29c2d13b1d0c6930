//! Images that are fetched ahead.

use serde_json::Value;

use super::{get, run, run_in};
use crate::cache::support::{Cached, image_of};
use crate::quotas::{hub, name};
use crate::support::image::Image;
use crate::support::pair;
use crate::support::stub::{Auth, Fault, On, Quota, StubRegistry};

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The line of one sort.
#[track_caller]
fn only<'a>(lines: &'a [Value], sort: &str) -> &'a Value {
    let mut found = lines.iter().filter_map(|line| line.get(sort));
    let first = found.next().unwrap_or_else(|| panic!("no {sort} in {lines:?}"));
    assert!(found.next().is_none(), "{lines:?}");
    first
}

#[tokio::test]
async fn only_the_wanted_platforms_come_once_and_are_there_when_the_registry_is_not() {
    // Before a maintenance at night the images of tomorrow are fetched: all of them, and no byte for machines nobody has.
    let image: Image = Image::layers(2)
        .oci()
        .platforms(&["amd64", "arm64", "s390x"])
        .seed(9200)
        .into();
    let docxy = Cached::of(image.clone(), "").await;
    let said = run(
        &docxy.app,
        &[
            "cache",
            "prefetch",
            "--json",
            "--pin",
            "--platform",
            "linux/arm64",
            "redis:7",
        ],
    );
    let told = lines(&said.await.well().out);
    // Three blobs for each platform: a configuration and two layers.
    let wanted = [
        &image.root,
        &image.children[1],
        &image.blobs[3],
        &image.blobs[4],
        &image.blobs[5],
    ];
    let bytes: usize = wanted.iter().map(|part| part.bytes.len()).sum();
    let came = only(&told, "image");
    assert_eq!(
        (&came["digest"], &came["pinned"]),
        (&image.root.digest.clone().into(), &true.into())
    );
    assert_eq!((&came["blobs"], &came["fetched_blobs"]), (&5.into(), &5.into()));
    assert_eq!(
        (&came["bytes"], &came["fetched_bytes"]),
        (&bytes.into(), &bytes.into())
    );
    assert_eq!(only(&told, "done")["failed"], 0);
    assert_eq!(docxy.folder().blobs().len(), 5);
    assert_eq!(
        docxy.stub.gets("/v2/library/redis/*").len(),
        5,
        "{}",
        docxy.stub.story()
    );
    // Again: one question whether the tag still means this.
    docxy.stub.forget();
    let said = run(
        &docxy.app,
        &["cache", "prefetch", "--platform", "linux/arm64", "redis:7"],
    )
    .await
    .well();
    assert!(said.out.contains("all of it was here"), "{}", said.out);
    assert_eq!(
        docxy.stub.gets("/v2/library/redis/*").len(),
        0,
        "{}",
        docxy.stub.story()
    );
    assert_eq!(
        docxy.stub.heads("/v2/library/redis/*").len(),
        1,
        "{}",
        docxy.stub.story()
    );
    let pins = get(&docxy.app, "/pins").await;
    assert_eq!(pins["pins"][0]["platforms"], serde_json::json!(["linux/arm64"]));
    assert_eq!(pins["pins"][0]["state"], "whole");
    docxy.stub.down().await;
    for part in wanted {
        let kind = if part.media_type.contains("manifest") || part.media_type.contains("index") {
            "manifests"
        } else {
            "blobs"
        };
        let path = format!("/v2/library/redis/{kind}/{}", part.digest);
        docxy.get(&path).await.assert_is(part, &docxy.stub);
    }
    let said = run(
        &docxy.app,
        &["cache", "prefetch", "--platform", "linux/mips", "redis:7"],
    )
    .await;
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
}

#[tokio::test]
async fn one_that_fails_does_not_stop_the_others() {
    // A list of a hundred images has one that was deleted, one that is private, and one whose registry sends other bytes.
    let stub = pair::hub(Auth::Token)
        .image("team/rotten", "1", image_of(9201, &[100_000]))
        .start()
        .await;
    let rotten = stub.image("team/rotten", "1").blobs[1].clone();
    stub.fault(
        On::get(&format!("/v2/team/rotten/blobs/{}", rotten.digest)),
        Fault::WrongByteAt(50_000),
    );
    let docxy = Cached::built(stub, |app| app).await;
    let file = docxy.app.dir().join("images");
    std::fs::write(
        &file,
        "redis:7 # public\nacme/app:1\nowner/image:nope\nteam/rotten:1\n\nowner/image:1\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let said = run(&docxy.app, &["cache", "prefetch", "--json", "--file", file]).await;
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    let told = lines(&said.out);
    let of = |sort: &str| -> Vec<String> {
        let lines = told.iter().filter_map(|line| line.get(sort));
        lines
            .map(|line| line["image"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        of("image"),
        ["docker.io/library/redis:7", "docker.io/owner/image:1"]
    );
    assert_eq!(
        of("failed"),
        [
            "docker.io/acme/app:1",
            "docker.io/owner/image:nope",
            "docker.io/team/rotten:1"
        ]
    );
    let private = told.iter().find_map(|line| line.get("failed")).unwrap();
    assert!(
        private["error"]
            .as_str()
            .unwrap()
            .contains("docxy has no account of its own there: with auth = \"configured\""),
        "{private}"
    );
    assert!(
        !docxy.folder().holds(&rotten.digest),
        "wrong bytes are never kept"
    );
    let done = only(&told, "done");
    assert_eq!((&done["images"], &done["failed"]), (&5.into(), &3.into()));
}

#[tokio::test]
async fn nobody_gets_a_right_by_it() {
    // docxy's own account fetches a private image ahead for its users; at a registry where people sign in themselves that is
    // impossible, and what is cached of somebody's private image stays his (threats S4, S5).
    let stub = pair::hub(Auth::Token).start().await;
    let docxy = Cached::built(stub, |app| app).await;
    let image = docxy.stub.image("acme/app", "1");
    let alice = docxy.client().login("alice", pair::HUB_PASSWORD);
    let got = alice.get("/v2/acme/app/manifests/1").await;
    got.assert_is(&image.root, &docxy.stub);
    let said = run(&docxy.app, &["cache", "prefetch", "acme/app:1"]).await;
    assert_eq!(said.code, Some(1), "{}", said.out);
    let stranger = docxy.get("/v2/acme/app/manifests/1").await;
    assert!(matches!(stranger.status, 401 | 403), "{stranger:?}");
    let explained = get(&docxy.app, "/explain?image=acme/app:1").await;
    assert_eq!(explained["entitlement"], "proof", "{explained}");

    let stub = pair::hub(Auth::Token).start().await;
    let own = Cached::built(stub, |app| {
        app.configured("docker.io", "alice", pair::HUB_PASSWORD)
    })
    .await;
    let said = run(&own.app, &["cache", "prefetch", "acme/app:1"]).await.well();
    assert!(said.out.contains("all of it came now"), "{}", said.out);
    assert_eq!(
        get(&own.app, "/explain?image=acme/app:1").await["entitlement"],
        "docxys_account"
    );
}

#[tokio::test]
async fn a_limit_is_not_used_up() {
    // A job at night must not leave the morning without pulls: a tenth is the clients', and it says when to come back.
    let stub = hub(
        Quota {
            anonymous: 20,
            signed_in: 20,
            retry_after: None,
        },
        30,
    )
    .await;
    let docxy = Cached::built(stub, |app| app).await;
    let images: Vec<String> = (0..30).map(|n| format!("{}:1", name(n))).collect();
    let mut arguments = vec!["cache", "prefetch", "--json"];
    arguments.extend(images.iter().map(String::as_str));
    let said = run(&docxy.app, &arguments).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    let told = lines(&said.out);
    let came = told.iter().filter(|line| line.get("image").is_some()).count();
    let failed: Vec<&Value> = told.iter().filter_map(|line| line.get("failed")).collect();
    assert_eq!(came + failed.len(), 30);
    assert_eq!(came, 18, "{failed:?}");
    assert!(
        failed[0]["error"]
            .as_str()
            .unwrap()
            .contains("2 of 20 pulls are left, and a tenth is kept for clients"),
        "{failed:?}"
    );
    assert!(failed[0]["come_back"].as_u64().unwrap() > 0, "{failed:?}");
    assert!(
        failed[1]["error"].as_str().unwrap().contains("left for later"),
        "{failed:?}"
    );
    // A question without a token is not counted.
    let gets = docxy.stub.gets("/v2/*/manifests/*");
    assert_eq!(
        gets.iter().filter(|seen| seen.status == Some(200)).count(),
        18,
        "{}",
        docxy.stub.story()
    );
}

#[tokio::test]
async fn without_docxy_it_says_how() {
    // Whoever runs it from a script of his own must learn that docxy itself has to run.
    let docxy = Cached::start(StubRegistry::builder(), "").await;
    let ended = docxy.stop().await;
    let home = ended.folder().path().parent().unwrap().to_owned();
    let said = run_in(&home, &["cache", "prefetch", "redis:7"]).await;
    assert_eq!(said.code, Some(1));
    assert!(
        said.err
            .contains("it is the running docxy that fetches, so start it"),
        "{}",
        said.err
    );
}
