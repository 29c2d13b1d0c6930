//! A new authority of docxy's own.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SerialNumber};

use super::constraints;
use super::name::Subtree;
use super::validity::Seconds;
use crate::config::values::Secret;
use crate::tls::Error;

const DAY: i64 = 24 * 60 * 60;

/// Changing it means work on every client; what it may sign is limited by its constraints instead.
const LIFE: i64 = 3650 * DAY;

/// What a new authority may sign.
#[derive(Clone, Copy, Debug)]
pub enum May<'a> {
    Sign(&'a [Subtree]),
    SignEverything,
}

/// Its key and its certificate, both PEM, in one text.
pub fn authority(may: May<'_>, now: Seconds) -> Result<Secret<String>, Error> {
    let key = KeyPair::generate()?;
    let serial: [u8; 16] = rand::random();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "docxy");
    // Two authorities of one name would be confused by clients that look for issuers by name.
    let [a, b, c, d, ..] = serial;
    params.distinguished_name.push(
        DnType::CommonName,
        format!("docxy authority {a:02x}{b:02x}{c:02x}{d:02x}"),
    );
    let mut positive = serial;
    positive[0] = positive[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&positive));
    params.not_before = now.plus(-DAY).date()?.to_datetime();
    params.not_after = now.plus(LIFE).date()?.to_datetime();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = match may {
        May::Sign(names) => Some(constraints::for_names(names)),
        May::SignEverything => None,
    };
    let certificate = params.self_signed(&key)?;
    Ok(Secret::new(format!(
        "{}{}",
        key.serialize_pem(),
        certificate.pem()
    )))
}
