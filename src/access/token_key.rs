//! Under which key a token that was handed out is remembered.

use std::hash::{BuildHasher, RandomState};

/// 128 bits of a hash with keys of this process: every request of a signed-in client needs it, and tokens are long. Nobody
/// outside sees it, and it is of no use to who reads the memory.
pub(super) type TokenKey = [u64; 2];

#[derive(Debug, Default)]
pub(super) struct TokenKeys([RandomState; 2]);

impl TokenKeys {
    pub fn of(&self, token: &str) -> TokenKey {
        let [first, second] = &self.0;
        [first.hash_one(token), second.hash_one(token)]
    }
}
