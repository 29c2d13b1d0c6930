//! Two tiers: a docxy among the clients (near) behind one among the registries (far), over TLS with a password of its own,
//! on the line that lies between them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::signin::users::{ANN, with_users};
use crate::support::{
    app::{Builder, TestApp},
    ca::TestCa,
    client::Request,
    image::Image,
    pair::{HUB_PASSWORD, Pair, ghcr, hub},
    relay::{Line, OCEAN, Relay},
    stub::{Auth, StubRegistry},
};

/// Both docxys, what the far one stands before, and the line between.
struct Tiers {
    hub: StubRegistry,
    ghcr: StubRegistry,
    ca: Arc<TestCa>,
    far: TestApp,
    line: Relay,
    near: TestApp,
}

impl Tiers {
    async fn start(line: Line) -> Self {
        let ca = Arc::new(TestCa::new());
        let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
        let far = far(&hub, &ghcr, &ca).start().await;
        let line = Relay::to(far.tls_addr(), line).await.unwrap();
        let near = near(&line, &ca).start().await;
        Self {
            hub,
            ghcr,
            ca,
            far,
            line,
            near,
        }
    }

    /// `kill -9`, and a new process with the same folder.
    async fn restart_far(mut self) -> Self {
        let home: Arc<TempDir> = self.far.home();
        self.far.kill().await;
        self.far = far(&self.hub, &self.ghcr, &self.ca).home(&home).start().await;
        self.line.lead_to(self.far.tls_addr());
        self
    }

    async fn get(&self, path: &str) -> crate::support::client::Response {
        Request::get(path).send(self.near.addr()).await
    }
}

fn far(hub: &StubRegistry, ghcr: &StubRegistry, ca: &TestCa) -> Builder {
    let issued = ca.issue(&["localhost", "127.0.0.1"]);
    with_users(Pair::app(hub, ghcr))
        .cache()
        .config(
            "[access]\nclients = \"users\"\n[tls]\nlisten = [\"127.0.0.1:0\"]\n\
             certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }]\n",
        )
        .file("cert.pem", issued.certificate)
        .file("key.pem", issued.key)
}

fn near(line: &Relay, ca: &TestCa) -> Builder {
    let parent = format!(
        "[parent]\nurl = \"https://127.0.0.1:{}\"\nusername = \"{}\"\npassword_file = \"parent\"\nca_file = \"ca.pem\"\n\
         allow_private_addresses = true\n",
        line.address.port(),
        ANN.0
    );
    TestApp::builder()
        .cache()
        .config(&parent)
        .file("parent", format!("{}\n", ANN.1))
        .file("ca.pem", ca.pem())
}

/// Pulls the whole image by its tag; every byte is compared.
async fn pull(tiers: &Tiers, stub: &StubRegistry, name: &str, tag: &str, image: &Image) {
    let manifest = tiers.get(&format!("/v2/{name}/manifests/{tag}")).await;
    manifest.assert_is(&image.root, stub);
    for blob in &image.blobs {
        let answer = tiers.get(&format!("/v2/{name}/blobs/{}", blob.digest)).await;
        answer.assert_is(blob, stub);
    }
}

#[tokio::test]
async fn every_registry_is_pulled_through_the_parent() {
    // Somebody whose network reaches no registry, but his own server abroad: three lines, and no image name changes.
    let tiers = Tiers::start(Line {
        speed: f64::MAX,
        one_way: Duration::ZERO,
        breaks_within: None,
    })
    .await;
    let (redis, owner) = (
        tiers.hub.image("library/redis", "7"),
        tiers.ghcr.image("owner/image", "1"),
    );
    pull(&tiers, &tiers.hub, "library/redis", "7", &redis).await;
    pull(&tiers, &tiers.hub, "redis", "7", &redis).await;
    pull(&tiers, &tiers.ghcr, "ghcr.io/owner/image", "1", &owner).await;
    // The registries see neither the parent's user nor the near one's requests twice.
    for stub in [&tiers.hub, &tiers.ghcr] {
        let seen = stub.secrets_seen();
        assert!(!seen.iter().any(|secret| secret.contains(ANN.1)), "{seen:?}");
    }
    for blob in &redis.blobs {
        assert_eq!(
            tiers
                .hub
                .gets(&format!("/v2/library/redis/blobs/{}", blob.digest))
                .len(),
            1
        );
    }
    // The far one gives nothing to who is not its user, and nothing private that its own rights do not open.
    let stranger = Request::get("/v2/library/redis/manifests/7")
        .tls(tiers.ca.client(), "localhost")
        .send(tiers.far.tls_addr())
        .await;
    assert_eq!(stranger.status, 401);
    let private = tiers.get("/v2/acme/app/manifests/1").await;
    assert!(matches!(private.status, 401 | 403 | 404), "{}", private.status);
    // Warm, and the far one gone: all of it still comes.
    let home = tiers.far.home();
    tiers.far.kill().await;
    drop(home);
    let answer = Request::get("/v2/redis/manifests/7")
        .send(tiers.near.addr())
        .await;
    answer.assert_is(&redis.root, &tiers.hub);
    assert_eq!(answer.header("x-cache"), Some("stale"));
}

