//! docxy with a cache on disk before one registry; it is stopped, killed and started again on the same folder, and the
//! tests look into that folder.

mod folder;
mod over;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub use folder::Folder;
pub use over::Over;
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tempfile::TempDir;

use crate::admin::{ask, json, socket};
use crate::support::{
    app::{Builder as AppBuilder, TestApp},
    client::{Request, Response},
    image::{Content, Image, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, noise},
    puller::Puller,
    stub::{self, StubRegistry},
    within,
};

/// Where most tests put their image.
pub const REPOSITORY: &str = "library/redis";
pub const TAG: &str = "/v2/library/redis/manifests/7";

/// A running docxy.
pub struct Cached {
    pub app: TestApp,
    pub stub: StubRegistry,
    setup: Setup,
}

/// A docxy that has ended; its files may be touched.
pub struct Ended {
    pub stub: StubRegistry,
    setup: Setup,
    /// What it wrote until its end.
    pub log: String,
}

/// What stays the same from one start to the next.
struct Setup {
    how: Arc<dyn Fn(AppBuilder) -> AppBuilder>,
    home: Arc<TempDir>,
}

impl Cached {
    /// Before a registry, which is `docker.io` to docxy.
    pub async fn start(stub: stub::Builder, config: &str) -> Self {
        let config = config.to_owned();
        Self::built(stub.start().await, move |app| app.config(&config)).await
    }

    /// One that holds this image as `library/redis:7`.
    pub async fn of(image: impl Into<Image>, config: &str) -> Self {
        Self::start(StubRegistry::builder().image(REPOSITORY, "7", image), config).await
    }

    /// With whatever else docxy is to be told at each start.
    pub async fn built(stub: StubRegistry, how: impl Fn(AppBuilder) -> AppBuilder + 'static) -> Self {
        let app = how(TestApp::builder().cache().registry("docker.io", &stub));
        let app = app.start().await;
        let setup = Setup {
            home: app.home(),
            how: Arc::new(how),
        };
        Self { app, stub, setup }
    }

    pub fn folder(&self) -> Folder {
        self.setup.folder()
    }

    pub async fn stop(self) -> Ended {
        let log = self.app.stop().await.log;
        Ended {
            stub: self.stub,
            setup: self.setup,
            log,
        }
    }

    /// SIGKILL: no chance to tidy up.
    pub async fn kill(self) -> Ended {
        let log = self.app.log_text();
        self.app.kill().await;
        Ended {
            stub: self.stub,
            setup: self.setup,
            log,
        }
    }

    /// Stopped and started again.
    pub async fn again(self) -> Self {
        self.stop().await.start().await
    }

    pub fn client(&self) -> Puller {
        Puller::of(&self.app)
    }

    /// One request without credentials, with dockerd's Accept lines.
    pub async fn get(&self, path: &str) -> Response {
        self.client().ask(path).await
    }

    pub async fn head(&self, path: &str) -> Response {
        let request = self.client().request("HEAD", path);
        request.send(self.app.addr()).await
    }

    pub async fn send(&self, request: Request) -> Response {
        request.send(self.app.addr()).await
    }

    pub fn image(&self) -> Image {
        self.stub.image(REPOSITORY, "7")
    }

    /// The first layer of it, and its path.
    pub fn layer(&self) -> (Content, String) {
        let layer = self.image().layer_blobs()[0].clone();
        let path = blob_path(&layer);
        (layer, path)
    }

    /// Tag, manifest and every blob, each right.
    pub async fn pull_all(&self) {
        let image = self.image();
        self.get(TAG).await.assert_is(&image.root, &self.stub);
        for blob in &image.blobs {
            self.get(&blob_path(blob)).await.assert_is(blob, &self.stub);
        }
    }

    /// As `pull_all`, then waits until all of it is in the folder.
    pub async fn warm(&self) {
        self.pull_all().await;
        let image = self.image();
        for content in image.blobs.iter().chain([&image.root]) {
            self.stored(content).await;
        }
    }

    /// Waits until this is a whole blob in the folder, and docxy counts it among what it has: its file is there a moment
    /// earlier, and whoever asks in between still joins.
    pub async fn stored(&self, content: &Content) {
        let file = self.folder().blob(&content.digest);
        eventually(&format!("{} to be stored", file.display()), || file.exists()).await;
        let listed = async {
            let socket = socket(&self.app);
            while !json(&ask(&socket, "GET", "/api/v1/cache/blobs?limit=10000", "").await)["blobs"]
                .as_array()
                .unwrap()
                .iter()
                .any(|blob| blob["digest"] == *content.digest)
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(&format!("{} to be listed", content.digest), listed).await;
    }

    /// Waits until no download is under way or left over.
    pub async fn no_partials(&self) {
        let folder = self.folder();
        eventually("partials to go", || folder.partials().is_empty()).await;
    }
}

impl Ended {
    pub fn folder(&self) -> Folder {
        self.setup.folder()
    }

    pub async fn start(self) -> Cached {
        self.start_with("").await
    }

    /// With more configuration, this time only.
    pub async fn start_with(self, config: &str) -> Cached {
        let app = self.builder().config(config).start().await;
        Cached {
            app,
            stub: self.stub,
            setup: self.setup,
        }
    }

    /// The next docxy on the same folder, not yet started.
    pub fn builder(&self) -> AppBuilder {
        let app = TestApp::builder().cache().registry("docker.io", &self.stub);
        (self.setup.how)(app).home(&self.setup.home)
    }
}

impl Setup {
    fn folder(&self) -> Folder {
        Folder::new(self.home.path().join("cache"))
    }
}

pub fn blob_path(blob: &Content) -> String {
    format!("/v2/{REPOSITORY}/blobs/{}", blob.digest)
}

/// What `X-Cache` says, in lower case.
#[track_caller]
pub fn word(answer: &Response) -> String {
    answer
        .header("x-cache")
        .unwrap_or_else(|| panic!("no X-Cache: {:?}", answer.headers))
        .to_ascii_lowercase()
}

/// An image of layers of these sizes, each of other noise.
pub fn image_of(seed: u64, sizes: &[usize]) -> Image {
    let layers: Vec<Content> = (0..)
        .zip(sizes)
        .map(|(n, size)| Content::new(OCI_LAYER, noise(seed * 1_000_003 + n, *size)))
        .collect();
    let config = Content::new(OCI_CONFIG, format!("{{\"os\":\"linux\",\"seed\":{seed}}}"));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(),
        "layers": layers.iter().map(Content::descriptor).collect::<Vec<_>>(),
    });
    Image {
        root: Content::new(OCI_MANIFEST, manifest.to_string()),
        children: Vec::new(),
        blobs: [config].into_iter().chain(layers).collect(),
    }
}

/// The same dice on every run.
pub fn dice(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Waits for what no bell announces: a file, a figure.
pub async fn eventually(what: &str, test: impl Fn() -> bool) {
    let begin = Instant::now();
    while !test() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "waited 10 s in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The 99th percentile; the largest where there are fewer than a hundred.
pub fn p99(times: &mut [Duration]) -> Duration {
    times.sort();
    times[(times.len() * 99 / 100).min(times.len() - 1)]
}
