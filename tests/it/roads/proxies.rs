//! `proxy` as a list, from the configuration file, and the environment's proxies.

use std::time::Duration;

use crate::support::{
    app::TestApp,
    image::Image,
    proxy::{Life, Outbound},
    puller::Puller,
    stub::{Auth, Cdn, StubRegistry},
};

const SIZE: usize = 6 << 20;

fn registry(stub: &StubRegistry) -> String {
    // Names, because a proxy of the environment is never asked for loopback addresses.
    format!(
        "[registries.\"docker.io\"]\nurls = [\"http://registry.example.com:{}\"]\nallow_private_addresses = true\n\
         realms = [\"{}\"]\n[network.hosts]\n\"registry.example.com\" = [\"127.0.0.1\"]\n",
        stub.addr().port(),
        stub.token_addr()
    )
}

async fn stub() -> StubRegistry {
    let image = Image::layers(1).layer_size(SIZE);
    StubRegistry::builder()
        .image("library/redis", "7", image)
        .start()
        .await
}

#[tokio::test]
async fn a_blob_cut_by_a_dying_proxy_goes_on_through_the_next() {
    // The client sees one clean 200 with the right bytes, whether the proxy vanishes or only drops what it carries.
    for (segments, life) in [
        (1, Life::DiesAfter(2 << 20)),
        (4, Life::DiesAfter(2 << 20)),
        (1, Life::CutsEach(1 << 20)),
        (4, Life::CutsEach(256 << 10)),
    ] {
        for scheme in ["http", "socks5", "socks5h"] {
            let stub = stub().await;
            let (first, second) = (Outbound::living(life).await, Outbound::start().await);
            let app = TestApp::builder()
                .cache()
                .config(&registry(&stub))
                .config(&format!(
                    "[network]\nsegments = {segments}\nsegment_threshold = \"1MiB\"\nproxy = [\"{}\", \"{}\"]",
                    first.url(scheme, ""),
                    second.url(scheme, "")
                ))
                .start()
                .await;
            let layer = stub.image("library/redis", "7").layer_blobs()[0].clone();
            let path = format!("/v2/library/redis/blobs/{}", layer.digest);
            let answer = Puller::of(&app).get(&path).await;
            answer.assert_is(&layer, &stub);
            let (of_first, of_second) = (first.carried(), second.carried());
            println!(
                "{life:?} {segments} {scheme}: {of_first} bytes through the first, {of_second} through the second"
            );
            assert!(of_first > 0 && of_second > 0, "{}", app.log_text());
            // What was there is not fetched again.
            let slack = 1 << 20;
            assert!(
                usize::try_from(of_first + of_second).unwrap() < SIZE + slack,
                "{of_first} + {of_second}: {}",
                stub.story()
            );
            if let Life::DiesAfter(_) = life {
                assert!(first.is_dead());
            }
        }
    }
}

#[tokio::test]
async fn nothing_goes_directly_unless_the_list_says_so() {
    // In a watched network one request past the proxies is one too many; in others "direct" is the fallback.
    let stub = stub().await;
    let dead = Outbound::start().await;
    dead.kill().await;
    let list = |entries: &str| format!("[network]\nproxy = [\"{}\", {entries}]", dead.url("socks5h", ""));
    let other = Outbound::start().await;
    other.kill().await;
    let closed = list(&format!("{:?}", other.url("http", "")));
    let app = TestApp::builder()
        .config(&registry(&stub))
        .config(&closed)
        .start()
        .await;
    let path = "/v2/library/redis/manifests/7";
    let answer = Puller::of(&app).get(path).await;
    answer.assert_refused(502, &["UNKNOWN", "UNAVAILABLE"], "docker.io", &stub);
    println!("{} dials past the proxies", stub.connections());
    assert_eq!(stub.connections(), 0);
    assert!(
        !answer.everything().contains(&dead.address().to_string()),
        "{}",
        answer.everything()
    );
    app.logged("the reason of each road", |line| {
        let text = line.to_string();
        text.contains(&dead.address().to_string()) && text.contains(&other.address().to_string())
    })
    .await;
    drop(app);

    let open = list("\"direct\"");
    let app = TestApp::builder()
        .config(&registry(&stub))
        .config(&open)
        .start()
        .await;
    Puller::of(&app).get(path).await.assert_status(&[200], &stub);
    assert!(stub.connections() > 0);
    app.logged("that the proxy is passed over", |line| {
        line.to_string().contains("passed over")
    })
    .await;
}

