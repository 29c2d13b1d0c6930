//! S12: secrets of every kind through every part that touches them, at the most talkative level, and none in the log.

use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::debug::har::Har;
use crate::support::{
    client::{Request, Response, basic},
    pair::{self, HUB_PASSWORD, Pair},
    puller::{Puller, token_in},
    stub::{Auth, Cdn, Fault, On, StubRegistry},
};

/// Secrets by the name of where they come from.
#[derive(Default)]
struct Canaries(Vec<(String, String)>);

impl Canaries {
    fn make(&mut self, kind: &str) -> String {
        let canary = format!("canary{:016x}", rand::random::<u64>());
        self.known(kind, canary.clone());
        canary
    }

    fn known(&mut self, kind: &str, secret: impl Into<String>) {
        self.0.push((kind.to_owned(), secret.into()));
    }
}

const CONFIGURED: [&str; 4] = ["inline.test", "env.test", "file.test", "exec.test"];

#[tokio::test]
async fn thirty_kinds_of_secrets_stay_out_of_the_log_at_trace_level() {
    // An operator who turns everything on to find a fault sends that log to strangers (S12); libraries log too.
    let mut canaries = Canaries::default();
    let [inline, env, file, exec] = CONFIGURED.map(|name| canaries.make(&format!("password of {name}")));
    let complaint = canaries.make("what a helper says on its standard error");
    let [http_proxy, socks_proxy, proxy_file] =
        ["http proxy", "socks proxy", "proxy's password_file"].map(|kind| canaries.make(kind));
    canaries.known("http proxy, encoded", &basic("u", &http_proxy)["Basic ".len()..]);
    canaries.known(
        "http proxy's file, encoded",
        &basic("u", &proxy_file)["Basic ".len()..],
    );
    let in_path = canaries.make("a signature in a redirect's path");
    let in_query = canaries.make("a signature in a redirect's query");
    let cookie = canaries.make("an upstream's cookie");
    let echoed = canaries.make("a token answer that is no JSON");

    let hub = pair::hub(Auth::Token).cdn(Cdn::on("127.0.0.2")).start().await;
    let ghcr = pair::ghcr(Auth::Basic).start().await;
    let lan = CONFIGURED.iter().zip([&inline, &env, &file, &exec]).fold(
        StubRegistry::builder().auth(Auth::Basic),
        |stub, (name, password)| stub.user(name, password),
    );
    let lan = lan
        .image("a/b", "1", crate::support::image::Image::layers(1))
        .start()
        .await;
    let road = StubRegistry::builder()
        .image("a/b", "1", crate::support::image::Image::layers(1))
        .start()
        .await;
    let mut builder = Pair::app(&hub, &ghcr)
        .config("[log]\nlevel = \"trace,h2=trace,hyper=trace,hyper_util=trace,reqwest=trace,rustls=trace\"")
        .config("[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]")
        .file("password", format!("{file}\n"))
        .file("proxy-password", format!("{proxy_file}\n"))
        .env("LAN_PASSWORD", &*env);
    let script = format!("echo {complaint} >&2; printf 'exec.test\\n{exec}\\n'");
    let keys = [
        format!("username = \"inline.test\"\npassword = \"{inline}\""),
        "username = \"env.test\"\npassword_env = \"LAN_PASSWORD\"".to_owned(),
        "username = \"file.test\"\npassword_file = \"password\"".to_owned(),
        format!("exec = [\"/bin/sh\", \"-c\", {}]", toml::Value::String(script)),
    ];
    for (name, keys) in CONFIGURED.iter().zip(&keys) {
        builder = builder.registry_with(name, &lan, &format!("auth = \"configured\"\n{keys}"));
    }
    let far = |name: &str, proxy: String| {
        format!("[registries.\"{name}\"]\nurls = [\"http://8.8.8.8:5000\"]\nproxy = {proxy}\n")
    };
    let app = builder
        .arguments(&["serve", "--trace-http", "all.har"])
        .config(&far(
            "http.test",
            format!("\"http://u:{http_proxy}@{}\"", road.addr()),
        ))
        .config(&far(
            "socks.test",
            format!("\"socks5://u:{socks_proxy}@{}\"", road.addr()),
        ))
        .config(&far(
            "filed.test",
            format!(
                "{{ url = \"http://{}\", username = \"u\", password_file = \"proxy-password\" }}",
                road.addr()
            ),
        ))
        .start()
        .await;
    let answers = Arc::new(Mutex::new(String::new()));
    let seen = |answer: &Response| {
        if answer.status >= 400 {
            *answers.lock().unwrap() += &answer.everything();
        }
    };
    let client = Puller::of(&app);

    // docxy's own credentials, and those of its proxies.
    for name in CONFIGURED
        .iter()
        .chain(&["http.test", "socks.test", "filed.test"])
    {
        let answer = client.ask(&format!("/v2/{name}/a/b/manifests/1")).await;
        assert!(
            answer.status == 200 || *name == "socks.test",
            "{name}: {}",
            answer.everything()
        );
        seen(&answer);
    }

    // A person's, by every way of telling it.
    let realm = format!("{}/auth/token", app.url());
    let person = client.clone().login("alice", HUB_PASSWORD);
    canaries.known("a login", HUB_PASSWORD);
    canaries.known(
        "a login, encoded",
        &basic("alice", HUB_PASSWORD)["Basic ".len()..],
    );
    let offline = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", HUB_PASSWORD),
        ("access_type", "offline"),
    ];
    let refresh = person.post_token(&realm, &offline).await.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let fields = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
    seen(&person.post_token(&realm, &fields).await);
    let unknown = canaries.make("a refresh token nobody knows");
    let fields = [("grant_type", "refresh_token"), ("refresh_token", &*unknown)];
    seen(&person.post_token(&realm, &fields).await);
    let wrong = canaries.make("a wrong password in a form");
    let fields = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", &*wrong),
    ];
    seen(&person.post_token(&realm, &fields).await);
    let broken = canaries.make("a password in a form without a grant");
    seen(&person.post_token(&realm, &[("password", &broken)]).await);
    let wrong = canaries.make("a wrong password in a header");
    seen(&client.clone().login("alice", &wrong).token(&realm, &[]).await);
    let direct = canaries.make("a password sent straight to content");
    for door in [
        client.clone(),
        client.clone().ns("ghcr.io"),
        client.clone().host("ghcr.example.com"),
    ] {
        seen(
            &door
                .request("GET", "/v2/acme/app/manifests/1")
                .basic("alice", &direct)
                .send(app.addr())
                .await,
        );
        seen(
            &door
                .request("GET", "/v2/")
                .basic("alice", &direct)
                .send(app.addr())
                .await,
        );
    }
    for (kind, name, prefix) in [
        ("a token nobody knows", "Authorization", "Bearer "),
        ("an unknown scheme", "Authorization", "Negotiate "),
        ("malformed Basic", "Authorization", "Basic !"),
        ("a client's cookie", "Cookie", "session="),
        ("a client's proxy password", "Proxy-Authorization", "Basic "),
        ("a client's own header", "X-Registry-Auth", ""),
        ("a sealed-looking token", "Authorization", "Bearer docxy.sealed."),
    ] {
        let value = format!("{prefix}{}", canaries.make(kind));
        for path in [
            "/v2/",
            "/v2/acme/app/manifests/1",
            "/v2/ghcr.io/acme/app/tags/list",
            "/auth/token",
        ] {
            seen(&Request::get(path).header(name, &*value).send(app.addr()).await);
        }
    }
    let query = canaries.make("a password in a query");
    for path in [
        "/auth/token?password=",
        "/v2/library/redis/tags/list?password=",
        "/nothing?token=",
    ] {
        seen(&Request::get(format!("{path}{query}")).send(app.addr()).await);
    }
    let sealed = token_in(
        &client
            .clone()
            .login("alice", pair::GHCR_PASSWORD)
            .token(&format!("{realm}/ghcr.io"), &["repository:acme/app:pull"])
            .await,
    );
    canaries.known("docxy's sealed token", sealed.clone());
    seen(
        &client
            .clone()
            .ns("ghcr.io")
            .ask_with("/v2/acme/app/manifests/1", &sealed)
            .await,
    );
    seen(&client.ask_with("/v2/acme/app/manifests/1", &sealed).await);

    // The same over HTTP/2, whose library logs frames.
    let token = canaries.make("a token over HTTP/2");
    let password = canaries.make("a password over HTTP/2");
    canaries.known(
        "a password over HTTP/2, encoded",
        &basic("alice", &password)["Basic ".len()..],
    );
    let crumb = canaries.make("a cookie over HTTP/2");
    let in_target = canaries.make("a query over HTTP/2");
    over_http2(
        app.addr(),
        &[
            (
                "/v2/acme/app/manifests/1".to_owned(),
                "authorization",
                format!("Bearer {token}"),
            ),
            (
                "/auth/token".to_owned(),
                "authorization",
                basic("alice", &password),
            ),
            ("/v2/".to_owned(), "cookie", crumb),
            (
                format!("/auth/token?password={in_target}"),
                "accept",
                "*/*".to_owned(),
            ),
        ],
    )
    .await;

    // What upstreams give away, in good and in bad answers.
    let blob = hub.image("acme/app", "1").blobs[0].digest.clone();
    let private = format!("/v2/acme/app/blobs/{blob}");
    person.get(&private).await.assert_status(&[200], &hub);
    let location = format!("http://{}/{in_path}/x?sig={in_query}", hub.cdn_addr());
    let secret_head = Fault::Answer {
        status: 307,
        headers: vec![("location", location), ("set-cookie", format!("s={cookie}"))],
        body: String::new(),
    };
    let no_json = Fault::Answer {
        status: 200,
        headers: vec![("content-type", "application/json".into())],
        body: format!("{{\"token\": \"{echoed}"),
    };
    for (on, fault) in [
        (On::get("*/blobs/*"), secret_head),
        (On::token(), no_json),
        (On::cdn("*"), Fault::Status(403)),
        (On::cdn("*"), Fault::Close),
        (On::cdn("*"), Fault::CutAt(10)),
        (On::path("/v2/*"), Fault::Status(401)),
    ] {
        hub.clear_faults();
        hub.fault(on, fault);
        seen(&person.get(&private).await);
        seen(&client.ask("/v2/library/redis/manifests/7").await);
    }

    let key = std::fs::read(app.dir().join("state/keys/seal.key")).unwrap();
    canaries.known(
        "docxy's key",
        format!("{:032x}", u128::from_be_bytes(key[..16].try_into().unwrap())),
    );
    for (kind, stub) in [("docker.io", &hub), ("ghcr.io", &ghcr)] {
        for secret in stub.secrets_issued() {
            canaries.known(&format!("a secret of {kind}"), secret);
        }
        for signature in stub.signatures() {
            canaries.known(&format!("a signed URL of {kind}"), signature);
        }
    }
    let foreign: Vec<String> = app
        .log()
        .iter()
        .filter(|line| matches!(line["level"].as_str(), Some("TRACE" | "DEBUG")))
        .filter(|line| !line["target"].as_str().unwrap_or_default().starts_with("docxy"))
        .map(ToString::to_string)
        .collect();
    let home = app.home();
    let log = app.stop().await.log;
    let recording = Har::read(&home.path().join("all.har"));
    let answers = answers.lock().unwrap().clone();
    let leaks: Vec<String> = canaries
        .0
        .iter()
        .filter(|(_, secret)| {
            [&log, &answers, &recording.text]
                .iter()
                .any(|text| text.contains(secret))
        })
        .map(|(kind, secret)| {
            let line = log
                .lines()
                .chain(recording.text.lines())
                .find(|line| line.contains(secret))
                .unwrap_or("an answer");
            format!("{kind}: {}", line.chars().take(600).collect::<String>())
        })
        .collect();
    let kinds: std::collections::BTreeSet<&str> = canaries.0.iter().map(|(kind, _)| &**kind).collect();
    println!(
        "S12: {} of {} secrets ({} kinds) found in {} bytes of log at trace, {} bytes of refusals and {} recorded requests",
        leaks.len(),
        canaries.0.len(),
        kinds.len(),
        log.len(),
        answers.len(),
        recording.entries().len()
    );
    assert!(recording.entries().len() > 100, "{}", recording.story());
    assert!(kinds.len() >= 30, "only {} kinds", kinds.len());
    assert!(
        log.contains("\"TRACE\"") || log.contains("\"DEBUG\""),
        "nothing was logged at these levels"
    );
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    assert!(
        foreign.is_empty(),
        "libraries speak below INFO: {} lines, first {}",
        foreign.len(),
        foreign[0]
    );
}

async fn over_http2(to: std::net::SocketAddr, requests: &[(String, &str, String)]) {
    let stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    for (path, name, value) in requests {
        let request = http::Request::get(format!("http://{to}{path}"))
            .header(*name, value)
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    drop(sender);
    let _ = connection.await.unwrap();
}
