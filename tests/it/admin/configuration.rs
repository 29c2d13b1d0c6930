//! The configuration over the API: read, and read again.

use std::fs;

use serde_json::{Value, json};

use super::listener::{Administered, LISTEN, address, one_time, sign_in};
use crate::support::app::TestApp;
use crate::support::client::Request;

/// Adds to the top of the file that docxy was started with.
fn write(app: &TestApp, text: &str) {
    let path = app.dir().join("docxy.toml");
    let before = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n{before}")).unwrap();
}

#[tokio::test]
async fn a_change_is_taken_and_a_mistake_is_told_with_its_place() {
    // A page that edits the configuration must show the line, and must not undo what somebody else did meanwhile.
    let docxy = Administered::start(760, "").await;
    let app = &docxy.docxy.app;
    let shown = docxy.request("GET", "/api/v1/config").send(docxy.to).await;
    let tag = shown.header("etag").unwrap().to_owned();
    let shown = shown.json();
    assert_eq!(shown["keys"]["default_registry"]["origin"], "default");
    assert!(
        shown["keys"]["listen"]["origin"]
            .as_str()
            .unwrap()
            .contains("docxy.toml:"),
        "{}",
        shown["keys"]["listen"]
    );
    let same = docxy
        .request("GET", "/api/v1/config")
        .header("If-None-Match", &tag);
    assert_eq!(same.send(docxy.to).await.status, 304);

    write(app, "default_registry = \"ghcr.io\"");
    let reload = || docxy.request("POST", "/api/v1/config/reload");
    let taken = reload().header("If-Match", &tag).send(docxy.to).await;
    assert_eq!(
        (taken.status, &taken.json()["changed"]),
        (200, &json!(["default_registry"])),
        "{}",
        taken.text()
    );
    let late = reload().header("If-Match", &tag).send(docxy.to).await;
    assert_eq!(
        (late.status, &late.json()["error"]["code"]),
        (412, &json!("changed_meanwhile"))
    );
    assert_eq!(
        docxy.get("/api/v1/config").await["keys"]["default_registry"]["value"],
        "ghcr.io"
    );

    write(app, "allowed_hots = []");
    let refused = reload().send(docxy.to).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "configuration_refused");
    let mistake = &error["mistakes"][0];
    assert_eq!(
        (&mistake["line"], &mistake["key"]),
        (&json!(1), &json!("allowed_hots")),
        "{error}"
    );
    assert!(
        mistake["column"].as_u64().is_some() && error["message"].as_str().unwrap().contains("docxy.toml:1:"),
        "{error}"
    );
    assert_eq!(
        docxy.get("/api/v1/config").await["keys"]["default_registry"]["value"],
        "ghcr.io"
    );
}

#[tokio::test]
async fn of_those_who_saw_the_same_one_reloads() {
    // Two pages that save at the same moment: the second must hear that it has not seen what counts now.
    let docxy = Administered::start(764, "").await;
    let shown = docxy.request("GET", "/api/v1/config").send(docxy.to).await;
    let tag = shown.header("etag").unwrap().to_owned();
    write(&docxy.docxy.app, "default_registry = \"ghcr.io\"");
    let reloads = (0..8).map(|_| {
        let request = docxy.request("POST", "/api/v1/config/reload");
        request.header("If-Match", &tag).send(docxy.to)
    });
    let answers = futures_util::future::join_all(reloads).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    // Nothing was tried for those, so nothing was refused.
    let metrics = docxy.request("GET", "/metrics").send(docxy.to).await.text();
    for (result, count) in [("taken", 1), ("refused", 0)] {
        let told = format!("docxy_config_reloads_total{{result=\"{result}\"}} {count}\n");
        assert!(metrics.contains(&told), "{told}");
    }
}

#[tokio::test]
async fn the_command_reloads_and_says_what_changed() {
    // `docxy reload && echo fine` in a script that edits the file.
    let docxy = Administered::start(761, "").await;
    let app = &docxy.docxy.app;
    let file = app.dir().join("docxy.toml");
    let run = || async {
        let file = file.clone();
        tokio::task::spawn_blocking(move || crate::cli::story(crate::cli::docxy(&file).arg("reload")))
            .await
            .unwrap()
    };
    write(app, "default_registry = \"ghcr.io\"\nmetrics_aliases = true");
    let said = run().await;
    assert!(said.starts_with("exit code Some(0)"), "{said}");
    assert!(said.contains("reloaded, changed: default_registry\n"), "{said}");
    assert!(
        said.contains("counts only after a restart or a hand-over: metrics_aliases"),
        "{said}"
    );
    // What the command itself can read, and only the process finds: a file that is not what it should be.
    write(app, "[access]\nuser_files = [\"nowhere\"]\n");
    let said = run().await;
    assert!(
        said.starts_with("exit code Some(1)") && said.contains("nothing was reloaded"),
        "{said}"
    );
    let home = app.home();
    docxy.docxy.stop().await;
    fs::write(home.path().join("docxy.toml"), "state_path = \"state\"").unwrap();
    let said = run().await;
    assert!(
        said.starts_with("exit code Some(1)") && said.contains("nothing to reload"),
        "{said}"
    );
}

