//! The tools tested: a stub that is wrong makes every other test worthless.

use std::{sync::Arc, time::Duration};

use super::{
    ca::TestCa,
    client::Request,
    image::{self, Image, OCI_INDEX, sha256},
    puller::{Puller, challenge, token_in},
    stub::{Auth, Cdn, Dead, Door, Ending, Fault, Gate, LinkForm, On, Quirk, Quota, StubRegistry},
};

fn layer_path(repository: &str, image: &Image) -> String {
    format!("/v2/{repository}/blobs/{}", image.layer_blobs()[0].digest)
}

async fn open_stub() -> (StubRegistry, Image) {
    let stub = StubRegistry::builder()
        .image("a/b", "1", Image::layers(2))
        .start()
        .await;
    let image = stub.image("a/b", "1");
    (stub, image)
}

#[tokio::test]
async fn images_are_what_their_digests_say() {
    // Whoever compares digests in a test must be able to trust the recipe: every descriptor names bytes that exist.
    for recipe in [
        Image::layers(3),
        Image::layers(2).oci().platforms(&["amd64", "arm64"]),
        Image::layers(1).platforms(&["amd64"]),
    ] {
        let image = recipe.build();
        assert_eq!(
            image.digest(),
            recipe.build().digest(),
            "the same recipe gave other bytes"
        );
        for content in image.blobs.iter().chain(&image.children).chain([&image.root]) {
            assert_eq!(content.digest, sha256(&content.bytes));
            let Ok(json) = serde_json::from_slice::<serde_json::Value>(&content.bytes) else {
                continue;
            };
            let below = json["layers"]
                .as_array()
                .into_iter()
                .chain(json["manifests"].as_array())
                .flatten();
            for entry in below.chain(json.get("config").filter(|config| config.get("digest").is_some())) {
                let known = image
                    .blobs
                    .iter()
                    .chain(&image.children)
                    .any(|own| entry["digest"] == own.digest);
                assert!(known, "{entry} of {} is nowhere", content.digest);
            }
        }
    }
    assert_ne!(
        Image::layers(1).build().digest(),
        Image::layers(1).seed(2).build().digest()
    );
}

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
async fn the_cdn_refuses_credentials_and_old_links() {
    // The CDN of Docker Hub answers 400 to a token and 403 to an old signature: both must be felt here too.
    let stub = StubRegistry::builder()
        .image("a/b", "1", Image::layers(1))
        .cdn(
            Cdn::on("127.0.0.2")
                .code(302)
                .hops(2)
                .life(Duration::from_mins(1)),
        )
        .start()
        .await;
    let path = layer_path("a/b", &stub.image("a/b", "1"));
    let first = Request::get(&*path).send(stub.addr()).await;
    assert_eq!(first.status, 302);
    let follow = |location: &str| {
        location
            .split_once(&stub.cdn_addr().to_string())
            .unwrap()
            .1
            .to_owned()
    };
    let first = follow(first.header("location").unwrap());
    assert_eq!(
        Request::get(&*first)
            .bearer("token")
            .send(stub.cdn_addr())
            .await
            .status,
        400
    );
    assert_eq!(
        Request::get(first.replace("Signature=", "Signature=0"))
            .send(stub.cdn_addr())
            .await
            .status,
        403
    );
    let hop = Request::get(&*first).send(stub.cdn_addr()).await;
    let second = follow(hop.header("location").unwrap());
    let bytes = Request::get(&*second).send(stub.cdn_addr()).await;
    assert_eq!(sha256(&bytes.body), path.rsplit_once('/').unwrap().1);
    stub.advance(Duration::from_secs(61));
    assert_eq!(Request::get(&*second).send(stub.cdn_addr()).await.status, 403);
    assert!(
        stub.signatures()
            .iter()
            .any(|signature| second.contains(signature))
    );

    let near = StubRegistry::builder()
        .image("k/s", "1", Image::layers(1))
        .cdn(Cdn::relative().manifests())
        .start()
        .await;
    let link = Request::get("/v2/k/s/manifests/1").send(near.addr()).await;
    let location = link.header("location").unwrap();
    assert!(location.starts_with("/cdn/"), "{location}");
    assert_eq!(
        sha256(&Request::get(location).send(near.addr()).await.body),
        near.image("k/s", "1").digest()
    );
}

