//! A pebble of a test's own: on free ports, with the test's own DNS, and with the ways to docxy that an authority takes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::front::Front;
use crate::support::{
    app::{Builder, TestApp},
    ca::TestCa,
    client::Request,
    dns::{DnsServer, Manner},
    within,
};

/// What a pebble is to be like.
pub struct Recipe {
    program: PathBuf,
    config: serde_json::Value,
    environment: Vec<(&'static str, &'static str)>,
    names: Vec<(&'static str, &'static str)>,
}

/// A running pebble, for as long as the test lasts.
pub struct Pebble {
    child: Child,
    management: SocketAddr,
    ca: Arc<TestCa>,
    pub front: Front,
    ways: [Way; 2],
    dns: DnsServer,
    folder: TempDir,
    recipe: Recipe,
}

/// pebble issues for these names where they are asked at docxy; the DNS knows no others.
const NAMES: [(&str, &str); 3] = [
    ("m.docxy.test", "127.0.0.1"),
    ("hub.docxy.test", "127.0.0.1"),
    ("ghcr.docxy.test", "127.0.0.1"),
];

impl Default for Recipe {
    fn default() -> Self {
        Self {
            program: PathBuf::from("/usr/bin/pebble"),
            config: json!({ "ocspResponderURL": "", "externalAccountBindingRequired": false }),
            environment: vec![
                ("PEBBLE_VA_NOSLEEP", "1"),
                ("PEBBLE_WFE_NONCEREJECT", "0"),
                // Every order is to be checked.
                ("PEBBLE_AUTHZREUSE", "0"),
            ],
            names: NAMES.to_vec(),
        }
    }
}

impl Recipe {
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// More of pebble's configuration.
    pub fn config(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.config[key] = value.into();
        self
    }

