//! Under which key a token that was handed out is remembered.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

/// 128 bits of a hash with keys of this process: every request of a signed-in client needs it, and tokens are long. Nobody
/// outside sees it, and it is of no use to who reads the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TokenKey([u64; 2]);

/// It is a hash already, of which half is as good as all.
impl Hash for TokenKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

#[derive(Debug, Default)]
pub(super) struct TokenKeys([RandomState; 2]);

impl TokenKeys {
    pub fn of(&self, token: &str) -> TokenKey {
        let [first, second] = &self.0;
        TokenKey([first.hash_one(token), second.hash_one(token)])
    }
}
