//! docxy with a cache on disk, which may end and come back at the same address, and what left it.

use std::{net::SocketAddr, sync::Arc, thread};

use serde_json::Value;
use tempfile::TempDir;

use super::super::support::{
    image::{Image, Index},
    registry::Seen,
};
use crate::support::{app::TestApp, client::Response, image::Content, puller::Puller, within};

/// A running docxy.
pub struct Docxy {
    /// None once it has been taken out, so that `drop` has something to say until then.
    app: Option<TestApp>,
    config: String,
}

/// One that has ended; its folder is as it left it.
pub struct Ended {
    pub home: Arc<TempDir>,
    addr: SocketAddr,
    config: String,
}

impl Docxy {
    /// `config` holds the registries.
    pub async fn start(config: &str) -> Self {
        Self::after("", config).await
    }

    /// What the process does to itself before it becomes docxy: a mount, a network of its own.
    pub async fn after(prelude: &str, config: &str) -> Self {
        let app = TestApp::builder().cache().config(config).prelude(prelude);
        Self {
            app: Some(app.start().await),
            config: config.to_owned(),
        }
    }

    pub fn app(&self) -> &TestApp {
        self.app.as_ref().expect("it runs")
    }

    pub fn addr(&self) -> SocketAddr {
        self.app().addr()
    }

    pub async fn stop(mut self) -> Ended {
        let ended = self.ended();
        drop(self.app.take().expect("it runs").stop().await);
        ended
    }

    /// SIGKILL: no chance to tidy up.
    pub async fn kill(mut self) -> Ended {
        let ended = self.ended();
        self.app.take().expect("it runs").kill().await;
        ended
    }

    fn ended(&self) -> Ended {
        Ended {
            home: self.app().home(),
            addr: self.addr(),
            config: self.config.clone(),
        }
    }

    /// A request as `curl` would make it, with the Accept lines of dockerd. Its line is in the log when it returns: lines
    /// are written some at a time.
    pub async fn ask(&self, path: &str) -> Response {
        let response = Puller::of(self.app()).ask(path).await;
        let id = response.header("x-request-id").unwrap_or_default();
        self.app().accessed("request_id", id).await;
        response
    }

    /// Requests for content of this repository that are in the access log, oldest first.
    pub fn served(&self, repository: &str) -> Vec<Served> {
        let of = |line: &Value| Served::parse(&line["fields"], repository);
        self.app().log().iter().filter_map(of).collect()
    }

    /// The same without the first `skip`, when they hold that many bytes of blobs: lines are written when bodies have ended.
    pub async fn served_since(&self, repository: &str, skip: usize, bytes: usize) -> Vec<Served> {
        let what = format!("{bytes} bytes of blobs of {repository} in the access log");
        let all = async {
            loop {
                let served = self.served(repository).split_off(skip);
                if blob_bytes(&served) >= bytes {
                    return served;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        within(&what, all).await
    }
}

impl Drop for Docxy {
    #[expect(clippy::print_stderr, reason = "a failed test shows what docxy said")]
    fn drop(&mut self) {
        if let Some(app) = self.app.as_ref().filter(|_| thread::panicking()) {
            eprintln!("--- docxy's log\n{}", app.log_text());
        }
    }
}

impl Ended {
    /// At the same address.
    pub async fn start(&self) -> Docxy {
        self.start_after("").await
    }

    pub async fn start_after(&self, prelude: &str) -> Docxy {
        let listen = format!("listen = [\"{}\"]", self.addr);
        let app = TestApp::builder()
            .cache()
            .config(&self.config)
            .config(&listen)
            .home(&self.home)
            .prelude(prelude);
        Docxy {
            app: Some(app.start().await),
            config: self.config.clone(),
        }
    }
}

/// A line of the access log about content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub method: String,
    pub kind: String,
    pub status: u64,
    pub outcome: String,
    pub bytes: usize,
}

impl Served {
    /// The repository is logged as it was asked for, with or without `library/`.
    fn parse(fields: &Value, repository: &str) -> Option<Self> {
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        let short = repository.strip_prefix("library/").unwrap_or(repository);
        let asked = text("repository");
        let own = fields["message"] == "request" && (asked == repository || asked == short);
        own.then(|| Self {
            method: text("method"),
            kind: text("kind"),
            status: fields["status"].as_u64().unwrap_or_default(),
            outcome: text("outcome"),
            bytes: fields["bytes"]
                .as_u64()
                .and_then(|bytes| bytes.try_into().ok())
                .unwrap_or_default(),
        })
    }

    pub fn is_blob(&self) -> bool {
        self.kind == "blob"
    }
}

/// Bytes of blobs that left.
pub fn blob_bytes(served: &[Served]) -> usize {
    served
        .iter()
        .filter(|one| one.is_blob())
        .map(|one| one.bytes)
        .sum()
}

/// Each different word of these lines, in order.
pub fn words<'a>(served: impl IntoIterator<Item = &'a Served>) -> Vec<&'a str> {
    let mut words: Vec<&str> = served.into_iter().map(|one| one.outcome.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    words
}

/// Bytes of the blobs of an image.
pub fn size(image: &Image) -> usize {
    let layers: usize = image.layers.iter().map(|layer| layer.bytes.len()).sum();
    layers + image.config.bytes.len()
}

/// Asserts that a registry gave each blob and each manifest that this machine needs of an index once, whole, and nothing
/// besides.
pub fn assert_given_once(seen: &[Seen], repository: &str, index: &Index) {
    let gets: Vec<&Seen> = seen
        .iter()
        .filter(|one| one.method == "GET" && one.path != "/v2/")
        .collect();
    let given = |content: &Content, paths: &[String]| {
        let of: Vec<&&Seen> = gets.iter().filter(|one| paths.contains(&one.path)).collect();
        let whole = of.len() == 1 && of[0].status == 200 && of[0].bytes == content.bytes.len();
        assert!(whole, "{} was to be given once, whole: {of:#?}", content.digest);
    };
    let image = index.native();
    let manifest = |reference: &str| format!("/v2/{repository}/manifests/{reference}");
    let by_tag = ["oci", "docker"].map(manifest);
    given(
        &index.manifest,
        &[&by_tag[..], &[manifest(&index.manifest.digest)]].concat(),
    );
    given(&image.manifest, &[manifest(&image.manifest.digest)]);
    let blobs = image.layers.iter().chain([&image.config]);
    for blob in blobs.clone() {
        given(blob, &[format!("/v2/{repository}/blobs/{}", blob.digest)]);
    }
    assert_eq!(gets.len(), 2 + blobs.count(), "GETs of one cold pull: {gets:#?}");
}
