//! The certificates docxy shows.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ConfigBuilder, ServerConfig, SupportedProtocolVersion, WantsVerifier};

use super::callers::Callers;
use super::facts::CertificateFacts;
use super::source::{Audience, Source};
use super::{Error, watched};

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
    callers: Option<Arc<Callers>>,
}

/// Pairs that can be shown.
#[derive(Debug)]
pub struct Prepared {
    sources: Vec<Source>,
    choice: Choice,
}

impl Certificates {
    /// Reads and checks all pairs; the first is shown to clients that name no or an unknown host. Where `callers` names a
    /// file of authorities, a client must show a certificate of one of them.
    ///
    /// Blocks on files: call it at start, or on a blocking thread. A certificate that has expired is only warned about,
    /// since a server with it still serves those who look away.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn load(
        files: &[CertificateFiles],
        oldest: MinVersion,
        callers: Option<&Path>,
    ) -> Result<Arc<Self>, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let sources = files
            .iter()
            .map(|files| Source::load(files, Audience::Clients, &provider))
            .collect::<Result<Vec<_>, _>>()?;
        let callers = callers
            .map(|path| Callers::load(path, Arc::clone(&provider)).map(Arc::new))
            .transpose()?;
        let shown = Arc::new(Shown(ArcSwap::from_pointee(Choice::among(&sources)?)));
        let config = server_config(Arc::clone(&provider), oldest, Arc::clone(&shown), callers.clone())?;
        Ok(Arc::new(Self {
            config: Arc::new(config),
            shown,
            provider,
            sources: Mutex::new(sources),
            callers,
        }))
    }

    /// What a TLS acceptor needs; the same for the whole life of the process.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Reads and checks other pairs, to be shown from [`Self::take`] on. Blocks on files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn prepare(&self, files: &[CertificateFiles]) -> Result<Prepared, Error> {
        let sources = files
            .iter()
            .map(|files| Source::load(files, Audience::Clients, &self.provider))
            .collect::<Result<Vec<_>, _>>()?;
        let choice = Choice::among(&sources)?;
        Ok(Prepared { sources, choice })
    }

    /// Shows these instead.
    pub fn take(&self, Prepared { sources, choice }: Prepared) {
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = sources;
        self.shown.0.store(Arc::new(choice));
    }

    /// What the certificates say that are shown, each once.
    pub fn facts(&self) -> Vec<CertificateFacts> {
        let choice = self.shown.0.load();
        let named = choice.exact.values().chain(choice.wildcard.values()).flatten();
        let mut all: Vec<CertificateFacts> = Vec::new();
        for facts in choice
            .default
            .iter()
            .chain(named)
            .filter_map(|shown| CertificateFacts::of(shown))
        {
            if !all.contains(&facts) {
                all.push(facts);
            }
        }
        all.sort_by(|one, other| one.names.cmp(&other.names));
        all
    }

    /// Looks at the files every so often and takes what changed, until `shutdown` resolves.
    pub async fn watch(self: Arc<Self>, every: Duration, shutdown: impl Future<Output = ()>) {
        watched::watch(self, every, Self::reload, shutdown).await;
    }

    /// Takes every pair, and the authorities of clients, where files changed, and returns how many it took. What is new and
    /// cannot be used is told to the log, once, and the old stays. Blocks on files.
    pub fn reload(&self) -> usize {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let taken: usize = sources
            .iter_mut()
            .map(|source| usize::from(source.refresh(&self.provider)))
            .sum();
        if taken > 0
            && let Ok(choice) = Choice::among(&sources)
        {
            self.shown.0.store(Arc::new(choice));
        }
        let callers = self.callers.as_ref().is_some_and(|callers| callers.refresh());
        taken + usize::from(callers)
    }
}

fn server_config(
    provider: Arc<CryptoProvider>,
    oldest: MinVersion,
    shown: Arc<Shown>,
    callers: Option<Arc<Callers>>,
) -> Result<ServerConfig, Error> {
    let Some(callers) = callers else {
        return open_to_all(provider, oldest, shown);
    };
    let mut config = builder(provider, oldest)?
        .with_client_cert_verifier(callers)
        .with_cert_resolver(shown);
    // A resumed session is not asked for its certificate again: it would outlive the certificate and its authority.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = protocols();
    Ok(config)
}

/// For clients of whom no certificate is asked.
pub(super) fn open_to_all(
    provider: Arc<CryptoProvider>,
    oldest: MinVersion,
    shown: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, Error> {
    let mut config = builder(provider, oldest)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    // Sessions are resumed without memory on our side; the keys change every six hours.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.alpn_protocols = protocols();
    Ok(config)
}

fn builder(
    provider: Arc<CryptoProvider>,
    oldest: MinVersion,
) -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, Error> {
    let versions: &[&SupportedProtocolVersion] = match oldest {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    Ok(ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?)
}

fn protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
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
