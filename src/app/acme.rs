//! `[tls.acme]`: from the configuration to the worker that looks after the certificate.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use http::HeaderValue;
use url::Url;

use super::generation::Ground;
use super::roads::Roads;
use crate::config::paths::{self, Machine};
use crate::config::schema::{self, AcmeChallenge, ProxyList, Schema};
use crate::config::values::Secret;
use crate::oci::digest::{Algorithm, Digest, Hasher};
use crate::telemetry::{Metrics, Tracer};
use crate::tls::acme::{self, Acme, Binding, Challenges, Config, Issued, Kind};
use crate::tls::{self, CertificateFiles, Certificates};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// Is a certificate asked for?
pub fn is_wanted(schema: &Schema) -> bool {
    !schema.tls.acme.domains.is_empty()
}

/// What is shown besides files: the certificate that was issued last, else a placeholder. Blocks on files.
pub fn certificates(
    schema: &Schema,
    files: &[CertificateFiles],
    oldest: tls::MinVersion,
) -> Result<(Arc<Certificates>, Option<Arc<Issued>>)> {
    let callers = schema.tls.client_ca_file.as_deref();
    let certificates = Certificates::awaiting(files, oldest, callers).context("tls")?;
    let issued = kept(schema)?;
    if let Some(issued) = &issued {
        certificates.show(Arc::clone(issued));
    }
    Ok((certificates, issued))
}

/// Blocks on files.
pub fn kept(schema: &Schema) -> Result<Option<Arc<Issued>>> {
    let state = paths::state(schema, &Machine::this())?;
    let kept = acme::kept(&state).context("tls.acme")?;
    Ok(kept.map(Arc::new))
}

/// What the listeners answer to authorities; none where none is asked.
pub fn challenges(schema: &Schema, certificates: Option<&Arc<Certificates>>) -> Option<Arc<Challenges>> {
    let certificates = certificates.filter(|_| is_wanted(schema))?;
    Some(Arc::clone(certificates.challenges()))
}

/// Looks after the certificate of the configuration that is served, where one is asked for.
pub struct Renewal {
    certificates: Option<Arc<Certificates>>,
    /// docxy's own, where no authority is.
    listeners: Vec<SocketAddr>,
    metrics: Metrics,
    worker: Mutex<Option<Working>>,
}

struct Working {
    acme: Acme,
    /// What it was made of.
    files: String,
}

impl Renewal {
    pub fn new(ground: &Ground) -> Self {
        Self {
            certificates: ground.certificates.clone(),
            listeners: ground.own.clone(),
            metrics: ground.metrics.clone(),
            worker: Mutex::default(),
        }
    }

    /// Nothing that the worker is made of has changed. `prepared`: of the new configuration.
    pub fn is_as_before(&self, old: &Schema, new: &Schema, prepared: Option<&Config>) -> bool {
        let listens = |schema: &Schema| (schema.listen.clone(), schema.tls.listen.clone());
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        old.tls.acme == new.tls.acme
            && old.network == new.network
            && listens(old) == listens(new)
            && worker.as_ref().map(|working| &working.files) == prepared.map(|config| &config.files)
    }

    /// What [`Self::take`] wants; nothing has changed yet. Blocks on files.
    pub fn prepare(&self, schema: &Schema) -> Result<Option<Config>> {
        if !is_wanted(schema) || self.certificates.is_none() {
            return Ok(None);
        }
        // Not those of the registries, which come and go with the configuration.
        let via = HeaderValue::from_static("1.1 docxy");
        let roads = Roads::new(
            self.listeners.clone(),
            via,
            Tracer::default(),
            self.metrics.clone(),
        );
        config(schema, &roads).context("tls.acme").map(Some)
    }

    /// Another worker begins, if one is wanted, and the one before ends. `issued`: what is shown already. Must be called on
    /// the runtime.
    pub fn take(&self, config: Option<Config>, issued: Option<Arc<Issued>>) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = worker.take().map(|working| working.acme);
        *worker = config
            .zip(self.certificates.clone())
            .map(|(config, certificates)| Working {
                files: config.files.clone(),
                acme: Acme::start(config, certificates, issued, self.metrics.clone(), before),
            });
    }

    /// Nothing is ordered any more.
    pub fn stop(&self) {
        self.take(None, None);
    }
}

fn config(schema: &Schema, roads: &Roads) -> Result<Config> {
    let acme = &schema.tls.acme;
    let standard = if acme.staging {
        LETS_ENCRYPT_STAGING
    } else {
        LETS_ENCRYPT
    };
    let directory = match &acme.directory {
        Some(url) => url.clone(),
        None => Url::parse(standard)?,
    };
    let binding = binding(acme)?;
    Ok(Config {
        names: acme.domains.clone(),
        directory,
        email: acme.email.clone(),
        files: files(schema, binding.as_ref()),
        binding,
        kinds: kinds(schema),
        state: paths::state(schema, &Machine::this())?,
        opener: roads.opener(schema)?,
        tls: roads.trusting(acme.ca_file.clone()).context("ca_file")?,
    })
}

/// What is read with the configuration, and only then.
fn files(schema: &Schema, binding: Option<&Binding>) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let passwords = schema.network.proxy.iter().flat_map(ProxyList::proxies);
    let passwords = passwords.filter_map(|proxy| proxy.password_file.as_ref());
    for path in schema.tls.acme.ca_file.iter().chain(passwords) {
        // One that can't be read is another than before; whoever reads it in earnest says so.
        let bytes = std::fs::read(path).unwrap_or_default();
        hasher.update(Digest::of(Algorithm::Sha256, &bytes).hex().as_bytes());
    }
    if let Some(binding) = binding {
        hasher.update(binding.key.expose());
    }
    hasher.finish().hex()[..16].to_owned()
}

fn binding(acme: &schema::Acme) -> Result<Option<Binding>> {
    let Some(id) = &acme.eab_key_id else {
        return Ok(None);
    };
    let text = match (&acme.eab_hmac_key, &acme.eab_hmac_key_file) {
        (Some(key), _) => key.clone(),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path);
            Secret::new(text.with_context(|| format!("eab_hmac_key_file {}", path.display()))?)
        }
        (None, None) => bail!("eab_key_id has no key"),
    };
    let Some(key) = Binding::decode(text.expose()) else {
        bail!("the key in eab_hmac_key_file is not base64url; copy it as the authority shows it");
    };
    Ok(Some(Binding {
        id: id.clone(),
        key: Secret::new(key),
    }))
}

/// What the listeners can answer, in the order in which it is tried. Port 443 must be open to clients anyway, and port 80
/// often is not: where docxy itself has 443, it is tried first. What stands before docxy may forward other ports.
fn kinds(schema: &Schema) -> Vec<Kind> {
    let (http, tls) = (&schema.listen, &schema.tls.listen);
    let has = |listeners: &[schema::ListenEntry], port| {
        listeners
            .iter()
            .map(|entry| entry.address)
            .any(|address: SocketAddr| address.port() == port)
    };
    match schema.tls.acme.challenge {
        AcmeChallenge::Http01 => vec![Kind::Http01],
        AcmeChallenge::TlsAlpn01 => vec![Kind::TlsAlpn01],
        AcmeChallenge::Auto if http.is_empty() => vec![Kind::TlsAlpn01],
        AcmeChallenge::Auto if has(http, 80) && !has(tls, 443) => vec![Kind::Http01, Kind::TlsAlpn01],
        AcmeChallenge::Auto => vec![Kind::TlsAlpn01, Kind::Http01],
    }
}