#[tokio::test]
async fn a_wrong_password_at_the_parent_is_told_as_what_it_is() {
    // An operator who mistyped: the near log and the client's error say where and which key.
    let ca = Arc::new(TestCa::new());
    let (hub, ghcr) = (hub(Auth::Open).start().await, ghcr(Auth::Open).start().await);
    let far = far(&hub, &ghcr, &ca).start().await;
    let line = Relay::to(
        far.tls_addr(),
        Line {
            one_way: Duration::ZERO,
            ..OCEAN
        },
    )
    .await
    .unwrap();
    let near = near(&line, &ca).file("parent", "wrong\n").start().await;
    let answer = Request::get("/v2/library/redis/manifests/7")
        .send(near.addr())
        .await;
    assert!(matches!(answer.status, 401 | 403 | 502), "{}", answer.status);
    assert!(answer.text().contains("docker.io"), "{}", answer.text());
    assert_eq!(hub.requests().len(), 0);
    let told = near
        .logged("why the parent refuses", |line| {
            line["fields"]["reason"].is_string()
        })
        .await;
    assert_eq!(told["fields"]["key"], "parent.password_file", "{told}");
}

#[tokio::test]
async fn a_certificate_alone_opens_the_parent_and_what_came_stays_in_an_outage() {
    // Somebody who gave his near docxy a certificate instead of a password: it is docxy's own right, so that what one client
    // pulled is there for all, for as long as the far one is away, and after a restart too.
    let ca = Arc::new(TestCa::new());
    let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
    let issued = ca.issue(&["localhost", "127.0.0.1"]);
    let far = Pair::app(&hub, &ghcr)
        .cache()
        .configured("docker.io", "alice", HUB_PASSWORD)
        .config(
            "[tls]\nlisten = [\"127.0.0.1:0\"]\nclient_ca_file = \"clients.pem\"\n\
             certificates = [{ cert = \"cert.pem\", key = \"key.pem\" }]\n",
        )
        .file("clients.pem", ca.pem())
        .file("cert.pem", issued.certificate)
        .file("key.pem", issued.key)
        .start()
        .await;
    let shown = ca.issue(&["near"]);
    let parent = format!(
        "[parent]\nurl = \"https://127.0.0.1:{}\"\nclient_cert = \"near.crt\"\nclient_key = \"near.key\"\n\
         ca_file = \"ca.pem\"\nallow_private_addresses = true\n",
        far.tls_addr().port()
    );
    let near = || {
        TestApp::builder()
            .cache()
            .config(&parent)
            .file("near.crt", &shown.certificate)
            .file("near.key", &shown.key)
            .file("ca.pem", ca.pem())
    };
    let image = hub.image("acme/app", "1");
    let tag = "/v2/acme/app/manifests/1";
    let app = near().start().await;
    let get = async |path: &str| Request::get(path).send(app.addr()).await;
    get(tag).await.assert_is(&image.root, &hub);
    for blob in &image.blobs {
        let path = format!("/v2/acme/app/blobs/{}", blob.digest);
        get(&path).await.assert_is(blob, &hub);
    }
    // Nothing of it counts as public: other registries' names don't open it, and no cache on the way may keep it.
    let mark = app.dir().join("cache/repositories/docker.io/acme~app/public");
    assert!(!mark.exists(), "{}", mark.display());
    let home = app.home();
    app.stop().await;
    far.kill().await;
    let app = near().home(&home).start().await;
    let get = async |path: &str| Request::get(path).send(app.addr()).await;
    let answer = get(tag).await;
    answer.assert_is(&image.root, &hub);
    assert_eq!(answer.header("x-cache"), Some("stale"));
    for blob in &image.blobs {
        let path = format!("/v2/acme/app/blobs/{}", blob.digest);
        let answer = get(&path).await;
        answer.assert_is(blob, &hub);
        assert_eq!(answer.header("x-cache"), Some("hit"));
    }
    let elsewhere = format!("/v2/ghcr.io/acme/app/blobs/{}", image.blobs[0].digest);
    let answer = get(&elsewhere).await;
    assert!(answer.status >= 400, "{}", answer.status);
}

