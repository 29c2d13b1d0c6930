//! docxy before two registries, Docker Hub (the default) and ghcr.io, which hold other bytes under the same names: whoever
//! is answered by the wrong one notices.

use super::{
    app::{Builder as AppBuilder, TestApp},
    client::Response,
    image::Image,
    puller::{Puller, token_in},
    stub::{self, Auth, StubRegistry},
};

pub struct Pair {
    pub app: TestApp,
    pub hub: StubRegistry,
    pub ghcr: StubRegistry,
}

/// The password of `alice`, and of `bob`, at each registry.
pub const HUB_PASSWORD: &str = "canary-hub-password";
pub const GHCR_PASSWORD: &str = "canary-ghcr-password";

impl Pair {
    /// Both ask for no credentials at all.
    pub async fn open(config: &str) -> Self {
        Self::start(hub(Auth::Open), ghcr(Auth::Open), config).await
    }

    /// Both want a token for everything, as the real ones.
    pub async fn signed(config: &str) -> Self {
        Self::start(hub(Auth::Token), ghcr(Auth::Token), config).await
    }

    pub async fn start(hub: stub::Builder, ghcr: stub::Builder, config: &str) -> Self {
        let (hub, ghcr) = (hub.start().await, ghcr.start().await);
        let app = Self::app(&hub, &ghcr).config(config).start().await;
        Self { app, hub, ghcr }
    }

    /// A docxy, not yet started, that knows both.
    pub fn app(hub: &StubRegistry, ghcr: &StubRegistry) -> AppBuilder {
        TestApp::builder()
            .registry("docker.io", hub)
            .registry("ghcr.io", ghcr)
    }

    pub fn client(&self) -> Puller {
        Puller::of(&self.app)
    }

    /// Where a token is fetched on the shared host.
    pub fn realm(&self) -> String {
        format!("{}/auth/token", self.app.url())
    }

    pub fn realm_of(&self, registry: &str) -> String {
        format!("{}/auth/token/{registry}", self.app.url())
    }

    /// docxy's own anonymous token.
    pub async fn anonymous_token(&self) -> String {
        token_in(&self.client().token(&self.realm(), &[]).await)
    }

    #[track_caller]
    pub fn assert_from_hub(&self, answer: &Response, repository: &str, tag: &str) {
        answer.assert_is(&self.hub.image(repository, tag).root, &self.hub);
    }

    #[track_caller]
    pub fn assert_from_ghcr(&self, answer: &Response, repository: &str, tag: &str) {
        answer.assert_is(&self.ghcr.image(repository, tag).root, &self.ghcr);
    }

    /// Neither registry was asked anything.
    #[track_caller]
    pub fn assert_nobody_asked(&self, what: &str) {
        for stub in [&self.hub, &self.ghcr] {
            assert_eq!(stub.requests().len(), 0, "{what}: {}", stub.story());
        }
    }
}

/// Docker Hub as a recipe, for tests that add to it.
pub fn hub(auth: Auth) -> stub::Builder {
    StubRegistry::builder()
        .auth(auth)
        .user("alice", HUB_PASSWORD)
        .image("library/redis", "7", Image::layers(2).seed(11))
        .image("owner/image", "1", Image::layers(2).seed(12))
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(2).seed(13))
}

/// ghcr.io as a recipe.
pub fn ghcr(auth: Auth) -> stub::Builder {
    StubRegistry::builder()
        .auth(auth)
        .user("alice", GHCR_PASSWORD)
        .image("library/redis", "7", Image::layers(2).seed(21).oci())
        .image("owner/image", "1", Image::layers(2).seed(22).oci())
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(2).seed(23).oci())
}

/// Asserts that none of the secrets that one registry knows or gave was shown to the other.
#[track_caller]
pub fn assert_no_secret_crossed(from: &StubRegistry, to: &StubRegistry) {
    let seen = to.secrets_seen();
    for secret in from.secrets_issued() {
        let leaked = seen.iter().any(|seen| seen.contains(&secret));
        assert!(
            !leaked,
            "{secret} of {} was shown to another registry: {}",
            from.url(),
            to.story()
        );
    }
}
