//! A certificate that an authority issued to docxy, with its key.

use std::path::Path;

use instant_acme::CertificateIdentifier;
use rustls::crypto::aws_lc_rs;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::values::Secret;
use crate::tls::authority::{Seconds, Validity};
use crate::tls::pair::{Contents, Fingerprint, Pair};
use crate::tls::{CertificateFiles, Error};

/// What the line begins with that names the directory, before the first part of the PEM (RFC 7468, 2, lets text stand there).
const DIRECTORY: &str = "issued by ";

/// A chain whose first certificate belongs to the key.
#[derive(Debug)]
pub struct Issued {
    pair: Pair,
    validity: Validity,
    /// Of the authority.
    directory: String,
    /// How the authority calls it (RFC 9773, 4.1); some certificates have nothing to be called by.
    id: Option<CertificateIdentifier<'static>>,
    fingerprint: Fingerprint,
}

impl Issued {
    /// Its first name, and when it ends in seconds since 1970.
    pub fn expiry(&self) -> (String, i64) {
        let name = self.pair.names.first().map_or("none", String::as_str);
        (name.to_owned(), self.pair.not_after)
    }

    /// Key and chain as one text, which [`Issued::parse`] reads.
    pub fn text(directory: &str, key: &str, chain: &str) -> Secret<String> {
        Secret::new(format!("{DIRECTORY}{directory}\n{key}{chain}"))
    }

    /// # Errors
    /// There is no certificate, or no key to it. `path` is for the message.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, Error> {
        let contents = Contents::of(text.to_vec(), text.to_vec());
        let files = CertificateFiles {
            cert: path.to_owned(),
            key: path.to_owned(),
        };
        let pair = contents.parse(&files, &aws_lc_rs::default_provider())?;
        let unusable = |detail: String| Error::UnusableCertificate {
            path: path.to_owned(),
            detail,
        };
        let first = pair.certified.cert.first();
        let first = first.ok_or_else(|| Error::NoCertificate {
            path: path.to_owned(),
        })?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|error| unusable(error.to_string()))?;
        let validity = Validity {
            not_before: Seconds(parsed.validity().not_before.timestamp()),
            not_after: Seconds(parsed.validity().not_after.timestamp()),
        };
        let id = CertificateIdentifier::try_from(first).ok();
        let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        Ok(Self {
            validity,
            directory: line.strip_prefix(DIRECTORY).unwrap_or_default().trim().to_owned(),
            id: id.map(CertificateIdentifier::into_owned),
            fingerprint: contents.fingerprint(),
            pair,
        })
    }

    pub(in crate::tls) fn pair(&self) -> &Pair {
        &self.pair
    }

    pub fn validity(&self) -> Validity {
        self.validity
    }

    pub fn id(&self) -> Option<&CertificateIdentifier<'static>> {
        self.id.as_ref()
    }

    pub fn is_by(&self, directory: &str) -> bool {
        self.directory == directory
    }

    /// All these names are in it; one more does no harm until it is renewed.
    pub fn covers(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.pair.names.contains(name))
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}
