//! What it says is what comes: an operator who reads "hit" must not find that a pull asked the registry. After each telling the
//! pull is really made, and comes to the same word.

use super::{explained, says, trial};
use crate::cache::support::{Cached, TAG, image_of, word};
use crate::mirrors::support::Places;
use crate::support::{
    app::TestApp,
    pair::{HUB_PASSWORD, hub},
    puller::Puller,
    stub::{Auth, Quota, StubRegistry},
};

const RULES: &str = "\
[[cache.tags]]
tag = \"fixed\"
fresh = \"1h\"
[[cache.tags]]
tag = \"swift\"
fresh = \"revalidate\"
stale_while_revalidate = \"1h\"
[[cache.tags]]
tag = \"never\"
fresh = \"never\"
[[cache.tags]]
tag = \"strict\"
fresh = \"revalidate\"
stale = []
[[access.rules]]
effect = \"deny\"
repository = \"secret/**\"
comment = \"closed\"
";

#[tokio::test]
async fn from_a_registry_that_answers_and_then_does_not() {
    // The life of a tag by each kind of rule: what it says at the first pull, at the next, and in an outage.
    let tags = ["7", "fixed", "swift", "never", "strict"];
    let stub = (9400..)
        .zip(tags)
        .fold(StubRegistry::builder(), |stub, (seed, tag)| {
            stub.image("library/redis", tag, image_of(seed, &[5000, 6000]))
        })
        .image("secret/app", "1", image_of(9410, &[10]))
        .image("library/other", "1", image_of(9400, &[5000, 6000]));
    let docxy = Cached::start(stub, RULES).await;
    let (app, stub) = (&docxy.app, &docxy.stub);
    let paths = tags.map(|tag| {
        (
            format!("redis:{tag}"),
            format!("/v2/library/redis/manifests/{tag}"),
        )
    });
    let [seven, fixed, swift, never, strict] = paths
        .each_ref()
        .map(|(image, path)| trial(app, stub, image, path));
    let digest = docxy.image().root.digest;
    let (image, path) = (
        format!("redis@{digest}"),
        format!("/v2/library/redis/manifests/{digest}"),
    );
    let by_digest = trial(app, stub, &image, &path);
    let secret = trial(app, stub, "secret/app:1", "/v2/secret/app/manifests/1");

    by_digest.comes("miss", "it is not stored").await;
    // That its bytes are here already is found out by asking, which nobody knows beforehand.
    assert_eq!(word(&docxy.get(TAG).await), "revalidated");
    for first in [&fixed, &swift, &strict] {
        first.comes("miss", "what the tag means is not known here").await;
    }
    seven.comes("revalidated", "one small request").await;
    strict.comes("revalidated", "one small request").await;
    fixed.comes("hit", "fresh by its rule").await;
    swift
        .comes("stale", "served at once, and docker.io is asked meanwhile")
        .await;
    settled(&docxy).await;
    for _ in 0..2 {
        never.comes("bypass", "its rule is never").await;
    }
    by_digest.comes("hit", "a digest means the same for ever").await;
    secret
        .comes("denied", "rule 1 of the 1 [[access.rules]] denies it: closed")
        .await;
    let (image, path) = (
        format!("library/other@{digest}"),
        format!("/v2/library/other/manifests/{digest}"),
    );
    let elsewhere = trial(app, stub, &image, &path);
    elsewhere
        .comes("hit", "docker.io is asked only whether this repository has it")
        .await;

    stub.down().await;
    // Somebody has to notice it.
    assert_eq!(word(&docxy.get(TAG).await), "stale");
    let told = seven
        .comes(
            "stale",
            "can't be reached: what the tag meant is served, as its rule allows",
        )
        .await;
    says(&told, "/freshness/because", "its rule lets it be served on");
    swift.comes("stale", "can't be reached").await;
    fixed.comes("hit", "fresh by its rule").await;
    by_digest.comes("hit", "nobody is asked").await;
    let told = strict
        .comes("failed-upstream", "its rule does not let it be served on")
        .await;
    says(&told, "/freshness/because", "does not let it be served while");
    never.comes("failed-upstream", "its rule is never").await;
    let missing = trial(app, stub, "redis:nope", "/v2/library/redis/manifests/nope");
    missing
        .comes(
            "failed-upstream",
            "is not known here, and docker.io can't be reached",
        )
        .await;
    let absent = format!("sha256:{}", "ab".repeat(32));
    let (image, path) = (
        format!("redis@{absent}"),
        format!("/v2/library/redis/manifests/{absent}"),
    );
    let absent = trial(app, stub, &image, &path);
    absent
        .comes(
            "failed-upstream",
            "it is not stored, and docker.io can't be reached",
        )
        .await;
    secret.comes("denied", "closed").await;
}

