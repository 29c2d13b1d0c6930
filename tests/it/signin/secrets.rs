//! S1's first vectors together: one person, logged in at docxy with one registry's password, and every other host listening.

use crate::support::{
    app::TestApp,
    client::Request,
    pair::{GHCR_PASSWORD, HUB_PASSWORD, Pair, assert_no_secret_crossed, ghcr, hub},
    puller::{challenge, token_in},
    stub::{Auth, Cdn, Fault, On, Quirk, StubRegistry},
};

#[tokio::test]
async fn a_second_registry_sees_none_of_the_first_ones_secrets() {
    // Logged in at docxy with the default registry's password, pull by prefix from another: 0 secrets there (CVE-2026-33540).
    let mut tried = 0;
    let kinds = [Auth::Token, Auth::Basic, Auth::TokenForPrivate, Auth::Open];
    for kind in kinds {
        for second in [
            ghcr(kind),
            ghcr(kind).quirk(Quirk::TokenDenies),
            ghcr(kind).token_on("127.0.0.3").cdn(Cdn::on("127.0.0.2")),
        ] {
            let pair = Pair::start(
                hub(Auth::Token),
                second,
                "[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]\n",
            )
            .await;
            let person = pair.client().login("alice", HUB_PASSWORD);
            let login = token_in(&person.token(&pair.realm(), &[]).await);
            let scoped = token_in(&person.token(&pair.realm(), &["repository:acme/app:pull"]).await);
            let offline = [
                ("grant_type", "password"),
                ("username", "alice"),
                ("password", HUB_PASSWORD),
                ("access_type", "offline"),
            ];
            let refresh = person.post_token(&pair.realm(), &offline).await.json()["refresh_token"]
                .as_str()
                .map(str::to_owned);

            for path in [
                "/v2/ghcr.io/owner/image/manifests/1",
                "/v2/ghcr.io/acme/app/manifests/1",
                "/v2/ghcr.io/acme/app/tags/list",
            ] {
                let (_, bare) = path.split_at("/v2/ghcr.io".len());
                let bare = format!("/v2{bare}");
                // As dockerd does: dance on the shared host, with the shared host's password.
                person.get(path).await;
                for token in [&login, &scoped] {
                    person.ask_with(path, token).await;
                    person.clone().ns("ghcr.io").ask_with(&bare, token).await;
                    person
                        .clone()
                        .host("ghcr.example.com")
                        .ask_with(&bare, token)
                        .await;
                    tried += 3;
                }
                Request::get(path)
                    .basic("alice", HUB_PASSWORD)
                    .send(pair.app.addr())
                    .await;
                tried += 2;
            }
            for scopes in [
                vec!["repository:ghcr.io/acme/app:pull"],
                vec!["repository:ghcr.io/acme/app:pull", "repository:acme/app:pull"],
                vec![
                    "repository:acme/app:pull",
                    "repository:ghcr.io/acme/app:pull,push",
                ],
                vec!["repository:acme/app:pull repository:ghcr.io/acme/app:push"],
            ] {
                person.token(&pair.realm(), &scopes).await;
                let joined = scopes.join(" ");
                let fields = [
                    ("grant_type", "password"),
                    ("username", "alice"),
                    ("password", HUB_PASSWORD),
                    ("scope", &*joined),
                ];
                person.post_token(&pair.realm(), &fields).await;
                if let Some(refresh) = &refresh {
                    let fields = [
                        ("grant_type", "refresh_token"),
                        ("refresh_token", &**refresh),
                        ("scope", &*joined),
                    ];
                    person.post_token(&pair.realm(), &fields).await;
                }
                tried += 3;
            }
            assert_no_secret_crossed(&pair.hub, &pair.ghcr);
        }
    }
    println!("S1 by prefix, ns, virtual host and scopes: the second registry saw 0 secrets of {tried} tries");
}

#[tokio::test]
async fn redirects_show_no_secret_to_any_host() {
    // To another host, back to the same, up to https, down to http, with the credential of a person and with docxy's own.
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let mut tried = 0;
    for auth in [Auth::Token, Auth::Basic] {
        let pair = Pair::start(hub(auth), ghcr(Auth::Token), "").await;
        let person = pair.client().login("alice", HUB_PASSWORD);
        let token = token_in(&person.token(&pair.realm(), &["repository:acme/app:pull"]).await);
        let image = pair.hub.image("acme/app", "1");
        let targets = [
            format!("{}/v2/acme/app/blobs/{}", canary.url(), image.blobs[0].digest),
            format!("//{}/x", canary.addr()),
            format!("http://{}@{}/x", pair.hub.addr(), canary.addr()),
            format!("http://alice:secret@{}/x", canary.addr()),
            format!("https://{}/x", canary.addr()),
            format!("http://{}.:{}/x", "127.0.0.9", canary.addr().port()),
            format!("/\\{}/x", canary.addr()),
            format!("\\\\{}\\x", canary.addr()),
        ];
        for target in &targets {
            for status in [301, 302, 303, 307, 308] {
                pair.hub.clear_faults();
                pair.hub
                    .fault(On::path("/v2/acme/*"), Fault::redirect(status, target));
                for path in [
                    format!("/v2/acme/app/blobs/{}", image.blobs[0].digest),
                    "/v2/acme/app/manifests/1".to_owned(),
                    "/v2/acme/app/tags/list".to_owned(),
                ] {
                    tried += 1;
                    person.ask_with(&path, &token).await;
                }
            }
        }
    }
    let seen = canary.secrets_seen();
    println!(
        "S1 by redirect: {} secrets in {} requests of {tried} tried",
        seen.len(),
        canary.requests().len()
    );
    assert_eq!(seen, Vec::<String>::new(), "{}", canary.story());
}

