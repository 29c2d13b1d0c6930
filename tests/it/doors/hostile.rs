//! Hostile names, paths and Hosts: whatever is sent, no upstream is reached that was not meant (S2, S9, S16).

use crate::support::{
    client::{Request, Response},
    image::Image,
    pair::Pair,
    stub::{Fault, On, StubRegistry},
};

/// Many ways to write the address of one host, some right, some only so to a careless parser.
pub fn spellings(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.9",
        "127.0.0.9.",
        "127.9",
        "127.0.9",
        "2130706441",
        "0x7f000009",
        "0x7f.0.0.9",
        "0177.0.0.011",
        "017700000011",
        "127.0.0.09",
        "127.000.000.009",
        "[::ffff:127.0.0.9]",
        "[::ffff:7f00:9]",
        "[::127.0.0.9]",
        "[0:0:0:0:0:ffff:7f00:0009]",
        "[64:ff9b::7f00:9]",
        "[64:ff9b::127.0.0.9]",
        "[2002:7f00:9::]",
        "[::1]",
        "[::]",
        "0",
        "0.0.0.0",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "localhost.localdomain",
        "ip6-localhost",
        "169.254.169.254",
        "[fe80::1]",
        "[fe80::1%25lo]",
        "[fd00::1]",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "metadata.google.internal",
        "ghcr.io@127.0.0.9",
        "ghcr.io:x@127.0.0.9",
        "127.0.0.9#ghcr.io",
        "127.0.0.9\\ghcr.io",
        "ghcr.io%00.127.0.0.9",
        "ghcr.io%2f@127.0.0.9",
        "127%2e0%2e0%2e9",
        "%31%32%37.0.0.9",
        "\u{ff11}27.0.0.9",
        "127\u{3002}0\u{3002}0\u{3002}9",
        "\u{2460}27.0.0.9",
        "127.0.0.9%20",
        "%09127.0.0.9",
    ];
    let mut all: Vec<String> = hosts.iter().map(|host| format!("{host}:{port}")).collect();
    all.extend(hosts.iter().take(12).map(|&host| host.to_owned()));
    all
}

/// What docxy may answer to nonsense: a refusal of its own, in JSON when it got as far as HTTP.
#[track_caller]
fn assert_refusal(answer: &Response, vector: &str) {
    assert!(
        (400..500).contains(&answer.status),
        "{vector}: {}",
        answer.everything()
    );
}

