//! One test for each published bug of a program of this kind that docxy could have had too. The first line says what the bug
//! was and where; the test is the attack, and what must hold here.

use serde_json::json;

use crate::cache::{
    rights::{PRIVATE, contents, leaked, pull, registry, secret_image},
    support::{Cached, TAG, image_of},
};
use crate::cli::story;
use crate::support::{
    app::TestApp,
    ca::TestCa,
    client::{Request, Response},
    image::{Content, Image, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST},
    pair::Pair,
    puller::{Puller, challenge},
    stub::{Auth, Fault, LinkForm, On, StubRegistry},
};

#[tokio::test]
async fn cve_2026_33540_a_challenge_does_not_choose_who_gets_the_password() {
    // distribution, as a pull-through cache, sent its configured password to whatever realm the registry's challenge named.
    // The realm must be the registry's own or one that the operator lists, also when the challenge changes while docxy runs.
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let mut tried = 0;
    for auth in ["configured", "passthrough"] {
        let stub = StubRegistry::builder()
            .auth(Auth::Token)
            .user("alice", "canary-alice-password")
            .private("acme/app", &["alice"])
            .image("acme/app", "1", Image::layers(1))
            .start()
            .await;
        let app = TestApp::builder().cache().registry("docker.io", &stub);
        let app = if auth == "configured" {
            app.configured("docker.io", "alice", "canary-alice-password")
        } else {
            app
        };
        let app = app.start().await;
        let alice = Puller::of(&app).login("alice", "canary-alice-password");
        let realm = format!("{}/auth/token", app.url());
        let path = "/v2/acme/app/manifests/1";
        // The right realm first, so that docxy has a working token and a password in hand.
        let (good, evil) = (stub.token_addr(), canary.token_addr());
        for named in [
            format!("http://{evil}/token"),
            format!("https://{evil}/token"),
            format!("http://{good}@{evil}/token"),
            format!("http://{evil}/token?http://{good}/token"),
        ] {
            stub.clear_faults();
            alice
                .get(path)
                .await
                .assert_is(&stub.image("acme/app", "1").root, &stub);
            let headers = vec![(
                "www-authenticate",
                format!("Bearer realm=\"{named}\",service=\"s\",scope=\"repository:acme/app:pull\""),
            )];
            stub.fault(
                On::path("/v2/*"),
                Fault::Answer {
                    status: 401,
                    headers,
                    body: String::new(),
                },
            );
            for path in [path, "/v2/acme/app/tags/list", "/v2/acme/app/manifests/2"] {
                alice.get(path).await;
                alice.token(&realm, &["repository:acme/app:pull"]).await;
                tried += 2;
            }
        }
    }
    println!(
        "CVE-2026-33540: {} secrets in {} dials of {tried} tried",
        canary.secrets_seen().len(),
        canary.connections()
    );
    assert_eq!(canary.connections(), 0, "{}", canary.story());
}

#[tokio::test]
async fn cve_2020_15157_a_layer_that_lies_elsewhere_gets_no_credential() {
    // containerd fetched a foreign layer from the `urls` of its descriptor, and answered that host's challenge with the
    // credential of the registry. Here `urls` are never followed, and a redirect's host is never signed in to.
    let mut tried = 0;
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ] {
        let canary = StubRegistry::builder()
            .on("127.0.0.9")
            .auth(Auth::Basic)
            .start()
            .await;
        let layer = Content::new(media_type, vec![7; 4096]);
        let config = Content::new(OCI_CONFIG, "{}");
        let mut descriptor = layer.descriptor();
        descriptor["urls"] = json!([
            format!("{}/v2/x/blobs/{}", canary.url(), layer.digest),
            format!("http://alice:pw@{}/layer", canary.addr()),
        ]);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(), "layers": [descriptor],
        });
        let image = Image {
            root: Content::new(OCI_MANIFEST, manifest.to_string()),
            children: Vec::new(),
            blobs: vec![config],
        };
        let stub = StubRegistry::builder()
            .auth(Auth::Token)
            .user("alice", "canary-alice-password")
            .private("acme/app", &["alice"])
            .image("acme/app", "1", image)
            .start()
            .await;
        let app = TestApp::builder()
            .cache()
            .registry("docker.io", &stub)
            .configured("docker.io", "alice", "canary-alice-password")
            .start()
            .await;
        let client = Puller::of(&app);
        let root = client.get("/v2/acme/app/manifests/1").await;
        root.assert_is(&stub.image("acme/app", "1").root, &stub);
        let path = format!("/v2/acme/app/blobs/{}", layer.digest);
        for method in ["GET", "HEAD"] {
            let answer = client.send(method, &path).await;
            answer.assert_status(&[404], &stub);
            tried += 1;
        }
        assert_eq!(canary.connections(), 0, "urls were followed: {}", canary.story());
        // The registry itself sends docxy there: it may look, and has nothing to show.
        for status in [301, 302, 303, 307, 308] {
            stub.clear_faults();
            let there = format!("{}/v2/x/blobs/{}", canary.url(), layer.digest);
            stub.fault(On::path("*/blobs/*"), Fault::redirect(status, there));
            let answer = client.get(&path).await;
            assert!(answer.status >= 400, "{}", answer.everything());
            tried += 1;
        }
        assert_eq!(canary.secrets_seen(), Vec::<String>::new(), "{}", canary.story());
    }
    println!("CVE-2020-15157: 0 secrets in {tried} ways to a foreign layer");
}

