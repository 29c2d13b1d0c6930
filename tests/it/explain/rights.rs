//! Who may have it: rules, proofs, docxy's own account, and the doors.

use std::time::Duration;

use serde_json::{Value, json};

use super::{explained, outcome_of, requests, says, trial};
use crate::admin::{ask, json as as_json, socket};
use crate::support::{
    app::TestApp,
    pair::{HUB_PASSWORD, Pair, ghcr, hub},
    puller::Puller,
    stub::{Auth, Quota},
    within,
};

const REDIS: &str = "/v2/library/redis/manifests/7";
const PRIVATE: &str = "/v2/acme/app/manifests/1";

#[tokio::test]
async fn what_is_private_needs_the_clients_right() {
    // "Why does the build server get it and I don't?": the registry decides about each client.
    let stub = hub(Auth::Token).start().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .cache()
        .start()
        .await;
    let alice = Puller::of(&app).login("alice", HUB_PASSWORD);
    alice.get(PRIVATE).await.assert_status(&[200], &stub);
    // Whether everybody may have it is asked behind that.
    within("the answer that it is private", async {
        let target = "/api/v1/explain?image=docker.io/acme/app:1";
        while as_json(&ask(&socket(&app), "GET", target, "").await)["openness"] != "closed" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let nobody = trial(&app, &stub, "docker.io/acme/app:1", PRIVATE);
    let nobody = nobody.comes("denied", "the client must sign in").await;
    assert_eq!(nobody["entitlement"]["by"], "proof", "{nobody:#}");
    says(&nobody, "/entitlement/because", "each client's");
    assert_eq!(nobody["credential"]["kind"], "nothing", "{nobody:#}");
    let alice = trial(&app, &stub, "docker.io/acme/app:1", PRIVATE).by("alice", HUB_PASSWORD);
    let alice = alice.comes("revalidated", "client's own account").await;
    assert_eq!(alice["credential"]["kind"], "clients", "{alice:#}");
    assert_eq!(alice["credential"]["name"], Value::Null, "{alice:#}");
}

#[tokio::test]
async fn docxys_own_account_and_what_is_left_of_it() {
    // An operator wants to know which account pays for an image, and whether it still can.
    let quota = Quota {
        anonymous: 1,
        signed_in: 30,
        retry_after: None,
    };
    let stub = hub(Auth::Token).quota(quota).start().await;
    stub.has_pulled("127.0.0.1", 1);
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .configured("docker.io", "alice", HUB_PASSWORD)
        .cache()
        .start()
        .await;
    Puller::of(&app).ask(PRIVATE).await.assert_status(&[200], &stub);
    let told = trial(&app, &stub, "docker.io/acme/app:1", PRIVATE);
    let told = told.comes("revalidated", "one small request").await;
    assert_eq!(told["entitlement"]["by"], "docxys_account", "{told:#}");
    assert_eq!(told["credential"]["kind"], "own_account", "{told:#}");
    assert_eq!(told["credential"]["name"], "alice", "{told:#}");
    assert_eq!(told["credential"]["quota"]["remaining"], 29, "{told:#}");
    stub.has_pulled("alice", 30);
    Puller::of(&app).ask(REDIS).await;
    let other = "/v2/owner/image/manifests/1";
    let spent = trial(&app, &stub, "docker.io/owner/image:1", other);
    let spent = spent
        .comes(
            "failed-upstream",
            "nothing is left of the limit of docxy's account",
        )
        .await;
    assert_eq!(spent["credential"]["quota"]["remaining"], 0, "{spent:#}");
    // What is stored is asked about by HEAD, which is not counted.
    let kept = trial(&app, &stub, "docker.io/acme/app:1", PRIVATE);
    kept.comes("revalidated", "one small request").await;
}

#[tokio::test]
async fn a_rule_that_denies_is_named() {
    // The person who is refused asks the operator, who finds the line by its number and comment.
    let stub = hub(Auth::Open).start().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .cache()
        .config(
            "[[access.rules]]\neffect = \"deny\"\nregistry = \"quay.io\"\n\
             [[access.rules]]\neffect = \"deny\"\nrepository = \"owner/**\"\naddresses = [\"192.0.2.0/24\"]\n\
             comment = \"not from the lab\"\n\
             [[access.rules]]\neffect = \"deny\"\nrepository = \"acme/**\"\ncomment = \"closed\"\n",
        )
        .start()
        .await;
    let query = [("image", "docker.io/owner/image:1"), ("client", "192.0.2.7")];
    let lab = explained(&app, &stub, &query).await;
    assert_eq!(lab["expected"]["outcome"], "denied", "{lab:#}");
    says(
        &lab,
        "/expected/because",
        "rule 2 of the 3 [[access.rules]] denies it: not from the lab",
    );
    assert_eq!(lab["access"]["rule"], 2, "{lab:#}");
    assert_eq!(lab["access"]["comment"], "not from the lab", "{lab:#}");
    assert_eq!(lab["decisions"], json!([]), "telling is no decision: {lab:#}");
    let query = [("image", "docker.io/owner/image:1"), ("client", "192.0.3.7")];
    let home = explained(&app, &stub, &query).await;
    assert_eq!(home["access"]["allowed"], true, "{home:#}");
    assert_eq!(home["expected"]["outcome"], "miss", "{home:#}");
    let denied = trial(&app, &stub, "acme/app:1", PRIVATE);
    let denied = denied.comes("denied", "rule 3 of the 3").await;
    assert_eq!(denied["access"]["comment"], "closed", "{denied:#}");
    let other = trial(&app, &stub, "owner/image:1", "/v2/owner/image/manifests/1");
    let other = other.comes("miss", "docker.io is asked for it").await;
    says(
        &other,
        "/access/because",
        "none of the 3 [[access.rules]] is for it",
    );
}

#[tokio::test]
async fn registries_that_are_not_meant_here() {
    // A typing error must not be explained as another registry's image.
    let stub = hub(Auth::Open).start().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .registry_with("off.example.com", &stub, "enabled = false")
        .cache()
        .start()
        .await;
    for (image, path, because) in [
        (
            "nowhere.example.com/a/b:1",
            "/v2/a/b/manifests/1?ns=nowhere.example.com",
            "nowhere.example.com is not configured here",
        ),
        (
            "off.example.com/a/b:1",
            "/v2/a/b/manifests/1?ns=off.example.com",
            "off.example.com is switched off here",
        ),
    ] {
        let told = trial(&app, &stub, image, path)
            .comes("failed-client", because)
            .await;
        assert!(told["registry"].is_null() && told["stored"].is_null(), "{told:#}");
        assert_eq!(told["image"], image, "{told:#}");
    }
    assert_eq!(stub.requests().len(), 0, "{}", stub.story());
}

#[tokio::test]
async fn doors_that_lead_there_and_those_that_do_not() {
    // A machine with the wrong mirror setting asks the wrong registry: the door says so.
    let (hub, ghcr) = (hub(Auth::Open).start().await, ghcr(Auth::Open).start().await);
    let app = Pair::app(&hub, &ghcr)
        .config("[registries.\"ghcr.io\"]\naliases = [\"gh\"]\nhosts = [\"gh.example.com\"]\n")
        .cache()
        .start()
        .await;
    let told = explained(&app, &ghcr, &[("image", "ghcr.io/owner/image:1")]).await;
    let doors = told["doors"].as_array().unwrap();
    let names: Vec<&str> = doors.iter().map(|way| way["door"].as_str().unwrap()).collect();
    assert_eq!(names, ["ns", "host", "prefix"], "{told:#}");
    assert_eq!(
        told["doors"][0]["target"],
        "/v2/owner/image/manifests/1?ns=ghcr.io"
    );
    assert_eq!(told["doors"][1]["host"], "gh.example.com");
    // Each of them is what it says.
    for way in doors {
        let before = requests(&app).len();
        let puller = match way["host"].as_str() {
            Some(host) => Puller::of(&app).host(host),
            None => Puller::of(&app),
        };
        let answer = puller.ask(way["target"].as_str().unwrap()).await;
        answer.assert_is(&ghcr.image("owner/image", "1").root, &ghcr);
        let seen = log_of(&app, before).await;
        assert_eq!(
            (&seen["door"], &seen["registry"]),
            (&way["door"], &"ghcr.io".into())
        );
    }
    for door in ["ns", "host", "prefix"] {
        let query = [("image", "ghcr.io/owner/image:1"), ("door", door)];
        let right = explained(&app, &ghcr, &query).await;
        assert_eq!(right["expected"]["outcome"], "revalidated", "{right:#}");
        assert_eq!(right["door"], door, "{right:#}");
    }
    let query = [("image", "ghcr.io/owner/image:1"), ("door", "default")];
    let wrong = explained(&app, &ghcr, &query).await;
    assert_eq!(wrong["expected"]["outcome"], "failed-client", "{wrong:#}");
    says(&wrong, "/expected/because", "leads to docker.io, not to ghcr.io");
    // And there it leads.
    let before = requests(&app).len();
    let answer = Puller::of(&app).ask("/v2/owner/image/manifests/1").await;
    answer.assert_is(&hub.image("owner/image", "1").root, &hub);
    assert_eq!(log_of(&app, before).await["registry"], "docker.io");
    let query = [("image", "ghcr.io/owner/image:1"), ("door", "proxy")];
    let proxy = explained(&app, &ghcr, &query).await;
    says(&proxy, "/expected/because", "docxy is no proxy here");

    let told = explained(&app, &hub, &[("image", "redis:7")]).await;
    assert_eq!(told["image"], "docker.io/library/redis:7", "{told:#}");
    says(&told, "/registry_because", "default_registry");
    assert_eq!(told["named_by"], "default", "{told:#}");
    let told = explained(&app, &hub, &[("image", "ghcr.io/library/redis:7")]).await;
    assert!(told["registry_because"].is_null(), "{told:#}");
    let told = explained(&app, &hub, &[("repository", "gh/owner/image"), ("tag", "1")]).await;
    says(&told, "/registry_because", "gh is an alias of it");
}

/// The first request after so many.
async fn log_of(app: &TestApp, before: usize) -> Value {
    within("the access log", async {
        loop {
            if let Some(fields) = requests(app).get(before) {
                return fields.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_user_of_docxys_or_a_token_is_who_it_says() {
    // An access token that may pull less than its rules would let it is refused; so is a name that nobody has.
    let stub = hub(Auth::Open).start().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .config("[access]\nclients = \"users\"\n")
        .cache()
        .start()
        .await;
    let create = [
        "token",
        "create",
        "--name",
        "ci",
        "--scope",
        "docker.io/library/*",
    ];
    let token = crate::keep::run(&app, &create).await.well().out;
    let token = token
        .split_whitespace()
        .find(|word| word.starts_with("docxy_"))
        .unwrap_or_else(|| panic!("no token: {token}"))
        .to_owned();
    let nobody = trial(&app, &stub, "redis:7", REDIS);
    let nobody = nobody.comes("denied", "sign in first").await;
    assert_eq!(nobody["access"]["decided_by"], "sign-in", "{nobody:#}");
    let ci = trial(&app, &stub, "redis:7", REDIS).by("token:ci", &token);
    let ci = ci.comes("miss", "docker.io is asked for it").await;
    assert_eq!(ci["access"]["allowed"], true, "{ci:#}");
    let beyond = trial(&app, &stub, "owner/image:1", "/v2/owner/image/manifests/1").by("token:ci", &token);
    let beyond = beyond.comes("denied", "not for this repository").await;
    assert_eq!(beyond["access"]["decided_by"], "scope", "{beyond:#}");
    let other = trial(&app, &stub, "redis:7", REDIS).by("token:other", "docxy_nothing");
    let other = other.comes("denied", "no such access token").await;
    assert_eq!(other["access"]["decided_by"], "no-such-user", "{other:#}");
}

#[tokio::test]
async fn who_is_kept_out_before_anything_is_asked() {
    // A list of addresses is nobody's rule, and keeps out all the same; a challenge to everybody keeps out nobody.
    let stub = hub(Auth::Token).start().await;
    let app = TestApp::builder()
        .registry_with("docker.io", &stub, "challenge = \"always\"")
        .cache()
        .start()
        .await;
    // Who has no account there gets a token of docxy's that is nobody's, and goes on with it.
    let always = trial(&app, &stub, "redis:7", REDIS);
    always.comes("miss", "without an account").await;
    let path = "/v2/acme/app/manifests/1";
    let alice = trial(&app, &stub, "acme/app:1", path).by("alice", HUB_PASSWORD);
    alice.comes("miss", "client's own account").await;

    let kept_out = TestApp::builder()
        .registry("docker.io", &stub)
        .config("[access]\ndeny_addresses = [\"127.0.0.0/8\"]\n")
        .start()
        .await;
    let told = trial(&kept_out, &stub, "redis:7", REDIS);
    let told = told.comes("denied", "access.deny_addresses").await;
    assert_eq!(told["access"]["decided_by"], "address", "{told:#}");
}

#[tokio::test]
async fn where_the_anonymous_limit_is_used_up() {
    // "It worked an hour ago": the address that everybody shares has nothing left, and an account would have.
    let quota = Quota {
        anonymous: 1,
        signed_in: 30,
        retry_after: Some(600),
    };
    let stub = hub(Auth::Token).quota(quota).start().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .cache()
        .start()
        .await;
    trial(&app, &stub, "redis:7", REDIS)
        .comes("miss", "it is not stored")
        .await;
    let other = ("owner/image:1", "/v2/owner/image/manifests/1");
    let limit = "nothing is left of the limit of docxy's address at docker.io";
    trial(&app, &stub, other.0, other.1)
        .comes("failed-upstream", limit)
        .await;
    // Told by the registry when to come back.
    let told = trial(&app, &stub, other.0, other.1)
        .comes("failed-upstream", limit)
        .await;
    says(&told, "/expected/because", "it is asked again in");
    let alice = trial(&app, &stub, other.0, other.1).by("alice", HUB_PASSWORD);
    // A HEAD, which costs nothing, has shown that it is for everyone: who pays is told by the credential.
    let alice = alice.comes("miss", "docker.io is asked for it").await;
    assert_eq!(alice["credential"]["kind"], "clients", "{alice:#}");
    trial(&app, &stub, "redis:7", REDIS)
        .comes("revalidated", "one small request")
        .await;
}

#[tokio::test]
async fn an_account_that_does_not_work_is_told() {
    // A password that was changed at the registry is found where somebody asks why an image is missing.
    let stub = hub(Auth::Token).start().await;
    let app = TestApp::builder()
        .registry("docker.io", &stub)
        .configured("docker.io", "alice", "canary-of-last-year")
        .cache()
        .start()
        .await;
    // Somebody has to notice it.
    let before = requests(&app).len();
    let answer = Puller::of(&app).ask(PRIVATE).await;
    assert_eq!(outcome_of(&app, &answer, before).await, "denied");
    let told = trial(&app, &stub, "redis:7", REDIS);
    let told = told
        .comes(
            "miss",
            "without an account, which gives it only if it is for everyone",
        )
        .await;
    assert_eq!(told["credential"]["kind"], "nothing", "{told:#}");
    says(&told, "/credential/because", "none of docxy's works");
}
