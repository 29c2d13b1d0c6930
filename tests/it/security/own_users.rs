//! S1 and S12 where docxy has users of its own: what they show docxy goes to no other host, and is told to nobody.

use std::{collections::BTreeSet, fs, time::Duration};

use crate::admin::{ask, socket};
use crate::cli::{docxy, story};
use crate::signin::users::{
    ANN, BOB, assert_nothing_of_docxys_crossed, run_token_command, token_command, user_file, world,
};
use crate::support::{
    client::{Request, basic},
    pair::{GHCR_PASSWORD, Pair},
    puller::token_in,
    stub::{Fault, On, StubRegistry},
};

/// What a client shows, and at which registry.
struct Shown {
    authorization: String,
    secret: String,
    at_ghcr: bool,
}

async fn everything_shown(pair: &Pair) -> Vec<Shown> {
    let of = |authorization: String, secret: &str, at_ghcr| Shown {
        authorization,
        secret: secret.to_owned(),
        at_ghcr,
    };
    let access = token_command(&pair.app, &["create", "--name", "ci"]).await;
    let ann = pair.client().login(ANN.0, ANN.1);
    let sealed = token_in(&ann.token(&pair.realm(), &["repository:library/redis:pull"]).await);
    let alice = pair.client().login("alice", GHCR_PASSWORD);
    let realm = pair.realm_of("ghcr.io");
    let token = token_in(&alice.token(&realm, &["repository:acme/app:pull"]).await);
    vec![
        of(basic(ANN.0, ANN.1), ANN.1, false),
        of(format!("Bearer {sealed}"), &sealed, false),
        of(format!("Bearer {access}"), &access, false),
        of(basic("x", &access), &access, false),
        of(basic("alice", GHCR_PASSWORD), GHCR_PASSWORD, true),
        of(format!("Bearer {token}"), &token, true),
    ]
}

#[tokio::test]
async fn no_way_to_a_canary_host_shows_it_a_secret() {
    // A registry that is evil or taken over sends docxy elsewhere by every status, form of Location and realm. The canary
    // really is reached, so that it would see whatever came along.
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let pair = world("").await;
    let shown = everything_shown(&pair).await;
    let (evil, port) = (canary.addr(), canary.addr().port());
    let redis = pair.hub.image("library/redis", "7").blobs[0].digest.clone();
    let app = pair.ghcr.image("acme/app", "1").blobs[0].digest.clone();
    let paths = [
        format!("/v2/library/redis/blobs/{redis}"),
        format!("/v2/ghcr.io/acme/app/blobs/{app}"),
    ];
    let mut vectors = 0;
    for one in &shown {
        let stub = if one.at_ghcr { &pair.ghcr } else { &pair.hub };
        let send = async || {
            let request = Request::get(&*paths[usize::from(one.at_ghcr)]);
            let request = request.header("Authorization", &*one.authorization);
            request.send(pair.app.addr()).await
        };
        let good = stub.addr();
        let places = [
            format!("http://{evil}/x"),
            format!("HTTP://{evil}/x"),
            format!("//{evil}/x"),
            format!("http://user:pw@{evil}/x"),
            format!("http://{good}@{evil}/x"),
            format!("http://{evil}/x#@{good}"),
            format!("http:\\\\{evil}\\x"),
            format!("http://127.0.0.9.:{port}/x"),
            format!("http://127.9:{port}/x"),
            format!("http://2130706441:{port}/x"),
            format!("http://[::ffff:127.0.0.9]:{port}/x"),
            format!("http://127%2e0%2e0%2e9:{port}/x"),
        ];
        for place in &places {
            for status in [301, 302, 303, 307, 308] {
                stub.clear_faults();
                stub.fault(On::path("/v2/*"), Fault::redirect(status, place));
                send().await;
                vectors += 1;
            }
            let headers = vec![(
                "www-authenticate",
                format!("Bearer realm=\"{place}\",service=\"s\", Basic realm=\"x\""),
            )];
            stub.clear_faults();
            stub.fault(
                On::path("/v2/*"),
                Fault::Answer {
                    status: 401,
                    headers,
                    body: String::new(),
                },
            );
            send().await;
            vectors += 1;
        }
        stub.clear_faults();
        // The same secret at every other door.
        for path in [
            "/v2/ghcr.io/library/redis/manifests/7",
            "/v2/library/redis/manifests/7?ns=ghcr.io",
            "/v2/library/redis/manifests/7?ns=docker.io",
            "/v2/library/redis/manifests/7",
        ] {
            let names_ghcr = path.contains("ghcr.io");
            let typed_for_it = one.authorization.starts_with("Basic") && names_ghcr;
            // Whoever types a password at a door that names ghcr.io means ghcr.io.
            if typed_for_it {
                continue;
            }
            Request::get(path)
                .header("Authorization", &*one.authorization)
                .send(pair.app.addr())
                .await;
            vectors += 1;
        }
    }
    let told: Vec<String> = canary.secrets_seen();
    let story = canary.story();
    // Connections are kept: how often it was asked says more than how often it was dialled.
    let reached = canary.requests().len();
    println!(
        "S1 with own users: {} secrets at the canary in {reached} requests there, {vectors} vectors",
        told.len()
    );
    assert!(vectors >= 400, "{vectors}");
    assert!(reached >= 30, "the canary was hardly reached: {reached}");
    assert_eq!(told, Vec::<String>::new(), "{story}");
    for one in &shown {
        assert!(!story.contains(&one.secret), "{story}");
    }
    assert_nothing_of_docxys_crossed(&pair);
    let hub = pair.hub.secrets_seen();
    for one in shown.iter().filter(|one| one.at_ghcr) {
        assert!(
            !hub.iter().any(|seen| seen.contains(&one.secret)),
            "{}",
            pair.hub.story()
        );
    }
}