#[tokio::test]
async fn cve_2021_41190_a_document_is_an_index_or_an_image_and_not_both() {
    // The OCI specifications let one document with one digest be read as an index by one program and as an image by another,
    // by the Content-Type it came under. What is both is refused under every type, and never kept.
    let image = image_of(41, &[2000]);
    let docxy = Cached::of(image.clone(), "").await;
    let both = json!({
        "schemaVersion": 2,
        "config": image.blobs[0].descriptor(),
        "layers": [image.blobs[1].descriptor()],
        "manifests": [image.root.descriptor()],
    });
    let mut typed = both.clone();
    typed["mediaType"] = json!(OCI_MANIFEST);
    let mut tried = 0;
    for document in [both.to_string(), typed.to_string()] {
        for media_type in [OCI_MANIFEST, OCI_INDEX] {
            let evil = Content::new(media_type, document.clone());
            for path in [
                TAG.to_owned(),
                format!("/v2/library/redis/manifests/{}", evil.digest),
            ] {
                docxy.stub.clear_faults();
                let headers = vec![
                    ("content-type", media_type.to_owned()),
                    ("docker-content-digest", evil.digest.clone()),
                ];
                docxy.stub.fault(
                    On::path("*/manifests/*"),
                    Fault::Answer {
                        status: 200,
                        headers,
                        body: document.clone(),
                    },
                );
                let answer = docxy.get(&path).await;
                assert!(
                    answer.status >= 400 || answer.header("docker-content-digest") != Some(&*evil.digest),
                    "{media_type} {path}: {}",
                    answer.everything()
                );
                assert!(!docxy.folder().holds(&evil.digest), "{media_type} {path}: kept");
                tried += 1;
            }
        }
    }
    println!("CVE-2021-41190: 0 of {tried} ambiguous manifests were served or kept");
}

