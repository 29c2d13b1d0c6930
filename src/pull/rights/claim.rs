//! Who asks, where, and with what, and the keys under which that is remembered.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;

use crate::oci::FullName;
use crate::upstream::Right;

/// A keyed hash of a right and a repository: of no use to who reads the memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pull) struct Key([u8; 32]);

/// It is a hash already, of which eight bytes are as good as all.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.first());
    }
}

/// Who proves a right, and in which repository. A login is a keyed hash already; what it is put together with is hashed
/// anew with keys of this process, which is quick: every request for what is not public needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ProofKey {
    who: Key,
    place: u64,
}

impl Hash for ProofKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.who.first() ^ self.place);
    }
}

#[derive(Debug, Default)]
pub(super) struct Places(RandomState);

impl Places {
    /// Nobody sees it, so that nobody can look for two names with the same one.
    fn of(&self, name: &FullName) -> u64 {
        self.0.hash_one(name)
    }
}

/// Who asks, where, and with what: what a flight keeps of everyone who joined it.
#[derive(Clone, Debug)]
pub(in crate::pull) struct Claim {
    pub name: FullName,
    pub right: Right,
    /// docxy's operator shares what his credential can read with everyone who reaches docxy.
    pub shared: bool,
    /// See [`Permit::login`](crate::access::Permit::login).
    login: Option<[u8; 32]>,
    secret: Arc<hmac::Key>,
    places: Arc<Places>,
    key: OnceLock<Key>,
    proof_key: OnceLock<ProofKey>,
}

impl Claim {
    pub(super) fn new(
        name: FullName,
        right: Right,
        login: Option<[u8; 32]>,
        shared: bool,
        secret: Arc<hmac::Key>,
        places: Arc<Places>,
    ) -> Self {
        Self {
            name,
            right,
            shared,
            login,
            secret,
            places,
            key: OnceLock::new(),
            proof_key: OnceLock::new(),
        }
    }

    /// A credential that a client brought.
    pub fn is_own(&self) -> bool {
        matches!(self.right, Right::Bearer { .. } | Right::Basic { .. })
    }

    /// Equal for equal rights to the same repository. Made when it is first asked for: what is public needs none.
    pub fn key(&self) -> Key {
        *self.key.get_or_init(|| self.hashed())
    }

    /// Equal for those who prove their right for each other: also for the tokens of one login.
    pub(super) fn proof_key(&self) -> ProofKey {
        *self.proof_key.get_or_init(|| match self.login {
            Some(login) => ProofKey {
                who: Key(login),
                place: self.places.of(&self.name),
            },
            None => ProofKey {
                who: self.key(),
                place: 0,
            },
        })
    }

    fn hash_of_name(&self) -> hmac::Context {
        let mut hash = hmac::Context::with_key(&self.secret);
        for part in [self.name.registry.as_str(), self.name.repository.as_str()] {
            hash.update(part.as_bytes());
            hash.update(b"\0");
        }
        hash
    }

    fn hashed(&self) -> Key {
        let mut hash = self.hash_of_name();
        match &self.right {
            Right::Anonymous => hash.update(b"anonymous"),
            Right::Configured => hash.update(b"configured"),
            Right::Bearer { token, .. } => {
                hash.update(b"bearer\0");
                hash.update(token.expose().as_bytes());
            }
            Right::Basic { credential, .. } => {
                // The name's length keeps ("a", "bc") apart from ("ab", "c").
                hash.update(b"basic\0");
                hash.update(&(credential.username.len() as u64).to_be_bytes());
                hash.update(credential.username.as_bytes());
                hash.update(credential.password.expose());
            }
        }
        Key::of(hash)
    }
}

impl Key {
    fn first(&self) -> u64 {
        self.0.first_chunk().copied().map_or(0, u64::from_ne_bytes)
    }

    fn of(hash: hmac::Context) -> Self {
        let mut key = [0; 32];
        for (into, from) in key.iter_mut().zip(hash.sign().as_ref()) {
            *into = *from;
        }
        Self(key)
    }
}
