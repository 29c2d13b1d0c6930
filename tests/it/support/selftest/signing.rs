//! The stub's locks: tokens, passwords, quotas.

use std::time::Duration;

use crate::support::{
    client::Request,
    image::Image,
    puller::{Puller, challenge, token_in},
    stub::{Auth, Door, Quirk, Quota, StubRegistry},
};

#[tokio::test]
async fn a_private_image_needs_its_own_readers_token() {
    // The stub must deny for real, or a test of docxy's denials passes for nothing.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(1))
        .image("library/redis", "7", Image::layers(1).seed(2))
        .token_on("127.0.0.3")
        .start()
        .await;
    let path = "/v2/acme/app/manifests/1";
    let direct = Puller::at(stub.addr());
    let first = challenge(&direct.ask(path).await);
    assert_eq!(first.scope.as_deref(), Some("repository:acme/app:pull"));
    assert!(first.realm.starts_with("http://127.0.0.3:"), "{first:?}");

    let dance = |login: Option<(&'static str, &'static str)>, path: &'static str| {
        let registry = Puller::at(stub.addr());
        let mut service = Puller::at(stub.token_addr());
        if let Some((user, password)) = login {
            service = service.login(user, password);
        }
        async move {
            let wanted = challenge(&registry.ask(path).await);
            let answer = service
                .token(&wanted.realm, &[wanted.scope.as_deref().unwrap()])
                .await;
            if answer.status == 200 {
                registry.ask_with(path, &token_in(&answer)).await
            } else {
                answer
            }
        }
    };
    assert_eq!(dance(None, "/v2/library/redis/manifests/7").await.status, 200);
    assert_eq!(dance(Some(("alice", "alice-password")), path).await.status, 200);
    assert_eq!(dance(Some(("alice", "wrong")), path).await.status, 401);
    for denied in [
        dance(None, path).await,
        dance(Some(("bob", "bob-password")), path).await,
    ] {
        assert_eq!(challenge(&denied).error.as_deref(), Some("insufficient_scope"));
    }
    let seen = stub.secrets_seen();
    assert!(seen.contains(&"alice:alice-password".to_owned()), "{seen:?}");
    assert!(
        stub.secrets_issued()
            .iter()
            .any(|token| seen.contains(&format!("Bearer {token}")))
    );
    let users: Vec<_> = stub
        .at(Door::Registry)
        .into_iter()
        .filter_map(|seen| seen.user)
        .collect();
    assert_eq!(users, ["alice"]);
}

#[tokio::test]
async fn the_token_service_speaks_oauth_and_its_tokens_grow_old() {
    // Refresh grants and expiry are promises of docxy: the other side of them must exist.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .image("a/b", "1", Image::layers(1))
        .token_life(100)
        .start()
        .await;
    let realm = format!("{}/token", stub.url());
    let direct = Puller::at(stub.addr());
    let password = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", "alice-password"),
        ("access_type", "offline"),
        ("scope", "repository:a/b:pull repository:c/d:pull"),
    ];
    let answer = direct.post_token(&realm, &password).await.json();
    assert_eq!(answer["expires_in"], 100);
    let refresh = answer["refresh_token"].as_str().unwrap();
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh),
        ("scope", "repository:a/b:pull"),
    ];
    let token = token_in(&direct.post_token(&realm, &fields).await);
    assert_eq!(direct.ask_with("/v2/a/b/manifests/1", &token).await.status, 200);
    stub.advance(Duration::from_secs(101));
    let old = direct.ask_with("/v2/a/b/manifests/1", &token).await;
    assert_eq!(challenge(&old).error.as_deref(), Some("invalid_token"));
    assert!(
        stub.secrets_seen()
            .iter()
            .any(|secret| secret == "alice-password")
    );

    let crooked = StubRegistry::builder()
        .auth(Auth::TokenForPrivate)
        .quirk(Quirk::TokenPostRefused)
        .quirk(Quirk::TokenDenies)
        .quirk(Quirk::TokenWithoutLife)
        .quirk(Quirk::AccessTokenOnly)
        .quirk(Quirk::PingNeedsScope)
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let realm = format!("{}/token", crooked.url());
    let direct = Puller::at(crooked.addr());
    assert_eq!(
        direct.ask("/v2/a/b/manifests/1").await.status,
        200,
        "public without a token"
    );
    assert_eq!(direct.post_token(&realm, &password).await.status, 405);
    assert_eq!(direct.token(&realm, &["repository:x/y:pull"]).await.status, 401);
    let bare = direct.token(&realm, &[]).await;
    assert_eq!(
        bare.json().as_object().unwrap().keys().collect::<Vec<_>>(),
        ["access_token"]
    );
    assert_eq!(direct.ask_with("/v2/", &token_in(&bare)).await.status, 401);
    let scoped = token_in(&direct.token(&realm, &["repository:a/b:pull"]).await);
    assert_eq!(direct.ask_with("/v2/", &scoped).await.status, 200);
}

#[tokio::test]
async fn a_basic_registry_wants_the_password_each_time() {
    // docker-registry with htpasswd is the second kind of upstream there is.
    let stub = StubRegistry::builder()
        .auth(Auth::Basic)
        .user("alice", "pass:word")
        .user("bob", "bob-password")
        .private("a/b", &["alice"])
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let get = || Request::get("/v2/a/b/manifests/1");
    let bare = get().send(stub.addr()).await;
    assert_eq!(bare.status, 401);
    assert!(
        bare.header("www-authenticate")
            .unwrap()
            .starts_with("Basic realm=")
    );
    assert_eq!(
        get().basic("alice", "pass:word").send(stub.addr()).await.status,
        200
    );
    assert_eq!(
        get().basic("bob", "bob-password").send(stub.addr()).await.status,
        403
    );
}

#[tokio::test]
async fn pulls_are_counted_as_docker_hub_counts_them() {
    // HEAD is free, GET is not, each user and each anonymous address has its own count.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .quota(Quota {
            anonymous: 1,
            signed_in: 5,
            retry_after: Some(60),
        })
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let path = "/v2/a/b/manifests/1";
    let anonymous = Puller::at(stub.addr());
    let counts = |response: &crate::support::client::Response| {
        (
            response.status,
            response.header("ratelimit-remaining").unwrap().to_owned(),
        )
    };
    assert_eq!(
        counts(&anonymous.send("HEAD", path).await),
        (200, "1;w=21600".into())
    );
    assert_eq!(counts(&anonymous.get(path).await), (200, "0;w=21600".into()));
    let refused = anonymous.get(path).await;
    assert_eq!(
        (counts(&refused).0, refused.oci_error().0.as_str()),
        (429, "TOOMANYREQUESTS")
    );
    assert_eq!(refused.header("retry-after"), Some("60"));
    assert_eq!(
        counts(&anonymous.login("alice", "alice-password").get(path).await),
        (200, "4;w=21600".into())
    );
}
