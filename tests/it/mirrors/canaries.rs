//! What a mirror must never see (S1, S16): a credential of a client or of the registry's entry, a repository that is not
//! proved public, and any question but those for a digest.

use super::support::{Places, urls};
use crate::cache::support::{REPOSITORY, image_of};
use crate::support::{
    app::Builder as AppBuilder,
    image::Image,
    puller::Puller,
    stub::{Auth, Door, Fault, On, StubRegistry},
};

const PRIVATE: &str = "acme/app";

/// Who signs in, and where.
#[derive(Clone, Copy, Debug)]
enum Mode {
    /// Clients bring their own.
    Passthrough,
    /// docxy has an account at the registry.
    Configured,
    /// And another at the mirror.
    Both,
}

#[tokio::test]
async fn no_credential_and_no_private_name_reaches_a_mirror() {
    // An operator trusts a mirror with bytes that a digest vouches for, and with nothing else: it may be anybody's.
    let (mut asked, mut seen) = (0, 0);
    for mode in [Mode::Passthrough, Mode::Configured, Mode::Both] {
        for first in [false, true] {
            let (requests, at_mirror) = canary(mode, first).await;
            asked += requests;
            seen += at_mirror;
        }
    }
    println!(
        "S16 {asked} requests of every kind: {seen} reached the mirror, all for a digest of a public repository, 0 secrets"
    );
    assert!(seen > 0, "the mirror was never asked: nothing was tried");
}

async fn canary(mode: Mode, mirrors_first: bool) -> (usize, usize) {
    let own = registry().await;
    // It challenges, as if it were the registry.
    let mirror = StubRegistry::builder()
        .auth(Auth::Token)
        .user("mirrored", "mirror-password")
        .private(PRIVATE, &[])
        .image(PRIVATE, "1", secret())
        .image(REPOSITORY, "7", public())
        .image(REPOSITORY, "8", image_of(402, &[1_000]))
        .start()
        .await;
    let keys = match mode {
        Mode::Both => ", username = \"mirrored\", password_file = \"mirror.password\"",
        Mode::Passthrough | Mode::Configured => "",
    };
    let config = urls(&own, std::slice::from_ref(&mirror), keys);
    let how = |app: AppBuilder| {
        let app = app.config(&config).file("mirror.password", "mirror-password").config(&format!(
            "[registries.\"docker.io\"]\nmirrors_first = {mirrors_first}\n[cache]\nrevalidate_timeout = \"300ms\""
        ));
        match mode {
            Mode::Passthrough => app,
            Mode::Configured | Mode::Both => app.configured("docker.io", "alice", "alice-password"),
        }
    };
    let places = Places::before(own, vec![mirror], keys, how).await;
    let mut asked = 0;
    for state in 0..4 {
        match state {
            0 => {}
            1 => places.own.fault(On::path("*"), Fault::Status(429)),
            2 => places.own.fault(On::path("*"), Fault::Status(503)),
            _ => places.own.down().await,
        }
        let clients = [
            places.client(),
            places.client().login("alice", "alice-password"),
            places.client().login("bob", "bob-password"),
        ];
        for client in &clients {
            asked += everything(client).await;
        }
    }
    judge(&places);
    (asked, places.mirror().at(Door::Registry).len())
}

fn judge(places: &Places) {
    let mirror = places.mirror();
    let mut secrets = places.own.secrets_issued();
    secrets.extend(["alice-password".to_owned(), "bob-password".to_owned()]);
    for said in mirror.secrets_seen() {
        for secret in &secrets {
            assert!(
                !said.contains(secret.as_str()),
                "a secret at the mirror: {said}\n{}",
                mirror.story()
            );
        }
    }
    for seen in mirror.at(Door::Registry) {
        let of_public = seen.path.strip_prefix(&format!("/v2/{REPOSITORY}/"));
        // Its own challenge is learnt where a registry gives it.
        let is_base = seen.path == "/v2/";
        let is_digest = of_public
            .is_some_and(|rest| rest.starts_with("manifests/sha256:") || rest.starts_with("blobs/sha256:"));
        assert!(is_base || is_digest, "{seen}");
        assert!(!seen.query.contains("ns="), "{seen}");
    }
    let told = mirror.story();
    assert!(!told.contains(PRIVATE), "{told}");
}

/// Every kind of question.
async fn everything(client: &Puller) -> usize {
    let mut paths = vec!["/v2/".to_owned(), "/v2/_catalog".to_owned()];
    for (repository, image, tag) in [
        (REPOSITORY, public(), "7"),
        (PRIVATE, secret(), "1"),
        (REPOSITORY, image_of(402, &[1_000]), "8"),
    ] {
        paths.push(format!("/v2/{repository}/manifests/{tag}"));
        paths.push(format!("/v2/{repository}/manifests/{}", image.root.digest));
        paths.extend(
            image
                .blobs
                .iter()
                .map(|blob| format!("/v2/{repository}/blobs/{}", blob.digest)),
        );
        paths.push(format!("/v2/{repository}/tags/list?n=5"));
        paths.push(format!("/v2/{repository}/referrers/{}", image.root.digest));
        // Of a private thing, under a public name.
        paths.push(format!("/v2/{REPOSITORY}/blobs/{}", secret().blobs[0].digest));
    }
    let mut asked = 0;
    for path in &paths {
        for method in ["HEAD", "GET"] {
            client.send(method, path).await;
            asked += 1;
        }
    }
    let blob = format!("/v2/{REPOSITORY}/blobs/{}", public().blobs[1].digest);
    client.ranged(&blob, "bytes=10-20").await;
    asked + 1
}

async fn registry() -> StubRegistry {
    StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .private(PRIVATE, &["alice"])
        .image(PRIVATE, "1", secret())
        .image(REPOSITORY, "7", public())
        .image(REPOSITORY, "8", image_of(402, &[1_000]))
        .start()
        .await
}

fn secret() -> Image {
    image_of(400, &[2_000])
}

fn public() -> Image {
    image_of(401, &[2_000])
}
