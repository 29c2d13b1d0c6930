//! Images that are fetched ahead.

use serde_json::{Value, json};

use super::{get, run, run_in};
use crate::cache::support::{Cached, image_of};
use crate::quotas::{hub, name};
use crate::support::image::{Content, Image, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, sha256};
use crate::support::pair;
use crate::support::stub::{Auth, Fault, Gate, On, Quota, StubRegistry};

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
    assert_eq!(explained["entitlement"]["by"], "proof", "{explained}");

    let stub = pair::hub(Auth::Token).start().await;
    let own = Cached::built(stub, |app| {
        app.configured("docker.io", "alice", pair::HUB_PASSWORD)
    })
    .await;
    let said = run(&own.app, &["cache", "prefetch", "acme/app:1"]).await.well();
    assert!(said.out.contains("all of it came now"), "{}", said.out);
    assert_eq!(
        get(&own.app, "/explain?image=acme/app:1").await["entitlement"]["by"],
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

/// Brings this under `library/redis:7`, which is no image that a person would build.
async fn refused(image: Image, config: &str) -> (String, Cached) {
    let docxy = Cached::of(image, config).await;
    let said = run(&docxy.app, &["cache", "prefetch", "--json", "redis:7"]).await;
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    let told = lines(&said.out);
    let error = only(&told, "failed")["error"].as_str().unwrap().to_owned();
    assert_eq!(docxy.stub.gets("*/blobs/*").len(), 0, "{}", docxy.stub.story());
    (error, docxy)
}

/// A manifest of layers that are nowhere, each with this size.
fn claims(layers: impl Iterator<Item = u64>, seed: u64) -> Content {
    let layers: Vec<Value> = layers
        .enumerate()
        .map(|(n, size)| {
            let digest = sha256(format!("{seed} {n}").as_bytes());
            json!({ "mediaType": OCI_LAYER, "digest": digest, "size": size })
        })
        .collect();
    let config = Content::new(OCI_CONFIG, "{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(), "layers": layers,
    });
    Content::new(OCI_MANIFEST, manifest.to_string())
}

fn index(of: &[Content]) -> Content {
    let manifests: Vec<Value> = of.iter().map(Content::descriptor).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    Content::new(OCI_INDEX, index.to_string())
}

fn image(root: Content, children: Vec<Content>) -> Image {
    Image {
        root,
        children,
        blobs: Vec::new(),
    }
}

#[tokio::test]
async fn what_came_stays_until_all_of_it_is_here() {
    // At night others pull, too: an image of which the first layers went again before the last came is none at dawn.
    let parts = image_of(9220, &[2 << 20, 1 << 20, 1 << 20]);
    let last = parts.blobs.last().unwrap().clone();
    let stub = StubRegistry::builder().image("library/redis", "7", parts.clone());
    let stub = (0..8).fold(stub, |stub, n| {
        stub.image(&format!("team/app-{n}"), "1", image_of(9230 + n, &[2 << 20]))
    });
    let docxy = Cached::start(stub, "[cache]\nmax_size = \"8MiB\"\n").await;
    let gate = Gate::closed();
    docxy.stub.fault(
        On::get(&format!("*/blobs/{}", last.digest)),
        Fault::Body(gate.clone()),
    );
    let prefetch = run(&docxy.app, &["cache", "prefetch", "--json", "redis:7"]);
    let others = async {
        for early in parts.blobs.iter().filter(|blob| blob.digest != last.digest) {
            docxy.stored(early).await;
        }
        for n in 0..8 {
            let blob = docxy.stub.image(&format!("team/app-{n}"), "1").blobs[1].clone();
            let path = format!("/v2/team/app-{n}/blobs/{}", blob.digest);
            docxy.get(&path).await.assert_is(&blob, &docxy.stub);
        }
        gate.open();
    };
    let (said, ()) = tokio::join!(prefetch, others);
    assert_eq!(only(&lines(&said.well().out), "done")["failed"], 0);
    for part in parts.blobs.iter().chain([&parts.root]) {
        assert!(docxy.folder().holds(&part.digest), "{} went", part.digest);
    }
}

