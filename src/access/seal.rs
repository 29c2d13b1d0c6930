//! Secrets that travel through clients: sealed with AES-256-GCM, so that only this docxy can read or make them; and
//! keyed hashes, so that what is remembered about a token is of no use to who reads the memory.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bytes in a key.
pub const KEY_LENGTH: usize = 32;

/// A sealed text that is not one of ours, or was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the sealed value was not made here or has been changed")]
pub struct NotOurs;

/// The random source of the operating system failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandom;

/// Two keys of one secret: one seals, one hashes.
#[derive(Debug)]
pub struct Sealer {
    seal: RandomizedNonceKey,
    hash: hmac::Key,
}

impl Sealer {
    /// From `KEY_LENGTH` random bytes.
    pub fn new(secret: &[u8; KEY_LENGTH]) -> Result<Self, NoRandom> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |purpose: &[u8]| hmac::sign(&root, purpose);
        let seal =
            RandomizedNonceKey::new(&AES_256_GCM, derive(b"docxy seal 1").as_ref()).map_err(|_| NoRandom)?;
        let hash = hmac::Key::new(hmac::HMAC_SHA256, derive(b"docxy hash 1").as_ref());
        Ok(Self { seal, hash })
    }

    /// A key for something else than sealing, from the same secret.
    pub fn derive(secret: &[u8; KEY_LENGTH], purpose: &str) -> [u8; KEY_LENGTH] {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mut key = [0; KEY_LENGTH];
        key.copy_from_slice(hmac::sign(&root, purpose.as_bytes()).as_ref());
        key
    }

    /// A fresh secret.
    pub fn random_key() -> Result<[u8; KEY_LENGTH], NoRandom> {
        let mut key = [0; KEY_LENGTH];
        rand::fill(&mut key).map_err(|_| NoRandom)?;
        Ok(key)
    }

    /// URL-safe text that only [`Sealer::open`] of the same key turns back.
    pub fn seal(&self, plain: Vec<u8>) -> Result<String, NoRandom> {
        self.seal_in(&[], plain)
    }

    /// The same, for whoever knows this context to the byte.
    pub fn seal_in(&self, context: &[u8], mut plain: Vec<u8>) -> Result<String, NoRandom> {
        let nonce = self
            .seal
            .seal_in_place_append_tag(Aad::from(context), &mut plain)
            .map_err(|_| NoRandom)?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut plain);
        Ok(URL_SAFE_NO_PAD.encode(whole))
    }

    pub fn open(&self, sealed: &str) -> Result<Vec<u8>, NotOurs> {
        self.open_in(&[], sealed)
    }

    pub fn open_in(&self, context: &[u8], sealed: &str) -> Result<Vec<u8>, NotOurs> {
        let mut whole = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| NotOurs)?;
        if whole.len() < NONCE_LEN {
            return Err(NotOurs);
        }
        let mut rest = whole.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&whole).map_err(|_| NotOurs)?;
        let plain = self
            .seal
            .open_in_place(nonce, Aad::from(context), &mut rest)
            .map_err(|_| NotOurs)?;
        Ok(plain.to_vec())
    }

    /// A hash that nobody without the key can compute.
    pub fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(hmac::sign(&self.hash, bytes).as_ref());
        hash
    }
}

/// Comparison whose time tells nothing.
pub fn same(a: &str, b: &str) -> bool {
    constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_and_nothing_can_be_changed() {
        // A sealed token holds a password: nobody else may read it, or make one that is accepted.
        let sealer = Sealer::new(&[1; 32]).expect("a sealer");
        let other = Sealer::new(&[2; 32]).expect("a sealer");
        let sealed = sealer.seal(b"secret".to_vec()).expect("sealed");
        assert_eq!(sealer.open(&sealed), Ok(b"secret".to_vec()));
        assert_eq!(other.open(&sealed), Err(NotOurs));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            if URL_SAFE_NO_PAD.decode(&changed).ok() != URL_SAFE_NO_PAD.decode(&sealed).ok() {
                assert_eq!(sealer.open(&changed), Err(NotOurs), "at {at}");
            }
        }
        let bound = sealer.seal_in(b"here", b"secret".to_vec()).expect("sealed");
        assert_eq!(sealer.open_in(b"here", &bound), Ok(b"secret".to_vec()));
        assert_eq!(sealer.open_in(b"there", &bound), Err(NotOurs));
        assert_eq!(sealer.open(&bound), Err(NotOurs));
        assert_ne!(sealed, sealer.seal(b"secret".to_vec()).expect("sealed"));
        assert_ne!(sealer.hash(b"a"), other.hash(b"a"));
    }
}
