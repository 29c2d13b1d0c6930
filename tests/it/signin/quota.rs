//! A client's own quota: who has an account uses it, who has none gets the 429 as it is.

use crate::support::{
    pair::{HUB_PASSWORD, Pair, ghcr, hub},
    puller::challenge,
    stub::{Auth, Door, Quota},
};

const PATH: &str = "/v2/library/redis/manifests/7";

async fn exhausted(retry_after: Option<u64>) -> Pair {
    let quota = Quota {
        anonymous: 1,
        signed_in: 100,
        retry_after,
    };
    let pair = Pair::start(hub(Auth::Token).quota(quota), ghcr(Auth::Token), "").await;
    pair.assert_from_hub(&pair.client().ask(PATH).await, "library/redis", "7");
    pair
}

#[tokio::test]
async fn without_authorization_an_anonymous_429_is_a_challenge() {
    // So that containerd and dockerd come back with the person's account.
    let pair = exhausted(Some(60)).await;
    let answer = pair.client().ask(PATH).await;
    let said = challenge(&answer);
    assert_eq!(
        (said.realm, said.scope.as_deref()),
        (pair.realm(), Some("repository:library/redis:pull"))
    );
}

#[tokio::test]
async fn with_an_account_the_pull_goes_on() {
    // The account has its own count.
    let pair = exhausted(Some(60)).await;
    let answer = pair.client().login("alice", HUB_PASSWORD).get(PATH).await;
    pair.assert_from_hub(&answer, "library/redis", "7");
    let user = pair.hub.gets(PATH).pop().and_then(|seen| seen.user);
    assert_eq!(user.as_deref(), Some("alice"), "{}", pair.hub.story());
}

#[tokio::test]
async fn with_the_anonymous_token_it_is_the_429_with_retry_after() {
    // A client that has no account must learn the truth, and when to come back.
    for retry_after in [Some(77), None] {
        let pair = exhausted(retry_after).await;
        let token = pair.anonymous_token().await;
        let answer = pair.client().ask_with(PATH, &token).await;
        answer.assert_refused(429, &["TOOMANYREQUESTS"], "docker.io", &pair.hub);
        if let Some(seconds) = retry_after {
            assert_eq!(answer.header("retry-after"), Some(&*seconds.to_string()));
        } else {
            assert!(
                answer.header("retry-after").is_some(),
                "the specification says SHOULD: {:?}",
                answer.headers
            );
        }
        assert_eq!(answer.header("ratelimit-remaining"), Some("0;w=21600"));
    }
}

#[tokio::test]
async fn where_docxy_cannot_challenge_it_is_the_429_too() {
    // On an unknown host there is no realm to send anyone to.
    let pair = exhausted(Some(60)).await;
    let answer = pair.client().host("mirror.lan").ask(PATH).await;
    answer.assert_refused(429, &["TOOMANYREQUESTS"], "docker.io", &pair.hub);
}

#[tokio::test]
async fn a_head_costs_nothing_and_shows_the_state() {
    // The gauges of docxy and of clients live on these headers.
    let pair = exhausted(None).await;
    let answer = pair.client().request("HEAD", PATH).send(pair.app.addr()).await;
    answer.assert_status(&[200], &pair.hub);
    assert_eq!(answer.header("ratelimit-limit"), Some("1;w=21600"));
    assert_eq!(answer.header("ratelimit-remaining"), Some("0;w=21600"));
    assert!(answer.header("docker-ratelimit-source").is_some());
    let pulled = pair
        .hub
        .gets(PATH)
        .into_iter()
        .filter(|seen| seen.status == Some(200))
        .count();
    assert_eq!(pulled, 1, "{}", pair.hub.story());
}

#[tokio::test]
async fn a_429_is_not_asked_again() {
    // Trying again at once is what the limiter punishes.
    let pair = exhausted(Some(60)).await;
    let token = pair.anonymous_token().await;
    pair.hub.forget();
    pair.client()
        .ask_with(PATH, &token)
        .await
        .assert_status(&[429], &pair.hub);
    assert_eq!(
        pair.hub
            .at(Door::Registry)
            .iter()
            .filter(|seen| seen.status == Some(429))
            .count(),
        1,
        "{}",
        pair.hub.story()
    );
}
