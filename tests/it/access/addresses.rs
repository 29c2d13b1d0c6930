//! From where clients may come: through every path, by what trusted hops say and nobody else, while files change (U1, S8).

use std::fs;

use crate::admin::{ask, metrics::Metrics, socket};
use crate::cli::{docxy, story};
use crate::signin::users::until;
use crate::support::{
    app::TestApp,
    client::{Request, Response},
    pair::{Pair, ghcr, hub},
    stub::Auth,
};

const MANIFEST: &str = "/v2/library/redis/manifests/7";
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

async fn ask_as(app: &TestApp, client: &str, request: Request) -> Response {
    request.header("X-Forwarded-For", client).send(app.addr()).await
}

async fn status(app: &TestApp, client: &str) -> u16 {
    ask_as(app, client, Request::get(MANIFEST)).await.status
}

pub async fn figures(app: &TestApp) -> Metrics {
    let answer = ask(&socket(app), "GET", "/metrics", "").await;
    Metrics::parse(std::str::from_utf8(answer.body()).unwrap())
}

#[tokio::test]
async fn whoever_is_kept_out_gets_nothing_of_any_path() {
    // An operator who names the networks of his company has closed docxy to all others: to scans of the Internet, too.
    let pair = Pair::open(&format!(
        "{TRUSTED}[access]\nallow_addresses = [\"10.0.0.0/8\", \"2001:db8:1::/48\"]\n\
         deny_addresses = [\"10.6.0.0/16\", \"::ffff:10.7.0.0/112\"]\n"
    ))
    .await;
    let blob = format!(
        "/v2/library/redis/blobs/{}",
        pair.hub.image("library/redis", "7").blobs[0].digest
    );
    let outside = [
        "10.6.0.1",
        "10.7.255.255",
        "::ffff:10.6.0.1",
        "192.0.2.1",
        "2001:db8:2::1",
        "127.0.0.1",
    ];
    let mut refused = 0;
    for client in outside {
        for path in [
            MANIFEST,
            &blob,
            "/v2/",
            "/v2/_catalog",
            "/v2/none.example/a/manifests/1",
            "/v2/%2e%2e/x",
            "/auth/token",
            "/auth/token/ghcr.io",
            "/",
            "/v1/search",
            "/livez/",
            "/nowhere",
        ] {
            for method in ["GET", "HEAD", "POST", "DELETE"] {
                for host in ["docxy.test", "a b"] {
                    let request = Request::new(method, path).header("Host", host).basic("a", "b");
                    let answer = ask_as(&pair.app, client, request).await;
                    assert_eq!(answer.status, 403, "{client}: {method} {path} at {host}");
                    assert_eq!(answer.header("cache-control"), Some("no-store"));
                    refused += 1;
                    if method == "GET" {
                        let (code, message) = answer.oci_error();
                        assert_eq!(code, "DENIED");
                        // Which list it was, and what is in it, is the operator's business.
                        assert!(
                            !message.contains("access.") && !message.contains("10."),
                            "{message}"
                        );
                    }
                }
            }
        }
        for (path, status) in [
            ("/livez", 200),
            ("/readyz", 200),
            ("/health", 200),
            ("/generate_204", 204),
        ] {
            let answer = ask_as(&pair.app, client, Request::get(path)).await;
            assert_eq!(answer.status, status, "an orchestrator's probe: {path}");
        }
    }
    pair.assert_nobody_asked("a client that is kept out");
    let line = pair.app.accessed("client", "2001:db8:2::1").await;
    assert_eq!(
        (line["outcome"].as_str(), line["status"].as_u64()),
        (Some("denied"), Some(403))
    );
    assert!(
        line["error"].as_str().unwrap().contains("allow_addresses"),
        "{line}"
    );
    let line = pair.app.accessed("client", "10.7.255.255").await;
    assert!(
        line["error"].as_str().unwrap().contains("deny_addresses"),
        "{line}"
    );
    for client in [
        "10.0.0.1",
        "10.255.255.255",
        "::ffff:10.1.1.1",
        "2001:db8:1:ffff::1",
    ] {
        assert_eq!(status(&pair.app, client).await, 200, "{client}");
    }
    let counted = figures(&pair.app)
        .await
        .sum("docxy_refused_total", &[("reason", "address")]);
    assert_eq!(counted, refused);
    println!(
        "U1: {refused} requests from {} addresses outside, 0 answered",
        outside.len()
    );
}

