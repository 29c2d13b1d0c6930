//! `?ns=`: how containerd says which registry it means.

use crate::support::{client::Request, image::Image, pair::Pair, stub::Door};

const IMAGE: &str = "/v2/owner/image/manifests/1";

#[tokio::test]
async fn ns_names_the_registry_and_goes_no_further() {
    // OCI distribution, "Registry Proxying": the proxy returns it in OCI-Namespace and strips it upstream.
    let pair = Pair::open("").await;
    let answer = pair.client().ns("ghcr.io").ask(IMAGE).await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    assert_eq!(answer.header("oci-namespace"), Some("ghcr.io"));
    let layer = pair.ghcr.image("owner/image", "1").blobs[1].clone();
    let answer = pair
        .client()
        .ns("ghcr.io")
        .ask(&format!("/v2/owner/image/blobs/{}", layer.digest))
        .await;
    answer.assert_is(&layer, &pair.ghcr);
    assert_eq!(answer.header("oci-namespace"), Some("ghcr.io"));
    let leaked = pair
        .ghcr
        .requests()
        .into_iter()
        .any(|seen| seen.query.contains("ns="));
    assert!(!leaked, "{}", pair.ghcr.story());
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn other_parameters_are_kept() {
    // `ns` stands among the parameters of tags and referrers.
    let pair = Pair::open("").await;
    for query in [
        "n=1&ns=ghcr.io&last=0",
        "ns=ghcr.io&n=1&last=0",
        "n=1&last=0&ns=ghcr.io",
    ] {
        pair.ghcr.forget();
        let answer = Request::get(format!("/v2/owner/image/tags/list?{query}"))
            .send(pair.app.addr())
            .await;
        answer.assert_status(&[200], &pair.ghcr);
        let seen = pair.ghcr.at(Door::Registry).pop().expect("ghcr.io was asked");
        assert_eq!(seen.params("last"), ["0"], "{}", pair.ghcr.story());
        assert_eq!(seen.params("ns"), Vec::<String>::new(), "{}", pair.ghcr.story());
    }
}

#[tokio::test]
async fn aliases_of_docker_hub_are_docker_hub() {
    // docker.io has four names in the wild.
    let pair = Pair::open("").await;
    for ns in [
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "registry.hub.docker.com",
        "DOCKER.IO",
    ] {
        let answer = pair.client().ns(ns).ask("/v2/library/redis/manifests/7").await;
        pair.assert_from_hub(&answer, "library/redis", "7");
    }
}

#[tokio::test]
async fn a_first_component_that_is_not_the_registry_is_part_of_the_repository() {
    // gcr.io/google.com/cloudsdktool/cloud-sdk arrives exactly so.
    let pair = Pair::open("").await;
    let image = pair.ghcr.put(
        "google.com/cloudsdktool/cloud-sdk",
        "slim",
        Image::layers(1).seed(70),
    );
    let path = "/v2/google.com/cloudsdktool/cloud-sdk/manifests/slim";
    pair.client()
        .ns("ghcr.io")
        .ask(path)
        .await
        .assert_is(&image.root, &pair.ghcr);
    // A configured name is no exception: it never selects another registry here.
    let image = pair
        .ghcr
        .put("docker.io/library/redis", "7", Image::layers(1).seed(71));
    let answer = pair
        .client()
        .ns("ghcr.io")
        .ask("/v2/docker.io/library/redis/manifests/7")
        .await;
    answer.assert_is(&image.root, &pair.ghcr);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn its_own_name_in_front_is_stripped() {
    // containerd with override_path sends both the prefix and ns.
    let pair = Pair::open("").await;
    let answer = pair
        .client()
        .ns("ghcr.io")
        .ask("/v2/ghcr.io/owner/image/manifests/1")
        .await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
}

#[tokio::test]
async fn ns_is_heard_on_any_host() {
    // hosts.toml may point at docxy by any name; ns comes before all other doors.
    let pair = Pair::open(r#"public_url = "https://hub.example.com""#).await;
    for host in ["127.0.0.1", "elsewhere.lan", "hub.example.com"] {
        let answer = pair.client().host(host).ns("ghcr.io").ask(IMAGE).await;
        pair.assert_from_ghcr(&answer, "owner/image", "1");
    }
}

#[tokio::test]
async fn an_unknown_registry_is_refused_and_nobody_asked() {
    // Passed to the default registry it would be another image under the same name (S16).
    let pair = Pair::open("").await;
    for ns in [
        "registry.example.net",
        "ghcr.io.evil.test",
        "evil.test",
        "localhost:5001",
        "ghcr.io:444",
    ] {
        let answer = pair.client().ns(ns).ask(IMAGE).await;
        answer.assert_status(&[400, 403, 404], &pair.hub);
        let (_, message) = answer.oci_error();
        assert!(
            message.contains(ns) && message.contains("registries"),
            "must say how to add {ns}: {message}"
        );
        pair.assert_nobody_asked(ns);
    }
}

#[tokio::test]
async fn a_malformed_or_double_ns_is_refused() {
    // Two parsers that read such a query differently are how requests are smuggled.
    let pair = Pair::open("").await;
    for query in [
        "ns=ghcr.io&ns=docker.io",
        "ns=",
        "ns",
        "ns=ghcr.io%00",
        "ns=ghcr.io%2f..",
        "ns=%20ghcr.io",
        "ns=a@ghcr.io",
    ] {
        let answer = Request::get(format!("{IMAGE}?{query}"))
            .send(pair.app.addr())
            .await;
        answer.assert_status(&[400, 404], &pair.hub);
        answer.oci_error();
        pair.assert_nobody_asked(query);
    }
}
