//! Nothing is left: what is cached is served, the rest is told when to come back, and the registry is left alone.

use super::{hub, name, signed_in, tag};
use crate::cache::support::word;
use crate::support::{image::Image, stub::Quota};

const NOTHING_LEFT: Quota = Quota {
    anonymous: 0,
    signed_in: 2,
    retry_after: Some(600),
};

#[tokio::test]
async fn the_cached_is_stale_and_the_rest_is_told_when_to_come_back() {
    // A cluster beyond its limit goes on with what it has; and a limiter that is asked again and again bans.
    let docxy = signed_in(hub(NOTHING_LEFT, 4).await, "").await;
    for n in 0..2 {
        assert_eq!(docxy.get(&tag(n)).await.status, 200);
    }
    let (mut told, mut tried) = (0, 0);
    for n in 0..20 {
        let answer = docxy.get(&tag(2 + n % 2)).await;
        answer.assert_refused(429, &["TOOMANYREQUESTS"], "docker.io", &docxy.stub);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        tried += 1;
        told += usize::from((590..=600).contains(&wait));
    }
    let gets = docxy.stub.gets("*/manifests/*").len();
    println!(
        "R2 nothing left: {told} of {tried} told when to come back, {gets} GET of manifests for 22 pulls"
    );
    assert_eq!(told, tried);
    // Two that were given, one refusal to the account, one to nobody.
    assert_eq!(gets, 4, "{}", docxy.stub.story());

    // HEAD is not counted: what has not moved is as good as ever.
    let image = docxy.stub.image(&name(0), "1");
    let answer = docxy.get(&tag(0)).await;
    answer.assert_is(&image.root, &docxy.stub);
    assert_eq!(word(&answer), "revalidated");
    // What has moved is stale, without another question that counts.
    docxy.stub.put(&name(0), "1", Image::layers(1).seed(3999));
    let answer = docxy.get(&tag(0)).await;
    answer.assert_is(&image.root, &docxy.stub);
    assert_eq!(word(&answer), "stale");
    let warning = answer.header("warning").unwrap_or_default();
    assert!(warning.starts_with("299 - "), "{warning:?}");
    assert_eq!(
        docxy.stub.gets("*/manifests/*").len(),
        gets,
        "{}",
        docxy.stub.story()
    );
}

#[tokio::test]
async fn clients_that_ask_again_at_once_get_another_status() {
    // containerd asks five times at once when it sees 429, and its next mirror when it sees 404.
    for (status, code) in [
        (404, "MANIFEST_UNKNOWN"),
        (503, "UNAVAILABLE"),
        (429, "TOOMANYREQUESTS"),
    ] {
        let keys = format!("rate_limited = {status}");
        let docxy = signed_in(hub(NOTHING_LEFT, 3).await, &keys).await;
        for n in 0..2 {
            assert_eq!(docxy.get(&tag(n)).await.status, 200);
        }
        for asked in ["by the registry", "by docxy"] {
            let answer = docxy.get(&tag(2)).await;
            answer.assert_refused(status, &[code], "docker.io", &docxy.stub);
            assert!(
                answer.header("retry-after").is_some(),
                "{asked}: {:?}",
                answer.headers
            );
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(text.contains("limit is used up"), "{asked}: {text}");
        }
        // What is missing is missing, and what fails fails.
        let missing = docxy.head("/v2/team/image-0/manifests/none").await;
        assert_eq!(missing.status, 404);
        // A person reads in the log what it was.
        let line = docxy
            .app
            .logged("the refusal", |line| {
                line["fields"]["message"] == "request" && line["fields"]["status"] == status
            })
            .await;
        assert!(line.to_string().contains("limit is used up"), "{line}");
    }
}

#[tokio::test]
async fn a_head_that_shows_something_left_ends_the_wait() {
    // The window slides: pulls come back before anybody said so, and a HEAD sees it for nothing.
    let quota = Quota {
        retry_after: None,
        ..NOTHING_LEFT
    };
    let docxy = signed_in(hub(quota, 3).await, "").await;
    for n in 0..2 {
        assert_eq!(docxy.get(&tag(n)).await.status, 200);
    }
    for _ in 0..2 {
        let answer = docxy.get(&tag(2)).await;
        assert_eq!(answer.status, 429, "{}", answer.everything());
    }
    let gets = docxy.stub.gets("*/manifests/*").len();
    docxy.stub.has_pulled("alice", 1);
    // Within the minute between two questions that count.
    assert_eq!(docxy.get(&tag(2)).await.status, 200, "{}", docxy.stub.story());
    assert_eq!(docxy.stub.gets("*/manifests/*").len(), gets + 1);
}

#[tokio::test]
async fn where_the_account_is_empty_the_address_pays() {
    // Docker Hub counts by account and by address: a public image has two allowances.
    let quota = Quota {
        anonymous: 3,
        signed_in: 1,
        retry_after: Some(600),
    };
    let docxy = signed_in(hub(quota, 5).await, "").await;
    docxy.stub.put("team/private", "1", Image::layers(1).seed(3998));
    docxy.stub.close("team/private", &["alice"]);
    for n in 0..4 {
        let answer = docxy.get(&tag(n)).await;
        let root = docxy.stub.image(&name(n), "1").root;
        answer.assert_is(&root, &docxy.stub);
    }
    let counted = docxy.stub.counted();
    assert_eq!((counted["alice"], counted["127.0.0.1"]), (1, 3), "{counted:?}");
    // The account was asked once in vain, not at each pull.
    let refused = docxy.stub.gets("*/manifests/*").len() - 4;
    assert_eq!(refused, 1, "{}", docxy.stub.story());
    // What only the account may have is limited: it is neither missing nor forbidden.
    let answer = docxy.get("/v2/team/private/manifests/1").await;
    answer.assert_refused(429, &["TOOMANYREQUESTS"], "docker.io", &docxy.stub);
    // And then nothing is left at all.
    assert_eq!(docxy.get(&tag(4)).await.status, 429);
}
