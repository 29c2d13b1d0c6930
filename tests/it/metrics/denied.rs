//! What clients ask docxy in vain, by the reason.

use crate::admin::{ask, metrics::Metrics, socket};
use crate::signin::users::{ANN, with_users};
use crate::support::app::TestApp;
use crate::support::client::Request;
use crate::support::through::Proxy;

/// `docxy_denied_total` of this reason, and of all.
async fn told(app: &TestApp, reason: &str) -> (u64, u64) {
    let answer = ask(&socket(app), "GET", "/metrics", "").await;
    let seen = Metrics::parse(std::str::from_utf8(answer.body()).unwrap());
    let name = "docxy_denied_total";
    (seen.sum(name, &[("reason", reason)]), seen.sum(name, &[]))
}

#[tokio::test]
async fn each_connect_that_is_refused_is_counted_by_its_reason() {
    // Somebody looks for a way through the proxy, or a client's NO_PROXY is wrong: the operator sees it in a graph, and which.
    let hosts = "[network.hosts]\n\"inner.corp.test\" = [\"10.0.0.1\"]\n";
    let app = with_users(TestApp::builder())
        .config("[intercept]\nenabled = true\nauth = \"users\"\ntunnel = \"all\"\npassthrough = [\"*.corp.test\"]\n")
        .config(hosts)
        .start()
        .await;
    let anybody = Proxy::of(&app).await;
    let ann = anybody.clone().user(ANN.0, ANN.1);
    let own = format!("localhost:{}", app.addr().port());
    let (_, mut all) = told(&app, "other").await;
    for (proxy, place, status, reason) in [
        (&anybody, "ghcr.io:443", 407, "sign-in-first"),
        (
            &anybody.clone().user(ANN.0, "wrong"),
            "ghcr.io:443",
            407,
            "bad-sign-in",
        ),
        (&ann, own.as_str(), 403, "proxy-host"),
        (&ann, "elsewhere.test:22", 403, "proxy-port"),
        (&ann, "inner.corp.test:443", 403, "proxy-address"),
    ] {
        let (before, _) = told(&app, reason).await;
        let refused = proxy.refused(place).await;
        assert_eq!(refused.status, status, "{place}: {}", refused.everything());
        let (after, sum) = told(&app, reason).await;
        all += 1;
        assert_eq!((after - before, sum), (1, all), "{place} as {reason}");
    }
    // What is no place at all is a bad request, and denied to nobody.
    assert_eq!(ann.refused("elsewhere.test").await.status, 400);
    assert_eq!(told(&app, "other").await.1, all);
}

#[tokio::test]
async fn so_are_hosts_of_no_registry() {
    // Without tunnels everything but a registry's host is refused, over HTTPS and in plain HTTP.
    let app = TestApp::builder()
        .config("[intercept]\nenabled = true\ntunnel = \"none\"\nhosts = [\"ghcr.io\"]\n")
        .start()
        .await;
    let proxy = Proxy::of(&app).await;
    for (place, count) in [("elsewhere.test:443", 1), ("quay.io:443", 2), ("ghcr.io:22", 3)] {
        assert_eq!(proxy.refused(place).await.status, 403, "{place}");
        assert_eq!(told(&app, "proxy-host").await, (count, count), "{place}");
    }
    let plain = Request::get("http://elsewhere.test/v2/").header("Host", "elsewhere.test");
    let plain = plain.send(app.addr()).await;
    assert_eq!(plain.status, 403);
    assert_eq!(told(&app, "proxy-host").await, (4, 4));
}