#[tokio::test]
async fn when_docxy_is_told_to_ask_nobody() {
    // On a ship: what is there comes, stale where it is a tag, and all else fails for docxy's own reason.
    let docxy = Cached::of(image_of(9420, &[5000]), RULES).await;
    docxy.get(TAG).await;
    let digest = docxy.image().root.digest;
    docxy.stored(&docxy.image().root).await;
    // What the scrub reads just then does not go, and the next look would tell something else.
    let docxy = docxy.stop().await;
    let docxy = docxy
        .start_with("[cache]\noffline = true\nscrub_rate = \"0B\"\n")
        .await;
    let (app, stub) = (&docxy.app, &docxy.stub);
    let told = trial(app, stub, "redis:7", TAG)
        .comes("stale", "cache.offline")
        .await;
    says(&told, "/freshness/because", "cache.offline");
    let (image, path) = (
        format!("redis@{digest}"),
        format!("/v2/library/redis/manifests/{digest}"),
    );
    trial(app, stub, &image, &path).comes("hit", "it is stored").await;
    let missing = trial(app, stub, "redis:8", "/v2/library/redis/manifests/8");
    missing.comes("failed-local", "cache.offline").await;
    let private = trial(app, stub, "acme/app:1", "/v2/acme/app/manifests/1");
    private
        .comes(
            "failed-local",
            "must confirm the client's right, and docxy is told to ask nobody",
        )
        .await;
}

#[tokio::test]
async fn without_a_cache() {
    // docxy as a mere gate has nothing of its own to give.
    let stub = hub(Auth::Token).start().await;
    let app = TestApp::builder().registry("docker.io", &stub).start().await;
    let redis = trial(&app, &stub, "redis:7", "/v2/library/redis/manifests/7");
    let told = redis.comes("bypass", "keeps nothing").await;
    assert_eq!(told["entitlement"]["by"], "registry", "{told:#}");
    assert!(told["stored"].is_null() && told["eviction"].is_null(), "{told:#}");
    let alice = trial(&app, &stub, "acme/app:1", "/v2/acme/app/manifests/1").by("alice", HUB_PASSWORD);
    alice.comes("bypass", "client's own account").await;
    stub.down().await;
    Puller::of(&app).ask("/v2/library/redis/manifests/7").await;
    redis.comes("failed-upstream", "can't be reached").await;
}

#[tokio::test]
async fn when_the_registry_takes_it_away() {
    // A tag that is gone is neither missing here nor forbidden, and comes back by itself when the registry has it again.
    let docxy = Cached::of(image_of(9430, &[5000]), RULES).await;
    docxy.warm().await;
    docxy.stub.put("library/redis", "8", image_of(9431, &[10]));
    docxy.get("/v2/library/redis/manifests/8").await;
    docxy.stub.untag("library/redis", "7");
    let answer = docxy.get(TAG).await;
    assert_eq!(answer.status, 404, "{}", answer.everything());
    let (app, stub) = (&docxy.app, &docxy.stub);
    let told = trial(app, stub, "redis:7", TAG);
    let told = told.comes("failed-client", "said that it is gone (404)").await;
    says(&told, "/freshness/because", "said that it is gone (404)");
    stub.down().await;
    docxy.get("/v2/library/redis/manifests/8").await;
    trial(app, stub, "redis:7", TAG)
        .comes("failed-upstream", "can't be reached")
        .await;
}

#[tokio::test]
async fn what_was_public_and_is_so_no_more() {
    // `access.withdrawn` is the operator's own choice: he is told that it is what serves, or refuses.
    for (withdrawn, outcome, because) in [
        ("warn", "stale", "access.withdrawn says"),
        ("refuse", "denied", "the client must sign in"),
    ] {
        let stub = StubRegistry::builder()
            .auth(Auth::TokenForPrivate)
            .user("alice", "alice-password")
            .image("library/redis", "7", image_of(9440, &[3000]));
        let docxy = Cached::built(stub.start().await, move |app| {
            app.config(&format!("[access]\nwithdrawn = {withdrawn:?}"))
        })
        .await;
        docxy.warm().await;
        docxy.stub.close("library/redis", &["alice"]);
        docxy.get(TAG).await;
        // It is asked behind that whether all of it is closed.
        let (app, stub) = (&docxy.app, &docxy.stub);
        settled(&docxy).await;
        let told = trial(app, stub, "redis:7", TAG).comes(outcome, because).await;
        assert_eq!(told["served_on"], withdrawn == "warn", "{told:#}");
    }
}