#[tokio::test]
async fn foreign_layers_are_never_followed() {
    // Descriptor `urls` name hosts of the image author's choice (CVE-2020-15157).
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let pair = Pair::signed("").await;
    let digest = crate::support::image::sha256(b"foreign");
    let manifest = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"config\":{{\"mediaType\":\"x\",\"digest\":\"{digest}\",\"size\":7}},\
         \"layers\":[{{\"mediaType\":\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\",\"digest\":\"{digest}\",\
         \"size\":7,\"urls\":[\"{}/layer\"]}}]}}",
        crate::support::image::DOCKER_MANIFEST,
        canary.url()
    );
    let image = pair.hub.put(
        "acme/app",
        "foreign",
        crate::support::image::Image::raw(crate::support::image::DOCKER_MANIFEST, manifest),
    );
    let client = pair.client().login("alice", HUB_PASSWORD);
    client
        .get("/v2/acme/app/manifests/foreign")
        .await
        .assert_is(&image.root, &pair.hub);
    client
        .get(&format!("/v2/acme/app/blobs/{digest}"))
        .await
        .assert_status(&[404], &pair.hub);
    assert_eq!(canary.connections(), 0, "{}", canary.story());
}

#[tokio::test]
async fn nothing_secret_is_in_any_log_or_error() {
    // S12: passwords, tokens, signatures, at the most talkative level, on every path that touches them.
    let (hub, ghcr) = (
        hub(Auth::Token).cdn(Cdn::on("127.0.0.2")).start().await,
        ghcr(Auth::Basic).start().await,
    );
    let app: TestApp = Pair::app(&hub, &ghcr)
        .config("[log]\nlevel = \"trace\"")
        .configured("ghcr.io", "alice", GHCR_PASSWORD)
        .start()
        .await;
    let pair = Pair { app, hub, ghcr };
    let person = pair.client().login("alice", HUB_PASSWORD);
    let mut errors = String::new();
    let blob = pair.hub.image("acme/app", "1").blobs[0].digest.clone();
    let paths = [
        "/v2/acme/app/manifests/1".to_owned(),
        format!("/v2/acme/app/blobs/{blob}"),
        "/v2/acme/app/manifests/none".to_owned(),
        "/v2/ghcr.io/acme/app/manifests/1".to_owned(),
    ];
    for fault in [
        None,
        Some(Fault::Status(500)),
        Some(Fault::Close),
        Some(Fault::Status(403)),
        Some(Fault::BadJson),
    ] {
        for door in [On::cdn("*"), On::token(), On::path("/v2/*")] {
            pair.hub.clear_faults();
            pair.ghcr.clear_faults();
            if let Some(fault) = &fault {
                pair.hub.fault(door.clone(), fault.clone());
                pair.ghcr.fault(door, fault.clone());
            }
            for path in &paths {
                let answer = person.get(path).await;
                if answer.status >= 400 {
                    errors += &answer.everything();
                }
            }
        }
    }
    pair.hub.clear_faults();
    let wrong = pair
        .client()
        .login("alice", "canary-wrong-password")
        .token(&pair.realm(), &[])
        .await;
    errors += &wrong.everything();
    let query = Request::get("/auth/token?password=canary-query-password&service=docxy&account=alice");
    query.send(pair.app.addr()).await;
    let unknown = person
        .ask_with("/v2/acme/app/manifests/1", "canary-bearer-token")
        .await;
    challenge(&unknown);
    let stopped_log = {
        let Pair { app, hub, ghcr } = pair;
        let stopped = app.stop().await;
        let mut canaries = [hub.secrets_issued(), ghcr.secrets_issued(), hub.signatures()].concat();
        canaries.extend(
            [
                "canary-wrong-password",
                "canary-query-password",
                "canary-bearer-token",
            ]
            .map(str::to_owned),
        );
        canaries.push(crate::support::client::basic("alice", HUB_PASSWORD)["Basic ".len()..].to_owned());
        let leaks: Vec<&String> = canaries
            .iter()
            .filter(|canary| stopped.log.contains(&**canary) || errors.contains(&**canary))
            .collect();
        println!(
            "S12: {} of {} secrets found in {} bytes of log and {} of errors",
            leaks.len(),
            canaries.len(),
            stopped.log.len(),
            errors.len()
        );
        assert!(leaks.is_empty(), "{leaks:?}");
        stopped.log
    };
    assert!(
        stopped_log.contains("request"),
        "nothing was logged, so nothing was shown"
    );
}
