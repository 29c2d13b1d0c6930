//! Path prefixes: `docker pull example.com/ghcr.io/owner/image`.

use crate::support::{
    image::Image,
    pair::Pair,
    stub::{Auth, StubRegistry},
};

#[tokio::test]
async fn the_first_component_names_the_registry() {
    // One host for all registries is what most people can set up.
    let pair = Pair::open("").await;
    let answer = pair.client().ask("/v2/ghcr.io/owner/image/manifests/1").await;
    pair.assert_from_ghcr(&answer, "owner/image", "1");
    let layer = pair.ghcr.image("owner/image", "1").blobs[1].clone();
    let answer = pair
        .client()
        .ask(&format!("/v2/ghcr.io/owner/image/blobs/{}", layer.digest))
        .await;
    answer.assert_is(&layer, &pair.ghcr);
    assert_eq!(pair.hub.requests().len(), 0, "{}", pair.hub.story());
    for name in [
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "registry.hub.docker.com",
    ] {
        for image in ["library/redis", "redis"] {
            let answer = pair
                .client()
                .ask(&format!("/v2/{name}/{image}/manifests/7"))
                .await;
            pair.assert_from_hub(&answer, "library/redis", "7");
        }
    }
}

#[tokio::test]
async fn a_name_without_a_dot_is_of_the_default_registry() {
    // `owner/image` must stay what it is on Docker Hub.
    let pair = Pair::open("").await;
    let answer = pair.client().ask("/v2/owner/image/manifests/1").await;
    pair.assert_from_hub(&answer, "owner/image", "1");
}

#[tokio::test]
async fn an_unknown_registry_is_refused_with_a_recipe() {
    // The image of the same name at the default registry may be somebody else's (S16).
    let pair = Pair::open("").await;
    for name in ["registry.example.net", "localhost", "ghcr.io.evil.test"] {
        pair.hub
            .put(&format!("{name}/owner/image"), "1", Image::layers(1));
        let answer = pair
            .client()
            .ask(&format!("/v2/{name}/owner/image/manifests/1"))
            .await;
        answer.assert_status(&[403, 404], &pair.hub);
        let (_, message) = answer.oci_error();
        assert!(
            message.contains(name) && message.contains("registries"),
            "must say how to add it: {message}"
        );
        pair.assert_nobody_asked(name);
    }
}

#[tokio::test]
async fn a_colon_in_the_path_is_a_bad_name() {
    // `localhost:5001/x` cannot be written in a path; the alias is the way.
    let pair = Pair::open("").await;
    for path in [
        "/v2/localhost:5001/a/b/manifests/1",
        "/v2/ghcr.io:443/owner/image/manifests/1",
    ] {
        let answer = pair.client().ask(path).await;
        answer.assert_refused(400, &["NAME_INVALID"], "", &pair.hub);
        pair.assert_nobody_asked(path);
    }
}

#[tokio::test]
async fn an_alias_gives_a_registry_with_a_port_its_prefix() {
    // A private registry is often a host with a port.
    let private = StubRegistry::builder()
        .image("team/tool", "2", Image::layers(1).seed(5))
        .start()
        .await;
    let name = format!("127.0.0.1:{}", private.addr().port());
    let app = crate::support::app::TestApp::builder()
        .registry_with(&name, &private, "aliases = [\"harbor\", \"harbor.lan\"]")
        .start()
        .await;
    let client = crate::support::puller::Puller::of(&app);
    let root = private.image("team/tool", "2").root;
    for path in [
        "/v2/harbor/team/tool/manifests/2",
        "/v2/harbor.lan/team/tool/manifests/2",
    ] {
        client.ask(path).await.assert_is(&root, &private);
    }
    client
        .clone()
        .ns(&name)
        .ask("/v2/team/tool/manifests/2")
        .await
        .assert_is(&root, &private);
    client
        .ns("harbor")
        .ask("/v2/team/tool/manifests/2")
        .await
        .assert_is(&root, &private);
}

#[tokio::test]
async fn a_registry_switched_off_is_refused() {
    // `enabled = false` must not mean "ask somebody else".
    let pair = Pair::start(
        crate::support::pair::hub(Auth::Open),
        crate::support::pair::ghcr(Auth::Open),
        "[registries.\"ghcr.io\"]\nenabled = false",
    )
    .await;
    for (ns, path) in [
        (None, "/v2/ghcr.io/owner/image/manifests/1"),
        (Some("ghcr.io"), "/v2/owner/image/manifests/1"),
    ] {
        let client = ns.map_or(pair.client(), |ns| pair.client().ns(ns));
        let answer = client.ask(path).await;
        answer.assert_status(&[403, 404], &pair.ghcr);
        assert!(answer.oci_error().1.contains("ghcr.io"), "{}", answer.text());
        pair.assert_nobody_asked("ghcr.io is switched off");
    }
}

#[tokio::test]
async fn an_upstream_may_have_a_path_and_a_port() {
    // R4: any private registry, http:// too, also one that lives below a path of a reverse proxy.
    let stub = StubRegistry::builder()
        .image("base/team/tool", "2", Image::layers(1).seed(5))
        .start()
        .await;
    let app = crate::support::app::TestApp::builder()
        .registry("registry.corp.test", &stub)
        .config(&format!(
            "[registries.\"registry.corp.test\"]\nurls = [\"{}/base\"]",
            stub.url()
        ))
        .start()
        .await;
    // The path of the url comes after /v2/, so that one registry can stand for a folder of another.
    let answer = crate::support::puller::Puller::of(&app)
        .ask("/v2/registry.corp.test/team/tool/manifests/2")
        .await;
    answer.assert_is(&stub.image("base/team/tool", "2").root, &stub);
}