#[tokio::test]
async fn a_warm_tag_is_revalidated_in_one_round_trip() {
    // Each pull of a tag waits for this: one question over the ocean, no token, no second one.
    let tiers = Tiers::start(OCEAN).await;
    let redis = tiers.hub.image("library/redis", "7");
    pull(&tiers, &tiers.hub, "library/redis", "7", &redis).await;
    let before = requests(&tiers, "before").await;
    let began = Instant::now();
    let answer = tiers.get("/v2/library/redis/manifests/7").await;
    let took = began.elapsed();
    answer.assert_is(&redis.root, &tiers.hub);
    assert_eq!(answer.header("x-cache"), Some("revalidated"));
    let after = requests(&tiers, "after").await;
    assert_eq!(after - before, 2, "the tag, and the mark before it");
    assert!(took >= OCEAN.one_way * 2, "{took:?}");
    println!("two tiers: a warm tag in {} ms over 100 ms", took.as_millis());
}

#[tokio::test]
async fn every_pull_is_right_over_a_line_that_breaks_while_the_far_docxy_is_killed() {
    // Somebody on a bad line: what breaks is gone on with, and what was killed is asked again.
    println!("two tiers: {}", broken_line(3, 2 << 20).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute; `make soak`"]
async fn soak_every_pull_is_right_over_a_line_that_breaks_while_the_far_docxy_is_killed() {
    println!("two tiers: {}", broken_line(12, 24 << 20).await);
}

/// What was tried, in words.
async fn broken_line(images: usize, layer: usize) -> String {
    let mut tiers = Tiers::start(Line {
        breaks_within: Some(layer as u64),
        ..OCEAN
    })
    .await;
    let mut blobs = 0;
    for number in 0..images {
        let (name, seed) = (format!("team/app{number}"), 100 + number as u64);
        let image = tiers
            .hub
            .put(&name, "1", Image::layers(2).layer_size(layer).seed(seed).build());
        blobs += image.blobs.len();
        let killed = number % 2 == 1;
        if killed {
            // The first layer is on its way when the far docxy dies.
            let path = format!("/v2/{name}/blobs/{}", image.layer_blobs()[0].digest);
            let near = tiers.near.addr();
            let pulling = tokio::spawn(async move { Request::get(path).send(near).await });
            let first = image.layer_blobs()[0].digest.clone();
            tiers
                .hub
                .until("the layer to be asked for", |seen| {
                    seen.iter().any(|request| request.path.contains(&first))
                })
                .await;
            tiers = tiers.restart_far().await;
            pulling
                .await
                .unwrap()
                .assert_is(image.layer_blobs()[0], &tiers.hub);
        }
        pull(&tiers, &tiers.hub, &name, "1", &image).await;
    }
    let broken = tiers.line.broken();
    assert!(broken > 0);
    format!(
        "{images} images, {blobs} blobs right, {broken} broken connections, {} kills",
        images / 2
    )
}

/// Lines of the far docxy's log that are about requests, up to one that is made for the purpose: they are written a little
/// later than the answers.
async fn requests(tiers: &Tiers, mark: &str) -> usize {
    let repository = format!("mark/{mark}");
    Request::get(format!("/v2/{repository}/manifests/none"))
        .tls(tiers.ca.client(), "localhost")
        .send(tiers.far.tls_addr())
        .await;
    let is_mark = |line: &serde_json::Value| line["fields"]["repository"] == repository.as_str();
    tiers.far.logged("the mark in the far docxy's log", is_mark).await;
    let log = tiers.far.log();
    let before = log.iter().take_while(|line| !is_mark(line));
    before
        .filter(|line| line["fields"]["message"] == "request")
        .count()
}
