//! What an access token looks like: `docxy_`, 43 letters and digits (256 random bits), and 6 of a checksum, so that
//! people and scanners of leaked secrets recognise one, and a slip of the mouse is told from a token that has ended. An
//! administrator's has a word more, so that neither is ever taken for the other.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};

use aws_lc_rs::{constant_time, digest, rand};
use serde::{Deserialize, Serialize};

use crate::access::seal::NoRandom;
use crate::config::values::Secret;

/// Whatever begins so was made by docxy for docxy, and is shown to no registry.
pub const PREFIX: &str = "docxy_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BODY: usize = 43;
const CHECK: usize = 6;

/// What a token is for, which its first letters say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Images: `docxy token`.
    Access,
    /// The admin API: `docxy admin token`.
    Admin,
    /// To get the first of those, once.
    OneTime,
    /// A browser's cookie for one of those.
    Session,
    /// What must come with that cookie.
    SessionKey,
}

impl Kind {
    /// With which its text begins.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Access => PREFIX,
            Self::Admin => "docxy_admin_",
            Self::OneTime => "docxy_once_",
            Self::Session => "docxy_session_",
            Self::SessionKey => "docxy_key_",
        }
    }

    /// The command that makes, lists and revokes them.
    pub fn command(self) -> &'static str {
        match self {
            Self::Access => "docxy token",
            Self::Admin | Self::OneTime | Self::Session | Self::SessionKey => "docxy admin token",
        }
    }
}

/// In a sentence: `an access token`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Access => "access token",
            Self::Admin => "admin token",
            Self::OneTime => "one-time token",
            Self::Session => "admin session",
            Self::SessionKey => "key of an admin session",
        })
    }
}

/// SHA-256 of the text, which is all that is kept: 256 random bits need neither salt nor a slow function. Written in hex.
/// Compared in a time that does not depend on what is in it.
#[derive(Clone, Copy, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Hash for TokenHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Why a text is no such hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a hash has 64 hex digits")]
pub struct NotAHash;

/// A new token.
pub fn generate(kind: Kind) -> Result<Secret<String>, NoRandom> {
    let prefix = kind.prefix();
    let mut text = prefix.to_owned();
    let mut random = [0; 2 * BODY];
    while text.len() < prefix.len() + BODY {
        rand::fill(&mut random).map_err(|_| NoRandom)?;
        let left = prefix.len() + BODY - text.len();
        // 248 is the last multiple of 62: what is above would make some letters likelier.
        let fair = random.iter().filter(|byte| **byte < 248);
        text.extend(
            fair.take(left)
                .map(|byte| char::from(ALPHABET[usize::from(byte % 62)])),
        );
    }
    let check = checksum(&text);
    text.push_str(&check);
    Ok(Secret::new(text))
}

pub fn hash(text: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
    TokenHash(hash)
}

/// Can this be a token as it was shown? One that was cut short or mistyped can't.
pub fn is_whole(kind: Kind, text: &str) -> bool {
    let prefix = kind.prefix();
    let Some(body) = text.strip_prefix(prefix) else {
        return false;
    };
    body.len() == BODY + CHECK
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text[prefix.len() + BODY..] == checksum(&text[..prefix.len() + BODY])
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        let mut text = Self::with_capacity(64);
        let _ = write!(text, "{hash}");
        text
    }
}

impl TryFrom<String> for TokenHash {
    type Error = NotAHash;

    fn try_from(text: String) -> Result<Self, NotAHash> {
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 2 * hash.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(NotAHash);
        }
        for (byte, at) in hash.iter_mut().zip((0..digits.len()).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NotAHash)?;
        }
        Ok(Self(hash))
    }
}

fn checksum(text: &str) -> String {
    let mut rest = crc32fast::hash(text.as_bytes()) as usize;
    let mut digits = [b'0'; CHECK];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_and_a_slip_of_the_mouse_is_not() {
        // A scanner must find a leaked one, and a person who pasted half of it must not wonder who revoked it.
        let token = generate(Kind::Access).expect("random bytes");
        let text = token.expose();
        assert_eq!(text.len(), 55);
        assert!(is_whole(Kind::Access, text), "{text}");
        assert_ne!(*text, *generate(Kind::Access).expect("random bytes").expose());
        assert!(
            !is_whole(Kind::Access, &text[..54])
                && !is_whole(Kind::Access, &text[1..])
                && !is_whole(Kind::Access, "docxy_")
        );
        assert!(!is_whole(Kind::Access, &format!("docxy_{}", "ä".repeat(24))));
        let mut found = 0;
        for at in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            found += usize::from(!is_whole(
                Kind::Access,
                std::str::from_utf8(&changed).expect("text"),
            ));
        }
        assert_eq!(found, 49, "every single slip is noticed");
        assert!(!is_whole(Kind::Admin, text), "an access token is no admin's");
        let admin = generate(Kind::Admin).expect("random bytes");
        assert!(is_whole(Kind::Admin, admin.expose()) && !is_whole(Kind::Access, admin.expose()));
    }

    #[test]
    fn every_letter_is_as_likely_as_any_other() {
        // 256 bits are 256 bits only while no letter is favoured.
        let mut seen = [0_u32; 62];
        for _ in 0..2000 {
            let token = generate(Kind::Access).expect("random bytes");
            for byte in &token.expose().as_bytes()[PREFIX.len()..PREFIX.len() + BODY] {
                seen[ALPHABET
                    .iter()
                    .position(|own| own == byte)
                    .expect("of the alphabet")] += 1;
            }
        }
        // 1387 each is expected; six standard deviations are 223.
        assert!(seen.iter().all(|count| (1160..1615).contains(count)), "{seen:?}");
    }
}