#[tokio::test]
async fn a_tag_that_is_never_kept_is_not_said_to_be_pinned() {
    // Such a pin would hold nothing, and nobody would look again.
    let config = "[[cache.tags]]\nrepository = \"library/**\"\nfresh = \"never\"\n";
    let docxy = Cached::of(Image::layers(1).seed(9250), config).await;
    let said = run(&docxy.app, &["cache", "prefetch", "--pin", "redis:7"]).await;
    let root = docxy.image().root;
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(
        said.err.contains(&format!("pin {} of it", root.digest)),
        "{}",
        said.err
    );
    let pins = get(&docxy.app, "/pins").await;
    assert_eq!(pins["pins"], json!([]));
    let by_digest = format!("redis@{}", root.digest);
    let said = run(&docxy.app, &["cache", "prefetch", "--pin", &by_digest]).await;
    assert!(said.well().out.contains("; pinned"));
}

#[tokio::test]
async fn a_registry_does_not_decide_how_much_is_fetched() {
    // Whoever may write to a repository must not fill docxy's memory, nor its disk, with what one tag names.
    let many: Vec<Content> = (0..4).map(|n| claims((0..16_000).map(|_| 1), n)).collect();
    let (error, _) = refused(image(index(&many), many), "").await;
    assert!(error.contains("more than 50000 manifests and blobs"), "{error}");

    let large = vec![claims([1 << 40].into_iter(), 10), claims([1].into_iter(), 11)];
    let (error, docxy) = refused(image(index(&large), large.clone()), "").await;
    assert!(error.contains("(cache.max_size)"), "{error}");
    let asked = docxy.stub.gets(&format!("*/manifests/{}", large[1].digest));
    assert_eq!(asked.len(), 0, "what comes after it need not be looked at");

    let most = i64::MAX.unsigned_abs();
    let (error, _) = refused(image(claims([most; 3].into_iter(), 20), vec![]), "").await;
    assert!(error.contains("(cache.max_size)"), "{error}");

    let mut nested = vec![claims([1].into_iter(), 30)];
    for _ in 0..4 {
        let above = index(&nested[nested.len() - 1..]);
        nested.push(above);
    }
    let root = nested.pop().unwrap();
    let (error, _) = refused(image(root, nested), "").await;
    assert!(error.contains("name further indexes, deeper than 3"), "{error}");
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

#[tokio::test]
async fn what_another_registry_brought_is_this_ones_after_it_was_asked() {
    // A private image has Debian's base layer, and came first: Debian's own image can be fetched ahead all the same.
    let shared = image_of(9301, &[300_000]);
    let debian = StubRegistry::builder()
        .image("library/debian", "12", shared.clone())
        .start()
        .await;
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("ci", "ci-password")
        .private("team/app", &["ci"])
        .image("team/app", "1", shared)
        .start()
        .await;
    let layer = stub.image("team/app", "1").layer_blobs()[0].clone();
    let url = debian.url();
    let docxy = Cached::built(stub, move |app| {
        let keys = format!("urls = [{url:?}]\nallow_private_addresses = true\n");
        app.config(&format!("[registries.\"debian.test\"]\n{keys}"))
    })
    .await;
    let pulled = crate::support::puller::Puller::of(&docxy.app)
        .login("ci", "ci-password")
        .get(&format!("/v2/team/app/blobs/{}", layer.digest))
        .await;
    pulled.assert_is(&layer, &docxy.stub);
    docxy.stored(&layer).await;
    let said = run(
        &docxy.app,
        &["cache", "prefetch", "debian.test/library/debian:12"],
    )
    .await;
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    debian.down().await;
    let path = format!("/v2/debian.test/library/debian/blobs/{}", layer.digest);
    docxy.get(&path).await.assert_is(&layer, &debian);
}

#[tokio::test]
async fn an_image_that_its_registrys_room_does_not_hold_is_refused_before_it_comes() {
    // Its first layers would make room for its last ones, and "all of it came" would be a lie.
    let stub = StubRegistry::builder()
        .image("team/large", "1", image_of(9302, &[600_000, 600_000, 600_000]))
        .start()
        .await;
    let docxy = Cached::built(stub, |app| {
        app.config("[registries.\"docker.io\"]\ncache_quota = \"1MiB\"\n")
    })
    .await;
    let said = run(&docxy.app, &["cache", "prefetch", "team/large:1"]).await;
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(
        said.out.contains("cache_quota") || said.err.contains("cache_quota"),
        "{}{}",
        said.out,
        said.err
    );
    assert!(docxy.stub.gets("*/blobs/*").is_empty(), "{}", docxy.stub.story());
}
