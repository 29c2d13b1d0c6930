//! What goes wrong between docxy and an authority: what is said, and how long nothing is tried.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::front::problem;
use super::pebble::{Pebble, Recipe, says};
use crate::support::{
    app::{Builder, TestApp},
    client::Request,
};

async fn failed(app: &TestApp) -> Value {
    app.logged("what went wrong", |line| says(line, "could not be had"))
        .await
}

fn attempts(app: &TestApp) -> Value {
    let text = std::fs::read(app.dir().join("state/acme/attempts.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// How many seconds from now nothing is ordered.
fn pause(attempts: &Value) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    attempts["not_before"].as_i64().unwrap() - i64::try_from(now.as_secs()).unwrap()
}

/// The failure is written down after it is told.
async fn noted(app: &TestApp, failures: u64) -> Value {
    let known = async {
        loop {
            let attempts = attempts(app);
            if attempts["failures"] == failures && attempts["why"] != "docxy ended while it ordered" {
                return attempts;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    crate::support::within("the failure to be noted", known).await
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_is_named() {
    // The commonest mistake: the DNS leads elsewhere. The log says which name, what the authority saw, and when it goes on; a
    // restart does not try again at once.
    let pebble = Recipe::default()
        .name("wrong.docxy.test", "127.0.0.9")
        .start()
        .await;
    let app = pebble
        .app(&["m.docxy.test", "wrong.docxy.test"])
        .config("[tls.acme]\nchallenge = \"http-01\"");
    let app = pebble.found(app).await;
    let told = failed(&app).await;
    for words in [
        "did not find this docxy at wrong.docxy.test by http-01",
        "connection refused",
        "It never came to docxy",
        "The next order is made on",
    ] {
        assert!(says(&told, words), "{words}: {told}");
    }
    let known = noted(&app, 1).await;
    assert!((90..200).contains(&pause(&known)), "{known}");
    assert_eq!(pebble.orders(), 1);
    let metrics = metrics(&app).await;
    assert!(
        metrics.contains("docxy_acme_orders_total{result=\"challenge\"} 1"),
        "{metrics}"
    );

    let home = app.home();
    app.kill().await;
    let again = |app: Builder| async {
        let app = app.home(&home).config("[tls.acme]\nchallenge = \"http-01\"");
        pebble.found(app).await
    };
    let app = again(pebble.app(&["m.docxy.test", "wrong.docxy.test"])).await;
    app.logged("why it waits", |line| says(line, "because the last order failed"))
        .await;
    assert_eq!(
        pebble.orders(),
        1,
        "a docxy in a crash loop costs the authority nothing"
    );
    app.kill().await;

    // The operator takes the name out: that is another order, and it is made at once.
    let app = again(pebble.app(&["m.docxy.test"])).await;
    super::pebble::issued(&app).await;
    assert_eq!(pebble.orders(), 2);
}

async fn metrics(app: &TestApp) -> String {
    let socket = app.dir().join("state/docxy.sock");
    let mut command = tokio::process::Command::new("curl");
    command.args([
        "-s",
        "--unix-socket",
        socket.to_str().unwrap(),
        "http://docxy/metrics",
    ]);
    String::from_utf8(command.output().await.unwrap().stdout).unwrap()
}

#[tokio::test]
async fn each_failure_waits_longer_also_over_restarts() {
    // A docxy that is restarted by its supervisor all night: each order that fails is counted.
    let pebble = Recipe::default()
        .name("wrong.docxy.test", "127.0.0.9")
        .start()
        .await;
    let app = pebble
        .app(&["wrong.docxy.test"])
        .config("[tls.acme]\nchallenge = \"http-01\"")
        .start()
        .await;
    let first = noted(&app, 1).await;
    let home = app.home();
    app.kill().await;
    // The pause is over.
    let path = home.path().join("state/acme/attempts.json");
    let mut over = first.clone();
    over["not_before"] = 1.into();
    std::fs::write(&path, over.to_string()).unwrap();
    let app = pebble
        .app(&["wrong.docxy.test"])
        .home(&home)
        .config("[tls.acme]\nchallenge = \"http-01\"")
        .start()
        .await;
    let second = noted(&app, 2).await;
    assert!(pause(&second) > 300, "{second}");
    assert_eq!(pebble.orders(), 2);
}

#[tokio::test]
async fn a_rate_limit_is_kept_to_whatever_is_configured() {
    // Let's Encrypt's limits are for days: an order before that is refused too, and prolongs it. Another name does not help.
    let pebble = Pebble::start().await;
    pebble.front.say(|what| {
        what.contains("/order-plz").then(|| {
            problem(
                429,
                "rateLimited",
                "too many certificates already issued",
                Some(7200),
            )
        })
    });
    let app = pebble.app(&["m.docxy.test"]).start().await;
    let told = failed(&app).await;
    for words in [
        "127.0.0.1 takes no more for now (ordering)",
        "too many certificates already issued",
        "it says to come again after",
    ] {
        assert!(says(&told, words), "{words}: {told}");
    }
    let known = noted(&app, 1).await;
    assert!((7000..7300).contains(&pause(&known)), "{known}");
    let home = app.home();
    app.kill().await;
    let app = pebble.app(&["hub.docxy.test"]).home(&home).start().await;
    app.logged("why it waits", |line| says(line, "because the last order failed"))
        .await;
    assert_eq!(pebble.orders(), 1);
}

#[tokio::test]
async fn an_authority_that_talks_nonsense_is_told_from_one_that_refuses() {
    // An operator reads whose fault it is: something between (a portal, a proxy), or the authority's own word.
    for (status, kind, detail, expected) in [
        (
            403,
            "rejectedIdentifier",
            "policy forbids issuing",
            "refused (ordering): policy forbids issuing (rejectedIdentifier); name others",
        ),
        (
            403,
            "caa",
            "CAA record forbids it",
            "the CAA record of the name lets other authorities issue only",
        ),
        (
            500,
            "serverInternal",
            "out of order",
            "refused (ordering): out of order",
        ),
    ] {
        let pebble = Pebble::start().await;
        pebble.front.say(move |what| {
            what.contains("/order-plz")
                .then(|| problem(status, kind, detail, None))
        });
        let app = pebble.app(&["m.docxy.test"]).start().await;
        let told = failed(&app).await;
        assert!(says(&told, expected), "{expected}: {told}");
    }
    let pebble = Pebble::start().await;
    pebble.front.say(|what| {
        what.contains("/order-plz").then(|| {
            http::Response::builder()
                .status(200)
                .header("content-type", "text/html")
                .body("<h1>Please sign in to this network</h1>".into())
                .unwrap()
        })
    });
    let app = pebble.app(&["m.docxy.test"]).start().await;
    let told = failed(&app).await;
    assert!(says(&told, "makes no sense (ordering)"), "{told}");
}

#[tokio::test]
async fn an_account_that_the_authority_forgot_is_made_anew() {
    // Authorities remove accounts that were not used for long, and one for tests forgets everything: nobody must delete files.
    let mut pebble = Pebble::start().await;
    let app = pebble.served(pebble.app(&["m.docxy.test"])).await;
    let home = app.home();
    app.stop().await;
    std::fs::remove_file(home.path().join("state/acme/certificate.key")).unwrap();
    std::fs::remove_file(home.path().join("state/acme/attempts.json")).unwrap();
    pebble.forget().await;
    let app = pebble.served(pebble.app(&["m.docxy.test"]).home(&home)).await;
    assert!(app.log_text().contains("Registering another account"));
}

#[tokio::test]
async fn a_certificate_authority_that_nobody_knows_is_not_trusted() {
    // Whoever stands between docxy and its authority could have certificates issued: a root that is not named is none.
    let pebble = Pebble::start().await;
    let app = pebble
        .app(&["m.docxy.test"])
        .file("pebble.pem", crate::support::ca::TestCa::new().pem())
        .start()
        .await;
    let told = failed(&app).await;
    assert!(says(&told, "tls.acme.ca_file"), "{told}");
    assert!(pebble.front.asked().is_empty());
}

#[tokio::test]
async fn a_state_folder_that_can_not_be_used_orders_nothing() {
    // A read-only container: each restart would order another certificate, and five a week are all there are.
    let pebble = Pebble::start().await;
    let app = pebble
        .app(&["m.docxy.test"])
        .config("state_path = \"/proc/docxy\"\n[admin]\nlisten = []")
        .start()
        .await;
    let told = failed(&app).await;
    assert!(says(&told, "set state_path to a folder"), "{told}");
    assert_eq!(pebble.orders(), 0);
    let answer = Request::get("/livez")
        .header("Host", "m.docxy.test")
        .send(app.addr())
        .await;
    assert_eq!(answer.status, 200);
}
