//! Virtual hosts: `ghcr.example.com` is ghcr.io, in all its spellings, and nothing else.

use crate::support::{image::Image, pair::Pair};

const CONFIG: &str = r#"
[registries."ghcr.io"]
hosts = ["ghcr.example.com", "g.example.com"]
[registries."docker.io"]
hosts = ["hub.example.com"]
"#;
const IMAGE: &str = "/v2/owner/image/manifests/1";

#[tokio::test]
async fn the_host_names_the_registry() {
    // One certificate and one DNS name for each registry is how companies set such proxies up.
    let pair = Pair::open(CONFIG).await;
    for host in [
        "ghcr.example.com",
        "ghcr.example.com:8443",
        "GHCR.example.com",
        "g.example.com",
    ] {
        let answer = pair.client().host(host).ask(IMAGE).await;
        pair.assert_from_ghcr(&answer, "owner/image", "1");
    }
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    let answer = pair.client().host("hub.example.com").ask(IMAGE).await;
    pair.assert_from_hub(&answer, "owner/image", "1");
    let answer = pair
        .client()
        .host("hub.example.com")
        .ask("/v2/redis/manifests/7")
        .await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}

#[tokio::test]
async fn its_own_name_in_front_is_stripped() {
    // Clients that rewrite references may put the registry's name in front although the host says it already.
    let pair = Pair::open(CONFIG).await;
    let answer = pair
        .client()
        .host("ghcr.example.com")
        .ask("/v2/ghcr.io/owner/image/manifests/1")
        .await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    let answer = pair
        .client()
        .host("hub.example.com")
        .ask("/v2/index.docker.io/library/redis/manifests/7")
        .await;
    pair.assert_from_hub(&answer, "library/redis", "7");
}

#[tokio::test]
async fn another_name_in_front_selects_nothing() {
    // On a host of its own a prefix is a part of the repository: no detour to a registry that the host does not mean (S16).
    let pair = Pair::open(CONFIG).await;
    let ours = pair
        .ghcr
        .put("docker.io/library/redis", "7", Image::layers(1).seed(77));
    let answer = pair
        .client()
        .host("ghcr.example.com")
        .ask("/v2/docker.io/library/redis/manifests/7")
        .await;
    answer.assert_is(&ours.root, &pair.ghcr);
    let answer = pair
        .client()
        .host("ghcr.example.com")
        .ask("/v2/quay.io/a/b/manifests/7")
        .await;
    answer.assert_status(&[404, 401, 403], &pair.ghcr);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
}

#[tokio::test]
async fn a_host_and_an_ns_that_disagree_are_refused() {
    // One of the two is wrong and nobody knows which.
    let pair = Pair::open(CONFIG).await;
    let answer = pair
        .client()
        .host("ghcr.example.com")
        .ns("docker.io")
        .ask(IMAGE)
        .await;
    answer.assert_status(&[400], &pair.hub);
    answer.oci_error();
    pair.assert_nobody_asked("a contradiction");
    let answer = pair
        .client()
        .host("ghcr.example.com")
        .ns("ghcr.io")
        .ask(IMAGE)
        .await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
}
