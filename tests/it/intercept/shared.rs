//! One host, several registries: whose a request and a password are does not depend on the alphabet (S1, S16).

use std::sync::Arc;

use super::world::{HUB, HUB_PASSWORD, REDIS, TRUSTING, hub, intercepting};
use crate::signin::users::{ANN, with_users};
use crate::support::{
    ca::TestCa,
    puller::{Puller, challenge, token_in},
    stub::StubRegistry,
    through::Proxy,
};

/// Docker Hub as it is, and as docxy's own users get it: one registry by two names, of which the second comes first in the
/// alphabet.
async fn by_two_names() -> (StubRegistry, crate::support::app::TestApp) {
    let ca = Arc::new(TestCa::new());
    let stub = hub(&ca).start().await;
    let app = with_users(intercepting(&ca))
        .registry_with("hub.test", &stub, TRUSTING)
        .registry_with("acme.test", &stub, TRUSTING)
        .configured("acme.test", "alice", HUB_PASSWORD)
        .config("[registries.\"acme.test\"]\nclients = \"users\"\n")
        .start()
        .await;
    (stub, app)
}

#[tokio::test]
async fn a_password_for_docxy_is_not_shown_to_the_registry_that_shares_the_host() {
    // Ann types what docxy knows her by. The registry's own token service, which answers for the other name, never sees it.
    let (stub, app) = by_two_names().await;
    let proxy = Proxy::of(&app).await;
    let at = |place: &str| Puller::through(&proxy, place);
    // What the registry's challenge names is known by now.
    at(HUB).get(REDIS).await;
    let told = challenge(&at("acme.test:443").once("GET", "/v2/").await);
    assert_eq!(told.realm, "https://acme.test/auth/token/acme.test");
    let ann = at("acme.test:443").login(ANN.0, ANN.1);
    let token = token_in(&ann.token(&told.realm, &["repository:acme/app:pull"]).await);
    let manifest = "/v2/acme/app/manifests/1";
    let answer = at("acme.test:443").ask_with(manifest, &token).await;
    answer.assert_is(&stub.image("acme/app", "1").root, &stub);
    // Alice's own login at the registry itself goes where she thinks.
    let told = challenge(&at(HUB).once("GET", "/v2/").await);
    assert_eq!(told.realm, format!("https://{}/token", stub.token_host()));
    let alice = at(HUB).login("alice", HUB_PASSWORD);
    let token = token_in(&alice.token(&told.realm, &["repository:acme/app:pull"]).await);
    let answer = at(HUB).ask_with(manifest, &token).await;
    answer.assert_is(&stub.image("acme/app", "1").root, &stub);
    let seen = stub.secrets_seen();
    assert!(!seen.iter().any(|seen| seen.contains(ANN.1)), "{}", stub.story());
}

#[tokio::test]
async fn nothing_but_the_registrys_own_is_in_its_place() {
    // docxy's other pages and other registries' logins are not to be had under a registry's name.
    let (stub, app) = by_two_names().await;
    let proxy = Proxy::of(&app).await;
    let client = Puller::through(&proxy, HUB).login("alice", HUB_PASSWORD);
    for path in [
        "/auth/token/docker.io?service=docxy",
        "/auth/token/acme.test?service=docxy",
        "/auth/token/hub.test/x?service=docxy",
        "/health",
        "/ca.crt",
        "/",
        "/setup/systemd",
    ] {
        let answer = client.once("GET", path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.everything());
    }
    for path in ["/auth/token", "/auth/token/hub.test"] {
        let realm = format!("https://hub.test{path}");
        let token = token_in(&client.token(&realm, &["repository:acme/app:pull"]).await);
        let answer = client.ask_with("/v2/acme/app/manifests/1", &token).await;
        answer.assert_is(&stub.image("acme/app", "1").root, &stub);
    }
}

#[tokio::test]
async fn a_name_goes_before_an_address() {
    // `registry-1.docker.io` is Docker Hub's, whatever other registry is configured to be asked there: else its account would
    // be everybody's.
    let ca = Arc::new(TestCa::new());
    let stub = hub(&ca).start().await;
    let app = intercepting(&ca)
        .registry_with("hub.test", &stub, TRUSTING)
        .config("[registries.\"hub.test\"]\naliases = [\"other.test\"]\n")
        .registry_with("acme.test", &stub, TRUSTING)
        .configured("acme.test", "alice", HUB_PASSWORD)
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    let private = "/v2/acme/app/manifests/1";
    let by_account = Puller::through(&proxy, "acme.test:443")
        .once("GET", private)
        .await;
    by_account.assert_is(&stub.image("acme/app", "1").root, &stub);
    for place in [HUB, "other.test:443"] {
        let answer = Puller::through(&proxy, place).once("GET", private).await;
        assert_eq!(answer.status, 401, "{place}: {}", answer.everything());
    }
}
