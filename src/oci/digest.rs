use std::fmt;
/// `sha256:<64 lower-case hex>` or `sha512:<128 lower-case hex>`; nothing else.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    Sha256,
    Sha512,
}
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    #[error("bad digest")]
    Bad,
}
impl Digest {
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        match text.strip_prefix("sha256:") {
            Some(hex) if hex.len() == 64 => Ok(Self {
                algorithm: Algorithm::Sha256,
                hex: hex.into(),
            }),
            _ => Err(DigestError::Bad),
        }
    }
    /// The digest of `bytes` under `algorithm`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut h = Hasher::new(algorithm);
        h.update(bytes);
        h.finish()
    }
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
    /// Lower-case hex, without the algorithm.
    pub fn hex(&self) -> &str {
        &self.hex
    }
    /// Do these bytes hash to this digest?
    pub fn matches(&self, bytes: &[u8]) -> bool {
        Self::of(self.algorithm, bytes) == *self
    }
}
/// A running hash (aws-lc-rs; `Clone` so that a state can be kept at an offset).
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: aws_lc_rs::digest::Context,
}
impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        let a = match algorithm {
            Algorithm::Sha256 => &aws_lc_rs::digest::SHA256,
            Algorithm::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        Self {
            algorithm,
            state: aws_lc_rs::digest::Context::new(a),
        }
    }
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }
    pub fn finish(self) -> Digest {
        let hex: String = self
            .state
            .finish()
            .as_ref()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Digest {
            algorithm: self.algorithm,
            hex: hex.into(),
        }
    }
}
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex)
    }
}
