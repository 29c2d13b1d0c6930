//! docxy before one registry, the default one: enough wherever the registry's name plays no part.

use super::{
    app::{Builder as AppBuilder, TestApp},
    client::{Request, Response},
    image::{Content, Image},
    puller::{Puller, token_in},
    stub::{self, StubRegistry},
};

pub struct Single {
    pub app: TestApp,
    pub stub: StubRegistry,
}

/// Where `image` of `Single::sound` is.
pub const MANIFEST: &str = "/v2/library/redis/manifests/7";

impl Single {
    pub async fn start(stub: stub::Builder, config: &str) -> Self {
        Self::built(stub, |app| app.config(config)).await
    }

    /// With whatever else docxy is to be told.
    pub async fn built(stub: stub::Builder, how: impl FnOnce(AppBuilder) -> AppBuilder) -> Self {
        let stub = stub.start().await;
        let app = how(TestApp::builder().registry("docker.io", &stub)).start().await;
        Self { app, stub }
    }

    /// One that holds `library/redis:7`, with whatever else the recipe has.
    pub async fn with(stub: stub::Builder) -> Self {
        Self::start(stub.image("library/redis", "7", Image::layers(2)), "").await
    }

    pub async fn sound() -> Self {
        Self::with(StubRegistry::builder()).await
    }

    pub fn client(&self) -> Puller {
        Puller::of(&self.app)
    }

    pub async fn send(&self, request: Request) -> Response {
        request.send(self.app.addr()).await
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client().ask(path).await
    }

    pub async fn head(&self, path: &str) -> Response {
        self.client().request("HEAD", path).send(self.app.addr()).await
    }

    pub fn image(&self) -> Image {
        self.stub.image("library/redis", "7")
    }

    /// The first layer of it, and its path.
    pub fn layer(&self) -> (Content, String) {
        let layer = self.image().layer_blobs()[0].clone();
        let path = format!("/v2/library/redis/blobs/{}", layer.digest);
        (layer, path)
    }

    pub fn realm(&self) -> String {
        format!("{}/auth/token", self.app.url())
    }

    pub async fn anonymous_token(&self) -> String {
        token_in(&self.client().token(&self.realm(), &[]).await)
    }
}
