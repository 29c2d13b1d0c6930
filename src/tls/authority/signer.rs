//! A certificate that may sign others, its key, and what a client needs to get from it to a root it trusts.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::SigningKey;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};
use x509_parser::time::ASN1Time;

use super::constraints::Constraints;
use super::validity::{Seconds, Validity};
use crate::tls::pair::Contents;
use crate::tls::{CertificateFiles, Error};

/// In seconds.
const MONTH: i64 = 30 * 24 * 60 * 60;

/// Checked: what it signs for a permitted name can be verified.
#[derive(Debug)]
pub struct Signer {
    /// The one that signs, then those above it, as far as they are known.
    chain: Vec<CertificateDer<'static>>,
    /// How many of them clients get: all that are no root.
    sent: usize,
    key: Arc<dyn SigningKey>,
    /// The signing certificate's subject as it stands there, DER: what a leaf names as its issuer.
    subject: Vec<u8>,
    /// Its subject key identifier.
    key_id: Option<Vec<u8>>,
    validity: Validity,
    constraints: Constraints,
}

/// What people want to know of an authority.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct About {
    pub subject: String,
    /// SHA-256 of the certificate: upper-case pairs with colons, as every tool shows it.
    pub fingerprint: String,
    pub not_before: String,
    pub not_after: String,
    /// What is wrong with its dates, or will be within a month, in words.
    pub lapse: Option<String>,
    /// Whether it has name constraints at all.
    pub is_constrained: bool,
    pub permitted: Vec<String>,
    pub excluded: Vec<String>,
}

impl Signer {
    /// From a chain, the signing certificate first, and its key.
    pub(in crate::tls) fn read(
        contents: &Contents,
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<Self, Error> {
        let pair = contents.parse(files, provider)?.certified;
        Checked::of(&pair.cert)
            .map(|checked| Self {
                chain: pair.cert.clone(),
                sent: checked.sent,
                key: Arc::clone(&pair.key),
                subject: checked.subject,
                key_id: checked.key_id,
                validity: checked.validity,
                constraints: checked.constraints,
            })
            .map_err(|detail| Error::NoAuthority {
                path: files.cert.clone(),
                detail,
            })
    }

    /// What a client gets behind the leaf.
    pub fn sent(&self) -> &[CertificateDer<'static>] {
        self.chain.get(..self.sent).unwrap_or_default()
    }

    /// What clients are to trust: the root, or what is nearest to it in the file.
    pub fn pem(&self) -> String {
        self.chain.last().map(pem_of).unwrap_or_default()
    }

    /// The same.
    pub fn der(&self) -> Vec<u8> {
        self.chain.last().map(|der| der.to_vec()).unwrap_or_default()
    }

    pub fn key(&self) -> &dyn SigningKey {
        &*self.key
    }

    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub fn key_id(&self) -> Option<&[u8]> {
        self.key_id.as_deref()
    }

    /// Of the whole chain.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    pub fn constraints(&self) -> &Constraints {
        &self.constraints
    }

    pub fn about(&self) -> About {
        let first = self.chain.first();
        let parsed = first.and_then(|certificate| X509Certificate::from_der(certificate).ok());
        About {
            subject: parsed.map_or_else(String::new, |(_, parsed)| parsed.subject().to_string()),
            fingerprint: first.map_or_else(String::new, |certificate| fingerprint(certificate)),
            not_before: self.validity.not_before.to_string(),
            not_after: self.validity.not_after.to_string(),
            lapse: self.lapse(Seconds::now()),
            is_constrained: !self.constraints.are_none(),
            permitted: self.constraints.permitted(),
            excluded: self.constraints.excluded(),
        }
    }
}

impl Signer {
    fn lapse(&self, now: Seconds) -> Option<String> {
        let Validity {
            not_before,
            not_after,
        } = self.validity;
        if self.validity.is_over(now) {
            Some(format!("expired on {not_after}"))
        } else if now < not_before {
            Some(format!("is not valid before {not_before}"))
        } else {
            let soon = self.validity.is_over(now.plus(MONTH));
            soon.then(|| format!("expires on {not_after}"))
        }
    }
}

/// What was found out about a chain.
struct Checked {
    sent: usize,
    subject: Vec<u8>,
    key_id: Option<Vec<u8>>,
    validity: Validity,
    constraints: Constraints,
}

impl Checked {
    /// # Errors
    /// In words, what keeps it from signing.
    fn of(chain: &[CertificateDer<'_>]) -> Result<Self, String> {
        let parsed = chain
            .iter()
            .map(|certificate| X509Certificate::from_der(certificate).map(|(_, parsed)| parsed))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        let first = parsed.first().ok_or("there is none")?;
        let mut constraints = Constraints::default();
        let mut validity = Validity::ALWAYS;
        for (below, certificate) in parsed.iter().enumerate() {
            may_sign(certificate, below).map_err(|detail| match below {
                0 => detail,
                _ => format!(
                    "certificate {} in it, {}, {detail}",
                    below + 1,
                    certificate.subject()
                ),
            })?;
            if let Some(upper) = parsed.get(below + 1)
                && certificate.issuer().as_raw() != upper.subject().as_raw()
            {
                return Err(format!(
                    "certificate {} in it was not issued by the one behind it ({}); put each behind the one it signed",
                    below + 1,
                    upper.subject()
                ));
            }
            constraints.add(certificate)?;
            validity = validity.and(Validity::of(certificate));
        }
        let is_root = |certificate: &X509Certificate<'_>| {
            certificate.subject().as_raw() == certificate.issuer().as_raw()
        };
        let sent = parsed.len() - usize::from(parsed.last().is_some_and(is_root));
        Ok(Self {
            sent,
            subject: first.subject().as_raw().to_vec(),
            key_id: key_id(first),
            validity,
            constraints,
        })
    }
}

/// Whether this certificate may stand above `below` other authorities and a server's certificate (RFC 5280, 6.1.4).
fn may_sign(certificate: &X509Certificate<'_>, below: usize) -> Result<(), String> {
    let unreadable = |error: x509_parser::error::X509Error| error.to_string();
    let basic = certificate.basic_constraints().map_err(unreadable)?;
    let Some(basic) = basic.filter(|basic| basic.value.ca) else {
        return Err("is no authority's (it has no basicConstraints CA:TRUE)".to_owned());
    };
    if let Some(limit) = basic.value.path_len_constraint
        && usize::try_from(limit).is_ok_and(|limit| limit < below)
    {
        return Err(format!(
            "allows for {limit} authorities below it, and there are {below} (pathlen)"
        ));
    }
    if let Some(usage) = certificate.key_usage().map_err(unreadable)?
        && !usage.value.key_cert_sign()
    {
        return Err("may not sign certificates (its keyUsage lacks keyCertSign)".to_owned());
    }
    if let Some(usage) = certificate.extended_key_usage().map_err(unreadable)?
        && !(usage.value.any || usage.value.server_auth)
    {
        return Err("may not sign for servers (its extendedKeyUsage lacks serverAuth)".to_owned());
    }
    Ok(())
}

fn key_id(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
}

pub(super) fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.to_vec()), config)
}

pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = digest::digest(&digest::SHA256, certificate);
    let pairs: Vec<String> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

impl Validity {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let seconds = |time: ASN1Time| Seconds(time.timestamp());
        Self {
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
        }
    }
}
