//! The key of docker-registry-proxy's authority. That tool's script encrypts it (triple DES) with a passphrase that stands in
//! the script, so it keeps nothing from anyone; docxy opens it with the same, because clients trust that authority.
//!
//! Both of OpenSSL's forms: that of versions up to 1.1 (RFC 1421 header lines, key by MD5), and that of 3 (PKCS #8, RFC 8018).

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, KeyIvInit as _};
use md5::{Digest as _, Md5};
use pem::Pem;
use x509_parser::asn1_rs::{Any, FromDer as _, Oid, Sequence, oid};

/// As that script has it.
const PASSPHRASE: &[u8] = b"foobar";

/// PKCS #5 wants a thousand or more; OpenSSL takes 2,048. More would only hold up the start.
const MOST_ROUNDS: u32 = 1_000_000;

type Decryptor = cbc::Decryptor<des::TdesEde3>;

/// The key in plain PEM, where it was encrypted by that tool; else the file as it is.
pub(super) fn opened(file: Vec<u8>) -> Vec<u8> {
    let text = std::str::from_utf8(&file).unwrap_or_default();
    let plain = traditional(text)
        .map(|der| ("RSA PRIVATE KEY", der))
        .or_else(|| pkcs8(text).map(|der| ("PRIVATE KEY", der)));
    match plain {
        Some((label, der)) => pem::encode(&Pem::new(label, der)).into_bytes(),
        None => file,
    }
}

/// `Proc-Type: 4,ENCRYPTED` and `DEK-Info: DES-EDE3-CBC,IV`; the IV is the salt too.
fn traditional(text: &str) -> Option<Vec<u8>> {
    let body = between(text, "RSA PRIVATE KEY")?;
    let (head, body) = body.split_once("\n\n").or_else(|| body.split_once("\r\n\r\n"))?;
    let iv = head
        .lines()
        .find_map(|line| line.trim().strip_prefix("DEK-Info: DES-EDE3-CBC,"))?;
    let iv = hex(iv)?;
    let first = Md5::new().chain_update(PASSPHRASE).chain_update(iv).finalize();
    let second = Md5::new()
        .chain_update(first)
        .chain_update(PASSPHRASE)
        .chain_update(iv)
        .finalize();
    let mut key = [0; 24];
    key[..16].copy_from_slice(&first);
    key[16..].copy_from_slice(&second[..8]);
    decrypt(&key, iv, &base64(body)?)
}

/// PBES2 with PBKDF2 and triple DES.
fn pkcs8(text: &str) -> Option<Vec<u8>> {
    const PBES2: Oid<'static> = oid!(1.2.840.113549.1.5.13);
    const PBKDF2: Oid<'static> = oid!(1.2.840.113549.1.5.12);
    const DES_EDE3_CBC: Oid<'static> = oid!(1.2.840.113549.3.7);
    let der = base64(between(text, "ENCRYPTED PRIVATE KEY")?)?;
    let (_, whole) = Sequence::from_der(&der).ok()?;
    let (data, algorithm) = Sequence::from_der(&whole.content).ok()?;
    let (_, data) = Any::from_der(data).ok()?;
    let parameters = sequence_of(&algorithm, &PBES2)?;
    let (cipher, derivation) = Sequence::from_der(parameters).ok()?;
    let (_, cipher) = Sequence::from_der(cipher).ok()?;
    let (_, iv) = Any::from_der(of(&cipher, &DES_EDE3_CBC)?).ok()?;
    let derivation = sequence_of(&derivation, &PBKDF2)?;
    let (rest, salt) = Any::from_der(derivation).ok()?;
    let (rest, rounds) = u32::from_der(rest).ok()?;
    let rounds = NonZeroU32::new(rounds.min(MOST_ROUNDS))?;
    let mut key = [0; 24];
    pbkdf2::derive(function(rest)?, rounds, salt.data, PASSPHRASE, &mut key);
    decrypt(&key, iv.data.try_into().ok()?, data.data)
}

/// Which hash PBKDF2 works with; SHA-1 where nothing is said. A key's length may stand before it.
fn function(mut rest: &[u8]) -> Option<pbkdf2::Algorithm> {
    const SHA256: Oid<'static> = oid!(1.2.840.113549.2.9);
    if let Ok((behind, _)) = u32::from_der(rest) {
        rest = behind;
    }
    if rest.is_empty() {
        return Some(pbkdf2::PBKDF2_HMAC_SHA1);
    }
    let (_, named) = Sequence::from_der(rest).ok()?;
    of(&named, &SHA256).map(|_| pbkdf2::PBKDF2_HMAC_SHA256)
}

/// What follows the name of an algorithm, if it is this one.
fn of<'d>(algorithm: &'d Sequence<'_>, wanted: &Oid<'_>) -> Option<&'d [u8]> {
    let (parameters, name) = Oid::from_der(&algorithm.content).ok()?;
    (name == *wanted).then_some(parameters)
}

/// The content of the sequence that follows.
fn sequence_of<'d>(algorithm: &'d Sequence<'_>, wanted: &Oid<'_>) -> Option<&'d [u8]> {
    let (_, sequence) = Any::from_der(of(algorithm, wanted)?).ok()?;
    Some(sequence.data)
}

fn decrypt(key: &[u8; 24], iv: [u8; 8], data: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = data.to_vec();
    let decryptor = Decryptor::new(key.into(), (&iv).into());
    let plain = decryptor.decrypt_padded::<Pkcs7>(&mut buffer).ok()?;
    Some(plain.to_vec())
}

fn between<'t>(text: &'t str, label: &str) -> Option<&'t str> {
    let (_, behind) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = behind.split_once(&format!("-----END {label}-----"))?;
    Some(body)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.split_ascii_whitespace().collect();
    STANDARD.decode(compact).ok()
}

fn hex(text: &str) -> Option<[u8; 8]> {
    let number = u64::from_str_radix(text.trim(), 16).ok()?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    /// A key as that tool's script makes it.
    fn made_by_script(passphrase: &str, more: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(["genrsa", "-des3", "-passout", &format!("pass:{passphrase}")])
            .args(more)
            .arg("2048")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    fn is_usable(pem: &[u8]) -> bool {
        let key = PrivateKeyDer::from_pem_slice(pem);
        key.is_ok_and(|key| {
            aws_lc_rs::default_provider()
                .key_provider
                .load_private_key(key)
                .is_ok()
        })
    }

    #[test]
    fn keys_of_the_old_tool_open() {
        // Every client trusts that authority; without its key each would have to be given a new one.
        for form in [&["-traditional"][..], &[]] {
            let file = made_by_script("foobar", form);
            assert!(!is_usable(&file), "it is encrypted");
            assert!(is_usable(&opened(file)), "{form:?}");
        }
    }

    #[test]
    fn other_files_stay_as_they_are() {
        // A key behind a passphrase of the operator's own must end in a message, not in rubbish.
        let other = made_by_script("another", &[]);
        assert_eq!(opened(other.clone()), other);
        let other = made_by_script("another", &["-traditional"]);
        assert!(!is_usable(&opened(other)));
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----END ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: DES-EDE3-CBC,xyz\n\nAAAA\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: DES-EDE3-CBC,0011223344556677\n\nAAAA\n-----END RSA PRIVATE KEY-----",
        ] {
            assert_eq!(opened(text.as_bytes().to_vec()), text.as_bytes(), "{text}");
        }
    }
}
