//! S4: what one person may read must not reach another through the cache. alice has the right, bob has another one, nobody
//! has none; each asks for alice's image in every way there is, after she warmed the cache.

use super::support::{Cached, word};
use crate::support::{
    client::{Request, Response},
    image::{Content, Image},
    puller::Puller,
    stub::{Auth, Fault, On, StubRegistry},
};

pub const PRIVATE: &str = "acme/app";
const MISSING: &str = "acme/none";
const PUBLIC: &str = "library/redis";
const BOBS: &str = "bob/own";

pub async fn registry(image: &Image) -> StubRegistry {
    StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .private(PRIVATE, &["alice"])
        .private(BOBS, &["bob"])
        .image(PRIVATE, "1", image.clone())
        .image(BOBS, "1", Image::layers(1).seed(181))
        .image(PUBLIC, "7", Image::layers(1).seed(182))
        .start()
        .await
}

pub fn secret_image() -> Image {
    Image::layers(2).seed(180).oci().platforms(&["amd64"]).build()
}

pub fn contents(image: &Image) -> Vec<Content> {
    image
        .children
        .iter()
        .chain([&image.root])
        .chain(&image.blobs)
        .cloned()
        .collect()
}

/// Pulls everything of the repository's image, as this person, with one token for all of it as real clients do.
pub async fn pull(docxy: &Cached, who: &Puller, repository: &str, tag: &str) {
    let who = &who.signed_in(&format!("repository:{repository}:pull")).await;
    let image = docxy.stub.image(repository, tag);
    who.get(&format!("/v2/{repository}/manifests/{tag}"))
        .await
        .assert_is(&image.root, &docxy.stub);
    for manifest in &image.children {
        let path = format!("/v2/{repository}/manifests/{}", manifest.digest);
        who.get(&path).await.assert_is(manifest, &docxy.stub);
    }
    for blob in &image.blobs {
        let path = format!("/v2/{repository}/blobs/{}", blob.digest);
        who.get(&path).await.assert_is(blob, &docxy.stub);
    }
    for content in contents(&image) {
        docxy.stored(&content).await;
    }
}

/// A request as this person: asked, challenged, signed in, asked again.
pub async fn ask(to: &Puller, method: &str, path: &str, range: Option<&str>) -> Response {
    match range {
        None => to.send(method, path).await,
        Some(range) => to.ranged(path, range).await,
    }
}

/// The paths by which this content might be had through that repository, with method and range.
fn ways(
    repository: &str,
    content: &Content,
    tag: Option<&str>,
) -> Vec<(&'static str, String, Option<&'static str>)> {
    let manifest = content.media_type.contains("manifest") || content.media_type.contains("index");
    let kind = if manifest { "manifests" } else { "blobs" };
    let mut ways = Vec::new();
    for prefix in ["/v2/", "/v2/docker.io/"] {
        let path = format!("{prefix}{repository}/{kind}/{}", content.digest);
        ways.push(("GET", path.clone(), None));
        ways.push(("HEAD", path.clone(), None));
        if !manifest {
            ways.push(("GET", path.clone(), Some("bytes=0-99")));
            ways.push(("GET", path, Some("bytes=-50")));
        }
        if let Some(tag) = tag {
            let path = format!("{prefix}{repository}/manifests/{tag}");
            ways.push(("GET", path.clone(), None));
            ways.push(("HEAD", path, None));
        }
    }
    ways
}

struct Matrix {
    tried: usize,
    given: usize,
    bytes: usize,
    told_apart: usize,
}

/// Everything of the private image, by every way, as each person without the right.
async fn matrix(docxy: &Cached, upstream: Upstream) -> Matrix {
    let secret = docxy.stub.image(PRIVATE, "1");
    let mut matrix = Matrix {
        tried: 0,
        given: 0,
        bytes: 0,
        told_apart: 0,
    };
    for client in [docxy.client(), docxy.client().login("bob", "bob-password")] {
        for client in [client.clone(), client.ns("docker.io")] {
            for content in contents(&secret) {
                let tag = (content == secret.root).then_some("1");
                for (method, path, range) in ways(PRIVATE, &content, tag) {
                    let answer = ask(&client, method, &path, range).await;
                    matrix.tried += 1;
                    let shown = leaked(&answer, &content);
                    if shown > 0 || matches!(answer.status, 200 | 206) {
                        println!("{upstream:?} {method} {path} {range:?}: {}", answer.status);
                    }
                    matrix.given += usize::from(matches!(answer.status, 200 | 206));
                    matrix.bytes += shown;
                    let other = path.replace(PRIVATE, MISSING);
                    let missing = ask(&client, method, &other, range).await;
                    let same = answer.status == missing.status
                        && answer.text().replace(PRIVATE, MISSING) == missing.text();
                    if !same {
                        println!(
                            "{upstream:?} {method} {path} {range:?}: {} {} where a missing one gives {} {}",
                            answer.status,
                            answer.text(),
                            missing.status,
                            missing.text()
                        );
                    }
                    matrix.told_apart += usize::from(!same);
                }
            }
        }
    }
    matrix
}

