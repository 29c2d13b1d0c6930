//! Debian's docker-registry (distribution 2.8), a real upstream with a request log.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    authority::Authority,
    image::{Catalogue, Image, Index},
    process::{self, Daemon},
    publish::Publisher,
    sandbox::Sandbox,
    tap::Tap,
    token_server::{ISSUER, PASSWORD, SERVICE, TokenServer, USER},
};

/// How a registry knows its users.
pub enum SignIn<'a> {
    Nobody,
    /// An htpasswd file with [`USER`]; nothing is readable without it.
    Basic,
    Token(&'a TokenServer),
}

pub struct DockerRegistry {
    daemon: Daemon,
    own_address: SocketAddr,
    tap: Option<Tap>,
    barriers: AtomicU32,
    client: reqwest::Client,
    scheme: &'static str,
    folder: PathBuf,
}

impl DockerRegistry {
    /// A registry over plain HTTP whose repositories each hold the catalogue.
    pub async fn start(sandbox: &Sandbox, sign_in: SignIn<'_>, content: &[(&str, &Catalogue)]) -> Self {
        Self::start_with(sandbox, sign_in, None, content).await
    }

    /// The same over TLS.
    pub async fn start_tls(
        sandbox: &Sandbox,
        sign_in: SignIn<'_>,
        authority: &Authority,
        content: &[(&str, &Catalogue)],
    ) -> Self {
        Self::start_with(sandbox, sign_in, Some(authority), content).await
    }

    async fn start_with(
        sandbox: &Sandbox,
        sign_in: SignIn<'_>,
        authority: Option<&Authority>,
        content: &[(&str, &Catalogue)],
    ) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("registry-")
            .tempdir_in(sandbox.path())
            .expect("a folder")
            .keep();
        fill(&folder, content).await;

        let mut config = open_config(&folder);
        match sign_in {
            SignIn::Nobody => {}
            SignIn::Basic => {
                let users = folder.join("htpasswd");
                fs::write(&users, htpasswd().await).expect("the users' file");
                config["auth"] = json!({ "htpasswd": { "realm": "test", "path": users } });
            }
            SignIn::Token(server) => {
                config["auth"] = json!({ "token": {
                    "realm": server.realm,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": server.certificate,
                } });
            }
        }
        let mut client = reqwest::Client::builder().no_proxy();
        if let Some(authority) = authority {
            config["http"]["tls"] = json!({ "certificate": authority.certificate, "key": authority.key });
            let ca = fs::read(&authority.ca).expect("the authority");
            client = client.tls_certs_only([reqwest::Certificate::from_pem(&ca).expect("a certificate")]);
        }
        let (daemon, own_address) = launch(&folder, &config).await;
        let tap = match authority {
            Some(_) => None,
            None => Some(Tap::open(own_address).await),
        };
        Self {
            daemon,
            own_address,
            tap,
            barriers: AtomicU32::new(0),
            client: client.build().expect("a client"),
            scheme: if authority.is_some() { "https" } else { "http" },
            folder,
        }
    }

    /// Where it listens itself, past what is kept of requests: for bodies that nobody wants in memory.
    pub fn own_url(&self) -> String {
        format!("{}://{}", self.scheme, self.own_address)
    }

    /// Where it keeps a blob.
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.folder.join("storage/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }

    /// Every file of a repository and what is in it: links to blobs, tags, what is left of uploads.
    pub fn repository_files(&self, repository: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self
            .folder
            .join("storage/docker/registry/v2/repositories")
            .join(repository);
        let mut files = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).expect("below the root");
                    files.insert(name.display().to_string(), fs::read(&path).expect("a file"));
                }
            }
        }
        files
    }

    /// What docxy is told to ask.
    pub fn url(&self) -> String {
        let address = self.tap.as_ref().map_or(self.own_address, |tap| tap.address);
        format!("{}://{address}", self.scheme)
    }

    /// Ends it: from now on connections are refused.
    pub async fn stop(self) {
        let tap = self.tap.as_ref().map(|tap| tap.address);
        drop(self.daemon);
        drop(self.tap);
        let Some(address) = tap else { return };
        // The tap's task lets go of its socket when it is next run.
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// How often the password of [`USER`] was sent here; only plain HTTP can be listened to.
    pub fn secrets(&self) -> usize {
        self.tap
            .as_ref()
            .expect("a registry over plain HTTP")
            .secrets(USER, PASSWORD)
    }

    /// Every request that was answered up to now, oldest first, from the registry's own access log.
    pub async fn requests(&self) -> Vec<Seen> {
        // The log is written after the answer. A request of our own, made now, comes after all others in it.
        let mark = format!("barrier={}", self.barriers.fetch_add(1, Ordering::Relaxed));
        let url = format!("{}://{}/v2/?{mark}", self.scheme, self.own_address);
        self.client.get(url).send().await.expect("the registry answers");
        let marked = |line: &str| line.contains(&mark).then_some(());
        self.daemon
            .log()
            .find(Duration::from_secs(10), marked)
            .await
            .expect("the registry logs the barrier");
        let lines = self.daemon.log().lines();
        lines
            .iter()
            .filter_map(|line| Seen::parse(line))
            .filter(|seen| !seen.query.starts_with("barrier"))
            .collect()
    }

    /// Asserts that every blob of this image was read from the repository, once.
    ///
    /// containerd's parallel ranges are open-ended and cut off by the client, so they may add up to more.
    pub async fn assert_pulled(&self, repository: &str, image: &Image) {
        let seen = self.requests().await;
        let got = |path: &str| -> Vec<&Seen> {
            let answered =
                |one: &&Seen| one.method == "GET" && one.path == path && matches!(one.status, 200 | 206);
            seen.iter().filter(answered).collect()
        };
        for blob in image.layers.iter().chain([&image.config]) {
            let answers = got(&format!("/v2/{repository}/blobs/{}", blob.digest));
            let bytes: usize = answers.iter().map(|one| one.bytes).sum();
            let (length, ranged) = (blob.bytes.len(), answers.iter().any(|one| one.status == 206));
            assert!(
                bytes == length || ranged && bytes > length,
                "{bytes} of {length} bytes were read of {}: {answers:#?}",
                blob.digest,
            );
        }
        let manifests = format!("/v2/{repository}/manifests/");
        let (by_digest, length) = (
            manifests.clone() + &image.manifest.digest,
            image.manifest.bytes.len(),
        );
        let read =
            |one: &Seen| one.path.starts_with(&manifests) && one.bytes == length && one.method == "GET";
        assert!(
            !got(&by_digest).is_empty() || seen.iter().any(read),
            "nobody read the manifest {by_digest}: {seen:#?}",
        );
    }

    /// Asserts that of this index and its images only the native one was read, through the index.
    pub async fn assert_pulled_native(&self, repository: &str, tag: &str, index: &Index) {
        self.assert_pulled(repository, index.native()).await;
        let seen = self.requests().await;
        let by_tag = format!("/v2/{repository}/manifests/{tag}");
        assert!(
            seen.iter().any(|one| one.path == by_tag && one.status == 200),
            "nobody asked for the tag {tag}: {seen:#?}",
        );
    }

    /// Asserts that nobody was given any content.
    pub async fn assert_gave_nothing(&self) {
        let seen = self.requests().await;
        let content = |one: &&Seen| {
            one.path != "/v2/"
                && matches!(one.status, 200 | 206)
                && (one.method == "GET" || one.method == "HEAD")
        };
        assert!(
            !seen.iter().any(|one| content(&one)),
            "content was given: {seen:#?}"
        );
    }
}

