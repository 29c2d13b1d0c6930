//! What a reload changes, and what it says that it can't.

use super::{TAKEN, reload, says, set, text, write};
use crate::cache::support::{Cached, image_of};
use crate::support::app::TestApp;
use crate::support::client::Request;
use crate::support::stub::{Auth, StubRegistry};

#[tokio::test]
async fn what_needs_a_new_process_is_named_and_the_rest_counts() {
    // An operator who changed a port and a rule must not believe that both are in effect.
    let docxy = Cached::of(image_of(7020, &[1000]), "").await;
    docxy.warm().await;
    set(
        &docxy.app,
        "listen = [\"127.0.0.1:1\"]\ndefault_registry = \"ghcr.io\"\n[cache]\nmode = \"off\"\n[limits]\nmax_connections = 7\n",
    );
    let told = reload(&docxy.app).await;
    assert!(says(&told, TAKEN), "{told}");
    assert_eq!(told["fields"]["changed"], "default_registry");
    let warned = docxy
        .app
        .logged("which keys need a new process", |line| {
            says(line, "count only in a new process")
        })
        .await;
    assert_eq!(
        warned["fields"]["keys"],
        "cache.mode, limits.max_connections, listen"
    );
    let answer = docxy.get("/v2/docker.io/library/redis/manifests/7").await;
    assert_eq!(
        (answer.status, answer.header("x-cache")),
        (200, Some("revalidated"))
    );
}

#[tokio::test]
async fn registries_come_and_go() {
    // A team gets its own registry while others pull: nobody restarts anything.
    let team = StubRegistry::builder()
        .image("team/app", "1", image_of(7021, &[1000]))
        .start()
        .await;
    let docxy = Cached::of(image_of(7022, &[1000]), "").await;
    docxy.warm().await;
    let asked = docxy.stub.requests().len();
    let path = "/v2/harbor.test/team/app/manifests/1";
    assert_eq!(docxy.get(path).await.status, 404);
    let before = text(&docxy.app);
    set(
        &docxy.app,
        &format!(
            "[registries.\"harbor.test\"]\nurls = [{:?}]\nallow_private_addresses = true\n",
            team.url()
        ),
    );
    let told = reload(&docxy.app).await;
    assert_eq!(told["fields"]["registries"], "harbor.test");
    assert_eq!(docxy.get(path).await.status, 200);
    write(&docxy.app, &before);
    assert!(says(&reload(&docxy.app).await, TAKEN));
    assert_eq!(docxy.get(path).await.status, 404);
    // What nothing changed for was asked nothing by it.
    assert_eq!(docxy.stub.requests().len(), asked, "{}", docxy.stub.story());
}

#[tokio::test]
async fn users_and_rules_count_from_the_next_request_on() {
    // Somebody leaves the company: his next request is refused, not his next login.
    let stub = StubRegistry::builder().image("team/app", "1", image_of(7023, &[1000]));
    let stub = stub.start().await;
    let app = TestApp::builder()
        .registry("hub.test", &stub)
        .file(
            "users",
            "ann:$2y$04$FppCYrxyTrBXshcUsIpoZ.Ar28s7WCDX8/AVlaxQyUQjIV4KNQFsy\n",
        )
        .config("[access]\nclients = \"users\"\nuser_files = [\"users\"]\n")
        .start()
        .await;
    let get = || Request::get("/v2/hub.test/team/app/manifests/1").basic("ann", "secret");
    assert_eq!(get().send(app.addr()).await.status, 200, "{}", app.log_text());
    set(&app, "[[access.rules]]\neffect = \"deny\"\nusers = [\"ann\"]\n");
    assert!(says(&reload(&app).await, TAKEN));
    assert_eq!(get().send(app.addr()).await.status, 403);
    set(&app, "[access]\nrules = []\n");
    assert!(says(&reload(&app).await, TAKEN));
    assert_eq!(get().send(app.addr()).await.status, 200);
}

#[tokio::test]
async fn what_was_learnt_of_a_registry_stays_where_nothing_of_it_changed() {
    // A reload must not cost a token for every repository, nor forget how much is left of a limit.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .image("library/redis", "7", image_of(7024, &[1000]));
    let docxy = Cached::start(stub, "").await;
    docxy.warm().await;
    let tokens = docxy.stub.count("*/token*");
    assert!(tokens > 0, "{}", docxy.stub.story());
    for round in 0..5 {
        set(&docxy.app, &format!("shared_max_age = \"{}m\"", round + 1));
        assert!(says(&reload(&docxy.app).await, TAKEN));
        docxy.warm().await;
    }
    assert_eq!(docxy.stub.count("*/token*"), tokens, "{}", docxy.stub.story());
}

#[tokio::test]
async fn the_log_speaks_as_it_is_told_to() {
    // Whoever looks for a fault turns the log up for ten minutes, in a docxy that has it now.
    let docxy = Cached::of(image_of(7025, &[1000]), "").await;
    let is_debug = |line: &serde_json::Value| line["level"] == "DEBUG";
    docxy.warm().await;
    assert!(!docxy.app.log().iter().any(is_debug));
    set(&docxy.app, "[log]\nlevel = \"debug\"\naccess = false\n");
    assert!(says(&reload(&docxy.app).await, TAKEN));
    let requests = |app: &TestApp| app.log().iter().filter(|line| says(line, "request")).count();
    let told = requests(&docxy.app);
    // A connection that ends in a way that only debug tells.
    let stream = tokio::net::TcpStream::connect(docxy.app.addr()).await.unwrap();
    drop(stream);
    docxy.get("/v2/library/redis/manifests/unknown").await;
    docxy.app.logged("a line of debug", is_debug).await;
    assert_eq!(requests(&docxy.app), told);
}