#[tokio::test]
async fn passwords_from_files_open_the_proxy_and_are_never_told() {
    // A table of the list keeps its password in a file; neither the log nor `config show` repeats it.
    let stub = stub().await;
    let relay = Outbound::for_user("me", "CANARY:pass/word").await;
    let config = format!(
        "[network]\nproxy = [{{ url = \"{}\", username = \"me\", password_file = \"wrong\" }}, \
         {{ url = \"{}\", username = \"me\", password_file = \"right\" }}]",
        relay.url("http", ""),
        relay.url("socks5h", "")
    );
    let app = TestApp::builder()
        .config(&registry(&stub))
        .config(&config)
        .config("[log]\nlevel = \"trace\"")
        .file("wrong", "CANARY-wrong\n")
        .file("right", "CANARY:pass/word\n")
        .start()
        .await;
    let answer = Puller::of(&app).get("/v2/library/redis/manifests/7").await;
    answer.assert_status(&[200], &stub);
    assert!(
        relay.asked().iter().all(|asked| asked.starts_with("socks ")),
        "{:?}",
        relay.asked()
    );
    assert!(!app.log_text().contains("CANARY"), "{}", app.log_text());
}

#[tokio::test]
async fn proxies_of_the_environment_hold_for_tokens_redirects_and_blobs_alike() {
    // One request that does not go the way the machine's administrator ordered is a hole in the wall, or a pull that hangs.
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .token_on("127.0.0.2")
        .cdn(Cdn::on("127.0.0.3"))
        .image("library/redis", "7", Image::layers(1))
        .start()
        .await;
    let layer = stub.image("library/redis", "7").layer_blobs()[0].clone();
    // Its token service and storage are loopback addresses, for which a proxy of the environment is never asked: those
    // of the key are.
    let pull = async |app: &TestApp| {
        let client = Puller::of(app);
        client
            .get("/v2/library/redis/manifests/7")
            .await
            .assert_status(&[200], &stub);
        let path = format!("/v2/library/redis/blobs/{}", layer.digest);
        client.get(&path).await.assert_is(&layer, &stub);
    };
    let of = |relay: &Outbound, address: std::net::SocketAddr| {
        let end = format!(":{}", address.port());
        relay.asked().iter().filter(|asked| asked.ends_with(&end)).count()
    };
    for (no_proxy, by_proxy) in [("", true), ("127.0.0.2,127.0.0.3,registry.example.com", false)] {
        let relay = Outbound::start().await;
        let proxy = format!(
            "[network]\nproxy = {{ url = \"{}\", no_proxy = [{}] }}",
            relay.url("http", ""),
            no_proxy
                .split(',')
                .map(|one| format!("{one:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        );
        let app = TestApp::builder()
            .config(&registry(&stub))
            .config(&proxy)
            .start()
            .await;
        pull(&app).await;
        let counts = [stub.addr(), stub.token_addr(), stub.cdn_addr()].map(|address| of(&relay, address));
        println!("no_proxy {no_proxy:?}: registry, token service, storage through the proxy: {counts:?}");
        assert_eq!(counts.iter().all(|count| *count > 0), by_proxy, "{counts:?}");
        assert_eq!(counts.iter().all(|count| *count == 0), !by_proxy, "{counts:?}");
    }
    for (variable, no_proxy, by_proxy) in [
        ("HTTP_PROXY", "", true),
        ("http_proxy", "other.example.com", true),
        ("ALL_PROXY", "", true),
        ("HTTP_PROXY", "example.com", false),
        ("HTTPS_PROXY", "", false),
    ] {
        let relay = Outbound::start().await;
        let app = TestApp::builder()
            .config(&registry(&stub))
            .env(variable, relay.url("http", ""))
            .env("NO_PROXY", no_proxy)
            .start()
            .await;
        pull(&app).await;
        assert_eq!(of(&relay, stub.addr()) > 0, by_proxy, "{variable} {no_proxy}");
        assert_eq!(
            (of(&relay, stub.token_addr()), of(&relay, stub.cdn_addr())),
            (0, 0)
        );
    }
}

#[tokio::test]
async fn a_proxy_that_takes_names_serves_where_none_resolves() {
    // DNS is poisoned and only a SOCKS5 proxy leads out: the four lines of the README.
    let stub = stub().await;
    let relay = Outbound::start().await;
    let port = stub.addr().port();
    let config = format!(
        "[registries.\"docker.io\"]\nurls = [\"http://nowhere.invalid:{port}\"]\n\
         [network]\nproxy = {{ url = \"{}\", remote_dns = true }}",
        relay.url("socks5h", "")
    );
    let app = TestApp::builder().config(&config).start().await;
    let answer = Puller::of(&app).get("/v2/library/redis/manifests/7").await;
    answer.assert_status(&[200], &stub);
    assert_eq!(relay.asked(), [format!("socks nowhere.invalid:{port}")]);
    tokio::time::timeout(Duration::from_secs(10), app.stop())
        .await
        .unwrap();
}
