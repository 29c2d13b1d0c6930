//! The certificate of one host, for a week.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{AlgorithmIdentifier, CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, alg_id};
use rustls::sign::SigningKey;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use yasna::models::{GeneralizedTime, ObjectIdentifier, UTCTime};
use yasna::{DERWriter, DERWriterSeq, Tag};

use super::name::{Host, LeafName};
use super::signer::Signer;
use super::validity::{Seconds, Validity};
use crate::tls::Error;

const HOUR: i64 = 60 * 60;
const DAY: i64 = 24 * HOUR;

/// How long a leaf counts; short, so that a stolen leaf key is soon worth nothing.
const LIFE: i64 = 7 * DAY;

/// A leaf counts from an hour ago: clients' clocks may be slow.
const BACKDATED: i64 = HOUR;

/// A leaf that ends sooner than this is replaced.
const RENEWED_BEFORE: i64 = 2 * DAY;

/// Why a host gets no certificate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    #[error(
        "the authority may not sign for {name}: its name constraints do not permit it. Make a new one with `docxy ca rotate`, \
         install it on the clients, and run `docxy ca activate`"
    )]
    Outside { name: LeafName },
    #[error(
        "the authority expired on {since}; make a new one, with `docxy ca rotate` and `docxy ca activate`, or renew ca_cert"
    )]
    Expired { since: String },
    #[error("no certificate could be made for {name}: {detail}")]
    Signing { name: LeafName, detail: String },
}

/// The key of all leaves: another than the authority's, made at start and kept in memory only.
#[derive(Debug)]
pub struct LeafKey {
    key: Arc<dyn SigningKey>,
    /// The public half as a certificate holds it.
    spki: Vec<u8>,
    key_id: Vec<u8>,
}

impl LeafKey {
    pub fn generate(provider: &CryptoProvider) -> Result<Self, Error> {
        let pair = rcgen::KeyPair::generate()?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let key = provider.key_provider.load_private_key(der)?;
        let spki = rcgen::PublicKeyData::subject_public_key_info(&pair);
        let bits = SubjectPublicKeyInfo::from_der(&spki)
            .map(|(_, parsed)| parsed.subject_public_key.data.to_vec())
            .unwrap_or_default();
        // RFC 7093, 2, method 1.
        let mut key_id = digest::digest(&digest::SHA256, &bits).as_ref().to_vec();
        key_id.truncate(20);
        Ok(Self { key, spki, key_id })
    }

    pub fn key(&self) -> Arc<dyn SigningKey> {
        Arc::clone(&self.key)
    }
}

/// A leaf, and when it may be shown.
#[derive(Debug)]
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub validity: Validity,
    /// From then on another is made.
    renewed: Seconds,
}

impl Leaf {
    /// Whether this leaf may be shown at this time; a clock that was set back or forth makes another.
    pub fn is_usable(&self, now: Seconds) -> bool {
        now >= self.validity.not_before && now < self.renewed
    }

    /// For exactly this name, whatever the constraints say: a verifier refuses what they do not permit.
    pub fn sign(signer: &Signer, key: &LeafKey, name: &LeafName, now: Seconds) -> Result<Self, LeafError> {
        let of_signer = signer.validity();
        if of_signer.is_over(now) {
            return Err(LeafError::Expired {
                since: of_signer.not_after.to_string(),
            });
        }
        let not_after = now.plus(LIFE).min(of_signer.not_after);
        let validity = Validity {
            not_before: now.plus(-BACKDATED),
            not_after,
        };
        let certificate = certificate(signer, key, name, validity).map_err(|detail| LeafError::Signing {
            name: name.clone(),
            detail,
        })?;
        // The last leaves of an authority that ends are used until then.
        let renewed = if not_after < now.plus(LIFE) {
            not_after
        } else {
            not_after.plus(-RENEWED_BEFORE)
        };
        Ok(Self {
            certificate,
            validity,
            renewed,
        })
    }
}

