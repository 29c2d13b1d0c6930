//! The default mirror: what `registry-mirrors` of dockerd and a bare image name use.

use crate::support::{client::Request, pair::Pair};

const REDIS: &str = "/v2/library/redis/manifests/7";

#[tokio::test]
async fn addresses_and_localhost_are_docker_hub() {
    // Without any configuration `docker pull 127.0.0.1:5000/library/redis` must work.
    let pair = Pair::open("").await;
    for host in [
        "127.0.0.1",
        "127.0.0.1:5000",
        "localhost",
        "localhost:5000",
        "LOCALHOST",
        "[::1]:5000",
        "192.0.2.7:80",
    ] {
        let answer = pair.client().host(host).ask(REDIS).await;
        pair.assert_from_hub(&answer, "library/redis", "7");
    }
    assert_eq!(pair.ghcr.requests().len(), 0);
}

#[tokio::test]
async fn a_name_of_one_component_is_in_library() {
    // Docker Hub knows `redis` only as `library/redis`; clients that talk to a mirror say either (P6).
    let pair = Pair::open("").await;
    let digest = pair.hub.image("library/redis", "7").root.digest;
    for path in [
        "/v2/redis/manifests/7".to_owned(),
        format!("/v2/redis/manifests/{digest}"),
    ] {
        let answer = pair.client().ask(&path).await;
        pair.assert_from_hub(&answer, "library/redis", "7");
    }
    assert_eq!(pair.hub.count("/v2/redis/*"), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn a_lone_component_with_a_dot_is_an_image_of_the_default() {
    // Only of two components or more can the first be a registry: `node.js` is an image.
    let pair = Pair::open("").await;
    let image = pair
        .hub
        .put("library/node.js", "1", crate::support::image::Image::layers(1));
    pair.client()
        .ask("/v2/node.js/manifests/1")
        .await
        .assert_is(&image.root, &pair.hub);
}

#[tokio::test]
async fn any_host_is_the_default_while_no_names_are_configured() {
    // On a LAN the machine is called something; as long as no name means anything else, that is harmless.
    let pair = Pair::open("").await;
    let answer = pair.client().host("mirror.lan:5000").ask(REDIS).await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}

#[tokio::test]
async fn with_a_public_url_only_its_host_and_addresses_are_the_default() {
    // An unknown host that silently were Docker Hub would serve the wrong registry's image (R1).
    let pair = Pair::open(r#"public_url = "https://hub.example.com""#).await;
    for host in [
        "hub.example.com",
        "hub.example.com:443",
        "HUB.Example.COM",
        "127.0.0.1:5000",
        "localhost",
    ] {
        let answer = pair.client().host(host).ask(REDIS).await;
        pair.assert_from_hub(&answer, "library/redis", "7");
    }
    pair.hub.forget();
    for host in [
        "other.example.com",
        "hub.example.com.evil.test",
        "example.com",
        "ghcr.example.com",
    ] {
        let answer = pair.client().host(host).ask(REDIS).await;
        answer.assert_refused(
            404,
            &["NAME_UNKNOWN", "UNSUPPORTED", "NAME_INVALID"],
            "public_url",
            &pair.hub,
        );
        let (_, message) = answer.oci_error();
        assert!(
            message.contains("hosts"),
            "the error must name both keys: {message}"
        );
        pair.assert_nobody_asked(host);
    }
}

#[tokio::test]
async fn with_virtual_hosts_an_unknown_host_is_refused() {
    // A typing error in a DNS name must be told, not answered by the default registry.
    let pair = Pair::open("[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]").await;
    let answer = pair.client().host("gchr.example.com").ask(REDIS).await;
    answer.assert_refused(
        404,
        &["NAME_UNKNOWN", "UNSUPPORTED", "NAME_INVALID"],
        "hosts",
        &pair.hub,
    );
    assert!(answer.oci_error().1.contains("public_url"), "{}", answer.text());
    let base = pair.client().host("gchr.example.com").ask("/v2/").await;
    assert_eq!(base.status, 404, "{}", base.everything());
    pair.assert_nobody_asked("an unknown host");
    let answer = pair.client().host("127.0.0.1").ask(REDIS).await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}

#[tokio::test]
async fn another_default_registry_can_be_chosen() {
    // A company whose images are all at ghcr.io wants its short names to mean that.
    let pair = Pair::open(r#"default_registry = "ghcr.io""#).await;
    let answer = pair.client().ask("/v2/owner/image/manifests/1").await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    let answer = pair.client().ask("/v2/docker.io/library/redis/manifests/7").await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}

#[tokio::test]
async fn the_access_log_says_by_which_door_and_to_whom() {
    // Whoever runs docxy must be able to see why a request went where it went.
    let pair = Pair::open("").await;
    pair.client().ask(REDIS).await;
    let line = pair.app.accessed("repository", "library/redis").await;
    assert_eq!(line["registry"], "docker.io", "{line}");
    assert_eq!(line["method"], "GET", "{line}");
    assert_eq!(line["status"].to_string().trim_matches('"'), "200", "{line}");
    for field in [
        "request_id",
        "client",
        "door",
        "kind",
        "outcome",
        "bytes",
        "ttfb_ms",
        "duration_ms",
        "upstream_status",
    ] {
        assert!(!line[field].is_null(), "no {field} in {line}");
    }
    let default = line["door"].clone();
    pair.client()
        .ns("ghcr.io")
        .ask("/v2/owner/image/manifests/1")
        .await;
    let line = pair.app.accessed("registry", "ghcr.io").await;
    assert_ne!(line["door"], default, "{line}");
}

#[tokio::test]
async fn a_request_without_host_is_refused() {
    // RFC 9112 section 3.2: such a request is answered 400; docxy must not guess.
    let pair = Pair::open("").await;
    let raw = Request::get(REDIS)
        .header("Host", "a.test")
        .header("Host", "b.test")
        .send(pair.app.addr())
        .await;
    assert_eq!(raw.status, 400, "{}", raw.everything());
    pair.assert_nobody_asked("two Host lines");
}
