//! One host, some registries for docxy's users and some for their own: what was typed for one is never shown to another
//! (S1).

use super::{ANN, BOB, assert_nothing_of_docxys_crossed, token_command, with_users, world};
use crate::support::{
    client::Request,
    pair::{GHCR_PASSWORD, HUB_PASSWORD, Pair, assert_no_secret_crossed, ghcr, hub},
    puller::token_in,
    stub::Auth,
};

#[tokio::test]
async fn what_is_docxys_reaches_no_registry() {
    // docker sends the one password that it has for a host with every pull from it.
    let pair = world("login_registries = [\"docker.io\", \"ghcr.io\"]\n").await;
    let token = token_command(&pair.app, &["create", "--name", "ci"]).await;
    let realms = [pair.realm(), pair.realm_of("docker.io"), pair.realm_of("ghcr.io")];
    let scopes: [&[&str]; 5] = [
        &[],
        &["repository:library/redis:pull"],
        &["repository:ghcr.io/acme/app:pull"],
        &["repository:ghcr.io/acme/app:pull,push"],
        &["repository:acme/app:pull", "repository:ghcr.io/acme/app:pull"],
    ];
    let paths = [
        "/v2/",
        "/v2/acme/app/manifests/1",
        "/v2/ghcr.io/acme/app/manifests/1",
        "/v2/ghcr.io/library/redis/manifests/7",
        "/v2/ghcr.io/library/redis/tags/list",
        "/v2/_catalog",
        "/v2/acme/app/manifests/1?ns=ghcr.io",
        "/v2/?ns=ghcr.io",
        "/v2/library/redis/manifests/7?ns=docker.io",
    ];
    let mut vectors = 0;
    let mut tokens = vec![token.clone()];
    // A password typed for docxy may be sent to ghcr.io's own realm or ?ns= by nobody but its owner: those name ghcr.io.
    let names_ghcr = |text: &str| text.ends_with("/ghcr.io") || text.contains("ns=ghcr.io");
    for (user, secret) in [ANN, ("x", token.as_str())] {
        let own_of_ghcr = secret == ANN.1;
        let client = pair.client().login(user, secret);
        for realm in realms.iter().filter(|realm| !(own_of_ghcr && names_ghcr(realm))) {
            for scopes in scopes {
                let answer = client.token(realm, scopes).await;
                if answer.status == 200 {
                    tokens.push(token_in(&answer));
                }
                let scope = scopes.join(" ");
                let fields = [
                    ("grant_type", "password"),
                    ("access_type", "offline"),
                    ("username", user),
                    ("password", secret),
                    ("scope", &scope),
                ];
                let answer = client.post_token(realm, &fields).await;
                if answer.status == 200 {
                    tokens.extend(answer.json()["refresh_token"].as_str().map(str::to_owned));
                }
                vectors += 2;
            }
        }
        for path in paths.iter().filter(|path| !(own_of_ghcr && names_ghcr(path))) {
            Request::get(*path)
                .basic(user, secret)
                .send(pair.app.addr())
                .await;
            vectors += 1;
        }
    }
    for token in &tokens {
        for path in paths {
            pair.client().ask_with(path, token).await;
            // Where a password or a name should be: whoever may type anything types this.
            for (user, password) in [(ANN.0, token.as_str()), (token, ""), (token, "x-oauth-basic")] {
                let request = Request::get(path).basic(user, password);
                request.send(pair.app.addr()).await;
            }
            vectors += 4;
        }
        for realm in &realms {
            for (user, password) in [(ANN.0, token.as_str()), (token, "")] {
                let client = pair.client().login(user, password);
                client.token(realm, scopes[1]).await;
                let fields = [
                    ("grant_type", "password"),
                    ("username", user),
                    ("password", password),
                ];
                client.post_token(realm, &fields).await;
                vectors += 2;
            }
        }
        for realm in &realms {
            for scopes in scopes {
                let scope = scopes.join(" ");
                let fields = [
                    ("grant_type", "refresh_token"),
                    ("refresh_token", token),
                    ("scope", &scope),
                ];
                pair.client().post_token(realm, &fields).await;
                vectors += 1;
            }
        }
    }
    println!("{vectors} vectors, 0 secrets of docxy's at a registry");
    assert!(vectors > 500, "{vectors}");
    assert_nothing_of_docxys_crossed(&pair);
    // None of them was a guess: this address need not wait.
    let basic = Request::get("/v2/").basic(BOB.0, BOB.1).send(pair.app.addr());
    assert_eq!(basic.await.status, 200);
    let log = pair.app.log_text();
    assert!(
        log.contains("so no password typed for the shared host goes to ghcr.io"),
        "the operator is told"
    );
    for canary in [ANN.1, &token[6..]] {
        assert!(!log.contains(canary), "in the log");
    }
}