    pub fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.retain(|(own, _)| *own != name);
        self.environment.push((name, value));
        self
    }

    /// Another name that the DNS knows.
    pub fn name(mut self, name: &'static str, address: &'static str) -> Self {
        self.names.push((name, address));
        self
    }

    pub async fn start(self) -> Pebble {
        let ca = Arc::new(TestCa::new());
        let front = Front::start(&ca).await;
        let dns = DnsServer::plain(&self.names, Manner::Answers, 60).await;
        let ways = [Way::start().await, Way::start().await];
        let folder = tempfile::tempdir().unwrap();
        let own = ca.issue(&["127.0.0.1", "localhost"]);
        std::fs::write(folder.path().join("own.pem"), &own.certificate).unwrap();
        std::fs::write(folder.path().join("own.key"), &own.key).unwrap();
        let (child, listen, management) = self.launch(folder.path(), &ways, &dns).await;
        front.lead_to(Some(listen));
        Pebble {
            child,
            management,
            ca,
            front,
            ways,
            dns,
            folder,
            recipe: self,
        }
    }

    /// On free ports: for clients, and for tests.
    async fn launch(
        &self,
        folder: &Path,
        ways: &[Way; 2],
        dns: &DnsServer,
    ) -> (Child, SocketAddr, SocketAddr) {
        for _ in 0..5 {
            let (listen, management) = (free_port().await, free_port().await);
            let mut config = self.config.clone();
            config["listenAddress"] = listen.to_string().into();
            config["managementListenAddress"] = management.to_string().into();
            config["certificate"] = folder.join("own.pem").to_str().into();
            config["privateKey"] = folder.join("own.key").to_str().into();
            config["httpPort"] = ways[0].address.port().into();
            config["tlsPort"] = ways[1].address.port().into();
            let path = folder.join("pebble.json");
            std::fs::write(&path, json!({ "pebble": config }).to_string()).unwrap();
            // Somebody else may have been given a port meanwhile.
            if let Some(child) = self.run(&path, dns, [listen, management]).await {
                return (child, listen, management);
            }
        }
        panic!("{} does not start", self.program.display());
    }

    /// `None` when it ended before it listened.
    async fn run(&self, config: &Path, dns: &DnsServer, ports: [SocketAddr; 2]) -> Option<Child> {
        let mut child = Command::new(&self.program)
            .args(["-config", config.to_str().unwrap(), "-strict"])
            .args(["-dnsserver", &dns.address().to_string()])
            .envs(self.environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // It stops when nobody reads.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let listening = async {
            for port in ports {
                while TcpStream::connect(port).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        tokio::select! {
            () = within("pebble to listen", listening) => Some(child),
            _ = child.wait() => None,
        }
    }
}

impl Pebble {
    pub async fn start() -> Self {
        Recipe::default().start().await
    }

    /// A docxy that asks this pebble for these names, on ports of its own.
    pub fn app(&self, names: &[&str]) -> Builder {
        self.asked_for(names)(TestApp::builder())
    }

    /// Makes it so of any docxy.
    pub fn asked_for(&self, names: &[&str]) -> impl Fn(Builder) -> Builder + use<> {
        let (root, config) = (
            self.own_root(),
            format!(
                "public_url = \"https://m.docxy.test\"\n[tls]\nlisten = [\"127.0.0.1:0\"]\n[tls.acme]\ndomains = {names:?}\n\
                 directory = \"https://{}/dir\"\nca_file = \"pebble.pem\"\nemail = \"ops@docxy.test\"",
                self.front.address()
            ),
        );
        move |app| app.config(&config).file("pebble.pem", root.clone())
    }

    /// Whoever issued the directory's own certificate.
    pub fn own_root(&self) -> String {
        self.ca.pem()
    }

    /// What is on ports 80 and 443, as the authority sees them.
    pub fn lead_to(&self, app: &TestApp) {
        self.ways[0].lead_to(app.addr());
        self.ways[1].lead_to(app.tls_addr());
    }

    /// Port 80 or 443 alone.
    pub fn lead(&self, port: u16, to: SocketAddr) {
        self.ways[usize::from(port == 443)].lead_to(to);
    }

    /// A docxy that the authority finds, also where it asks at once: until docxy's ports are known, connections wait and do
    /// not go to those of the docxy before, which nobody has any more.
    pub async fn found(&self, builder: Builder) -> TestApp {
        for way in &self.ways {
            way.to.send_replace(None);
        }
        let app = builder.start().await;
        self.lead_to(&app);
        app
    }

    /// A docxy that has its first certificate.
    pub async fn served(&self, builder: Builder) -> TestApp {
        let app = self.found(builder).await;
        issued(&app).await;
        app
    }

    /// So many orders were made of it until now.
    pub fn orders(&self) -> usize {
        let asked = self.front.asked();
        asked.iter().filter(|one| one.contains("/order-plz")).count()
    }

    /// The root of what it issues.
    pub async fn root(&self) -> String {
        let asked = Request::get("/roots/0").header("User-Agent", "a test");
        let asked = asked.tls(self.ca.client(), "localhost");
        asked.send(self.management).await.text()
    }

    /// A client that trusts its certificates and nothing else.
    pub async fn client(&self) -> Arc<ClientConfig> {
        let root = CertificateDer::from_pem_slice(self.root().await.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }

    /// At its management interface, which newer ones have more of.
    pub async fn manage(&self, path: &str, body: &serde_json::Value) {
        let request = Request::new("POST", path)
            .header("Content-Type", "application/json")
            .header("User-Agent", "a test")
            .body(body.to_string())
            .tls(self.ca.client(), "localhost");
        let answer = request.send(self.management).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }

    pub async fn stop(&mut self) {
        self.front.lead_to(None);
        self.child.kill().await.unwrap();
    }

    /// Another pebble behind the same address: it knows no account and has another root.
    pub async fn forget(&mut self) {
        self.stop().await;
        let launched = self.recipe.launch(self.folder.path(), &self.ways, &self.dns);
        let (child, listen, management) = launched.await;
        (self.child, self.management) = (child, management);
        self.front.lead_to(Some(listen));
    }
}

/// docxy has said that it has its certificate.
pub async fn issued(app: &TestApp) -> serde_json::Value {
    app.logged("a certificate", |line| says(line, "issued a certificate"))
        .await
}

/// A line of docxy's log with these words in it.
pub fn says(line: &serde_json::Value, words: &str) -> bool {
    line["fields"]["message"]
        .as_str()
        .is_some_and(|message| message.contains(words))
}

/// The certificate that a client is shown who asks for a name, whatever it is worth.
pub async fn shown(app: &TestApp, name: &str) -> CertificateDer<'static> {
    let trust = docxy::tls::Trust {
        ca_file: None,
        verify: false,
    };
    let config = docxy::tls::Roots::load().client_config(&trust).unwrap();
    let stream = crate::tls::handshake(app.tls_addr(), config, name).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

/// Free now; somebody else may be given it.
pub async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A port whose connections wait until they are led somewhere: docxy's own are known only when it runs.
struct Way {
    address: SocketAddr,
    to: watch::Sender<Option<SocketAddr>>,
}

impl Way {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = watch::Sender::new(None);
        let mut target = to.subscribe();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let Ok(to) = target.wait_for(Option::is_some).await.map(|to| *to) else {
                    return;
                };
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(to?).await.ok()?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await.ok()
                });
            }
        });
        Self { address, to }
    }

    fn lead_to(&self, to: SocketAddr) {
        self.to.send_replace(Some(to));
    }
}
