//! Who may push: docxy's own users with docxy's own account, and people with accounts of their own at the registry.

use super::uploads::{location, post, with};
use crate::{
    clients::support::{
        door::{Door, realm, registry},
        registry::{DockerRegistry, SignIn},
        sandbox::Sandbox,
        token_server::{PASSWORD, TokenServer, USER},
    },
    signin::users::{ANN, BOB, user_file},
    support::{
        app::TestApp,
        client::{Request, Response},
        image::sha256,
    },
};

const NAME: &str = "registry.example.com";

fn begin(repository: &str) -> Request {
    Request::new("POST", format!("/v2/{NAME}/{repository}/blobs/uploads/")).header("Content-Length", "0")
}

/// A blob with this credential in every request.
async fn blob(door: &Door, repository: &str, signed: impl Fn(Request) -> Request) -> Response {
    let begun = signed(begin(repository)).send(door.app().addr()).await;
    if begun.status != 202 {
        return begun;
    }
    let target = with(&location(&begun), &format!("digest={}", sha256(b"x")));
    signed(Request::new("PUT", target).body("x"))
        .send(door.app().addr())
        .await
}

async fn token(door: &Door, scope: &str, user: Option<(&str, &str)>) -> String {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("scope", scope)
        .finish();
    let request = Request::get(format!("/auth/token?{query}"));
    let request = match user {
        Some((user, password)) => request.basic(user, password),
        None => request,
    };
    let answer = request.send(door.app().addr()).await;
    assert_eq!(answer.status, 200, "{}", answer.everything());
    answer.json()["token"].as_str().unwrap().to_owned()
}

#[track_caller]
fn challenged(answer: &Response, scope: &str) {
    assert_eq!(answer.status, 401, "{}", answer.everything());
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
}

/// docxy's account opens the registry; docxy's users open docxy.
async fn own(sandbox: &Sandbox, more: &str) -> (DockerRegistry, Door) {
    let upstream = DockerRegistry::start(sandbox, SignIn::Basic, &[]).await;
    let users = sandbox.secret("docxy/users", user_file(&[ANN, BOB]));
    let password = sandbox.secret("docxy/password", PASSWORD);
    let keys = format!(
        "auth = \"configured\"\nusername = {USER:?}\npassword_file = \"{}\"\nclients = \"users\"\npush = {{ enabled = true }}\n",
        password.display()
    );
    let config = format!("[access]\nuser_files = [\"{}\"]\n{more}\n", users.display())
        + &registry(NAME, &upstream, &keys);
    let door = Door::open(&config).await;
    (upstream, door)
}

#[tokio::test]
async fn own_users_push_with_docxys_account() {
    // Matters to CI without a password of the registry: docxy has it, and nobody else sees it.
    let sandbox = Sandbox::new();
    let (upstream, door) = own(&sandbox, "").await;
    let pushes = format!("repository:{NAME}/team/app:pull,push");
    challenged(&blob(&door, "team/app", |request| request).await, &pushes);
    let wrong = blob(&door, "team/app", |request| request.basic(ANN.0, "wrong")).await;
    assert_eq!(wrong.status, 401, "{}", wrong.everything());
    let pulls = token(&door, &format!("repository:{NAME}/team/app:pull"), Some(ANN)).await;
    challenged(
        &blob(&door, "team/app", |request| request.bearer(&pulls)).await,
        &pushes,
    );
    let anonymous = token(&door, &pushes, None).await;
    challenged(
        &blob(&door, "team/app", |request| request.bearer(&anonymous)).await,
        &pushes,
    );
    let elsewhere = token(
        &door,
        &format!("repository:{NAME}/team/other:pull,push"),
        Some(ANN),
    )
    .await;
    challenged(
        &blob(&door, "team/app", |request| request.bearer(&elsewhere)).await,
        &pushes,
    );
    let before = upstream.requests().await;
    assert!(before.iter().all(|seen| seen.path == "/v2/"), "{before:#?}");

    let stored = blob(&door, "team/app", |request| request.basic(ANN.0, ANN.1)).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    let pushing = token(&door, &pushes, Some(BOB)).await;
    let stored = blob(&door, "team/app", |request| request.bearer(&pushing)).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    let path = format!("/v2/{NAME}/team/app/blobs/{}", sha256(b"x"));
    let delete = |bearer: &str| {
        Request::new("DELETE", &*path)
            .bearer(bearer)
            .send(door.app().addr())
    };
    let refused = delete(&pushing).await;
    challenged(&refused, &format!("repository:{NAME}/team/app:pull,push,delete"));
    let deleting = token(&door, &format!("repository:{NAME}/team/app:*"), Some(BOB)).await;
    let deleted = delete(&deleting).await;
    assert_eq!(deleted.status, 202, "{}", deleted.everything());
    let line = door.app().accessed("method", "DELETE").await;
    assert_eq!(line["registry"], NAME);
}

