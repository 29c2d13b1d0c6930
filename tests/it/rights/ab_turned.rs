//! A registry changes its mind: a public repository is closed or deleted. From the next time that docxy asks about it, the
//! cache gives it to nobody who has no right of his own, by any way, unless the operator said otherwise.

use std::time::Duration;

use super::{
    ab_leaks::Secrets,
    ab_vectors::{Door, PUBLIC, Shown, Thing, Vector, token},
    time::Time,
};
use crate::cache::support::Cached;
use crate::support::{
    image::Image,
    stub::{Auth, Fault, On, StubRegistry},
};

const ALICE: (&str, &str) = ("alice", "alice-password");
const BOB: (&str, &str) = ("bob", "bob-password");
const TEN_MINUTES: u64 = 600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Closed,
    Deleted,
}

async fn world(auth: Auth, time: &Time, withdrawn: Option<&'static str>) -> (Cached, Image) {
    let image = Image::layers(2).seed(990).oci().platforms(&["amd64"]).build();
    let stub = StubRegistry::builder()
        .auth(auth)
        .token_life(300)
        .user(ALICE.0, ALICE.1)
        .user(BOB.0, BOB.1)
        .image(PUBLIC, "1", image.clone())
        .start()
        .await;
    let docxy = time
        .docxy(stub, move |app| {
            let config = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"\n";
            let app = app.config(config).config(Door::CONFIG);
            match withdrawn {
                Some(mode) => app.config(&format!("[access]\nwithdrawn = {mode:?}\n")),
                None => app,
            }
        })
        .await;
    for vector in vectors(&image) {
        let answer = vector.send(&docxy, &Shown::Nothing).await;
        if auth == Auth::Token || auth == Auth::Open || auth == Auth::TokenForPrivate {
            assert_eq!(vector.wrong(&answer), None, "{vector:?}: {}", answer.everything());
        }
    }
    // What is still arriving is not served on: its end may be behind its last byte.
    if withdrawn.is_some() {
        for content in Thing::all(&image).into_iter().filter_map(|thing| thing.content) {
            docxy.stored(&content).await;
        }
    }
    (docxy, image)
}

/// Every way to the contents; lists are the registry's own answers and not kept.
fn vectors(image: &Image) -> Vec<Vector> {
    let mut all = Vector::all(image, &[PUBLIC]);
    all.retain(|vector| vector.thing.content.is_some());
    all
}

async fn turn(docxy: &Cached, time: &mut Time, how: Turn) {
    match how {
        Turn::Closed => docxy.stub.close(PUBLIC, &["alice"]),
        Turn::Deleted => docxy.stub.delete(PUBLIC),
    }
    // What anonymous tokens there are have ended by then.
    docxy.stub.advance(Duration::from_secs(TEN_MINUTES));
    time.advance(TEN_MINUTES).await;
}

/// How many of all ways give what this client asks for, and how many leak.
async fn given(docxy: &Cached, image: &Image, shown: &Shown) -> (usize, usize, usize) {
    let secrets = Secrets::of(&[image], &[], &[]);
    let (mut tried, mut given, mut leaked) = (0, 0, 0);
    for vector in vectors(image) {
        let answer = vector.send(docxy, shown).await;
        tried += 1;
        given += usize::from(vector.wrong(&answer).is_none());
        let told = secrets.told(&answer, vector.method, vector.thing.content.as_ref());
        let bytes = secrets.bytes_in(&answer.body, &vector.said());
        leaked += usize::from(answer.status < 400 || told.is_some() || bytes > 0);
    }
    (tried, given, leaked)
}

/// Somebody pushed a secret into a public repository, and closed or deleted it: the cache must not go on publishing it.
async fn taken_back(how: Turn, auth: Auth) {
    let (mut tried, mut leaked) = (0, 0);
    let mut time = Time::new();
    let (docxy, image) = world(auth, &time, None).await;
    turn(&docxy, &mut time, how).await;
    // The revalidation at which it is noticed.
    let noticed = docxy.client().ask(&format!("/v2/{PUBLIC}/manifests/1")).await;
    assert!(
        noticed.status >= 400,
        "{how:?} {auth:?}: {}",
        noticed.everything()
    );
    docxy
        .app
        .logged("a warning that names the repository", |line| {
            line["level"] == "WARN" && line.to_string().contains(PUBLIC)
        })
        .await;
    let metrics = crate::admin::ask(&crate::admin::socket(&docxy.app), "GET", "/metrics", "").await;
    let metrics = String::from_utf8_lossy(metrics.body()).into_owned();
    let counted = metrics
        .lines()
        .any(|line| line.contains("withdrawn") && !line.starts_with('#') && line.ends_with(" 1"));
    assert!(counted, "{how:?} {auth:?}: {metrics}");

    let mut people = vec![Shown::Nothing, Shown::Basic(BOB.0, BOB.1)];
    if auth != Auth::Open {
        for login in [None, Some(BOB)] {
            people.extend(token(&docxy, Door::Default, login, &[PUBLIC]).await.ok());
        }
    }
    let mut docxy = docxy;
    for state in ["up", "after a restart", "failing", "failing, after a restart"] {
        match state {
            "failing" => docxy.stub.fault(On::path("*"), Fault::Status(503)),
            "after a restart" | "failing, after a restart" => docxy = docxy.again().await,
            _ => {}
        }
        for shown in &people {
            let counts = given(&docxy, &image, shown).await;
            tried += counts.0;
            leaked += counts.2;
            if counts.2 > 0 {
                println!(
                    "{how:?} {auth:?} {state}, {shown:?}: {} of {} leak",
                    counts.2, counts.0
                );
            }
        }
    }
    docxy.stub.clear_faults();
    // What is closed is still alice's.
    if how == Turn::Closed {
        let alice = token(&docxy, Door::Default, Some(ALICE), &[PUBLIC]).await;
        let alice = alice.unwrap_or_else(|refusal| panic!("{}", refusal.everything()));
        let counts = given(&docxy, &image, &alice).await;
        assert_eq!(counts.0, counts.1, "{how:?} {auth:?}: alice");
    }
    println!("A7 taken back by the registry, {how:?} {auth:?}: {leaked} of {tried} requests answered");
    assert_eq!(leaked, 0);
}

