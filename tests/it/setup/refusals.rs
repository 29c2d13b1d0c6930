//! When there is no script, and what may never be in one.

use super::machine::{Family, Machine};
use super::script::intercepting;
use crate::support::{
    app::TestApp,
    client::{Request, Response},
};

async fn asked(app: &TestApp, host: &str) -> Response {
    Request::get("/setup/systemd")
        .header("Host", host)
        .send(app.addr())
        .await
}

#[tokio::test]
async fn whoever_can_not_have_one_is_told_which_key_helps() {
    // Half a script would leave machines that pull nothing.
    for (config, host, said) in [
        ("", "127.0.0.1", "enabled = true under [intercept]"),
        (
            "public_url = \"https://hub.example.com\"",
            "127.0.0.1",
            "enabled = true under [intercept]",
        ),
        ("[intercept]\nenabled = true", "evil.example", "set public_url"),
        ("[intercept]\nenabled = true", "192.0.2.1:5000", "set public_url"),
    ] {
        let app = TestApp::builder().config(config).start().await;
        let answer = asked(&app, host).await;
        assert_eq!(answer.status, 404, "{}", answer.everything());
        let (_, message) = answer.oci_error();
        assert!(message.contains(said), "{config}: {message}");
    }
}

#[tokio::test]
async fn a_host_that_a_client_names_is_in_no_script() {
    // A script that somebody fetched through an attacker's name would send that machine to the attacker for good.
    let app = intercepting("public_url = \"https://hub.example.com\"").await;
    for host in ["evil.example", "127.0.0.1", "hub.example.com"] {
        let request = Request::get("/setup/systemd")
            .header("Host", host)
            .header("X-Forwarded-Host", "evil.example")
            .header("X-Forwarded-Proto", "http");
        let answer = request.send(app.addr()).await;
        assert_eq!(answer.status, 200, "{}", answer.everything());
        let text = answer.text();
        assert!(!text.contains("evil") && !text.contains("127.0.0.1:"), "{host}");
        let port = app.addr().port();
        assert!(
            text.contains(&format!(
                "public_url='https://hub.example.com'\nproxy_host='hub.example.com'\nproxy_port='{port}'\n"
            )),
            "{host}: {text}"
        );
    }
}

#[tokio::test]
async fn nothing_that_a_url_can_hold_runs() {
    // A URL may hold quotes and dollars in its host: whoever runs the script as root trusts docxy, not its configuration's typist.
    let mut tried = 0;
    for host in [
        "a$(touch${IFS}ran)b",
        "a`touch${IFS}ran`b",
        "a';touch${IFS}ran;'b",
        "a\\\";touch${IFS}ran;\\\"b",
        "$(touch${IFS}ran)",
        "';touch${IFS}ran;'",
        "a&touch&b",
        "a;touch;b",
        "a(b)",
        "a{b}",
        "a!b",
        "a*b",
        "a'b",
        "a~b",
        "a,b",
        "a=b",
    ] {
        let config = format!("public_url = \"http://{host}:5000/\"");
        let builder = TestApp::builder().config("[intercept]\nenabled = true");
        let Ok(table) = toml::from_str::<toml::Table>(&config) else {
            panic!("{config}")
        };
        let text = table["public_url"].as_str().unwrap();
        if url::Url::parse(text).is_err() {
            // docxy does not start with it.
            continue;
        }
        tried += 1;
        let app = builder.config(&config).start().await;
        let answer = asked(&app, "127.0.0.1").await;
        assert_eq!(answer.status, 404, "{host}: {}", answer.everything());
        assert!(answer.oci_error().1.contains("no host name"), "{host}");
    }
    assert!(tried >= 6, "only {tried} were taken by the configuration");
    // And what is taken is quoted all the same.
    let app = intercepting("public_url = \"http://[::1]:5000\"").await;
    let script = asked(&app, "127.0.0.1").await.text();
    let run =
        tokio::task::spawn_blocking(move || Machine::new(Family::Rhel).run("dash", &script, &["--dry-run"]));
    let run = run.await.unwrap();
    assert!(
        run.said.contains("http://[::1]:5000/ca.crt can't be fetched"),
        "{run:?}"
    );
}