#[tokio::test]
async fn no_spelling_of_an_address_as_a_registry_is_dialled() {
    // S2 by ns, by prefix and by Host: upstreams are a list, and what is not on it does not exist.
    let canary = StubRegistry::builder()
        .on("127.0.0.9")
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let pair = Pair::open(r#"public_url = "https://hub.example.com""#).await;
    let mut tried = 0;
    for spelling in spellings(canary.addr().port()) {
        let vectors = [
            Request::get(format!("/v2/a/b/manifests/1?ns={spelling}")),
            Request::get(format!("/v2/{spelling}/a/b/manifests/1")),
            Request::get(format!("http://{spelling}/v2/a/b/manifests/1")),
            Request::get("/v2/a/b/manifests/1")
                .header("Host", "127.0.0.1")
                .header("X-Forwarded-Host", &*spelling),
        ];
        for (entry, request) in vectors.into_iter().enumerate() {
            tried += 1;
            // A connection that is closed unanswered is a refusal too: the bytes may be no HTTP at all.
            if let Ok(mut open) = request.try_open(pair.app.addr()).await {
                let body = open.rest().await;
                let answer = open.into_response(body);
                if entry < 2 {
                    assert_refusal(&answer, &format!("entry {entry}, {spelling}"));
                }
            }
            assert_eq!(
                canary.connections(),
                0,
                "entry {entry} dialled for {spelling}: {}",
                canary.story()
            );
        }
    }
    let asked = pair.ghcr.requests().len();
    assert_eq!(asked, 0, "{}", pair.ghcr.story());
    println!(
        "S2 by ns, prefix, target and X-Forwarded-Host: {} dials of {tried} tried",
        canary.connections()
    );
}

#[tokio::test]
async fn nothing_an_upstream_says_makes_docxy_dial_inside() {
    // S2 by realm, Location and Link. The upstream is a public address behind an outbound proxy (a stub that answers for any
    // host), so nothing inside is allowed; whoever is named in an absolute target or a CONNECT would have been dialled.
    let canary = StubRegistry::builder().on("127.0.0.9").start().await;
    let road = StubRegistry::builder()
        .image("a/b", "1", Image::layers(1))
        .start()
        .await;
    let app = crate::support::app::TestApp::builder()
        .config(&format!(
            "[registries.\"far.test\"]\nurls = [\"http://8.8.8.8:5000\"]\nproxy = \"{}\"\n",
            road.url()
        ))
        .start()
        .await;
    let ask = |path: &str| Request::get(path.to_owned()).send(app.addr());
    let blob = road.image("a/b", "1").blobs[0].digest.clone();
    let sound = ask("/v2/far.test/a/b/manifests/1").await;
    sound.assert_is(&road.image("a/b", "1").root, &road);

    let mut tried = 0;
    for spelling in spellings(canary.addr().port()) {
        for scheme in ["http", "https", "HTTP", "ftp", "file", "gopher"]
            .iter()
            .take(if tried == 0 { 6 } else { 2 })
        {
            let url = format!("{scheme}://{spelling}/v2/x");
            let Ok(_) = http::HeaderValue::from_str(&url) else {
                continue;
            };
            road.clear_faults();
            road.fault(On::get("*/blobs/*"), Fault::redirect(307, &url));
            let header = format!("Bearer realm=\"{url}\",service=\"x\"");
            road.fault(
                On::path("*/manifests/*"),
                Fault::Answer {
                    status: 401,
                    headers: vec![("www-authenticate", header)],
                    body: String::new(),
                },
            );
            road.fault(
                On::path("*/tags/list"),
                Fault::Answer {
                    status: 200,
                    headers: vec![
                        ("link", format!("<{url}>; rel=\"next\"")),
                        ("content-type", "application/json".into()),
                    ],
                    body: r#"{"name":"a/b","tags":["1"]}"#.into(),
                },
            );
            let answers = [
                ask(&format!("/v2/far.test/a/b/blobs/{blob}")).await,
                ask("/v2/far.test/a/b/manifests/1").await,
                ask("/v2/far.test/a/b/tags/list").await,
            ];
            tried += answers.len();
            assert!(answers[0].status >= 400, "{url}: {}", answers[0].everything());
            assert!(answers[1].status >= 400, "{url}: {}", answers[1].everything());
            let link = answers[2].header("link").unwrap_or_default();
            assert!(
                !link.contains(&spelling),
                "a Link of the upstream's host reached the client: {link}"
            );
        }
    }
    let inside = road
        .requests()
        .into_iter()
        .filter(|seen| seen.authority.as_deref() != Some("8.8.8.8:5000"));
    let inside: Vec<String> = inside.map(|seen| seen.to_string()).collect();
    assert!(
        inside.is_empty(),
        "{} request(s) went inside through the proxy:\n{}",
        inside.len(),
        inside.join("\n")
    );
    assert_eq!(canary.connections(), 0, "{}", canary.story());
    println!("S2 by Location, realm and Link: 0 dials of {tried} tried");
}

#[tokio::test]
async fn hostile_paths_never_leave_the_grammar() {
    // S9: 300 paths, on the raw bytes, before any routing. What reaches an upstream must be exactly a path of the API.
    let pair = Pair::open("").await;
    let digest = pair.hub.image("library/redis", "7").root.digest;
    let tricks = [
        "..",
        ".",
        "%2e%2e",
        "%2E%2E%2F",
        "..%2f",
        "..%5c",
        "..\\",
        "%00",
        "%0a",
        "%0d%0aX-Evil:%201",
        "//",
        "%2f",
        "%252e%252e",
        "%3f",
        "%23",
        "?",
        "#",
        ";a=b",
        "%20",
        "+",
        "a%20b",
        "A",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "_a",
        "a_",
        ".a",
        "a.",
        "a:b",
        "%c0%ae%c0%ae",
        "%ff",
        "\u{e9}",
        "%u002e",
        "~",
        "*",
        "'",
        "\"",
        "<",
        ">",
        "|",
        "^",
        "`",
        "{",
        "}",
        "a@b",
        "a,b",
        "a=b",
        "a&b",
    ];
    let mut paths = Vec::new();
    for trick in tricks {
        paths.push(format!("/v2/library/{trick}/redis/manifests/7"));
        paths.push(format!("/v2/{trick}/redis/manifests/7"));
        paths.push(format!("/v2/library/redis{trick}/manifests/7"));
        paths.push(format!("/v2/library/redis/manifests/{trick}"));
        paths.push(format!("/v2/library/redis/blobs/{digest}{trick}"));
        paths.push(format!("/v2/library/redis/blobs/sha256:{trick}"));
        paths.push(format!("/v2/library/redis/manifests/7/{trick}"));
    }
    paths.extend([
        format!("/v2/{}/manifests/7", "a/".repeat(200) + "b"),
        format!("/v2/{}/manifests/7", "a".repeat(256)),
        format!("/v2/library/redis/manifests/{}", "a".repeat(129)),
        "/v2/library/redis/manifests/".to_owned(),
        "/v2//manifests/7".to_owned(),
        "/v2/manifests/7".to_owned(),
        "/v2/library/redis/blobs/".to_owned(),
        "/v2/library/redis/blobs/sha256:".to_owned(),
        format!("/v2/library/redis/blobs/{}", digest.to_uppercase()),
        format!("/v2/library/redis/blobs/{}", digest.replace("sha256", "SHA256")),
        format!("/v2/library/redis/blobs/{}", digest.replace("sha256", "md5")),
        format!("/v2/library/redis/blobs/{}", &digest[..digest.len() - 1]),
        "/v2/library/redis/tags".to_owned(),
        "/v2/library/redis/tags/list/".to_owned(),
        "/v2/../etc/passwd".to_owned(),
        "/v2/%2e%2e/etc/passwd".to_owned(),
        "/../v2/library/redis/manifests/7".to_owned(),
        "//v2/library/redis/manifests/7".to_owned(),
        "/V2/library/redis/manifests/7".to_owned(),
        "/v2".to_owned() + "/a".repeat(4000).as_str(),
    ]);
    let (mut reached, mut answered) = (0, 0);
    for path in &paths {
        pair.hub.forget();
        let before = pair.ghcr.requests().len();
        if let Ok(mut open) = Request::get(&**path).try_open(pair.app.addr()).await {
            let body = open.rest().await;
            let answer = open.into_response(body);
            answered += 1;
            assert!(answer.status < 500, "{path}: {}", answer.everything());
        }
        for seen in pair.hub.requests() {
            reached += 1;
            assert!(of_the_api(&seen.path), "{path} became {}", seen.path);
        }
        assert_eq!(
            pair.ghcr.requests().len(),
            before,
            "{path}: {}",
            pair.ghcr.story()
        );
    }
    println!(
        "S9: {} paths, {answered} answered, {reached} reached an upstream, 0 of them outside the grammar",
        paths.len()
    );
}

/// A path of lower-case components, then an endpoint: written apart from docxy's own parser.
fn of_the_api(path: &str) -> bool {
    let component = regex::Regex::new(
        "^/v2/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*/(manifests/([a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}|sha256:[0-9a-f]{64})|blobs/sha256:[0-9a-f]{64}|tags/list|referrers/sha256:[0-9a-f]{64})$",
    );
    path == "/v2/" || component.unwrap().is_match(path)
}

#[tokio::test]
async fn a_miss_at_one_registry_is_never_asked_of_another() {
    // S16: one name, one upstream. An image missing at the private registry must not come from the public one.
    let pair = Pair::open("[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]").await;
    pair.hub.put("only/here", "1", Image::layers(1));
    let doors = [
        (pair.client().host("ghcr.example.com"), "/v2/only/here"),
        (pair.client().ns("ghcr.io"), "/v2/only/here"),
        (pair.client(), "/v2/ghcr.io/only/here"),
    ];
    let faults = [
        None,
        Some(Fault::Status(404)),
        Some(Fault::Status(500)),
        Some(Fault::Status(429)),
        Some(Fault::Close),
    ];
    let mut tried = 0;
    for fault in faults {
        pair.ghcr.clear_faults();
        if let Some(fault) = fault {
            pair.ghcr.fault(On::path("*"), fault);
        }
        for (client, base) in &doors {
            for path in ["manifests/1", "tags/list"] {
                tried += 1;
                let answer = client.ask(&format!("{base}/{path}")).await;
                assert!(answer.status >= 400, "{}", answer.everything());
            }
        }
    }
    let foreign = pair.hub.requests().len();
    println!("S16: {foreign} foreign requests of {tried} tried");
    assert_eq!(foreign, 0, "{}", pair.hub.story());
}