#[tokio::test]
async fn only_a_trusted_hop_can_say_where_somebody_is() {
    // S8: the header is the client's own to write; believed, it opens the list to whoever has read about it.
    let lists =
        "[access]\nallow_addresses = [\"10.0.0.0/8\", \"127.0.0.1\"]\ndeny_addresses = [\"10.6.0.0/16\"]\n";
    let closed = "[access]\nallow_addresses = [\"10.0.0.0/8\"]\n";
    // In each: what is written, what the header says, and what comes of it.
    let table = [
        // Nobody is trusted: the peer it is, whatever is claimed.
        ("", lists, "10.6.0.1", 200),
        ("", lists, "192.0.2.1", 200),
        ("", lists, "garbage", 200),
        ("", closed, "10.0.0.1", 403),
        ("", closed, "10.0.0.1, 127.0.0.1", 403),
        ("", closed, "::1", 403),
        // Another is trusted than the peer.
        ("trusted_proxies = [\"192.0.2.0/24\"]\n", closed, "10.0.0.1", 403),
        // The peer is trusted: the last hop that is not.
        (TRUSTED, lists, "10.0.0.1", 200),
        (TRUSTED, lists, "10.6.0.1", 403),
        (TRUSTED, lists, "10.0.0.1, 10.6.0.1", 403),
        (TRUSTED, lists, "10.6.0.1, 10.0.0.1", 200),
        (TRUSTED, lists, "10.6.0.1, 10.0.0.1, 127.0.0.9", 200),
        (TRUSTED, lists, "10.0.0.1, 192.0.2.1", 403),
        // One that can't be read is nobody, and not the proxy.
        (TRUSTED, lists, "10.0.0.1, garbage", 400),
        (TRUSTED, closed, "10.0.0.1, garbage", 400),
        (TRUSTED, closed, "garbage", 400),
        (TRUSTED, lists, "garbage, 10.0.0.1:567", 200),
    ];
    let (hub, ghcr) = (hub(Auth::Open).start().await, ghcr(Auth::Open).start().await);
    for (trusted, lists, header, expected) in table {
        let app = Pair::app(&hub, &ghcr)
            .config(&format!("{trusted}{lists}"))
            .start()
            .await;
        assert_eq!(status(&app, header).await, expected, "{trusted} {lists} {header}");
        let other = Request::get(MANIFEST).header("Forwarded", "for=10.0.0.1");
        let own = if lists == closed { 403 } else { 200 };
        let answer = other.header("X-Real-IP", "10.0.0.1").send(app.addr()).await;
        assert_eq!(answer.status, own, "headers that docxy does not know");
    }
    println!("S8: {} claims, each as trusted as its hop", table.len());
}

#[tokio::test]
async fn lists_in_files_change_while_docxy_runs() {
    // A fail2ban or a script writes the list; a mistake in it must not open what was closed.
    let (hub, ghcr) = (hub(Auth::Open).start().await, ghcr(Auth::Open).start().await);
    let app = Pair::app(&hub, &ghcr)
        .config(TRUSTED)
        .config("[access]\nallow_address_files = [\"allowed\"]\ndeny_address_files = [\"denied\"]\n")
        .file("allowed", "\u{feff}# ours\r\n10.0.0.0/8 # all\r\n")
        .file("denied", "")
        .start()
        .await;
    let seen = async || {
        let mut seen = Vec::new();
        for client in ["10.0.0.1", "10.6.0.1", "192.0.2.1"] {
            seen.push(status(&app, client).await);
        }
        seen
    };
    assert_eq!(seen().await, [200, 200, 403]);
    // Whole by a rename, as one should; in place, as everybody does.
    fs::write(app.dir().join("next"), "10.6.0.0/16\n").unwrap();
    fs::rename(app.dir().join("next"), app.dir().join("denied")).unwrap();
    until("the new list", async || status(&app, "10.6.0.1").await == 403).await;
    assert_eq!(seen().await, [200, 403, 403]);
    for bad in ["10.0.0.0/8\n\n192.0.2.0/24;\n", ""] {
        fs::write(app.dir().join("allowed"), bad).unwrap();
        let what = if bad.is_empty() {
            "allows nobody"
        } else {
            "allowed:3: "
        };
        let told = app.logged("what is wrong with the file", |line| {
            line["level"] == "ERROR" && line.to_string().contains(what)
        });
        told.await;
        assert_eq!(seen().await, [200, 403, 403], "after {bad:?}");
    }
    fs::write(app.dir().join("allowed"), "10.0.0.0/8\n192.0.2.0/24\n").unwrap();
    until("the list put right", async || {
        status(&app, "192.0.2.1").await == 200
    })
    .await;
    assert_eq!(seen().await, [200, 403, 200]);
}

#[tokio::test]
async fn a_bad_list_stops_the_start_and_says_which_line() {
    // A service that came up without its list would be open, and nobody would look.
    let (hub, ghcr) = (hub(Auth::Open).start().await, ghcr(Auth::Open).start().await);
    for (file, complaint) in [
        ("192.0.2.0/24\nlocalhost\n", "list:2: is neither a network"),
        ("# none yet\n", "list: allows nobody"),
    ] {
        let config = "[access]\nallow_address_files = [\"list\"]\n";
        let ended = Pair::app(&hub, &ghcr)
            .config(config)
            .file("list", file)
            .fails()
            .await;
        assert!(!ended.status.success());
        assert!(ended.log.contains(complaint), "{}", ended.log);

        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("list"), file).unwrap();
        fs::write(folder.path().join("docxy.toml"), config).unwrap();
        let said = story(docxy(&folder.path().join("docxy.toml")).arg("check-config"));
        assert!(said.contains("exit code Some(1)"), "{said}");
        assert!(said.contains(complaint), "{said}");
    }
}