#[tokio::test]
async fn an_access_token_pushes_only_if_it_was_made_to() {
    // A token that leaked from a pull secret must not replace what everybody deploys.
    let sandbox = Sandbox::new();
    let (upstream, door) = own(&sandbox, "").await;
    let pulling = door.token(&["create", "--name", "node"]).await;
    let scope = format!("{NAME}/team/*");
    let pushing = door
        .token(&["create", "--name", "ci", "--push", "--scope", &scope])
        .await;
    let pushes = format!("repository:{NAME}/team/app:pull,push");
    let at_service = token(&door, &pushes, Some(("node", &pulling))).await;
    for signed in [
        Request::basic(begin("team/app"), "node", &pulling),
        begin("team/app").bearer(&pulling),
        begin("team/app").bearer(&at_service),
        begin("other/app").bearer(&pushing),
    ] {
        let refused = signed.send(door.app().addr()).await;
        assert_eq!(refused.status, 403, "{}", refused.everything());
        assert_eq!(refused.oci_error().0, "DENIED");
    }
    let refused = begin("team/app").bearer(&pulling).send(door.app().addr()).await;
    assert!(
        refused.oci_error().1.contains("--push"),
        "{}",
        refused.everything()
    );
    assert!(upstream.requests().await.is_empty());

    let at_service = token(&door, &pushes, Some(("ci", &pushing))).await;
    for bearer in [&pushing, &at_service] {
        let stored = blob(&door, "team/app", |request| request.bearer(bearer)).await;
        assert_eq!(stored.status, 201, "{}", stored.everything());
    }
    let listed = door.token(&["list"]).await;
    assert!(listed.contains("team/*, and push"), "{listed}");
    door.token(&["revoke", "ci"]).await;
    let refused = blob(&door, "team/app", |request| request.bearer(&at_service)).await;
    assert_eq!(refused.status, 401, "{}", refused.everything());
}

#[tokio::test]
async fn rules_say_who_pushes_and_what_may_be_taken_over() {
    // Everybody pulls, one pushes; and a mount is no back door to what somebody may not read.
    let sandbox = Sandbox::new();
    let rules = "rules = [\n\
        { effect = \"allow\" },\n\
        { effect = \"allow\", actions = [\"pull\", \"push\"], users = [\"ann\"], repository = \"team/**\", tag = \"v*\" },\n\
        { effect = \"deny\", users = [\"ann\"], repository = \"secret/**\" },\n\
        ]\n";
    let (upstream, door) = own(&sandbox, rules).await;
    let addr = door.app().addr();
    let stored = blob(&door, "team/app", |request| request.basic(ANN.0, ANN.1)).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    for (user, repository) in [(BOB, "team/app"), (ANN, "other/app"), (ANN, "secret/app")] {
        let refused = blob(&door, repository, |request| request.basic(user.0, user.1)).await;
        assert_eq!(refused.status, 403, "{}", refused.everything());
    }
    let put = |target: &str| {
        Request::new("PUT", format!("/v2/{NAME}/team/app/manifests/{target}"))
            .basic(ANN.0, ANN.1)
            .body("{}")
            .send(addr)
    };
    assert_eq!(
        put("v1").await.status,
        400,
        "the registry's own word about the manifest"
    );
    assert_eq!(put("latest").await.status, 403);
    let digest = sha256(b"{}");
    assert_eq!(put(&format!("{digest}?tag=v1")).await.status, 400);
    assert_eq!(put(&format!("{digest}?tag=v1&tag=latest")).await.status, 403);
    assert_eq!(put("v1?tag=latest").await.status, 403);
    let many = "tag=v1&".repeat(33);
    assert_eq!(put(&format!("{digest}?{many}")).await.status, 400);
    let deleted = Request::new("DELETE", format!("/v2/{NAME}/team/app/manifests/{digest}"));
    assert_eq!(deleted.basic(ANN.0, ANN.1).send(addr).await.status, 403);

    for (from, query) in [
        (
            "registry.example.com/team/app",
            format!("from=team%2Fapp&mount={}", sha256(b"x")),
        ),
        ("registry.example.com/secret/app", String::new()),
    ] {
        let target = format!(
            "/v2/{NAME}/team/two/blobs/uploads/?mount={}&from={from}",
            sha256(b"x")
        );
        let begun = Request::new("POST", target)
            .basic(ANN.0, ANN.1)
            .header("Content-Length", "0")
            .send(addr)
            .await;
        let expected = if query.is_empty() { 202 } else { 201 };
        assert_eq!(begun.status, expected, "{from}: {}", begun.everything());
    }
    let seen = upstream.requests().await;
    assert!(
        !seen
            .iter()
            .any(|one| one.path.contains("secret") || one.query.contains("secret")),
        "{seen:#?}"
    );
}