#[tokio::test]
async fn what_users_show_docxy_is_told_to_nobody() {
    // Logs at trace level, metrics, refusals, the operator's answers and what commands print are sent to strangers when
    // something goes wrong (S12). A mistake in a file of users is told without the line that has it.
    let pair = world("[log]\nlevel = \"trace,hyper=trace,h2=trace,reqwest=trace\"\n").await;
    let mut canaries: Vec<(&str, String)> = vec![
        ("a user's password", ANN.1.to_owned()),
        (
            "a password, encoded",
            basic(ANN.0, ANN.1)["Basic ".len()..].to_owned(),
        ),
        ("another user's password", BOB.1.to_owned()),
    ];
    let file = fs::read_to_string(pair.app.dir().join("users")).unwrap();
    for line in file.lines() {
        let hash = line.split_once(':').unwrap().1;
        canaries.push(("a hash", hash.to_owned()));
        canaries.push(("a hash's end", hash[hash.len() - 20..].to_owned()));
    }
    let access = token_command(&pair.app, &["create", "--name", "ci"]).await;
    let revoked = token_command(&pair.app, &["create", "--name", "old"]).await;
    run_token_command(&pair.app, &["revoke", "old"]).await;
    canaries.push(("an access token", access["docxy_".len()..].to_owned()));
    canaries.push(("a revoked access token", revoked["docxy_".len()..].to_owned()));
    canaries.push((
        "an access token, encoded",
        basic("x", &access)["Basic ".len()..].to_owned(),
    ));

    let mut said = String::new();
    let realm = pair.realm();
    let ann = pair.client().login(ANN.0, ANN.1);
    let scope = "repository:library/redis:pull";
    let sealed = token_in(&ann.token(&realm, &[scope]).await);
    let offline = [
        ("grant_type", "password"),
        ("access_type", "offline"),
        ("username", ANN.0),
        ("password", ANN.1),
        ("scope", scope),
    ];
    let refresh = ann.post_token(&realm, &offline).await.json();
    let refresh = refresh["refresh_token"].as_str().unwrap_or_default().to_owned();
    canaries.push(("a token", sealed.clone()));
    if !refresh.is_empty() {
        canaries.push(("a refresh token", refresh.clone()));
    }
    let wrong = |what: &str| format!("canary-{what}-{:016x}", rand::random::<u64>());
    let guesses = [wrong("guess"), wrong("form"), wrong("bearer"), wrong("name")];
    canaries.extend(guesses.iter().map(|guess| ("a wrong one", guess.clone())));
    let path = "/v2/library/redis/manifests/7";
    for authorization in [
        basic(ANN.0, ANN.1),
        basic(ANN.0, &guesses[0]),
        basic("x", &access),
        basic("x", &revoked),
        format!("Bearer {sealed}"),
        format!("Bearer {access}"),
        format!("Bearer {revoked}"),
        format!("Bearer {}", guesses[2]),
        format!("Bearer docxy_{}", guesses[2]),
        format!("Bearer docxy.{}", guesses[2]),
    ] {
        for path in [
            path,
            "/v2/",
            "/auth/token",
            "/v2/_catalog",
            "/v2/library/none/tags/list",
        ] {
            let request = Request::get(path).header("Authorization", &*authorization);
            let answer = request.send(pair.app.addr()).await;
            if answer.status >= 400 {
                said += &answer.everything();
            }
        }
    }
    let forms: [&[(&str, &str)]; 4] = [
        &[
            ("grant_type", "password"),
            ("username", ANN.0),
            ("password", &guesses[1]),
        ],
        &[("grant_type", "refresh_token"), ("refresh_token", &guesses[1])],
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", &refresh),
            ("scope", "a b c"),
        ],
        &[("grant_type", "password"), ("username", &guesses[3])],
    ];
    for form in forms {
        let answer = pair.client().post_token(&realm, form).await;
        if answer.status >= 400 {
            said += &answer.everything();
        }
    }
    // A password in plain text, and a hash of a kind that is refused, in the file of users.
    let (plain, md5) = (wrong("plain"), wrong("apr1"));
    let next = format!(
        "{}carl:{plain}\ndora:$apr1$salt$canary{md5}\n",
        user_file(&[ANN, BOB])
    );
    canaries.push(("a plain password in the file", plain));
    canaries.push(("a hash that is refused", md5));
    fs::write(pair.app.dir().join("users"), next).unwrap();
    pair.app
        .logged("the mistake", |line| {
            line["level"] == "ERROR" && line.to_string().contains("users")
        })
        .await;

    let operator = socket(&pair.app);
    for (method, target) in [
        ("GET", "/metrics"),
        ("GET", "/about"),
        ("GET", "/tokens"),
        ("GET", "/nothing"),
        ("POST", "/tokens"),
        ("GET", "/explain"),
    ] {
        let answer = ask(&operator, method, target, "").await;
        said += &String::from_utf8_lossy(answer.body());
    }
    let config = pair.app.dir().join("docxy.toml");
    for arguments in [
        &["check-config"][..],
        &["token", "list"],
        &["token", "list", "--json"],
        &["explain", "--user", "ann", "redis:7"],
        &["cache", "ls"],
    ] {
        let mut command = docxy(&config);
        command.args(arguments).timeout(Duration::from_secs(20));
        said += &tokio::task::spawn_blocking(move || story(&mut command))
            .await
            .unwrap();
    }
    let log = pair.app.stop().await.log;
    let leaks: Vec<&str> = canaries
        .iter()
        .filter(|(_, secret)| log.contains(secret) || said.contains(secret))
        .map(|(what, _)| *what)
        .collect();
    let kinds: BTreeSet<&str> = canaries.iter().map(|(what, _)| *what).collect();
    println!(
        "S12 with own users: {} of {} secrets ({} kinds) found in {} bytes of log at trace, {} bytes of answers and commands",
        leaks.len(),
        canaries.len(),
        kinds.len(),
        log.len(),
        said.len()
    );
    assert!(canaries.len() >= 15, "{}", canaries.len());
    assert!(leaks.is_empty(), "{leaks:?}");
}
