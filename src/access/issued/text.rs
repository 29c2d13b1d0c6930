//! What an access token looks like: `docxy_`, 43 letters and digits (256 random bits), and 6 of a checksum, so that
//! people and scanners of leaked secrets recognise one, and a slip of the mouse is told from a token that has ended.

use std::fmt::{self, Write as _};

use aws_lc_rs::{digest, rand};
use serde::{Deserialize, Serialize};

use crate::access::seal::NoRandom;
use crate::config::values::Secret;

/// Whatever begins so was made by docxy for docxy, and is shown to no registry.
pub const PREFIX: &str = "docxy_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const BODY: usize = 43;
const CHECK: usize = 6;

/// SHA-256 of the text, which is all that is kept: 256 random bits need neither salt nor a slow function. Written in hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

/// Why a text is no such hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a hash has 64 hex digits")]
pub struct NotAHash;

/// A new token.
pub fn generate() -> Result<Secret<String>, NoRandom> {
    let mut text = PREFIX.to_owned();
    let mut random = [0; 2 * BODY];
    while text.len() < PREFIX.len() + BODY {
        rand::fill(&mut random).map_err(|_| NoRandom)?;
        let left = PREFIX.len() + BODY - text.len();
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
pub fn is_whole(text: &str) -> bool {
    let Some(body) = text.strip_prefix(PREFIX) else {
        return false;
    };
    body.len() == BODY + CHECK
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text[PREFIX.len() + BODY..] == checksum(&text[..PREFIX.len() + BODY])
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
        let token = generate().expect("random bytes");
        let text = token.expose();
        assert_eq!(text.len(), 55);
        assert!(is_whole(text), "{text}");
        assert_ne!(*text, *generate().expect("random bytes").expose());
        assert!(!is_whole(&text[..54]) && !is_whole(&text[1..]) && !is_whole("docxy_"));
        assert!(!is_whole(&format!("docxy_{}", "ä".repeat(24))));
        let mut found = 0;
        for at in PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            found += usize::from(!is_whole(std::str::from_utf8(&changed).expect("text")));
        }
        assert_eq!(found, 49, "every single slip is noticed");
    }

    #[test]
    fn every_letter_is_as_likely_as_any_other() {
        // 256 bits are 256 bits only while no letter is favoured.
        let mut seen = [0_u32; 62];
        for _ in 0..2000 {
            let token = generate().expect("random bytes");
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