/// RFC 5280, 4.1. Written here and not by rcgen, which can't name an issuer as its certificate has it where an attribute is
/// there twice (`DC=example,DC=com`): verifiers compare the two names.
fn certificate(
    signer: &Signer,
    key: &LeafKey,
    name: &LeafName,
    validity: Validity,
) -> Result<CertificateDer<'static>, String> {
    let signing = signer
        .key()
        .choose_scheme(&SCHEMES.map(|(scheme, _)| scheme))
        .ok_or("the authority's key is of a kind that can't sign certificates")?;
    let (_, algorithm) = SCHEMES
        .into_iter()
        .find(|(scheme, _)| *scheme == signing.scheme())
        .ok_or("the authority's key chose an unknown signature")?;
    let algorithm = sequence_of(algorithm);
    let times = [time(validity.not_before)?, time(validity.not_after)?];
    let mut serial: [u8; 16] = rand::random();
    // Positive, and never shorter.
    serial[0] = serial[0] & 0x7f | 0x40;
    let body = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer
                .next()
                .write_tagged(Tag::context(0), |version| version.write_u8(2));
            writer.next().write_bigint_bytes(&serial, true);
            writer.next().write_der(&algorithm);
            writer.next().write_der(signer.subject());
            writer.next().write_sequence(|writer| {
                for time in times {
                    time.write(writer.next());
                }
            });
            // No subject: the name is in the extension, which is critical then (RFC 5280, 4.2.1.6).
            writer.next().write_sequence(|_| {});
            writer.next().write_der(&key.spki);
            writer.next().write_tagged(Tag::context(3), |writer| {
                writer.write_sequence(|writer| extensions(writer, signer, key, name));
            });
        });
    });
    let signature = signing.sign(&body).map_err(|error| error.to_string())?;
    let whole = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&body);
            writer.next().write_der(&algorithm);
            writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
        });
    });
    Ok(whole.into())
}

fn extensions(writer: &mut DERWriterSeq<'_>, signer: &Signer, key: &LeafKey, name: &LeafName) {
    let critical = true;
    extension(writer, 15, critical, |usage| {
        usage.write_bitvec_bytes(&[0b1000_0000], 1);
    });
    extension(writer, 37, !critical, |usages| {
        usages.write_sequence(|writer| {
            writer
                .next()
                .write_oid(&ObjectIdentifier::from_slice(SERVER_AUTH));
        });
    });
    extension(writer, 19, critical, |basic| basic.write_sequence(|_| {}));
    extension(writer, 17, critical, |names| {
        names.write_sequence(|writer| {
            let (kind, bytes) = match name.host() {
                Host::Dns(name) => (2, name.as_bytes().to_vec()),
                Host::Ip(IpAddr::V4(address)) => (7, address.octets().to_vec()),
                Host::Ip(IpAddr::V6(address)) => (7, address.octets().to_vec()),
            };
            writer
                .next()
                .write_tagged_implicit(Tag::context(kind), |writer| writer.write_bytes(&bytes));
        });
    });
    extension(writer, 14, !critical, |id| id.write_bytes(&key.key_id));
    if let Some(signer) = signer.key_id() {
        extension(writer, 35, !critical, |id| {
            id.write_sequence(|writer| {
                writer
                    .next()
                    .write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(signer));
            });
        });
    }
}

const SERVER_AUTH: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];

/// One of `id-ce`, by its number.
fn extension(
    writer: &mut DERWriterSeq<'_>,
    number: u64,
    critical: bool,
    content: impl FnOnce(DERWriter<'_>),
) {
    writer.next().write_sequence(|writer| {
        writer
            .next()
            .write_oid(&ObjectIdentifier::from_slice(&[2, 5, 29, number]));
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(&yasna::construct_der(content));
    });
}

/// In the order of preference, of each kind of key.
const SCHEMES: [(SignatureScheme, AlgorithmIdentifier); 5] = [
    (SignatureScheme::ECDSA_NISTP256_SHA256, alg_id::ECDSA_SHA256),
    (SignatureScheme::ECDSA_NISTP384_SHA384, alg_id::ECDSA_SHA384),
    (SignatureScheme::ECDSA_NISTP521_SHA512, alg_id::ECDSA_SHA512),
    (SignatureScheme::RSA_PKCS1_SHA256, alg_id::RSA_PKCS1_SHA256),
    (SignatureScheme::ED25519, alg_id::ED25519),
];

/// `alg_id` has what stands inside the sequence.
fn sequence_of(algorithm: AlgorithmIdentifier) -> Vec<u8> {
    let content = algorithm.as_ref();
    let mut whole = vec![0x30, u8::try_from(content.len()).unwrap_or(u8::MAX)];
    whole.extend_from_slice(content);
    whole
}

/// `UTCTime` to the end of 2049, `GeneralizedTime` afterwards (RFC 5280, 4.1.2.5).
enum Time {
    Utc(UTCTime),
    Generalized(GeneralizedTime),
}

impl Time {
    fn write(&self, writer: DERWriter<'_>) {
        match self {
            Self::Utc(time) => writer.write_utctime(time),
            Self::Generalized(time) => writer.write_generalized_time(time),
        }
    }
}

fn time(seconds: Seconds) -> Result<Time, String> {
    let time = seconds.date().map_err(|error| error.to_string())?.to_datetime();
    match UTCTime::from_datetime_opt(time) {
        Some(time) => Ok(Time::Utc(time)),
        None => GeneralizedTime::from_datetime_opt(time)
            .map(Time::Generalized)
            .ok_or_else(|| Error::Clock.to_string()),
    }
}