/// No question that was asked behind an answer is on its way.
async fn settled(docxy: &Cached) {
    let seen = || docxy.stub.requests().len();
    let mut before = seen();
    for _ in 0..100 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if seen() == before {
            return;
        }
        before = seen();
    }
    panic!("it never rests: {}", docxy.stub.story());
}

#[tokio::test]
async fn what_is_private_after_a_restart() {
    // Proofs and refusals are forgotten then: what is stored and was never given to everyone is not promised to anybody.
    let docxy = Cached::built(hub(Auth::Token).start().await, |app| {
        app.config("[cache]\nscrub_rate = \"0B\"\n[[cache.tags]]\nfresh = \"1h\"\n")
    })
    .await;
    let path = "/v2/acme/app/manifests/1";
    let alice = Puller::of(&docxy.app).login("alice", HUB_PASSWORD);
    alice.get(path).await.assert_status(&[200], &docxy.stub);
    docxy.stored(&docxy.stub.image("acme/app", "1").root).await;
    let docxy = docxy.again().await;
    let (app, stub) = (&docxy.app, &docxy.stub);
    let told = trial(app, stub, "acme/app:1", path)
        .comes("denied", "without an account")
        .await;
    assert_eq!(told["openness"], "unknown", "{told:#}");
    let alice = trial(app, stub, "acme/app:1", path).by("alice", HUB_PASSWORD);
    alice
        .comes("revalidated", "a hit, where it gave it to this account within")
        .await;
    // As was said beside.
    let answer = Puller::of(app).login("alice", HUB_PASSWORD).get(path).await;
    assert_eq!(word(&answer), "hit");
    let digest = stub.image("acme/app", "1").root.digest;
    let (image, path) = (
        format!("acme/app@{digest}"),
        format!("/v2/acme/app/manifests/{digest}"),
    );
    let nobody = trial(app, stub, &image, &path);
    nobody
        .comes("denied", "docker.io is to say whether the client may have it")
        .await;
    let alice = trial(app, stub, &image, &path).by("alice", HUB_PASSWORD);
    alice.comes("hit", "whether the client may have it").await;
}

#[tokio::test]
async fn where_the_account_is_empty_and_the_address_pays() {
    // Docker Hub counts by account and by address: what is for everyone still comes, and it is told at whose cost.
    let quota = Quota {
        anonymous: 5,
        signed_in: 1,
        retry_after: Some(600),
    };
    let stub = hub(Auth::Token).quota(quota).start().await;
    let docxy = Cached::built(stub, |app| app.configured("docker.io", "alice", HUB_PASSWORD)).await;
    let (app, stub) = (&docxy.app, &docxy.stub);
    trial(app, stub, "redis:7", TAG)
        .comes("miss", "not known here")
        .await;
    let other = ("owner/image:1", "/v2/owner/image/manifests/1");
    let told = trial(app, stub, other.0, other.1);
    told.comes(
        "miss",
        "without an account, which gives it only if it is for everyone",
    )
    .await;
    trial(app, stub, other.0, other.1)
        .comes("revalidated", "one small request")
        .await;
    let told = explained(app, stub, &[("image", "redis:7")]).await;
    assert_eq!(told["credential"]["name"], "alice", "{told:#}");
    assert_eq!(told["credential"]["quota"]["remaining"], 0, "{told:#}");
}

#[tokio::test]
async fn where_a_mirror_has_it() {
    // In an outage of the registry a digest of what is public still comes, and a tag that nobody knows does not.
    let places = Places::of(image_of(9450, &[5000]), 1, "").await;
    places.public().await;
    places.own.down().await;
    let (app, stub) = (&places.app, &places.own);
    let nope = "/v2/library/redis/manifests/nope";
    // Somebody has to notice it.
    assert_eq!(Puller::of(app).ask(nope).await.status, 502);
    let digest = places.own.image("library/redis", "8").root.digest;
    let (image, path) = (
        format!("redis@{digest}"),
        format!("/v2/library/redis/manifests/{digest}"),
    );
    trial(app, stub, &image, &path)
        .comes("miss", "docker.io can't be reached: its mirrors may have it")
        .await;
    trial(app, stub, "redis:nope", nope)
        .comes("failed-upstream", "docker.io can't be reached")
        .await;
}
