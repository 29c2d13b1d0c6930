//! `[tls.acme]`: from the configuration to the worker that looks after the certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use http::HeaderValue;
use url::Url;

use super::roads::Roads;
use crate::config::paths::{self, Machine};
use crate::config::schema::{self, AcmeChallenge, Schema};
use crate::config::values::Secret;
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

/// Looks after the certificate from now on, if one is wanted: until the returned worker is stopped or dropped. `listeners`:
/// docxy's own, where no authority is. Blocks on files.
pub fn start(
    schema: &Schema,
    listeners: Vec<SocketAddr>,
    certificates: Option<&Arc<Certificates>>,
    issued: Option<Arc<Issued>>,
    metrics: &Metrics,
) -> Result<Option<Acme>> {
    let Some(certificates) = certificates.filter(|_| is_wanted(schema)) else {
        return Ok(None);
    };
    // Not those of the registries, which come and go with the configuration.
    let roads = Roads::new(
        listeners,
        HeaderValue::from_static("1.1 docxy"),
        Tracer::default(),
    );
    let config = config(schema, &roads).context("tls.acme")?;
    Ok(Some(Acme::start(
        config,
        Arc::clone(certificates),
        issued,
        metrics.clone(),
    )))
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
    Ok(Config {
        names: acme.domains.clone(),
        directory,
        email: acme.email.clone(),
        binding: binding(acme)?,
        kinds: kinds(schema),
        state: paths::state(schema, &Machine::this())?,
        opener: roads.opener(schema)?,
        tls: roads.trusting(acme.ca_file.clone()).context("ca_file")?,
    })
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