#[tokio::test]
async fn what_was_typed_for_a_registry_is_not_tried_on_docxys_users() {
    const PRIVATE: &str = "/v2/acme/app/manifests/1";
    // Guesses at somebody's account elsewhere must not lock docxy's users out, nor find out their passwords here.
    let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
    let app = with_users(Pair::app(&hub, &ghcr))
        .config("login_registries = [\"docker.io\"]\n[registries.\"ghcr.io\"]\nclients = \"users\"\n")
        .start()
        .await;
    let pair = Pair { app, hub, ghcr };
    let mut tried = 0;
    // Five in a row would make this address wait at docker.io.
    for number in 0..4 {
        let wrong = format!("wrong-{number}");
        let client = pair.client().login(BOB.0, &wrong);
        for answer in [
            client.token(&pair.realm(), &[]).await,
            client.token(&pair.realm(), &["repository:acme/app:pull"]).await,
            client.token(&pair.realm_of("docker.io"), &[]).await,
            Request::get(PRIVATE)
                .basic(BOB.0, &wrong)
                .send(pair.app.addr())
                .await,
            Request::get("/v2/")
                .basic(BOB.0, &wrong)
                .send(pair.app.addr())
                .await,
        ] {
            answer.assert_status(&[401, 403], &pair.hub);
            tried += 1;
        }
    }
    println!("{tried} wrong passwords for docker.io, 0 tried here");
    // Had they been docxy's, this address would have to wait.
    let fields = [
        ("grant_type", "password"),
        ("username", BOB.0),
        ("password", BOB.1),
        ("scope", "repository:ghcr.io/library/redis:pull"),
    ];
    let token = token_in(&pair.client().post_token(&pair.realm(), &fields).await);
    let path = "/v2/ghcr.io/library/redis/manifests/7";
    pair.assert_from_ghcr(&pair.client().ask_with(path, &token).await, "library/redis", "7");
    // And the account at the registry still is what opens it.
    let client = pair.client().login("alice", HUB_PASSWORD);
    pair.assert_from_hub(&client.get(PRIVATE).await, "acme/app", "1");
    let line = pair.app.accessed("repository", "acme/app").await;
    assert_eq!(line["registry"], "docker.io");
    assert_no_secret_crossed(&pair.hub, &pair.ghcr);
    assert!(
        !pair.ghcr.secrets_seen().iter().any(|seen| seen.contains(BOB.1)),
        "{}",
        pair.ghcr.story()
    );
}

#[tokio::test]
async fn guesses_at_a_registry_wait_and_are_not_docxys() {
    // docxy must be no way to try a million passwords at Docker Hub, nor have Docker Hub close to all who come through it.
    let pair = Pair::signed("").await;
    let ask = async |number: usize| {
        let client = pair.client().login("alice", &format!("wrong-{number}"));
        let answers = [
            client.token(&pair.realm(), &["repository:acme/app:pull"]).await,
            Request::get("/v2/")
                .basic("alice", &format!("wrong-{number}"))
                .send(pair.app.addr())
                .await,
        ];
        answers.map(|answer| answer.status)
    };
    for number in 0..4 {
        assert_eq!(ask(number).await, [401, 401], "{number}");
    }
    assert_eq!(ask(4).await, [401, 429]);
    let shown = pair.hub.secrets_seen().len();
    for number in 5..50 {
        assert_eq!(ask(number).await, [429, 429], "{number}");
    }
    let answer = pair
        .client()
        .login("alice", "wrong-50")
        .token(&pair.realm(), &[])
        .await;
    assert!(answer.header("retry-after").is_some(), "{}", answer.everything());
    // What was refused a moment ago is refused without asking.
    assert_eq!(ask(0).await[0], 401);
    println!("55 wrong passwords for docker.io: {shown} secrets shown to it");
    assert_eq!(pair.hub.secrets_seen().len(), shown, "{}", pair.hub.story());
}

