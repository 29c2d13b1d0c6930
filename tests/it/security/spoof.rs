//! S8: everything a stranger can write about where a request came from, and what must not change by it.

use crate::support::{client::Request, pair::Pair, puller::challenge};

/// Header lines that some proxy, framework or load balancer believes.
fn spoofs() -> Vec<Vec<(&'static str, &'static str)>> {
    let values: [(&str, &[&str]); 16] = [
        (
            "X-Forwarded-Host",
            &[
                "ghcr.example.com",
                "evil.test",
                "localhost",
                "127.0.0.1:1",
                "evil.test, localhost",
                "a b",
                "\"",
            ],
        ),
        (
            "X-Forwarded-Proto",
            &["https", "http", "https, http", "javascript"],
        ),
        (
            "X-Forwarded-For",
            &[
                "203.0.113.9",
                "127.0.0.2",
                "203.0.113.9, 127.0.0.1",
                "unknown",
                "::1",
                "[::1]:80",
            ],
        ),
        (
            "Forwarded",
            &[
                "for=203.0.113.9;host=ghcr.example.com;proto=https",
                "for=\"[2001:db8::1]\"",
            ],
        ),
        ("X-Real-IP", &["203.0.113.9"]),
        ("X-Client-IP", &["203.0.113.9"]),
        ("True-Client-IP", &["203.0.113.9"]),
        ("CF-Connecting-IP", &["203.0.113.9"]),
        ("Fastly-Client-IP", &["203.0.113.9"]),
        ("X-Cluster-Client-IP", &["203.0.113.9"]),
        ("X-Forwarded-Port", &["443", "1"]),
        ("X-Forwarded-Server", &["evil.test"]),
        ("X-Forwarded-Prefix", &["/evil", "/v2/ghcr.io"]),
        ("X-Original-URL", &["/v2/ghcr.io/library/redis/manifests/7"]),
        ("X-Rewrite-URL", &["/v2/ghcr.io/library/redis/manifests/7"]),
        ("X-Host", &["ghcr.example.com"]),
    ];
    let mut all: Vec<Vec<_>> = values
        .iter()
        .flat_map(|(name, values)| values.iter().map(|value| vec![(*name, *value)]))
        .collect();
    all.push(vec![
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Host", "ghcr.example.com"),
    ]);
    all.push(vec![
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-For", "203.0.113.10"),
    ]);
    all.push(vec![
        ("X-Forwarded-Host", "ghcr.example.com"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Port", "443"),
    ]);
    all
}

#[tokio::test]
async fn nothing_a_stranger_claims_changes_anything() {
    // The realm decides where passwords go, the host which registry answers, the address what the log and limits say.
    let worlds = [
        ("", "127.0.0.1"),
        ("public_url = \"https://hub.example.com\"", "hub.example.com"),
        (
            "trusted_proxies = [\"10.0.0.0/8\", \"127.0.0.2/32\"]",
            "127.0.0.1",
        ),
    ];
    let mut tried = 0;
    for (config, host) in worlds {
        let pair = Pair::signed(&format!(
            "{config}\n[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]\n"
        ))
        .await;
        let ask = |path: &str, spoof: &[(&str, &str)]| {
            let request = Request::get(path.to_owned()).header("Host", host);
            spoof
                .iter()
                .fold(request, |request, (name, value)| request.header(name, *value))
                .send(pair.app.addr())
        };
        let base = challenge(&ask("/v2/", &[]).await);
        let denied = challenge(&ask("/v2/acme/app/manifests/1", &[]).await);
        for spoof in spoofs() {
            tried += 3;
            assert_eq!(challenge(&ask("/v2/", &spoof).await), base, "{config} {spoof:?}");
            let answer = ask("/v2/acme/app/manifests/1", &spoof).await;
            assert_eq!(challenge(&answer), denied, "{config} {spoof:?}");
            let answer = ask("/v2/library/redis/manifests/7", &spoof).await;
            pair.assert_from_hub(&answer, "library/redis", "7");
        }
        assert_eq!(pair.ghcr.requests().len(), 0, "{}", pair.ghcr.story());
        let log = pair.app.log();
        let clients: std::collections::BTreeSet<String> = log
            .iter()
            .filter(|line| line["fields"]["message"] == "request")
            .map(|line| line["fields"]["client"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(clients.into_iter().collect::<Vec<_>>(), ["127.0.0.1"]);
    }
    println!("S8: {tried} spoofs, 0 changed the realm, the registry or the logged client");
}

#[tokio::test]
async fn a_client_whose_address_cannot_be_read_is_not_taken_for_the_proxy() {
    // The proxy may pull and its clients may not: one byte that is no text in what a client wrote, which proxies append
    // to, must not make it the proxy.
    let pair = Pair::open(
        "trusted_proxies = [\"127.0.0.1\"]\n[access]\nallow_addresses = [\"127.0.0.1\", \"10.0.0.0/8\"]\n",
    )
    .await;
    let ask = |line: &str| {
        Request::get("/v2/library/redis/manifests/7")
            .header("X-Forwarded-For", line)
            .send(pair.app.addr())
    };
    // Each with what the proxy appended, and bytes over 127 before it.
    let appended = [
        ("203.0.113.9", 403),
        ("203.0.113.9:567", 403),
        ("[2001:db8::1]:5", 403),
        ("10.0.0.1", 200),
        ("unknown", 400),
        ("_hidden", 400),
        ("\u{e9}", 400),
    ];
    for (entry, status) in appended {
        for before in ["", "10.0.0.1, ", "10.0.0.1\u{80}, ", "\u{ff}\u{fe}, "] {
            let answer = ask(&format!("{before}{entry}")).await;
            assert_eq!(answer.status, status, "{before}{entry}");
        }
    }
    // No line at all, or an empty one, is the proxy's own question.
    assert_eq!(ask("").await.status, 200);
    let (_, message) = ask("unknown").await.oci_error();
    assert!(message.contains("trusted_proxies"), "{message}");
    println!(
        "S8: {} lines of a trusted proxy's, 0 were taken for the proxy's own",
        4 * appended.len()
    );
}