#[tokio::test]
async fn no_secret_is_read_back() {
    // Threat S12: whoever may look at the configuration must not find every registry's password there.
    let canaries: Vec<String> = (0..12)
        .map(|n| format!("canary{n}x{:016x}", rand::random::<u64>()))
        .collect();
    let c = |n: usize| canaries[n].as_str();
    let config = format!(
        r#"
        {LISTEN}
        [otlp]
        headers = {{ authorization = "{c0}" }}
        [tls.acme]
        domains = ["hub.test"]
        directory = "https://127.0.0.1:9/"
        eab_key_id = "kid"
        eab_hmac_key = "{c1}"
        [network]
        proxy = "http://user:{c2}@127.0.0.1:9"
        [registries."one.test"]
        auth = "configured"
        username = "u"
        password = "{c3}"
        [registries."two.test"]
        auth = "configured"
        username = "u"
        password_file = "two"
        [registries."three.test"]
        auth = "configured"
        username = "u"
        password_env = "THREE"
        [registries."four.test"]
        auth = "configured"
        credentials = [{{ username = "a", password = "{c5}" }}]
        proxy = ["http://x:{c6}@p.test:1", "direct"]
        [registries."five.test"]
        urls = ["https://five.test", {{ url = "https://mirror.test", role = "mirror", username = "m", password_env = "SEVEN" }}]
        [log]
        level = "trace"
        "#,
        c0 = c(0),
        c1 = c(1),
        c2 = c(2),
        c3 = c(3),
        c5 = c(5),
        c6 = c(6),
    );
    let app = TestApp::builder()
        .config(&config)
        .file("two", c(4))
        .env("THREE", c(8))
        .env("SEVEN", c(7))
        .env("HTTPS_PROXY", format!("http://v:{}@127.0.0.1:9", c(9)))
        .start()
        .await;
    let (to, once) = (address(&app).await, one_time(&app).await);
    let made = sign_in(to, &once, json!({ "name": "me" })).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let cookie = Request::new("POST", "/api/v1/session")
        .bearer(&token)
        .body("{\"cookie\":true}")
        .send(to)
        .await;
    let cookie = cookie
        .header("set-cookie")
        .unwrap()
        .split([';', '='])
        .nth(1)
        .unwrap()
        .to_owned();
    let mut answers = Vec::new();
    for target in [
        "/api/v1/config",
        "/api/v1/health",
        "/api/v1/openapi.json",
        "/api/v1/upstreams",
        "/api/v1/admin/tokens",
        "/api/v1/session",
        "/metrics",
        "/api/v1/trace",
    ] {
        let answer = Request::get(target).bearer(&token).send(to).await;
        assert_eq!(answer.status, 200, "{target}");
        answers.push((target, answer.everything()));
    }
    let shown: Value = Request::get("/api/v1/config")
        .bearer(&token)
        .send(to)
        .await
        .json();
    assert_eq!(
        shown["keys"]["registries.\"one.test\".password"]["value"], "***",
        "the canary was read at all"
    );
    // A mistake beside each secret, and one that is a secret.
    for mistake in [
        format!(
            "[registries.\"six.test\"]\nauth = \"configured\"\npassword = [\"{}\"]",
            c(10)
        ),
        format!("[registries.\"six.test\"]\npasword = \"{}\"", c(10)),
        format!("[registries.\"six.test\"]\nproxy = \"ftp://u:{}@p.test\"", c(10)),
        format!("[otlp]\nheaders = {{ authorization = [\"{}\"] }}", c(10)),
    ] {
        fs::write(app.dir().join("docxy.toml"), mistake).unwrap();
        let refused = Request::new("POST", "/api/v1/config/reload")
            .bearer(&token)
            .send(to)
            .await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        answers.push(("a refusal", refused.everything()));
    }
    let wrong = Request::get("/api/v1/config")
        .bearer(&format!("docxy_admin_{}", c(11)))
        .send(to)
        .await;
    answers.push(("a wrong token", wrong.everything()));
    let log: String = app
        .log()
        .iter()
        .filter(|line| line.is_object())
        .map(ToString::to_string)
        .collect();
    answers.push(("the log", log));
    let mut looked = 0;
    for (what, text) in &answers {
        for secret in canaries.iter().chain([&token, &once, &cookie]) {
            assert!(!text.contains(secret.as_str()), "{what} holds {secret}: {text}");
            looked += 1;
        }
    }
    println!("{looked} places without a secret");
}
