//! Three registries with different sign-in, each under a name of its own, and a docxy that answers for them.

use std::sync::Arc;

use crate::support::{
    app::{Builder as AppBuilder, TestApp},
    ca::TestCa,
    image::Image,
    puller::Puller,
    stub::{self, Auth, StubRegistry},
    through::Proxy,
};

/// A registry with tokens of a host of its own, `auth.hub.test`; one with passwords; one for everybody.
pub const HUB: &str = "hub.test:443";
pub const BASIC: &str = "basic.test:443";
pub const OPEN: &str = "open.test:443";
/// Alice's passwords.
pub const HUB_PASSWORD: &str = "canary-hub-password";
pub const BASIC_PASSWORD: &str = "canary-basic-password";
pub const REDIS: &str = "/v2/library/redis/manifests/7";
pub const PRIVATE: &str = "/v2/acme/app/manifests/1";

pub struct World {
    pub app: TestApp,
    pub proxy: Proxy,
    pub hub: StubRegistry,
    pub basic: StubRegistry,
    pub open: StubRegistry,
}

impl World {
    pub async fn start(config: &str) -> Self {
        Self::built(|app| app.config(config)).await
    }

    /// With whatever else docxy is to be told.
    pub async fn built(how: impl FnOnce(AppBuilder) -> AppBuilder) -> Self {
        let ca = Arc::new(TestCa::new());
        let (hub, basic, open) = (
            hub(&ca).start().await,
            registry(&ca, "basic.test", 42)
                .auth(Auth::Basic)
                .user("alice", BASIC_PASSWORD)
                .start()
                .await,
            registry(&ca, "open.test", 43).start().await,
        );
        let app = intercepting(&ca)
            .registry_with("hub.test", &hub, TRUSTING)
            .registry_with("basic.test", &basic, TRUSTING)
            .registry_with("open.test", &open, TRUSTING);
        let app = how(app).start().await;
        let proxy = Proxy::of(&app).await;
        Self {
            app,
            proxy,
            hub,
            basic,
            open,
        }
    }

    /// A client without a login.
    pub fn at(&self, place: &str) -> Puller {
        Puller::through(&self.proxy, place)
    }

    pub fn all(&self) -> [&StubRegistry; 3] {
        [&self.hub, &self.basic, &self.open]
    }
}

/// The key that makes docxy trust a registry of these tests.
pub const TRUSTING: &str = "ca_file = \"upstream.pem\"";

/// A docxy with a cache that intercepts, and trusts certificates of this authority for registries that are `TRUSTING`.
pub fn intercepting(ca: &TestCa) -> AppBuilder {
    TestApp::builder()
        .cache()
        .config("[intercept]\nenabled = true\n")
        .file("upstream.pem", ca.pem())
}

pub fn hub(ca: &Arc<TestCa>) -> stub::Builder {
    registry(ca, "hub.test", 41)
        .token_on("127.0.0.2")
        .auth(Auth::Token)
        .user("alice", HUB_PASSWORD)
}

/// One that calls itself so, with `library/redis:7` for everybody and `acme/app:1` for alice.
pub fn registry(ca: &Arc<TestCa>, name: &str, seed: u64) -> stub::Builder {
    StubRegistry::builder()
        .tls(ca)
        .named(name, &format!("auth.{name}"))
        .image("library/redis", "7", Image::layers(2).seed(seed))
        .private("acme/app", &["alice"])
        .image("acme/app", "1", Image::layers(2).seed(seed + 100).oci())
}