#[tokio::test]
async fn faults_hit_the_request_they_are_for_and_no_other() {
    // A fault that misses makes a green test that proves nothing.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    let right = image.layer_blobs()[0].bytes.clone();
    let fetch = || Request::get(&*path).send(stub.addr());

    for at in [0, 1, 1000, right.len() - 1] {
        stub.fault(On::get("/v2/*/blobs/*").nth(1), Fault::CutAt(at));
        let cut = fetch().await;
        assert_eq!(
            (cut.status, cut.complete, &cut.body[..]),
            (200, false, &right[..at]),
            "cut at {at}"
        );
        assert_eq!(stub.requests().last().unwrap().ending, Ending::Broken);
    }
    let whole = fetch().await;
    assert_eq!((whole.complete, &whole.body[..]), (true, &right[..]));

    stub.clear_faults();
    stub.fault(On::path("*").first(2), Fault::WrongByteAt(7));
    for _ in 0..2 {
        let wrong = fetch().await;
        assert_eq!((wrong.complete, wrong.body.len()), (true, right.len()));
        assert_ne!(wrong.body[7], right[7]);
    }
    assert_eq!(fetch().await.body, right);

    stub.clear_faults();
    stub.fault(On::path("*").nth(1), Fault::Truncated(10));
    stub.fault(On::path("*").nth(2), Fault::Length(right.len() as u64 + 5));
    stub.fault(On::path("*").nth(3), Fault::Status(503));
    stub.fault(On::path("*").nth(4), Fault::BadJson);
    stub.fault(On::path("*").nth(5), Fault::redirect(307, "http://127.0.0.9/"));
    let short = fetch().await;
    assert_eq!((short.complete, short.body.len()), (true, 10));
    let long = fetch().await;
    assert_eq!((long.complete, long.body.len()), (false, right.len()));
    assert_eq!(fetch().await.oci_error().0, "UNKNOWN");
    assert!(serde_json::from_slice::<serde_json::Value>(&fetch().await.body).is_err());
    assert_eq!(fetch().await.header("location"), Some("http://127.0.0.9/"));

    stub.fault(On::path("*"), Fault::Close);
    assert!(Request::get(&*path).try_open(stub.addr()).await.is_err());
}