/// How many bytes of the content are in an answer, if any at all are.
pub fn leaked(answer: &Response, content: &Content) -> usize {
    let window = answer.body.len().min(32);
    let shown = window >= 16
        && content
            .bytes
            .windows(window)
            .any(|part| part == &answer.body[..window]);
    if shown { answer.body.len() } else { 0 }
}

#[derive(Clone, Copy, Debug)]
enum Upstream {
    Up,
    Failing,
    Down,
}

#[tokio::test]
async fn a_warm_private_image_is_for_those_with_the_right_only() {
    // rpardini/docker-registry-proxy warns of exactly this; zot's CVE-2024-39897.
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| {
        app.config("[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"")
    })
    .await;
    let alice = docxy.client().login("alice", "alice-password");
    let bob = docxy.client().login("bob", "bob-password");
    pull(&docxy, &alice, PRIVATE, "1").await;
    pull(&docxy, &bob, BOBS, "1").await;
    pull(&docxy, &docxy.client(), PUBLIC, "7").await;
    let mut total = Matrix {
        tried: 0,
        given: 0,
        bytes: 0,
        told_apart: 0,
    };
    for upstream in [Upstream::Up, Upstream::Failing, Upstream::Down] {
        match upstream {
            Upstream::Up => {}
            Upstream::Failing => docxy.stub.fault(On::path("*"), Fault::Status(503)),
            Upstream::Down => {
                docxy.stub.clear_faults();
                docxy.stub.down().await;
            }
        }
        let found = matrix(&docxy, upstream).await;
        total.tried += found.tried;
        total.given += found.given;
        total.bytes += found.bytes;
        total.told_apart += found.told_apart;
        // Whoever may read what is public still can, whatever the upstream does.
        pull(&docxy, &docxy.client(), PUBLIC, "7").await;
    }
    let Matrix {
        tried,
        given,
        bytes,
        told_apart,
    } = total;
    println!(
        "S4 alice's warm private image asked for by bob and nobody, upstream up, failing, down: {given} of {tried} answered, \
         {bytes} bytes, {told_apart} told apart from a missing repository"
    );
    assert_eq!((given, bytes, told_apart), (0, 0, 0));
    assert!(tried > 150, "{tried}");
}

#[tokio::test]
async fn who_has_the_right_is_served_from_disk_after_one_proof() {
    // The right is proved upstream, the bytes are not fetched again; within a minute one proof is enough.
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| app).await;
    let alice = docxy.client().login("alice", "alice-password");
    pull(&docxy, &alice, PRIVATE, "1").await;
    docxy.stub.forget();
    pull(&docxy, &alice, PRIVATE, "1").await;
    let sent = docxy.stub.sent("*/blobs/*");
    let asked = docxy.stub.count("/v2/acme/*");
    println!("S4 alice pulls again: {sent} bytes of blobs sent, {asked} upstream requests at the registry");
    assert_eq!(sent, 0, "{}", docxy.stub.story());
    assert!(asked <= 3, "{}", docxy.stub.story());
    let docxy = docxy.again().await;
    let alice = docxy.client().login("alice", "alice-password");
    docxy.stub.forget();
    pull(&docxy, &alice, PRIVATE, "1").await;
    assert_eq!(docxy.stub.sent("*/blobs/*"), 0, "{}", docxy.stub.story());
}

#[tokio::test]
async fn proofs_at_the_same_time_are_one_question() {
    // A client asks for ten layers at once: the registry is asked for its right once, and never by HEAD of a blob, which Harbor
    // answers with 404 for what it has not cached itself.
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| app).await;
    let alice = docxy.client().login("alice", "alice-password");
    pull(&docxy, &alice, PRIVATE, "1").await;
    // What was proved is forgotten, and so is that nobody may read it.
    let docxy = docxy.again().await;
    let scope = format!("repository:{PRIVATE}:pull");
    let alice = docxy.client().login("alice", "alice-password");
    let alice = alice.signed_in(&scope).await;
    docxy.stub.forget();
    let blob = secret.layer_blobs()[0].clone();
    let path = format!("/v2/{PRIVATE}/blobs/{}", blob.digest);
    let asked = (0..20).map(|_| alice.get(&path));
    for answer in futures_util::future::join_all(asked).await {
        answer.assert_is(&blob, &docxy.stub);
    }
    let (heads, all) = (
        docxy.stub.heads("*/manifests/*").len(),
        docxy.stub.count("/v2/acme/*"),
    );
    println!(
        "S4 20 requests at once after a restart: {all} upstream requests at the registry, {heads} HEAD of a manifest"
    );
    assert_eq!(docxy.stub.heads("*/blobs/*").len(), 0);
    // Asked of everybody's right and of alice's; each may be challenged once.
    assert!(all <= 4, "{}", docxy.stub.story());
}

