//! A7: a registry closes or deletes what was public. docxy notices when a tag is next asked about, says so once, and serves
//! on as `access.withdrawn` says; an outage is no reason to close anything.

use super::time::Time;
use crate::admin::scraped;
use crate::cache::{
    rights::pull,
    support::{Cached, image_of},
};
use crate::support::{
    app::Builder as AppBuilder,
    client::Response,
    stub::{Auth, Fault, Gate, On, StubRegistry},
    within,
};

const OPEN: &str = "library/redis";
const TAG: &str = "/v2/library/redis/manifests/7";
const LIFE: u64 = 300;

async fn registry(auth: Auth) -> StubRegistry {
    StubRegistry::builder()
        .auth(auth)
        .user("alice", "alice-password")
        .token_life(LIFE)
        .image(OPEN, "7", image_of(910, &[3000, 70_000]))
        .image(OPEN, "8", image_of(911, &[3000]))
        .start()
        .await
}

/// How a registry takes back what it gave.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// It wants a right now, and its old tokens have ended.
    Closed,
    Deleted,
}

impl Taken {
    const ALL: [(Self, Auth, &'static str); 4] = [
        (Self::Closed, Auth::Token, "denied"),
        (Self::Closed, Auth::TokenForPrivate, "denied"),
        (Self::Deleted, Auth::Token, "denied"),
        (Self::Deleted, Auth::Open, "missing"),
    ];

    fn by(self, stub: &StubRegistry) {
        match self {
            Self::Closed => stub.close(OPEN, &["alice"]),
            Self::Deleted => stub.delete(OPEN),
        }
        stub.advance(std::time::Duration::from_secs(LIFE));
    }
}

fn warnings(docxy: &Cached) -> usize {
    let text = docxy.app.log_text();
    text.lines()
        .filter(|line| line.contains("is no longer public"))
        .count()
}

fn mode(mode: &'static str) -> impl Fn(AppBuilder) -> AppBuilder {
    move |app| app.config(&format!("[access]\nwithdrawn = {mode:?}"))
}

#[tokio::test]
async fn what_was_taken_back_is_served_as_the_operator_says() {
    // By default the cache stops with the registry; who mirrors what may go asks for `warn` or `serve`.
    let (mut tried, mut as_said) = (0, 0);
    for (taken, auth, why) in Taken::ALL {
        for (said, served, warned) in [
            ("refuse", false, false),
            ("warn", true, true),
            ("serve", true, false),
        ] {
            let image = image_of(910, &[3000, 70_000]);
            let mut docxy = Cached::built(registry(auth).await, mode(said)).await;
            pull(&docxy, &docxy.client(), OPEN, "7").await;
            taken.by(&docxy.stub);
            // By digest nothing is asked; the tag's next confirmation finds out.
            let blob = format!("/v2/{OPEN}/blobs/{}", image.blobs[1].digest);
            assert_eq!(docxy.client().once("GET", &blob).await.status, 200);
            docxy.client().once("GET", TAG).await;
            for round in ["at once", "after a restart"] {
                for answer in everything_of(&docxy, &image).await {
                    tried += 1;
                    let warning = answer.header("warning").is_some_and(|text| {
                        text.starts_with("299 - ")
                            && text.contains("does not give this repository to everyone")
                    });
                    let right = (answer.status == 200) == served && warning == (warned && served);
                    as_said += usize::from(right);
                    if !right {
                        println!(
                            "{taken:?} {auth:?} {said} {round}: {} {:?}",
                            answer.status, answer.headers
                        );
                    }
                }
                if round == "at once" {
                    let metrics = scraped(&docxy).await;
                    let count = metrics.sum("docxy_repositories_withdrawn_total", &[("why", why)]);
                    assert_eq!(count, 1, "{taken:?} {auth:?} {said}");
                    assert_eq!(warnings(&docxy), 1, "{}", docxy.app.log_text());
                    docxy = docxy.again().await;
                }
            }
        }
    }
    println!(
        "A7 closed and deleted repositories, 3 modes: {as_said} of {tried} answers as the operator said"
    );
    assert_eq!(as_said, tried);
}

/// Every content of the image, and the tag, by GET and HEAD.
async fn everything_of(docxy: &Cached, image: &crate::support::image::Image) -> Vec<Response> {
    let of = |kind: &str, digest: &str| format!("/v2/{OPEN}/{kind}/{digest}");
    let mut paths = vec![TAG.to_owned(), of("manifests", &image.root.digest)];
    paths.extend(image.blobs.iter().map(|blob| of("blobs", &blob.digest)));
    let mut answers = Vec::new();
    for path in paths {
        for method in ["GET", "HEAD"] {
            answers.push(docxy.client().once(method, &path).await);
        }
    }
    answers
}

#[tokio::test]
async fn a_tag_that_is_gone_takes_nothing_else_with_it() {
    // Registries delete tags, and manifests nobody tags, all the time: the rest of the repository is as public as before.
    let docxy = Cached::built(registry(Auth::Open).await, |app| app).await;
    for tag in ["7", "8"] {
        pull(&docxy, &docxy.client(), OPEN, tag).await;
    }
    let image = docxy.stub.image(OPEN, "7");
    docxy.stub.untag(OPEN, "7");
    for manifests in ["nothing else", "manifests too"] {
        if manifests == "manifests too" {
            docxy
                .stub
                .fault(On::path("*/manifests/sha256*"), Fault::Status(404));
        }
        assert_eq!(docxy.client().once("GET", TAG).await.status, 404, "{manifests}");
        let path = format!("/v2/{OPEN}/manifests/{}", image.root.digest);
        docxy
            .client()
            .once("GET", &path)
            .await
            .assert_is(&image.root, &docxy.stub);
    }
    assert_eq!(warnings(&docxy), 0);
}

#[tokio::test]
async fn what_only_members_ask_for_is_noticed_too() {
    // A team that signs in pulls on with its own rights; that the repository was closed to the others must show all the same.
    let mut time = Time::new();
    let docxy = time.docxy(registry(Auth::Token).await, |app| app).await;
    pull(&docxy, &docxy.client(), OPEN, "7").await;
    let image = docxy.stub.image(OPEN, "7");
    docxy.stub.close(OPEN, &["alice"]);
    docxy.stub.advance(std::time::Duration::from_secs(LIFE));
    time.advance(LIFE + 60).await;
    let alice = docxy.client().login("alice", "alice-password");
    let alice = alice.signed_in("repository:library/redis:pull").await;
    alice.once("GET", TAG).await.assert_is(&image.root, &docxy.stub);
    docxy
        .app
        .logged("the withdrawal", |line| {
            line.to_string().contains("is no longer public")
        })
        .await;
    let path = format!("/v2/{OPEN}/blobs/{}", image.blobs[1].digest);
    assert_eq!(docxy.client().once("GET", &path).await.status, 401);
    assert_eq!(alice.once("GET", &path).await.status, 200);
}

#[tokio::test]
async fn public_lasts_through_any_outage_and_what_comes_back_is_public_again() {
    // Nothing but the registry's own word closes a repository: not an outage of a month, not a restart.
    let mut time = Time::new();
    let docxy = time
        .docxy(registry(Auth::Token).await, |app| {
            app.config("[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"\n[[cache.tags]]\nmax_stale = \"90d\"")
        })
        .await;
    pull(&docxy, &docxy.client(), OPEN, "7").await;
    let image = docxy.stub.image(OPEN, "7");
    let (mut tried, mut served) = (0, 0);
    let mut docxy = docxy;
    for outage in ["503", "429", "500", "down"] {
        match outage {
            "down" => docxy.stub.down().await,
            status => docxy
                .stub
                .fault(On::path("*"), Fault::Status(status.parse().unwrap())),
        }
        for _ in 0..2 {
            time.advance(10 * 24 * 3600).await;
            for answer in everything_of(&docxy, &image).await {
                tried += 1;
                served += usize::from(answer.status == 200);
                if answer.status != 200 {
                    println!("{outage}: {}", answer.everything());
                }
            }
            docxy = docxy.again().await;
        }
        docxy.stub.clear_faults();
    }
    println!("A7 a public image in 80 days of outages with 8 restarts: {served} of {tried} served");
    assert_eq!(served, tried);
    docxy.stub.up().await;
    docxy.stub.close(OPEN, &["alice"]);
    docxy.stub.advance(std::time::Duration::from_secs(LIFE));
    let docxy = docxy.again().await;
    assert_eq!(docxy.client().once("GET", TAG).await.status, 401);
    let blob = format!("/v2/{OPEN}/blobs/{}", image.blobs[1].digest);
    assert_eq!(docxy.client().once("GET", &blob).await.status, 401);
    docxy.stub.open(OPEN);
    assert_eq!(docxy.client().once("GET", TAG).await.status, 200);
    assert_eq!(docxy.client().once("GET", &blob).await.status, 200);
}

#[tokio::test]
async fn a_download_that_still_runs_lets_nobody_in_after_the_repository_was_closed() {
    // A large layer takes minutes. Whoever asks for it anonymously after docxy has noticed that the repository is closed must
    // not get it because somebody asked before.
    let docxy = Cached::built(registry(Auth::Token).await, |app| app).await;
    docxy.get(TAG).await;
    let layer = docxy.image().layer_blobs()[1].clone();
    let path = format!("/v2/{OPEN}/blobs/{}", layer.digest);
    let gate = Gate::after(20_000);
    docxy.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut before = docxy.client().request("GET", &path).open(docxy.app.addr()).await;
    within("the first bytes", before.read(1_000)).await;
    gate.held().await;
    Taken::Closed.by(&docxy.stub);
    let noticed = docxy.get(TAG).await;
    assert!(noticed.status >= 400, "{}", noticed.everything());
    for method in ["GET", "HEAD"] {
        let after = docxy.client().send(method, &path).await;
        assert!(after.status >= 400, "{method}: {}", after.everything());
    }
    gate.open();
}
