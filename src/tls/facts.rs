//! What a certificate says of itself, for people.

use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Of one that is shown to clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFacts {
    /// In lower case, in its order.
    pub names: Vec<String>,
    /// Seconds since 1970; before 1970 is 0.
    pub not_before: u64,
    pub not_after: u64,
    pub issuer: String,
}

impl CertificateFacts {
    /// None: it can't be read, and was never taken.
    pub(super) fn of(shown: &CertifiedKey) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(shown.cert.first()?).ok()?;
        let alternatives = certificate.subject_alternative_name().ok()?;
        let names = alternatives
            .iter()
            .flat_map(|extension| &extension.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let validity = certificate.validity();
        Some(Self {
            names: names.collect(),
            not_before: validity.not_before.timestamp().try_into().unwrap_or(0),
            not_after: validity.not_after.timestamp().try_into().unwrap_or(0),
            issuer: certificate.issuer().to_string(),
        })
    }
}
