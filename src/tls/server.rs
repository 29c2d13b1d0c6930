//! The certificates docxy shows.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::Error;
use super::pair::{Contents, Fingerprint, Pair};

/// One certificate chain and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The oldest TLS version that is spoken; 1.1 and older never are (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinVersion {
    #[default]
    Tls12,
    Tls13,
}

/// Certificates chosen by SNI, replaced while in use when their files change.
///
/// There is one `ServerConfig` for the whole life of the process and only what it shows is swapped: so sessions can be
/// resumed across a reload, and no open connection notices one.
#[derive(Debug)]
pub struct Certificates {
    config: Arc<ServerConfig>,
    shown: Arc<Shown>,
    provider: Arc<CryptoProvider>,
    sources: Mutex<Vec<Source>>,
}

/// One pair's files and what they held last.
#[derive(Debug)]
struct Source {
    files: CertificateFiles,
    good: Pair,
    /// The contents that were looked at last, good or bad: an error is told once, not at every look.
    seen: Option<Fingerprint>,
}

impl Certificates {
    /// Reads and checks all pairs; the first is shown to clients that name no or an unknown host.
    ///
    /// Blocks on files: call it at start, or on a blocking thread. A certificate that has expired is only warned about,
    /// since a server with it still serves those who look away.
    ///
    /// # Errors
    /// The first pair that cannot be used, naming its file.
    pub fn load(files: &[CertificateFiles], oldest: MinVersion) -> Result<Arc<Self>, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut sources = Vec::with_capacity(files.len());
        for files in files {
            let contents = Contents::read(files)?;
            let good = contents.parse(files, &provider)?;
            warn_of_lapse(files, &good);
            sources.push(Source {
                files: files.clone(),
                good,
                seen: Some(contents.fingerprint()),
            });
        }
        let shown = Arc::new(Shown(ArcSwap::from_pointee(Choice::among(&sources)?)));
        let config = server_config(Arc::clone(&provider), oldest, Arc::clone(&shown))?;
        Ok(Arc::new(Self {
            config: Arc::new(config),
            shown,
            provider,
            sources: Mutex::new(sources),
        }))
    }

    /// What a TLS acceptor needs; the same for the whole life of the process.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Looks at the files every so often and shows what changed, until `shutdown` resolves.
    ///
    /// Contents are compared, not times or inotify events: those miss swapped links and network file systems, and a few
    /// kilobytes are read faster than that is worth arguing about.
    pub async fn watch(self: Arc<Self>, every: Duration, shutdown: impl Future<Output = ()>) {
        let looking = async {
            loop {
                tokio::time::sleep(every).await;
                let this = Arc::clone(&self);
                if let Err(error) = tokio::task::spawn_blocking(move || this.reload()).await {
                    tracing::error!("looking for new certificates failed: {error}");
                }
            }
        };
        tokio::select! {
            () = looking => {}
            () = shutdown => {}
        }
    }

    /// Takes every pair whose files changed, and returns how many it took. A new pair that cannot be used is told to
    /// the log, once, and the old one stays. Blocks on files.
    pub fn reload(&self) -> usize {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = sources
            .iter_mut()
            .map(|source| usize::from(source.refresh(&self.provider)))
            .sum();
        if taken > 0
            && let Ok(choice) = Choice::among(&sources)
        {
            self.shown.0.store(Arc::new(choice));
        }
        taken
    }
}

impl Source {
    /// Reads the files again; true when they held something new that can be used.
    fn refresh(&mut self, provider: &CryptoProvider) -> bool {
        let contents = Contents::read(&self.files);
        let seen = contents.as_ref().ok().map(Contents::fingerprint);
        if seen == self.seen {
            return false;
        }
        self.seen = seen;
        match contents.and_then(|contents| contents.parse(&self.files, provider)) {
            Ok(pair) => {
                tracing::info!("took the new certificate in {}", self.files.cert.display());
                warn_of_lapse(&self.files, &pair);
                self.good = pair;
                true
            }
            Err(error) => {
                tracing::error!("kept the certificate that is in use: {error}");
                false
            }
        }
    }
}

fn warn_of_lapse(files: &CertificateFiles, pair: &Pair) {
    if let Some(lapse) = &pair.lapse {
        tracing::warn!(
            "the certificate in {} {lapse}; clients will refuse it: renew it",
            files.cert.display()
        );
    }
}

fn server_config(
    provider: Arc<CryptoProvider>,
    oldest: MinVersion,
    shown: Arc<Shown>,
) -> Result<ServerConfig, Error> {
    let versions: &[&SupportedProtocolVersion] = match oldest {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions are resumed without memory on our side; the keys change every six hours.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

/// What rustls asks at every handshake.
#[derive(Debug)]
struct Shown(ArcSwap<Choice>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let choice = self.0.load();
        let candidates = hello
            .server_name()
            .map_or(choice.default.as_slice(), |name| choice.candidates(name));
        // Two certificates for one name (EC and RSA) are both useful: the first the client can check.
        let usable = candidates
            .iter()
            .find(|pair| pair.key.choose_scheme(hello.signature_schemes()).is_some());
        usable.or(candidates.first()).cloned()
    }
}

/// Which certificates are for which name, each list in the order of the configuration.
#[derive(Debug, Default)]
struct Choice {
    default: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// Keyed by what follows the `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl Choice {
    fn among(sources: &[Source]) -> Result<Self, Error> {
        let first = sources.first().ok_or(Error::NoneConfigured)?;
        let mut choice = Self {
            default: vec![Arc::clone(&first.good.certified)],
            ..Self::default()
        };
        for pair in sources.iter().map(|source| &source.good) {
            for name in &pair.names {
                let list = match name.strip_prefix("*.") {
                    Some(parent) => choice.wildcard.entry(parent.to_owned()),
                    None => choice.exact.entry(name.clone()),
                };
                list.or_default().push(Arc::clone(&pair.certified));
            }
        }
        Ok(choice)
    }

    /// The exact name's, else those of the wildcard that stands for its first label (RFC 9525, 6.3), else the default.
    fn candidates(&self, name: &str) -> &[Arc<CertifiedKey>] {
        let name = name.to_ascii_lowercase();
        let by_wildcard = || {
            name.split_once('.')
                .and_then(|(_, parent)| self.wildcard.get(parent))
        };
        self.exact
            .get(&name)
            .or_else(by_wildcard)
            .unwrap_or(&self.default)
    }
}
