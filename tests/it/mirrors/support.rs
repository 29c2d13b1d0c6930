//! docxy with a cache before a registry and its mirrors.

use std::time::Duration;

use crate::cache::support::{REPOSITORY, image_of};
use crate::support::{
    app::{Builder as AppBuilder, TestApp},
    client::Response,
    image::{Content, Image},
    puller::Puller,
    stub::{Fault, On, StubRegistry},
    within,
};

pub const TAG: &str = "/v2/library/redis/manifests/7";

/// A registry, its mirrors in their order, and docxy before them.
pub struct Places {
    pub app: TestApp,
    pub own: StubRegistry,
    pub mirrors: Vec<StubRegistry>,
}

impl Places {
    /// All of them have `library/redis:7` and `:8`.
    pub async fn of(image: Image, mirrors: usize, config: &str) -> Self {
        let own = holder(&image).await;
        let mut stubs = Vec::new();
        for _ in 0..mirrors {
            stubs.push(holder(&image).await);
        }
        Self::before(own, stubs, "", |app| app.config(config)).await
    }

    /// `keys` are further ones of each mirror's entry.
    pub async fn before(
        own: StubRegistry,
        mirrors: Vec<StubRegistry>,
        keys: &str,
        how: impl Fn(AppBuilder) -> AppBuilder,
    ) -> Self {
        let app = TestApp::builder().cache().registry("docker.io", &own);
        let app = how(app.config(&urls(&own, &mirrors, keys))).start().await;
        Self { app, own, mirrors }
    }

    pub fn client(&self) -> Puller {
        Puller::of(&self.app)
    }

    pub async fn get(&self, path: &str) -> Response {
        self.client().ask(path).await
    }

    pub fn mirror(&self) -> &StubRegistry {
        &self.mirrors[0]
    }

    pub fn image(&self) -> Image {
        self.own.image(REPOSITORY, "7")
    }

    pub fn layer(&self) -> Content {
        self.image().layer_blobs()[0].clone()
    }

    /// The registry gives the repository to everyone, and docxy has seen it; nobody's requests until now count.
    pub async fn public(&self) {
        self.get(TAG).await.assert_is(&self.image().root, &self.own);
        self.forget();
    }

    /// Waits until docxy has found out, and noted beside the links, that this repository is public.
    pub async fn until_public(&self, repository: &str) {
        let name = repository.replace('/', "~");
        let mark = format!("repositories/docker.io/{name}/public");
        let mark = self.app.dir().join("cache").join(mark);
        within(&format!("the mark {}", mark.display()), async {
            while !mark.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    pub fn forget(&self) {
        self.own.forget();
        self.mirrors.iter().for_each(StubRegistry::forget);
    }

    /// From now on the registry answers so to every question for a digest.
    pub fn own_fails(&self, fault: &Fault) {
        for pattern in ["*/blobs/*", "*/manifests/sha256*"] {
            self.own.fault(On::path(pattern), fault.clone());
        }
    }

    /// What all of them saw, for the message of a failed assertion.
    pub fn story(&self) -> String {
        let mirrors: Vec<String> = self.mirrors.iter().map(StubRegistry::story).collect();
        format!(
            "{}\nmirrors:\n{}\n{}",
            self.own.story(),
            mirrors.join("\n"),
            self.app.log_text()
        )
    }

    #[track_caller]
    pub fn assert_is(&self, answer: &Response, content: &Content) {
        assert!(
            answer.status == 200 && answer.body == content.bytes,
            "{} of {} bytes instead of {}: {}\n{}",
            answer.status,
            answer.body.len(),
            content.digest,
            answer.text().chars().take(300).collect::<String>(),
            self.story()
        );
    }
}

/// A registry that everyone may read.
pub async fn holder(image: &Image) -> StubRegistry {
    StubRegistry::builder()
        .image(REPOSITORY, "7", image.clone())
        .image(REPOSITORY, "8", image_of(9_000, &[1_000]))
        .start()
        .await
}

pub fn urls(own: &StubRegistry, mirrors: &[StubRegistry], keys: &str) -> String {
    let mut urls = vec![format!("{:?}", own.url())];
    urls.extend(mirrors.iter().map(|mirror| {
        format!(
            "{{ url = {:?}, role = \"mirror\", allow_private_addresses = true, realms = [\"{}\"]{keys} }}",
            mirror.url(),
            mirror.token_addr(),
        )
    }));
    format!("[registries.\"docker.io\"]\nurls = [{}]\n", urls.join(", "))
}

pub fn manifest_path(content: &Content) -> String {
    format!("/v2/{REPOSITORY}/manifests/{}", content.digest)
}
