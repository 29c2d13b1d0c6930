//! How long a right is believed, and what believing it costs the registry.

use super::time::Time;
use crate::cache::{
    rights::pull,
    support::{Cached, image_of, word},
};
use crate::support::{
    puller::Puller,
    stub::{Auth, Door, Fault, On, Seen, StubRegistry},
};

const PRIVATE: &str = "acme/app";

const SCOPE: &str = "repository:acme/app:pull";
const TAG: &str = "/v2/acme/app/manifests/1";

fn alice(docxy: &Cached) -> Puller {
    docxy.client().login("alice", "alice-password")
}

fn layer(docxy: &Cached) -> String {
    let image = docxy.stub.image(PRIVATE, "1");
    format!("/v2/{PRIVATE}/blobs/{}", image.layer_blobs()[0].digest)
}

/// Requests at the registry itself.
fn asked(docxy: &Cached) -> usize {
    docxy.stub.at(Door::Registry).len()
}

/// One whose tokens live longer than any test.
async fn registry() -> StubRegistry {
    StubRegistry::builder()
        .auth(Auth::Token)
        .token_life(24 * 3600)
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .private(PRIVATE, &["alice"])
        .image(PRIVATE, "1", image_of(920, &[3000, 70_000]))
        .image("library/redis", "7", image_of(921, &[3000]))
        .start()
        .await
}

