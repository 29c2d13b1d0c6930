//! A network of a test's own, where whatever addresses and names it wants exist: the test runs itself again in there.

use std::{
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::net::TcpListener;

/// Set for the half of a test that runs inside.
const INSIDE: &str = "DOCXY_TEST_OWN_NETWORK";

/// What is in the network.
pub struct Network<'a> {
    /// With the length of their prefix.
    pub addresses: &'a [&'a str],
    /// What `/etc/hosts` says.
    pub names: &'a [(&'a str, &'a str)],
}

impl Network<'_> {
    /// Is this the half that runs inside?
    pub fn is_entered() -> bool {
        std::env::var_os(INSIDE).is_some()
    }

    /// Runs a test by its name inside; what it printed. It must succeed there.
    pub async fn run(&self, test: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let hosts = folder.path().join("hosts");
        let names = self.names.iter().chain(&[("localhost", "127.0.0.1")]);
        let lines: String = names
            .map(|(name, address)| [*address, " ", *name, "\n"].concat())
            .collect();
        fs::write(&hosts, lines).unwrap();
        let addresses: String = self
            .addresses
            .iter()
            .map(|address| ["ip address add ", *address, " dev lo nodad\n"].concat())
            .collect();
        let enter =
            format!("set -e\nip link set lo up\n{addresses}mount --bind \"$0\" /etc/hosts\nexec \"$@\"");
        let output = tokio::process::Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--propagation",
                "private",
                "/bin/sh",
                "-c",
                &enter,
            ])
            .arg(&hosts)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(INSIDE, "1")
            .output();
        let output = output
            .await
            .expect("unshare and ip must be installed: ci/install-packages");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }
}

/// Listens, and counts who comes.
pub struct Trap {
    pub port: u16,
    dials: Arc<AtomicUsize>,
    who: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Trap {
    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|error| panic!("{address}: {error}"));
        let trap = Self {
            port: listener.local_addr().unwrap().port(),
            dials: Arc::default(),
            who: Arc::default(),
        };
        let (dials, who) = (Arc::clone(&trap.dials), Arc::clone(&trap.who));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                dials.fetch_add(1, Ordering::SeqCst);
                who.lock().unwrap().push(stream.local_addr().unwrap());
            }
        });
        trap
    }

    pub fn dials(&self) -> usize {
        self.dials.load(Ordering::SeqCst)
    }

    pub fn forget(&self) {
        self.dials.store(0, Ordering::SeqCst);
        self.who.lock().unwrap().clear();
    }

    /// Which of its addresses were dialled.
    pub fn who(&self) -> Vec<SocketAddr> {
        self.who.lock().unwrap().clone()
    }
}
