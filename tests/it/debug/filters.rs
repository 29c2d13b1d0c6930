//! For one client, or one repository.

use serde_json::json;

use super::asked::{recorded, start};
use crate::support::{
    app::TestApp,
    client::Response,
    pair::{self, Pair},
    puller::Puller,
    stub::Auth,
};

/// docxy before both registries; clients say who they are.
async fn open() -> Pair {
    let (hub, ghcr) = (
        pair::hub(Auth::Token).start().await,
        pair::ghcr(Auth::Token).start().await,
    );
    let app = Pair::app(&hub, &ghcr)
        .config("trusted_proxies = [\"127.0.0.1\"]")
        .start()
        .await;
    Pair { app, hub, ghcr }
}

async fn pull(app: &TestApp, client: &str, path: &str) -> Response {
    let request = Puller::of(app)
        .request("GET", path)
        .header("X-Forwarded-For", client);
    request.send(app.addr()).await
}

const REDIS: &str = "/v2/redis/manifests/7";
const OWNER: &str = "/v2/ghcr.io/owner/image/manifests/1";

#[tokio::test]
async fn of_one_repository_nothing_else_is_recorded() {
    // On a busy docxy only what matters, tokens included, whatever way clients write the name.
    let Pair { app, hub, ghcr } = open().await;
    start(
        &app,
        json!({ "name": "a", "repository": "docker.io/library/redis" }),
    )
    .await;
    for path in [
        REDIS,
        OWNER,
        "/v2/owner/image/manifests/1",
        "/v2/ghcr.io/library/redis/manifests/7",
        "/v2/library/redis/manifests/7",
    ] {
        pull(&app, "192.0.2.1", path).await.assert_status(&[200], &hub);
    }
    let har = recorded(&app, "a").await;
    let story = har.story();
    assert_eq!(har.of("client", "").len(), 2, "{story}");
    assert!(
        har.of("client", "")
            .iter()
            .all(|entry| entry.own("_registry") == "docker.io"),
        "{story}"
    );
    assert!(
        har.of("upstream", "")
            .iter()
            .all(|entry| entry.own("_registry") == "docker.io"),
        "{story}"
    );
    assert_eq!(
        har.of("upstream", "/v2/library/redis/").len(),
        hub.count("/v2/library/redis/*"),
        "{story}"
    );
    assert_eq!(
        har.of("upstream", "owner").len() + har.of("upstream", &ghcr.addr().to_string()).len(),
        0,
        "{story}"
    );
    assert!(
        !har.of("upstream", "scope=repository%3Alibrary%2Fredis%3Apull")
            .is_empty(),
        "{story}"
    );
}

#[tokio::test]
async fn of_one_client_both_sides_are_recorded_and_of_others_neither() {
    // The one machine that can't pull, among a thousand that can.
    let Pair { app, hub, ghcr } = open().await;
    start(&app, json!({ "name": "a", "client": "192.0.2.7" })).await;
    pull(&app, "192.0.2.1", OWNER).await.assert_status(&[200], &ghcr);
    hub.forget();
    pull(&app, "192.0.2.7", REDIS).await.assert_status(&[200], &hub);
    pull(&app, "192.0.2.1", OWNER).await.assert_status(&[200], &ghcr);
    let har = recorded(&app, "a").await;
    let story = har.story();
    let [one] = har.of("client", "")[..] else {
        panic!("{story}")
    };
    assert_eq!(
        (one.own("_client"), one.own("_repository")),
        ("192.0.2.7", "redis")
    );
    assert_eq!(
        har.of("upstream", "").len(),
        hub.requests().len(),
        "{story}\n{}",
        hub.story()
    );
    assert!(
        har.of("upstream", "")
            .iter()
            .all(|entry| entry.own("_registry") == "docker.io"),
        "{story}"
    );
}
