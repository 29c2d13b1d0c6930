//! Hashes that nobody without docxy's key can compute: what is remembered of a password is of no use to who reads it.

use aws_lc_rs::hmac;

#[derive(Clone)]
pub struct Keyed(hmac::Key);

impl Keyed {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// Of parts whose borders count: `("ab", "c")` is not `("a", "bc")`. Lists of another length, and of another
    /// purpose, never meet either as long as the first part names it.
    pub fn hash(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }
}
