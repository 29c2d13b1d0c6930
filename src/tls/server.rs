//! The certificates docxy shows.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, DistinguishedName, DnType};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ConfigBuilder, ServerConfig, SupportedProtocolVersion, WantsVerifier};

use super::acme::{Challenges, Issued, self_signed};
use super::callers::Callers;
use super::facts::CertificateFacts;
use super::pair::Pair;
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
    held: Mutex<Held>,
    callers: Option<Arc<Callers>>,
    challenges: Arc<Challenges>,
}

/// All there is to be shown.
#[derive(Debug, Default)]
struct Held {
    sources: Vec<Source>,
    /// By an authority that docxy asks itself.
    issued: Option<Arc<Issued>>,
    /// Where there is nothing else yet.
    placeholder: Option<Arc<CertifiedKey>>,
}

/// Pairs that can be shown.
#[derive(Debug)]
pub struct Prepared {
    sources: Vec<Source>,
    placeholder: Option<Arc<CertifiedKey>>,
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
        Self::holding(files, oldest, callers, None)
    }

    /// The same, beside a certificate that an authority is asked for. Until there is one, and where there is no file, a
    /// placeholder is shown: whoever verifies certificates refuses it, and it says in its name what is missing; probes that
    /// look away find a docxy that lives, so that nobody restarts it over and over before its first certificate came.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn awaiting(
        files: &[CertificateFiles],
        oldest: MinVersion,
        callers: Option<&Path>,
    ) -> Result<Arc<Self>, Error> {
        Self::holding(files, oldest, callers, Some(placeholder()?))
    }

    fn holding(
        files: &[CertificateFiles],
        oldest: MinVersion,
        callers: Option<&Path>,
        placeholder: Option<Arc<CertifiedKey>>,
    ) -> Result<Arc<Self>, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let sources = files
            .iter()
            .map(|files| Source::load(files, Audience::Clients, &provider))
            .collect::<Result<Vec<_>, _>>()?;
        let callers = callers
            .map(|path| Callers::load(path, Arc::clone(&provider)).map(Arc::new))
            .transpose()?;
        let held = Held {
            sources,
            issued: None,
            placeholder,
        };
        let shown = Arc::new(Shown(ArcSwap::from_pointee(Choice::among(&held)?)));
        let config = server_config(Arc::clone(&provider), oldest, Arc::clone(&shown), callers.clone())?;
        Ok(Arc::new(Self {
            config: Arc::new(config),
            shown,
            provider,
            held: Mutex::new(held),
            callers,
            challenges: Arc::default(),
        }))
    }

    /// The challenges of authorities that are open on these listeners.
    pub fn challenges(&self) -> &Arc<Challenges> {
        &self.challenges
    }

    /// Shows this certificate from now on, in the place of the one that was issued before.
    pub fn show(&self, issued: Arc<Issued>) {
        let mut held = self.held();
        held.issued = Some(issued);
        self.choose(&held);
    }

    fn choose(&self, held: &Held) {
        if let Ok(choice) = Choice::among(held) {
            self.shown.0.store(Arc::new(choice));
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a TLS acceptor needs; the same for the whole life of the process.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The name of each certificate that is shown, its file or its first domain, and when it ends in seconds since 1970.
    pub fn expiries(&self) -> Vec<(String, i64)> {
        let held = self.held();
        let issued = held.issued.iter().map(|issued| issued.expiry());
        held.sources.iter().map(Source::expiry).chain(issued).collect()
    }

    /// Reads and checks other pairs, to be shown from [`Self::take`] on; `awaiting`: beside a certificate that an authority is
    /// asked for. Blocks on files.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn prepare(&self, files: &[CertificateFiles], awaiting: bool) -> Result<Prepared, Error> {
        let sources = files
            .iter()
            .map(|files| Source::load(files, Audience::Clients, &self.provider))
            .collect::<Result<Vec<_>, _>>()?;
        if sources.is_empty() && !awaiting {
            return Err(Error::NoneConfigured);
        }
        let placeholder = if awaiting { Some(placeholder()?) } else { None };
        Ok(Prepared { sources, placeholder })
    }

    /// Shows these instead. What an authority issued goes when none is asked any more.
    pub fn take(&self, prepared: Prepared) {
        let mut held = self.held();
        held.sources = prepared.sources;
        if prepared.placeholder.is_none() {
            held.issued = None;
        }
        held.placeholder = prepared.placeholder;
        self.choose(&held);
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
        let mut held = self.held();
        let taken: usize = held
            .sources
            .iter_mut()
            .map(|source| usize::from(source.refresh(&self.provider)))
            .sum();
        if taken > 0 {
            self.choose(&held);
        }
        drop(held);
        let callers = self.callers.as_ref().is_some_and(|callers| callers.refresh());
        taken + usize::from(callers)
    }
}

impl Held {
    /// The operator's own first.
    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        let issued = self.issued.iter().map(|issued| issued.pair());
        self.sources.iter().map(|source| &source.good).chain(issued)
    }
}

/// For no name at all.
fn placeholder() -> Result<Arc<CertifiedKey>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let name = "docxy has no certificate yet: its log says why";
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(Arc::new(self_signed(&params)?))
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
    fn among(held: &Held) -> Result<Self, Error> {
        let first = held.pairs().next().map(|pair| &pair.certified);
        let first = first.or(held.placeholder.as_ref()).ok_or(Error::NoneConfigured)?;
        let mut choice = Self {
            default: vec![Arc::clone(first)],
            ..Self::default()
        };
        for pair in held.pairs() {
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