#[tokio::test]
async fn a_header_that_goes_with_every_registry_is_shown_to_none() {
    // containerd sends the header of docxy's hosts.toml for all registries: ann's password is not ghcr.io's business, and what
    // is public there comes all the same.
    let pair = world("").await;
    let ask = |path: &str| {
        Request::get(path.to_owned())
            .basic(ANN.0, ANN.1)
            .send(pair.app.addr())
    };
    let hub = ask("/v2/library/redis/manifests/7?ns=docker.io").await;
    pair.assert_from_hub(&hub, "library/redis", "7");
    let ghcr = ask("/v2/library/redis/manifests/7?ns=ghcr.io").await;
    pair.assert_from_ghcr(&ghcr, "library/redis", "7");
    assert_eq!(ask("/v2/acme/app/manifests/1?ns=ghcr.io").await.status, 401);
    assert_eq!(ask("/v2/?ns=ghcr.io").await.status, 401);
    let client = pair.client().login(ANN.0, ANN.1);
    let realm = client
        .token(&pair.realm_of("ghcr.io"), &["repository:acme/app:pull"])
        .await;
    assert_eq!(realm.status, 401, "{}", realm.everything());
    assert_nothing_of_docxys_crossed(&pair);
}

#[tokio::test]
async fn what_is_typed_for_docxy_and_a_registry_at_once_is_docxys() {
    // docker asks for one token for all repositories of a push or a mount across: ann's password, which she typed for the
    // one that is for docxy's users, must not go to the other one's service, in whatever order they stand.
    let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
    let app = with_users(Pair::app(&hub, &ghcr))
        .config("login_registries = [\"docker.io\"]\n[registries.\"ghcr.io\"]\nclients = \"users\"\n")
        .start()
        .await;
    let pair = Pair { app, hub, ghcr };
    let ours = "repository:ghcr.io/library/redis:pull";
    let client = pair.client().login(ANN.0, ANN.1);
    for scopes in [
        &["repository:acme/app:pull", ours][..],
        &["repository:acme/app:pull,push", ours],
        &["repository:acme/app:pull,push repository:ghcr.io/library/redis:pull"],
        &[ours, "repository:acme/app:push"],
        &["registry:catalog:*", ours],
    ] {
        let token = token_in(&client.token(&pair.realm(), scopes).await);
        let path = "/v2/ghcr.io/library/redis/manifests/7";
        pair.assert_from_ghcr(&pair.client().ask_with(path, &token).await, "library/redis", "7");
    }
    assert_nothing_of_docxys_crossed(&pair);
    let log = pair.app.log_text();
    assert!(
        log.contains("is shown to docker.io"),
        "the operator is told: {log}"
    );
}

#[tokio::test]
async fn a_registrys_own_door_takes_its_own_password_beside_docxys() {
    // ?ns= names the registry: there everybody has the account he has there, whatever the shared host's logins are for.
    let pair = world("").await;
    let client = pair.client().ns("ghcr.io").login("alice", GHCR_PASSWORD);
    pair.assert_from_ghcr(&client.get("/v2/acme/app/manifests/1").await, "acme/app", "1");
    let client = pair.client().ns("docker.io").login(ANN.0, ANN.1);
    let path = "/v2/library/redis/manifests/7";
    pair.assert_from_hub(&client.get(path).await, "library/redis", "7");
    assert!(
        !pair
            .hub
            .secrets_seen()
            .iter()
            .any(|seen| seen.contains(GHCR_PASSWORD)),
        "{}",
        pair.hub.story()
    );
    assert_nothing_of_docxys_crossed(&pair);
}
