//! Content digests and the running hash that makes them.

use super::excerpt::excerpt;
use std::fmt;

/// `sha256:<64 lower-case hex>` or `sha512:<128 lower-case hex>` (image-spec, "Digests"); nothing else. A path in a
/// store may be built from `hex()`: it holds nothing but `0-9a-f`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let Some((name, hex)) = text.split_once(':') else {
            return Err(DigestError::NoAlgorithm(excerpt(text)));
        };
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm(excerpt(name))),
        };
        if !is_hex(hex.as_bytes())
            && let Some(error) = stranger(hex)
        {
            return Err(error);
        }
        if hex.len() != algorithm.hex_length() {
            return Err(DigestError::Length {
                algorithm,
                found: hex.len(),
            });
        }
        Ok(Self {
            algorithm,
            hex: hex.into(),
        })
    }

    /// The digest of `bytes` under `algorithm`.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The digest whose raw bytes these are, as a table in memory keeps them.
    pub fn from_sha256(raw: &[u8; 32]) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            hex: hex(raw),
        }
    }

    /// As [`Self::from_sha256`].
    pub fn from_sha512(raw: &[u8; 64]) -> Self {
        Self {
            algorithm: Algorithm::Sha512,
            hex: hex(raw),
        }
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

/// Nearly every digest that comes is one, so this looks at all of its bytes at once.
fn is_hex(hex: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() | (b'a'..=b'f').contains(byte);
    hex.iter().fold(true, |all, byte| all & is_digit(byte))
}

fn stranger(hex: &str) -> Option<DigestError> {
    hex.chars().zip(1..).find_map(|(found, position)| {
        (!matches!(found, '0'..='9' | 'a'..='f')).then_some(DigestError::Hex { found, position })
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

/// The algorithms that the image specification registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    /// Length of a digest in hex characters.
    pub fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// As it stands in a digest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no digest. Texts inside are excerpts.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DigestError {
    #[error("\"{0}\" is no digest: it must look like sha256:<64 hex digits>")]
    NoAlgorithm(String),
    #[error("the digest algorithm \"{0}\" is not supported; use sha256 or sha512")]
    Algorithm(String),
    #[error(
        "a {algorithm} digest has {expected} hex digits, this one has {found}",
        expected = .algorithm.hex_length()
    )]
    Length { algorithm: Algorithm, found: usize },
    /// `position` counts from 1, after the colon.
    #[error("the digest has the character {} at position {position}; only 0-9 and lower-case a-f are allowed", .found.escape_default())]
    Hex { found: char, position: usize },
}

/// A running hash (aws-lc-rs; `Clone` so that a state can be kept at an offset).
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    state: aws_lc_rs::digest::Context,
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        let function = match algorithm {
            Algorithm::Sha256 => &aws_lc_rs::digest::SHA256,
            Algorithm::Sha512 => &aws_lc_rs::digest::SHA512,
        };
        Self {
            algorithm,
            state: aws_lc_rs::digest::Context::new(function),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    pub fn finish(self) -> Digest {
        Digest {
            algorithm: self.algorithm,
            hex: hex(self.state.finish().as_ref()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm)
    }
}

fn hex(raw: &[u8]) -> Box<str> {
    let text: String = raw
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|nibble| char::from_digit(u32::from(nibble), 16))
        .collect();
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ABC_512: &str = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    #[test]
    fn hashes_as_the_standard_says() {
        // Every verification in the product stands on this: the vectors are FIPS 180-4's.
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY_256);
        assert_eq!(Digest::of(Algorithm::Sha512, b"abc").to_string(), ABC_512);
        assert!(Digest::parse(ABC_512).unwrap().matches(b"abc"));
        assert!(!Digest::parse(EMPTY_256).unwrap().matches(b"abc"));
    }

    #[test]
    fn a_kept_state_goes_on() {
        // A resumed download hashes on from where it broke off.
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"a");
        let kept = hasher.clone();
        hasher.update(b"something else");
        let mut hasher = kept;
        hasher.update(b"bc");
        assert_eq!(hasher.finish().to_string(), ABC_512);
    }

    #[test]
    fn says_what_is_wrong() {
        // A malformed digest is a client's mistake: 400 with the reason, where registries answer 404 or 500.
        let hex = "a".repeat(64);
        for (text, error) in [
            ("latest".to_owned(), DigestError::NoAlgorithm("latest".into())),
            (format!("md5:{hex}"), DigestError::Algorithm("md5".into())),
            (format!("SHA256:{hex}"), DigestError::Algorithm("SHA256".into())),
            (format!(":{hex}"), DigestError::Algorithm(String::new())),
            (
                format!("sha256:{}", "a".repeat(63)),
                DigestError::Length {
                    algorithm: Algorithm::Sha256,
                    found: 63,
                },
            ),
            (
                format!("sha512:{hex}"),
                DigestError::Length {
                    algorithm: Algorithm::Sha512,
                    found: 64,
                },
            ),
            (
                format!("sha256:aA{}", "a".repeat(62)),
                DigestError::Hex {
                    found: 'A',
                    position: 2,
                },
            ),
            (
                "sha256:../../etc/passwd".to_owned(),
                DigestError::Hex {
                    found: '.',
                    position: 1,
                },
            ),
        ] {
            assert_eq!(Digest::parse(&text), Err(error), "{text:?}");
        }
        assert_eq!(
            DigestError::Length {
                algorithm: Algorithm::Sha256,
                found: 3
            }
            .to_string(),
            "a sha256 digest has 64 hex digits, this one has 3"
        );
    }
}
