//! Who is let in on the API's own listener, and who is not (threats S14 and DNS rebinding).

use std::time::Duration;

use serde_json::{Value, json};

use super::listener::{Administered, LISTEN, address, filled, one_time, operations, sign_in};
use super::{ask, socket};
use crate::support::app::TestApp;
use crate::support::ca::TestCa;
use crate::support::client::{Request, Response};
use crate::support::within;

#[tokio::test]
async fn nobody_does_anything_without_an_admin_token() {
    // Threat S14: every call there is, with everything that is not enough.
    let docxy = Administered::start(740, "").await;
    let made = json!({ "name": "robot", "life": 3600, "push": true });
    let pull = docxy.request("POST", "/api/v1/tokens").body(made.to_string());
    let pull = pull.send(docxy.to).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let made = json!({ "name": "short", "life": 1 });
    let short = docxy
        .request("POST", "/api/v1/admin/tokens")
        .body(made.to_string());
    let expired = short.send(docxy.to).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    within("a token's time to be over", async {
        while Request::get("/api/v1/session")
            .bearer(&expired)
            .send(docxy.to)
            .await
            .status
            == 200
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let revoked = docxy
        .request("POST", "/api/v1/admin/tokens")
        .body(json!({ "name": "gone" }).to_string());
    let revoked = revoked.send(docxy.to).await.json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    docxy
        .request("DELETE", "/api/v1/admin/tokens/gone")
        .send(docxy.to)
        .await;
    let spent = one_time(&docxy.docxy.app).await;
    let wrong = format!(
        "{}{}",
        &docxy.token[..docxy.token.len() - 1],
        if docxy.token.ends_with('x') { 'y' } else { 'x' }
    );
    let bearer = |token: &str| vec![("Authorization", format!("Bearer {token}"))];
    let proofs: Vec<(&str, Vec<(&str, String)>)> = vec![
        ("nothing", Vec::new()),
        ("a wrong token", bearer(&wrong)),
        ("an expired one", bearer(&expired)),
        ("a revoked one", bearer(&revoked)),
        ("a pull token", bearer(&pull)),
        ("a spent one-time token", bearer(&spent)),
        (
            "the token as a password",
            vec![(
                "Authorization",
                crate::support::client::basic("admin", &docxy.token),
            )],
        ),
        (
            "the token as a cookie",
            vec![("Cookie", format!("docxy_admin={}", docxy.token))],
        ),
        ("the token in the query", Vec::new()),
        ("an empty bearer", bearer("")),
    ];
    let description = docxy.description().await;
    let mut paths: Vec<String> = operations(&description)
        .into_iter()
        .map(|(path, _)| filled(&path))
        .collect();
    paths.dedup();
    paths.extend(
        [
            "/",
            "/api/v1",
            "/api/v1/",
            "/api/v2/config",
            "/api/v1/events",
            "/nowhere",
            "/api/v1/health/live/",
            "//api/v1/health",
        ]
        .map(str::to_owned),
    );
    let before = docxy.get("/api/v1/cache/repositories").await;
    let mut refused = 0;
    let mut held = 0;
    for (what, headers) in &proofs {
        let mut denied = 0;
        for path in &paths {
            if path == "/api/v1/health/live" {
                continue;
            }
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                let target = if *what == "the token in the query" {
                    format!("{path}?token={}&access_token={}", docxy.token, docxy.token)
                } else {
                    path.clone()
                };
                let mut request = Request::new(method, target);
                for (name, value) in headers {
                    request = request.header(name, value);
                }
                if method == "POST" {
                    request = request.body("{\"name\":\"evil\",\"all\":true}");
                }
                let answer = request.send(docxy.to).await;
                match answer.status {
                    401 | 403 => denied += 1,
                    429 => held += 1,
                    other => panic!("{what}: {method} {path}: {other} {}", answer.text()),
                }
                refused += 1;
            }
        }
        // Of a wrong one the first few; from then on the address is told to wait.
        assert!(denied > 0 || held > 0, "{what}");
    }
    println!("{refused} calls refused, {held} of them while the address was held off");
    assert!(refused > 1500, "{refused}");
    // And whoever has a token is not locked out with them, and finds everything as it was.
    assert_eq!(
        docxy.get("/api/v1/cache/repositories").await["repositories"][0]["blobs"],
        before["repositories"][0]["blobs"]
    );
    let names = docxy.get("/api/v1/admin/tokens").await;
    assert!(!names.to_string().contains("evil"), "{names}");
    let alive = Request::get("/api/v1/health/live").send(docxy.to).await;
    assert_eq!(
        (alive.status, alive.text().as_str()),
        (200, "{\"status\":\"ok\"}")
    );
    let metrics = docxy.request("GET", "/metrics").send(docxy.to).await.text();
    assert!(
        metrics.contains("docxy_refused_total{reason=\"admin-token\"}"),
        "{metrics}"
    );
}

#[tokio::test]
async fn the_one_time_token_makes_one_token_and_is_gone() {
    // It stands in a terminal's history or a journal: good for the first minutes, and for nothing afterwards.
    let app = TestApp::builder().config(LISTEN).start().await;
    let (to, once) = (address(&app).await, one_time(&app).await);
    let with = |token: &str, target: &str| Request::get(target).bearer(token);
    assert_eq!(with(&once, "/api/v1/config").send(to).await.status, 403);
    assert_eq!(sign_in(to, &once, json!({})).await.status, 400, "it needs a name");
    let answer = sign_in(to, &once, json!({ "name": "laptop" })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert!(token.starts_with("docxy_admin_"), "{}", token.len());
    let who = with(&token, "/api/v1/session").send(to).await.json();
    assert_eq!(
        (who["by"].as_str(), who["token"]["name"].as_str()),
        (Some("token"), Some("laptop"))
    );
    assert_eq!(sign_in(to, &once, json!({ "name": "thief" })).await.status, 401);
    // Nothing of it is in what is kept, but for the line that a person reads.
    let log = app.log();
    let lines: Vec<&Value> = log
        .iter()
        .filter(|line| line.to_string().contains(&once))
        .collect();
    assert!(matches!(lines[..], [Value::String(_)]), "{lines:?}");
    assert!(!app.log_text().contains(&token));
    let kept = std::fs::read_to_string(app.dir().join("state/keys/admin-tokens.json")).unwrap();
    assert!(
        !kept.contains(&token["docxy_admin_".len()..]),
        "only a hash is kept"
    );
    // The next start has no use for another.
    let home = app.home();
    app.stop().await;
    let app = TestApp::builder().home(&home).config(LISTEN).start().await;
    let to = address(&app).await;
    assert_eq!(with(&token, "/api/v1/session").send(to).await.status, 200);
    assert!(!app.log_text().contains("docxy_once_"));
}

#[tokio::test]
async fn a_token_made_elsewhere_ends_the_one_time_token() {
    // Who has made a token by the command line does not think of what the journal still shows.
    let app = TestApp::builder().config(LISTEN).start().await;
    let (to, once) = (address(&app).await, one_time(&app).await);
    let made = ask(
        &socket(&app),
        "POST",
        "/api/v1/admin/tokens",
        json!({ "name": "cli" }).to_string(),
    )
    .await;
    assert_eq!(made.status(), 200);
    assert_eq!(sign_in(to, &once, json!({ "name": "late" })).await.status, 401);
}

/// The header that goes with it, and the whole line that set it.
#[tokio::test]
async fn a_token_that_the_command_line_made_ends_the_one_time_token_for_good() {
    // What stands in a journal must not open docxy again when the operator takes his token back within the hour.
    let app = TestApp::builder().config(LISTEN).start().await;
    let (to, once) = (address(&app).await, one_time(&app).await);
    let file = app.dir().join("docxy.toml");
    let command = |arguments: &'static [&'static str]| {
        let file = file.clone();
        async move {
            let ended = tokio::task::spawn_blocking(move || {
                crate::cli::docxy(&file)
                    .args(["admin", "token"])
                    .args(arguments)
                    .output()
                    .unwrap()
            });
            let said = ended.await.unwrap();
            assert!(said.status.success(), "{said:?}");
            String::from_utf8(said.stdout).unwrap()
        }
    };
    let made = command(&["create", "--name", "cli"]).await;
    let token = made
        .split_whitespace()
        .find(|word| word.starts_with("docxy_admin_"))
        .unwrap()
        .to_owned();
    let until = async |status: u16| {
        while Request::get("/api/v1/session")
            .bearer(&token)
            .send(to)
            .await
            .status
            != status
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within("the token to be seen", until(200)).await;
    command(&["revoke", "cli"]).await;
    within("the token to be gone", until(401)).await;
    let answer = sign_in(to, &once, json!({ "name": "late" })).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
}

fn cookie(answer: &Response) -> (String, String) {
    let whole = answer.header("set-cookie").unwrap().to_owned();
    let pair = whole.split(';').next().unwrap().to_owned();
    (pair, whole)
}

fn key(answer: &Response) -> String {
    answer.json()["session_key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_browser_gets_a_session_that_ends_with_its_token() {
    // Pages hold no token that a script could steal, and other sites' pages can't use the cookie.
    let docxy = Administered::start(741, "").await;
    let begun = docxy
        .request("POST", "/api/v1/session")
        .body("{\"cookie\":true}")
        .send(docxy.to)
        .await;
    assert_eq!(begun.status, 200, "{}", begun.text());
    let (pair, whole) = cookie(&begun);
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(whole.contains(part), "{whole}");
    }
    let (host, key_of) = (docxy.to.to_string(), key(&begun));
    let by_cookie = |method: &str, target: &str| {
        let request = Request::new(method, target).header("Cookie", &pair);
        request.header("X-Docxy-Session", &key_of)
    };
    let who = by_cookie("GET", "/api/v1/session").send(docxy.to).await;
    assert_eq!(who.json()["by"], "session", "{}", who.text());
    for (origin, status) in [
        (None, 403),
        (Some("http://evil.example".to_owned()), 403),
        (Some("null".to_owned()), 403),
        (Some(format!("http://{host}")), 200),
    ] {
        let mut request = by_cookie("POST", "/api/v1/cache/gc");
        if let Some(origin) = &origin {
            request = request.header("Origin", origin);
        }
        let answer = request.send(docxy.to).await;
        assert_eq!(answer.status, status, "{origin:?}: {}", answer.text());
        assert!(answer.header("access-control-allow-origin").is_none());
    }
    let out = by_cookie("DELETE", "/api/v1/session").header("Origin", format!("http://{host}"));
    assert_eq!(out.send(docxy.to).await.status, 200);
    assert_eq!(
        by_cookie("GET", "/api/v1/session").send(docxy.to).await.status,
        401
    );
    // Revoking the token is enough, too.
    let begun = docxy
        .request("POST", "/api/v1/session")
        .body("{\"cookie\":true}")
        .send(docxy.to)
        .await;
    let ((pair, _), key) = (cookie(&begun), key(&begun));
    let gone = docxy
        .request("DELETE", "/api/v1/admin/tokens/test")
        .send(docxy.to)
        .await;
    assert_eq!(gone.status, 200);
    let answer = Request::get("/api/v1/session")
        .header("Cookie", pair)
        .header("X-Docxy-Session", key)
        .send(docxy.to)
        .await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn a_cookie_that_another_port_saw_opens_nothing() {
    // Browsers know no ports in cookies: whatever else answers on localhost is shown the session's, and could use it.
    let docxy = Administered::start(745, "").await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let begun = docxy.request("POST", "/api/v1/session").body("{\"cookie\":true}");
        sessions.push(begun.send(docxy.to).await);
    }
    let (taken, _) = cookie(&sessions[0]);
    let value = taken.split_once('=').unwrap().1.to_owned();
    let (own, other) = (key(&sessions[0]), key(&sessions[1]));
    assert!(!sessions[0].header("set-cookie").unwrap().contains(&own));
    for (what, keys, status) in [
        ("its key", vec![own.clone()], 200),
        ("nothing", vec![], 401),
        ("an empty key", vec![String::new()], 401),
        ("the cookie as key", vec![value], 401),
        ("another session's key", vec![other], 401),
    ] {
        let mut request = Request::get("/api/v1/config").header("Cookie", &taken);
        for key in &keys {
            request = request.header("X-Docxy-Session", key);
        }
        let answer = request.send(docxy.to).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    // The key alone is no session either.
    let alone = Request::get("/api/v1/config").header("X-Docxy-Session", own);
    assert_eq!(alone.send(docxy.to).await.status, 401);
    let out = Request::new("DELETE", "/api/v1/session")
        .header("Cookie", &taken)
        .header("Origin", format!("http://{}", docxy.to));
    let refused = out.send(docxy.to).await;
    assert_eq!(refused.json()["error"]["code"], "no_session_key");
}

#[tokio::test]
async fn only_docxys_own_names_are_answered() {
    // A page of evil.example whose name was pointed at 127.0.0.1 makes the browser send its requests here.
    let docxy = Administered::start(742, "allowed_hosts = [\"admin.example.com\"]\n").await;
    let port = docxy.to.port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        (format!("[::1]:{port}"), 200),
        ("admin.example.com".to_owned(), 200),
        ("ADMIN.example.com:8443".to_owned(), 200),
        (format!("evil.example:{port}"), 403),
        ("10.1.2.3".to_owned(), 403),
        ("localhost.evil.example".to_owned(), 403),
        ("user@localhost".to_owned(), 403),
    ] {
        let request = docxy.request("GET", "/api/v1/session").header("Host", &host);
        let answer = request.send(docxy.to).await;
        assert_eq!(answer.status, status, "{host}: {}", answer.text());
    }
    let alive = Request::get("/api/v1/health/live").header("Host", "evil.example");
    assert_eq!(alive.send(docxy.to).await.status, 403);
}

#[tokio::test]
async fn every_answer_has_the_headers_that_browsers_need() {
    // An answer that somebody frames, guesses the type of, or keeps is one that leaks.
    let docxy = Administered::start(743, "").await;
    for (method, target, token) in [
        ("GET", "/api/v1/config", true),
        ("GET", "/api/v1/config", false),
        ("GET", "/nowhere", true),
        ("PUT", "/api/v1/config", true),
        ("GET", "/api/v1/health/live", false),
    ] {
        let mut request = Request::new(method, target);
        if token {
            request = request.bearer(&docxy.token);
        }
        let answer = request.send(docxy.to).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            (
                "content-security-policy",
                "default-src 'none'; frame-ancestors 'none'",
            ),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {target}");
        }
    }
    let refused = Request::get("/api/v1/config").send(docxy.to).await;
    assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "unauthenticated");
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains("docxy admin token create"),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_matters_only_where_somebody_wrote_it() {
    // Two docxys on one machine, both as they came: the second serves images all the same.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = TestApp::builder()
        .config(&format!("[admin]\nlisten = [\"{address}\"]"))
        .fails()
        .await;
    assert!(!ended.status.success());
    assert!(
        ended.log.contains("admin.listen") && ended.log.contains("listen = []"),
        "{}",
        ended.log
    );
}

#[tokio::test]
async fn it_speaks_tls_where_that_is_wanted() {
    // On an address that others can reach, a token must not go over the wire in the clear.
    let authority = TestCa::new();
    let pair = authority.issue(&["localhost"]);
    let app = TestApp::builder()
        .file("cert.pem", pair.certificate.clone())
        .file("key.pem", pair.key.clone())
        .config(&format!(
            "{LISTEN}tls = true\n[tls]\ncertificates = [{{ cert = \"cert.pem\", key = \"key.pem\" }}]"
        ))
        .start()
        .await;
    let (to, once) = (address(&app).await, one_time(&app).await);
    let request =
        |method: &str, target: &str| Request::new(method, target).tls(authority.client(), "localhost");
    let body = json!({ "name": "me", "cookie": true }).to_string();
    let answer = request("POST", "/api/v1/session")
        .bearer(&once)
        .body(body)
        .send(to)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (pair, whole) = cookie(&answer);
    assert!(
        pair.starts_with("__Host-docxy_admin=") && whole.contains("Secure"),
        "{whole}"
    );
    for part in ["HttpOnly", "SameSite=Strict", "Path=/;"] {
        assert!(whole.contains(part), "{whole}");
    }
    let health = request("GET", "/api/v1/health")
        .header("Cookie", pair)
        .header("X-Docxy-Session", key(&answer))
        .send(to)
        .await
        .json();
    assert_eq!(
        health["certificates"][0]["names"],
        json!(["localhost"]),
        "{health}"
    );
}