#[tokio::test]
async fn a_right_that_was_taken_away_opens_nothing_new() {
    // A password that no longer works: what a token proved a moment ago is not proved by the password.
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| app).await;
    let alice = docxy.client().login("alice", "alice-password");
    pull(&docxy, &alice, PRIVATE, "1").await;
    let path = format!("/v2/{PRIVATE}/blobs/{}", secret.blobs[0].digest);
    for (user, password) in [("alice", "wrong"), ("alice", ""), ("mallory", "alice-password")] {
        let answer = docxy.client().login(user, password).get(&path).await;
        assert!(answer.status >= 400, "{user}:{password}: {}", answer.status);
    }
    for token in [
        "x",
        "eyJhbGciOiJub25lIn0.e30.",
        "stub-token-0000000000000000-0000000000000000",
    ] {
        let answer = docxy.send(Request::get(&*path).bearer(token)).await;
        assert!(answer.status >= 400, "{token}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_configured_credential_is_shared_with_everyone() {
    // `auth = "configured"`: the operator's choice, said loudly elsewhere; then the cache is for everyone too, offline as well.
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| {
        app.configured("docker.io", "alice", "alice-password")
            .config("[cache]\nrevalidate_timeout = \"500ms\"")
    })
    .await;
    let nobody = docxy.client();
    pull(&docxy, &nobody, PRIVATE, "1").await;
    docxy.stub.down().await;
    pull(&docxy, &nobody, PRIVATE, "1").await;
    let answer = nobody.get(&format!("/v2/{PRIVATE}/manifests/1")).await;
    assert_eq!(word(&answer), "stale");
}

#[tokio::test]
async fn the_anonymous_question_is_asked_once() {
    // With a credential of the client's own, docxy asks once whether the repository is public: Docker Hub counts no HEAD.
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| app).await;
    let alice = docxy.client().login("alice", "alice-password");
    pull(&docxy, &alice, PUBLIC, "7").await;
    docxy.stub.down().await;
    // It was proved public: now it is anyone's.
    pull(&docxy, &docxy.client(), PUBLIC, "7").await;
    docxy.stub.up().await;
    docxy.stub.forget();
    for _ in 0..3 {
        pull(&docxy, &alice, PRIVATE, "1").await;
    }
    let anonymous = docxy.stub.requests();
    let anonymous = anonymous
        .iter()
        .filter(|seen| {
            seen.path.contains("/v2/acme/") && seen.header("authorization").is_some() && seen.user.is_none()
        })
        .count();
    println!("S4 three pulls of a private image: {anonymous} anonymous questions with a token");
    assert!(anonymous <= 2, "{}", docxy.stub.story());
}

#[tokio::test]
async fn one_denied_thing_does_not_close_a_public_repository() {
    // Some registries deny the one image that a scanner dislikes and give the rest to everybody: what is cached of the rest
    // must still outlive an outage. Where everything is denied, nothing is served to who has no right.
    let limits = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"";
    let other = Image::layers(1).seed(183).build();
    let manifest = format!("/v2/{PUBLIC}/manifests/8");
    let layer = format!("/v2/{PUBLIC}/blobs/{}", other.layer_blobs()[0].digest);
    let all = format!("/v2/{PUBLIC}/*");
    let mut served = Vec::new();
    for (fault, asked) in [(&manifest, &manifest), (&layer, &layer), (&all, &manifest)] {
        let docxy = Cached::built(registry(&secret_image()).await, |app| app.config(limits)).await;
        let nobody = docxy.client();
        pull(&docxy, &nobody, PUBLIC, "7").await;
        docxy.stub.put(PUBLIC, "8", other.clone());
        docxy.stub.fault(On::path(fault), Fault::Status(403));
        docxy.stub.forget();
        // Once: who is challenged and asks again is denied again, and all that follows comes twice.
        assert!(docxy.get(asked).await.status >= 400);
        if *fault == all {
            super::support::eventually("the anonymous question", || {
                !docxy.stub.heads("*/manifests/sha256:*").is_empty()
            })
            .await;
        } else {
            let again = |line: &serde_json::Value| line.to_string().contains("is public after all");
            docxy.app.logged("that it is public after all", again).await;
        }
        docxy.stub.down().await;
        let image = docxy.stub.image(PUBLIC, "7");
        let path = format!("/v2/{PUBLIC}/blobs/{}", image.blobs[0].digest);
        let answer = docxy.client().get(&path).await;
        served.push((
            answer.status == 200 && answer.body == image.blobs[0].bytes,
            leaked(&answer, &image.blobs[0]),
        ));
    }
    println!("S4 a manifest, a layer, everything denied, then an outage: is the rest served? {served:?}");
    assert!(
        served[0].0 && served[1].0,
        "one denied thing closed the repository"
    );
    assert_eq!(served[2], (false, 0));
}