#[tokio::test]
async fn what_was_closed_is_given_to_nobody_any_more() {
    taken_back(Turn::Closed, Auth::Token).await;
}

#[tokio::test]
async fn what_was_closed_where_only_private_contents_need_tokens() {
    taken_back(Turn::Closed, Auth::TokenForPrivate).await;
}

#[tokio::test]
async fn what_was_deleted_is_given_to_nobody_any_more() {
    taken_back(Turn::Deleted, Auth::Token).await;
}

#[tokio::test]
async fn what_was_deleted_where_only_private_contents_need_tokens() {
    taken_back(Turn::Deleted, Auth::TokenForPrivate).await;
}

#[tokio::test]
async fn what_was_deleted_where_nothing_needs_tokens() {
    taken_back(Turn::Deleted, Auth::Open).await;
}

#[tokio::test]
async fn an_operator_may_go_on_serving_it() {
    // A build farm would rather have yesterday's base image than none, and says so.
    let (mut tried, mut served, mut warned) = (0, 0, 0);
    for how in [Turn::Closed, Turn::Deleted] {
        for mode in ["warn", "serve"] {
            let mut time = Time::new();
            let (docxy, image) = world(Auth::Token, &time, Some(mode)).await;
            turn(&docxy, &mut time, how).await;
            docxy.client().ask(&format!("/v2/{PUBLIC}/manifests/1")).await;
            for vector in vectors(&image) {
                let answer = vector.send(&docxy, &Shown::Nothing).await;
                let wrong = vector.wrong(&answer);
                tried += 1;
                served += usize::from(wrong.is_none());
                if let Some(wrong) = wrong {
                    println!("{how:?} {mode}: {vector:?}: {wrong}: {}", answer.everything());
                }
                let whole = answer.status == 200;
                let says = answer.header("warning").is_some();
                let tag = vector.thing.rest == "manifests/1";
                // With "serve" a digest is what it is; a tag may be marked as stale.
                if mode == "warn" && whole {
                    warned += usize::from(!says);
                } else if whole && !tag {
                    warned += usize::from(says);
                }
            }
        }
    }
    println!("A7 taken back, but served on: {served} of {tried}, {warned} with a wrong Warning");
    assert_eq!((served, warned), (tried, 0));
}

#[tokio::test]
async fn an_outage_or_one_tag_that_is_gone_takes_nothing_back() {
    // Only the registry's own word about the whole repository counts.
    let mut time = Time::new();
    let (docxy, image) = world(Auth::Token, &time, None).await;
    let mut docxy = docxy;
    for status in [500, 502, 503, 429] {
        docxy.stub.fault(On::path("*"), Fault::Status(status));
        time.advance(TEN_MINUTES).await;
        let counts = given(&docxy, &image, &Shown::Nothing).await;
        assert_eq!(counts.0, counts.1, "{status}");
        docxy = docxy.again().await;
        let counts = given(&docxy, &image, &Shown::Nothing).await;
        assert_eq!(counts.0, counts.1, "{status}, after a restart");
        docxy.stub.clear_faults();
    }
    let again = docxy.again().await;
    again.stub.put(PUBLIC, "other", Image::layers(1).seed(991));
    again.stub.untag(PUBLIC, "1");
    let tag = again.client().ask(&format!("/v2/{PUBLIC}/manifests/1")).await;
    assert_eq!(tag.status, 404, "{}", tag.everything());
    let blob = &image.blobs[1];
    let answer = again
        .client()
        .ask(&format!("/v2/{PUBLIC}/blobs/{}", blob.digest))
        .await;
    answer.assert_is(blob, &again.stub);
}