/// One request of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub status: u16,
    pub bytes: usize,
    pub agent: String,
}

impl Seen {
    /// Apache's combined format: `ADDRESS - - [TIME] "METHOD TARGET PROTOCOL" STATUS BYTES "REFERER" "AGENT"`.
    fn parse(line: &str) -> Option<Self> {
        let mut quoted = line.split('"');
        let _address = quoted.next().filter(|head| head.ends_with("] "))?;
        let mut request = quoted.next()?.split(' ');
        let mut numbers = quoted.next()?.split_whitespace();
        let _referer = quoted.next()?;
        let agent = quoted.nth(1)?.to_owned();
        let method = request.next()?.to_owned();
        let target = request.next()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Some(Self {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            status: numbers.next()?.parse().ok()?,
            bytes: numbers.next()?.parse().unwrap_or(0),
            agent,
        })
    }
}

/// Content is written by a registry without users, which ends before the one under test starts.
async fn fill(folder: &Path, content: &[(&str, &Catalogue)]) {
    let (_daemon, address) = launch(folder, &open_config(folder)).await;
    let publisher = Publisher::new(address);
    for (repository, catalogue) in content {
        publisher.catalogue(repository, catalogue).await;
    }
}

/// JSON, which is YAML too.
fn open_config(folder: &Path) -> Value {
    json!({
        "version": "0.1",
        "log": { "level": "info" },
        "storage": {
            "filesystem": { "rootdirectory": folder.join("storage") },
            "delete": { "enabled": true },
        },
        "http": { "addr": "127.0.0.1:0", "secret": "test" },
    })
}

async fn launch(folder: &Path, config: &Value) -> (Daemon, SocketAddr) {
    let file = folder.join("config.yml");
    fs::write(&file, config.to_string()).expect("the registry's configuration");
    let mut command = process::mortal("docker-registry");
    command.arg("serve").arg(file);
    Daemon::start("docker-registry", command, |line| {
        let (_, rest) = line.split_once("listening on ")?;
        rest.split(|c: char| c == '"' || c == ',' || c.is_whitespace())
            .next()?
            .parse()
            .ok()
    })
    .await
}

async fn htpasswd() -> Vec<u8> {
    let mut command = Command::new("htpasswd");
    command.args(["-n", "-b", "-B", "-C", "4", USER, PASSWORD]);
    process::run(command).await.succeeded().stdout
}