async fn warm(time: &Time) -> Cached {
    let docxy = time
        .docxy(registry().await, |app| {
            app.config("[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"")
        })
        .await;
    pull(&docxy, &alice(&docxy), PRIVATE, "1").await;
    // The question whether everyone may have it is on its way beside the pull.
    docxy
        .stub
        .until("the anonymous question", |seen| {
            let anonymous = |seen: &&Seen| {
                seen.path.starts_with("/v2/acme/") && seen.user.is_none() && seen.status == Some(401)
            };
            seen.iter().filter(anonymous).count() >= 1
        })
        .await;
    docxy
}

#[tokio::test]
async fn a_right_is_proved_once_in_five_minutes_whatever_the_tokens() {
    // Clients fetch a token for each image and every few minutes: the registry must not be asked for each of them.
    let mut time = Time::new();
    let docxy = warm(&time).await;
    let path = layer(&docxy);
    let mut proofs = Vec::new();
    for minutes in [0, 4, 2, 4, 2] {
        time.advance(minutes * 60).await;
        docxy.stub.forget();
        for _ in 0..3 {
            let client = alice(&docxy).signed_in(SCOPE).await;
            for _ in 0..5 {
                assert_eq!(client.once("GET", &path).await.status, 200);
            }
        }
        let of_alice = |seen: &&Seen| seen.path.starts_with("/v2/acme/") && seen.user.is_some();
        proofs.push(docxy.stub.requests().iter().filter(of_alice).count());
    }
    println!("S4 3 tokens and 15 blobs each, after 0, 4, 6, 10, 12 minutes: {proofs:?} upstream requests");
    assert_eq!(proofs, [0, 0, 1, 0, 1], "{}", docxy.stub.story());
}

#[tokio::test]
async fn a_token_for_something_else_does_not_profit_from_its_login() {
    // A build machine is given a token for one repository; that its owner has just pulled another is not its business.
    let time = Time::new();
    let docxy = warm(&time).await;
    let narrow = alice(&docxy).signed_in("repository:library/redis:pull").await;
    for path in [TAG.to_owned(), layer(&docxy)] {
        let answer = narrow.once("GET", &path).await;
        assert_eq!(answer.status, 401, "{path}: {}", answer.everything());
    }
    assert_eq!(alice(&docxy).get(TAG).await.status, 200);
}

#[tokio::test]
async fn a_proved_right_lasts_its_grace_in_every_outage_and_no_longer() {
    // The registry is down for an afternoon: who pulled a moment before works on for an hour, nobody else does.
    let (mut tried, mut as_promised) = (0, 0);
    for outage in ["down", "503", "429"] {
        let mut time = Time::new();
        let docxy = warm(&time).await;
        let path = layer(&docxy);
        let client = alice(&docxy).signed_in(SCOPE).await;
        assert_eq!(client.once("GET", &path).await.status, 200);
        let bob = docxy.client().login("bob", "bob-password").signed_in(SCOPE).await;
        match outage {
            "down" => docxy.stub.down().await,
            status => {
                let status = status.parse().unwrap();
                docxy.stub.fault(On::path("*"), Fault::Status(status));
            }
        }
        for (minutes, served) in [(4, true), (30, true), (24, true), (4, false)] {
            time.advance(minutes * 60).await;
            for path in [TAG, &path] {
                for _ in 0..2 {
                    let answer = client.once("GET", path).await;
                    tried += 1;
                    let right = if served {
                        answer.status == 200
                    } else {
                        answer.status >= 400
                    };
                    as_promised += usize::from(right);
                    if !right {
                        println!(
                            "{outage}, {minutes} more minutes, {path}: {}",
                            answer.everything()
                        );
                    }
                    if served && path == TAG {
                        assert_eq!(word(&answer), "stale");
                    }
                    assert!(bob.once("GET", path).await.status >= 400);
                }
            }
            // Tokens end after minutes, and the next one can't be had from the registry either.
            let fresh = alice(&docxy).try_signed_in(SCOPE).await;
            let answer = match &fresh {
                Ok(fresh) => fresh.once("GET", &path).await.status,
                Err(refusal) => refusal.status,
            };
            tried += 1;
            as_promised += usize::from((answer == 200) == served);
            if (answer == 200) != served {
                println!("{outage}, {minutes} more minutes, signed in again: {answer}");
            }
            for (user, password) in [("bob", "bob-password"), ("alice", "wrong")] {
                if let Ok(other) = docxy.client().login(user, password).try_signed_in(SCOPE).await {
                    assert!(other.once("GET", &path).await.status >= 400, "{user}");
                }
            }
        }
    }
    println!("S4 a right in an outage, its grace an hour: {as_promised} of {tried} as promised");
    assert_eq!(as_promised, tried);
}

#[tokio::test]
async fn a_denial_ends_a_grace_at_once() {
    // alice leaves the team while the registry limps: its first word ends what is left of her hour.
    let mut time = Time::new();
    let docxy = warm(&time).await;
    let path = layer(&docxy);
    let client = alice(&docxy).signed_in(SCOPE).await;
    assert_eq!(client.once("GET", &path).await.status, 200);
    time.advance(6 * 60).await;
    docxy.stub.fault(On::path("*"), Fault::Status(503));
    assert_eq!(client.once("GET", &path).await.status, 200);
    docxy.stub.clear_faults();
    docxy.stub.fault(On::path("*"), Fault::Status(403));
    assert!(client.once("GET", &path).await.status >= 400);
    docxy.stub.clear_faults();
    docxy.stub.fault(On::path("*"), Fault::Status(503));
    for path in [TAG, &path] {
        let answer = client.once("GET", path).await;
        assert!(answer.status >= 400, "{path}: {}", answer.everything());
    }
    docxy.stub.clear_faults();
    assert_eq!(client.once("GET", &path).await.status, 200);
}

#[tokio::test]
async fn a_right_is_not_believed_over_a_restart() {
    // Nothing that was proved is written down: after a restart in an outage only what is public comes.
    let time = Time::new();
    let docxy = warm(&time).await;
    pull(&docxy, &docxy.client(), "library/redis", "7").await;
    let client = alice(&docxy).signed_in(SCOPE).await;
    let path = layer(&docxy);
    assert_eq!(client.once("GET", &path).await.status, 200);
    docxy.stub.down().await;
    docxy.stub.forget();
    let docxy = docxy.again().await;
    pull(&docxy, &docxy.client(), "library/redis", "7").await;
    for path in [TAG, &path] {
        assert!(docxy.client().once("GET", path).await.status >= 400);
    }
    assert_eq!(asked(&docxy), 0);
}