#[tokio::test]
async fn people_push_with_their_own_account_at_a_token_registry() {
    // `docker login` at docxy, `docker push`: the registry decides, and only its own token service sees the password.
    let sandbox = Sandbox::new();
    let tokens = TokenServer::start(&sandbox).await;
    let upstream = DockerRegistry::start(&sandbox, SignIn::Token(&tokens), &[]).await;
    let more = realm(&tokens) + "push = { enabled = true }\n";
    let config = format!("login_registries = [{NAME:?}]\n") + &registry(NAME, &upstream, &more);
    let door = Door::open(&config).await;
    let pushes = format!("repository:{NAME}/team/app:pull,push");
    challenged(&blob(&door, "team/app", |request| request).await, &pushes);
    let anonymous = token(&door, &pushes, None).await;
    challenged(
        &blob(&door, "team/app", |request| request.bearer(&anonymous)).await,
        &pushes,
    );
    let pulls = token(
        &door,
        &format!("repository:{NAME}/team/app:pull"),
        Some((USER, PASSWORD)),
    )
    .await;
    challenged(
        &blob(&door, "team/app", |request| request.bearer(&pulls)).await,
        &pushes,
    );
    let own = token(&door, &pushes, Some((USER, PASSWORD))).await;
    let stored = blob(&door, "team/app", |request| request.bearer(&own)).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());

    // Begun with one token, ended with the next of the same login; and not with another's.
    let begun = begin("team/app").bearer(&own).send(door.app().addr()).await;
    let next = token(&door, &pushes, Some((USER, PASSWORD))).await;
    let target = with(&location(&begun), &format!("digest={}", sha256(b"y")));
    let end = |bearer: &str| {
        Request::new("PUT", &*target)
            .bearer(bearer)
            .body("y")
            .send(door.app().addr())
    };
    let foreign = end(&anonymous).await;
    assert_eq!(foreign.status, 404, "{}", foreign.everything());
    let stored = end(&next).await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
    assert_eq!(upstream.secrets(), 0, "the registry saw the password");
}

#[tokio::test]
async fn people_push_with_their_own_account_at_a_basic_registry() {
    // The password travels sealed in docxy's token, which is for pushing only if it was asked for it.
    let sandbox = Sandbox::new();
    let upstream = DockerRegistry::start(&sandbox, SignIn::Basic, &[]).await;
    let config = format!("login_registries = [{NAME:?}]\n")
        + &registry(NAME, &upstream, "push = { enabled = true }\n");
    let door = Door::open(&config).await;
    let pushes = format!("repository:{NAME}/team/app:pull,push");
    let pulls = token(
        &door,
        &format!("repository:{NAME}/team/app:pull"),
        Some((USER, PASSWORD)),
    )
    .await;
    challenged(
        &blob(&door, "team/app", |request| request.bearer(&pulls)).await,
        &pushes,
    );
    let own = token(&door, &pushes, Some((USER, PASSWORD))).await;
    for signed in [
        Box::new(|request: Request| request.bearer(&own)) as Box<dyn Fn(Request) -> Request>,
        Box::new(|request: Request| request.basic(USER, PASSWORD)),
    ] {
        let stored = blob(&door, "team/app", signed).await;
        assert_eq!(stored.status, 201, "{}", stored.everything());
    }
    // Begun with the password, ended with the token: the same person.
    let begun = begin("team/app")
        .basic(USER, PASSWORD)
        .send(door.app().addr())
        .await;
    let target = with(&location(&begun), &format!("digest={}", sha256(b"z")));
    let stored = Request::new("PUT", target)
        .bearer(&own)
        .body("z")
        .send(door.app().addr())
        .await;
    assert_eq!(stored.status, 201, "{}", stored.everything());
}

#[tokio::test]
async fn an_open_door_with_docxys_account_is_refused_at_the_start() {
    // One line more, and everybody in the network could replace the company's images: docxy does not start so by accident.
    let keys = "urls = [\"http://127.0.0.1:9\"]\nauth = \"configured\"\nusername = \"robot\"\npassword = \"s\"\nallow_private_addresses = true\npush = { enabled = true }\n";
    let start = |listen: &str, more: &str| {
        TestApp::builder().config(&format!(
            "listen = [{listen:?}]\n[registries.\"r.test\"]\n{keys}{more}\n"
        ))
    };
    let refused = start("0.0.0.0:0", "").fails().await;
    assert!(!refused.status.success());
    for said in [
        "push.enabled",
        "anybody who reaches docxy may push to r.test",
        "clients = ",
    ] {
        assert!(refused.log.contains(said), "{said}: {}", refused.log);
    }
    drop(start("127.0.0.1:0", "").start().await);
    let loud = start("0.0.0.0:0", "clients = \"open\"").start().await;
    assert!(
        loud.log_text()
            .contains("ANYBODY WHO REACHES DOCXY MAY PUSH TO R.TEST"),
        "{}",
        loud.log_text()
    );
    let begun = post(([127, 0, 0, 1], loud.addr().port()).into(), "r.test/a/b", "").await;
    assert_eq!(begun.status, 502, "it is tried: {}", begun.everything());
}