#[tokio::test]
async fn cve_2024_39897_a_blob_that_is_stored_is_not_everyones() {
    // zot kept one copy of a blob for all repositories and gave it to whoever asked for its digest in a repository of his
    // own. Here one copy is kept too, and the registry is asked about exactly that repository and digest.
    let secret = secret_image();
    let docxy = Cached::built(registry(&secret).await, |app| {
        app.config("[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"")
    })
    .await;
    let alice = docxy.client().login("alice", "alice-password");
    pull(&docxy, &alice, PRIVATE, "1").await;
    let bob = docxy.client().login("bob", "bob-password");
    let (mut tried, mut bytes) = (0, 0);
    for up in [true, false] {
        if !up {
            docxy.stub.down().await;
        }
        for (who, repository) in [
            (&bob, "bob/own"),
            (&bob, "library/redis"),
            (&docxy.client(), "library/redis"),
        ] {
            for content in contents(&secret) {
                let path = format!("/v2/{repository}/blobs/{}", content.digest);
                for answer in [
                    who.get(&path).await,
                    who.send("HEAD", &path).await,
                    who.ranged(&path, "bytes=0-63").await,
                    who.get(&format!("/v2/{repository}/manifests/{}", content.digest))
                        .await,
                ] {
                    assert!(!matches!(answer.status, 200 | 206), "{path}: {}", answer.status);
                    tried += 1;
                    bytes += leaked(&answer, &content);
                }
                let asked = docxy.stub.count(&path);
                assert!(!up || asked > 0, "{path} was answered without its registry");
            }
        }
    }
    println!("CVE-2024-39897: {bytes} bytes in {tried} requests through other repositories");
    assert_eq!(bytes, 0);
}

#[tokio::test]
async fn cve_2026_35172_what_was_removed_from_one_repository_does_not_come_back_through_another() {
    // distribution, with a descriptor cache, gave a deleted blob out again in the repository it was deleted from as soon as
    // somebody read it in another one. Removing here forgets the pair, and no pull in another repository, which the asker may
    // not read, makes it anew.
    for what in ["team/one", "DIGEST"] {
        let image = image_of(35172, &[3000]);
        let stub = StubRegistry::builder()
            .auth(Auth::Token)
            .user("alice", "alice-password")
            .image("team/one", "1", image.clone())
            .private("team/two", &["alice"])
            .image("team/two", "1", image.clone())
            .start()
            .await;
        let docxy = Cached::built(stub, |app| {
            app.config("[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"")
        })
        .await;
        let nobody = docxy.client();
        let alice = docxy.client().login("alice", "alice-password");
        pull(&docxy, &nobody, "team/one", "1").await;
        // Deleted at the registry, and from the cache.
        docxy.stub.fault(On::path("/v2/team/one/*"), Fault::Status(404));
        let removed = if what == "DIGEST" {
            contents(&image)
                .into_iter()
                .map(|content| content.digest)
                .collect()
        } else {
            vec![what.to_owned()]
        };
        for what in removed {
            let config = docxy.app.dir().join("docxy.toml");
            let said = tokio::task::spawn_blocking(move || {
                story(crate::cli::docxy(&config).args(["cache", "rm", "--yes", &what]))
            });
            let said = said.await.unwrap();
            assert!(said.starts_with("exit code Some(0)"), "{said}");
        }
        let (mut tried, mut bytes) = (0, 0);
        for round in ["before", "after", "down"] {
            if round == "after" {
                pull(&docxy, &alice, "team/two", "1").await;
            }
            if round == "down" {
                docxy.stub.down().await;
            }
            for content in contents(&image) {
                for kind in ["blobs", "manifests"] {
                    let path = format!("/v2/team/one/{kind}/{}", content.digest);
                    for answer in [nobody.get(&path).await, nobody.ranged(&path, "bytes=0-63").await] {
                        assert!(
                            !matches!(answer.status, 200 | 206),
                            "{what}, {round}: {path}: {}",
                            answer.status
                        );
                        tried += 1;
                        bytes += leaked(&answer, &content);
                    }
                    assert_ne!(
                        nobody.send("HEAD", &path).await.status,
                        200,
                        "{what}, {round}: {path}"
                    );
                }
            }
        }
        println!("CVE-2026-35172: {bytes} bytes in {tried} requests after {what} was removed");
        assert_eq!(bytes, 0);
    }
}

#[tokio::test]
async fn cve_2025_63761_a_header_does_not_say_where_passwords_and_pages_are() {
    // The class of this advisory (S8): a program builds its own address from X-Forwarded-Host, and a client, or a shared cache
    // in front, is told to sign in elsewhere. Realm, Location and Link must come from public_url, or be relative, whoever
    // sends the headers.
    let issued = std::sync::Arc::new(TestCa::new()).issue(&["hub.example.com"]);
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .pages(1, LinkForm::Absolute)
        .image("a/b", "1", Image::layers(1))
        .image("a/b", "2", Image::layers(1))
        .start()
        .await;
    let spoofs: [(&str, &str); 12] = [
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Host", "evil.test, hub.example.com"),
        ("X-Forwarded-Host", "hub.example.com@evil.test"),
        ("X-Forwarded-Host", "hub.example.com.evil.test"),
        ("X-Forwarded-Server", "evil.test"),
        ("Forwarded", "for=1.2.3.4;host=evil.test;proto=http"),
        ("X-Host", "evil.test"),
        ("X-Original-Host", "evil.test"),
        ("X-Forwarded-Prefix", "//evil.test"),
        ("X-Rewrite-URL", "http://evil.test/v2/"),
        ("Host", "evil.test"),
        ("X-Forwarded-Proto", "http"),
    ];
    let mut tried = 0;
    for trusted in ["", "trusted_proxies = [\"127.0.0.0/8\"]\n"] {
        let config = "public_url = \"https://hub.example.com\"\n[tls]\nlisten = [\"127.0.0.1:0\"]\n\
                      certificates = [{ cert = \"c.pem\", key = \"k.pem\" }]";
        let app = TestApp::builder()
            .registry("docker.io", &stub)
            .config(&format!("{trusted}{config}"))
            .file("c.pem", &*issued.certificate)
            .file("k.pem", &*issued.key)
            .start()
            .await;
        let plain = Pair::open(trusted).await;
        for (name, value) in spoofs {
            let spoofed = |path: &str| Request::get(path.to_owned()).header(name, value);
            // Over plain HTTP: the redirect to HTTPS, or the challenge where a trusted hop said that it was HTTPS.
            for path in ["/v2/", "/v2/a/b/manifests/1", "/v2/a/b/tags/list?n=1"] {
                for more in [None, Some(("X-Forwarded-Proto", "https"))] {
                    let request = more.into_iter().fold(spoofed(path), |request, (name, value)| {
                        request.header(name, value)
                    });
                    let answer = request.send(app.addr()).await;
                    assert_nowhere_else(&answer, &format!("{trusted}{name}: {value}, {path}"));
                    if answer.status == 401 {
                        assert!(
                            challenge(&answer).realm.starts_with("https://hub.example.com/"),
                            "{}",
                            answer.everything()
                        );
                    }
                    if let Some(location) = answer.header("location") {
                        assert!(location.starts_with("https://hub.example.com/"), "{location}");
                    }
                    tried += 1;
                }
            }
            // Pages of tags, where nobody is redirected.
            let answer = spoofed("/v2/library/redis/tags/list?n=1")
                .send(plain.app.addr())
                .await;
            assert_nowhere_else(&answer, &format!("{name}: {value}"));
            tried += 1;
        }
    }
    println!("CVE-2025-63761: 0 of {tried} spoofed requests were led elsewhere");
}

#[track_caller]
fn assert_nowhere_else(answer: &Response, what: &str) {
    for name in [
        "location",
        "www-authenticate",
        "link",
        "content-location",
        "refresh",
    ] {
        let value = answer.header(name).unwrap_or_default();
        assert!(!value.contains("evil.test"), "{what}: {name}: {value}");
    }
}