#[tokio::test]
async fn a_gate_holds_a_body_where_the_test_says_and_a_leaver_is_noticed() {
    // Stalls and slowness are ordered by the test, never waited for.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    let gate = Gate::after(100);
    stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let mut slow = Request::get(&*path).open(stub.addr()).await;
    assert_eq!(slow.read(100).await.len(), 100);
    gate.held().await;
    gate.allow(5);
    assert_eq!(slow.read(5).await.len(), 5);
    gate.held().await;
    drop(slow);
    stub.until("the stub to see its client leave", |seen| {
        seen[0].ending == Ending::Left
    })
    .await;
    gate.open();

    let head = Gate::closed();
    stub.fault(On::path("*"), Fault::Head(head.clone()));
    let waiting = tokio::spawn(Request::get(path).send(stub.addr()));
    head.held().await;
    head.open();
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn ranges_and_conditions_work_unless_told_otherwise() {
    // Resume and conditional requests are tested through docxy against these answers.
    let (stub, image) = open_stub().await;
    let path = layer_path("a/b", &image);
    let right = image.layer_blobs()[0].bytes.clone();
    let range = |value: &'static str| Request::get(&*path).header("Range", value).send(stub.addr());
    let part = range("bytes=5-9").await;
    assert_eq!((part.status, &part.body[..]), (206, &right[5..10]));
    assert_eq!(
        part.header("content-range"),
        Some(&*format!("bytes 5-9/{}", right.len()))
    );
    assert_eq!(range("bytes=-3").await.body, right[right.len() - 3..]);
    assert_eq!(range("bytes=99999999-").await.status, 416);
    let known =
        Request::get("/v2/a/b/manifests/1").header("If-None-Match", format!("\"{}\"", image.digest()));
    assert_eq!(known.send(stub.addr()).await.status, 304);

    let deaf = StubRegistry::builder()
        .quirk(Quirk::IgnoreRange)
        .quirk(Quirk::Chunked)
        .image("a/b", "1", image)
        .start()
        .await;
    let all = Request::get(&*path)
        .header("Range", "bytes=5-9")
        .send(deaf.addr())
        .await;
    assert_eq!(
        (all.status, all.complete, all.body.len()),
        (200, true, right.len())
    );
    assert_eq!(all.header("content-length"), None);
}

#[tokio::test]
async fn head_quirks_are_there_when_asked_for() {
    // HEAD of a manifest is the hinge of the pull quota, and every registry gets something wrong with it.
    let head = async |quirk: Quirk| {
        let stub = StubRegistry::builder()
            .quirk(quirk)
            .image("a/b", "1", Image::layers(1))
            .start()
            .await;
        let answer = Request::head("/v2/a/b/manifests/1").send(stub.addr()).await;
        let blob = Request::head(layer_path("a/b", &stub.image("a/b", "1")))
            .send(stub.addr())
            .await;
        (answer, blob.status)
    };
    let (sound, blob) = head(Quirk::TagsUnpaged).await;
    assert!(sound.header("content-length").is_some() && sound.header("docker-content-digest").is_some());
    assert_eq!(blob, 200);
    assert_eq!(
        head(Quirk::HeadManifestWithoutLength)
            .await
            .0
            .header("content-length"),
        None
    );
    assert_eq!(
        head(Quirk::HeadManifestWithoutDigest)
            .await
            .0
            .header("docker-content-digest"),
        None
    );
    assert_eq!(
        head(Quirk::NoDigest).await.0.header("docker-content-digest"),
        None
    );
    assert_eq!(head(Quirk::HeadManifestRefused).await.0.status, 405);
    assert_eq!(head(Quirk::HeadBlobMissing).await.1, 404);
    let (wrong, _) = head(Quirk::WrongDigest).await;
    assert_ne!(
        wrong.header("docker-content-digest"),
        sound.header("docker-content-digest")
    );
    assert_eq!(
        head(Quirk::BadContentType).await.0.header("content-type"),
        Some("text/html")
    );
}

#[tokio::test]
async fn bodies_can_be_rewritten_or_encoded() {
    // docker-registry 2.8 rewrites a list into schema 1; some mirrors compress what must not be touched.
    let stub = StubRegistry::builder()
        .quirk(Quirk::Schema1)
        .quirk(Quirk::AnyDigest)
        .image("a/b", "1", Image::layers(1).oci())
        .start()
        .await;
    let rewritten = Request::get("/v2/a/b/manifests/1")
        .header("Accept", "application/json")
        .send(stub.addr())
        .await;
    assert_eq!(rewritten.json()["schemaVersion"], 1);
    assert_eq!(
        Puller::at(stub.addr()).ask("/v2/a/b/manifests/1").await.json()["schemaVersion"],
        2
    );
    assert_eq!(
        Puller::at(stub.addr())
            .ask("/v2/a/b/manifests/sha256:XYZ")
            .await
            .status,
        404
    );

    let zipped = StubRegistry::builder()
        .quirk(Quirk::Gzip)
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let answer = Puller::at(zipped.addr()).ask("/v2/a/b/manifests/1").await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.body[..3], [0x1f, 0x8b, 8]);
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
    let counts = |response: &super::client::Response| {
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

#[tokio::test]
async fn tags_come_in_pages_of_every_shape() {
    // Relative, absolute and opaque links exist in the wild; docxy must rewrite them all.
    for form in [LinkForm::Relative, LinkForm::Absolute, LinkForm::Opaque] {
        let mut builder = StubRegistry::builder().pages(2, form);
        for tag in ["a", "b", "c", "d", "e"] {
            builder = builder.image("x/y", tag, Image::layers(1));
        }
        let stub = builder.start().await;
        let (mut path, mut tags, mut pages) = ("/v2/x/y/tags/list".to_owned(), Vec::new(), 0);
        loop {
            let page = Request::get(&*path).send(stub.addr()).await;
            let names = page.json()["tags"].as_array().unwrap().clone();
            tags.extend(names.iter().map(|tag| tag.as_str().unwrap().to_owned()));
            pages += 1;
            let Some(link) = page.header("link") else { break };
            let target = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
            path = target.strip_prefix(&stub.url()).unwrap_or(target).to_owned();
        }
        assert_eq!((tags.join(""), pages), ("abcde".to_owned(), 3), "{form:?}");
        stub.untag("x/y", "a");
        let rest = Request::get("/v2/x/y/tags/list?n=1").send(stub.addr()).await;
        assert_eq!(rest.json()["tags"], serde_json::json!(["b"]));
    }
}

#[tokio::test]
async fn referrers_come_from_the_api_or_from_the_tag() {
    // Old registries have no referrers API; clients keep an index under a tag there.
    let subject = Image::layers(1).oci().build();
    let signature = Image::artifact("application/vnd.example.signature", &subject.root, "signed");
    let path = format!("/v2/a/b/referrers/{}", subject.digest());
    for (quirk, status, tagged) in [(Quirk::TagsUnpaged, 200, 404), (Quirk::NoReferrers, 404, 200)] {
        let stub = StubRegistry::builder()
            .quirk(quirk)
            .image("a/b", "1", subject.clone())
            .image("a/b", "signature", signature.clone())
            .start()
            .await;
        let answer = Request::get(format!("{path}?artifactType=application/vnd.example.signature"));
        let answer = answer.send(stub.addr()).await;
        assert_eq!(answer.status, status);
        if status == 200 {
            assert_eq!(answer.json()["manifests"][0]["digest"], signature.digest());
            assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"));
        }
        let tag = subject.digest().replace(':', "-");
        let fallback = Request::get(format!("/v2/a/b/manifests/{tag}"))
            .send(stub.addr())
            .await;
        assert_eq!(fallback.status, tagged);
        if tagged == 200 {
            assert_eq!(fallback.header("content-type"), Some(OCI_INDEX));
            assert_eq!(fallback.json()["manifests"][0]["digest"], signature.digest());
        }
    }
}

#[tokio::test]
async fn it_speaks_tls_to_those_who_trust_its_authority() {
    // Upstreams are https; a stub that only spoke http would leave that road untested.
    let ca = Arc::new(TestCa::new());
    let stub = StubRegistry::builder()
        .tls(&ca)
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    assert!(stub.url().starts_with("https://"));
    let ping = |name: &str| Request::get("/v2/").tls(stub.ca().unwrap().client(), name);
    assert_eq!(ping("127.0.0.1").send(stub.addr()).await.status, 200);
    assert!(ping("elsewhere.example").try_open(stub.addr()).await.is_err());
    assert!(
        Request::get("/v2/")
            .tls(TestCa::new().client(), "127.0.0.1")
            .try_open(stub.addr())
            .await
            .is_err()
    );
    assert_eq!(stub.connections(), 3);
    let named = StubRegistry::builder()
        .tls(&ca)
        .certificate_names(&["registry.test"])
        .start()
        .await;
    let ping = |name: &str| Request::get("/v2/").tls(ca.client(), name);
    assert_eq!(ping("registry.test").send(named.addr()).await.status, 200);
    assert!(ping("127.0.0.1").try_open(named.addr()).await.is_err());
}

#[tokio::test]
async fn dead_addresses_are_dead_in_the_way_they_say() {
    // "Refused" and "no answer" are different failures with different limits.
    let refusing = Dead::refusing();
    let to = refusing.url()["http://".len()..].parse().unwrap();
    assert!(Request::get("/").try_open(to).await.is_err());
    let hole = Dead::black_hole().await;
    let to: std::net::SocketAddr = hole.url()["http://".len()..].parse().unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(to)).await;
    assert!(answer.is_err(), "the black hole answered: {answer:?}");
}

#[tokio::test]
async fn the_log_of_requests_can_be_read_and_forgotten() {
    // A failure must be able to tell the whole story.
    let (stub, _) = open_stub().await;
    Puller::at(stub.addr())
        .ns("ghcr.io")
        .ask("/v2/a/b/manifests/1")
        .await;
    Request::head("/v2/a/b/tags/list")
        .header("Cookie", "a=b")
        .send(stub.addr())
        .await;
    assert_eq!(stub.gets("/v2/*/manifests/*")[0].params("ns"), ["ghcr.io"]);
    assert_eq!(stub.gets("/v2/*/manifests/*")[0].lines("accept").len(), 6);
    assert_eq!(
        (stub.heads("*").len(), stub.count("*"), stub.tally().len()),
        (1, 2, 2)
    );
    assert_eq!(stub.secrets_seen(), ["a=b"]);
    assert!(
        stub.story().contains("GET /v2/a/b/manifests/1?ns=ghcr.io"),
        "{}",
        stub.story()
    );
    stub.forget();
    assert_eq!(stub.requests().len(), 0);
    stub.put("a/b", "2", Image::raw("application/json", image::noise(1, 10)));
    assert_eq!(
        Request::get("/v2/a/b/manifests/2")
            .send(stub.addr())
            .await
            .body
            .len(),
        10
    );
}
