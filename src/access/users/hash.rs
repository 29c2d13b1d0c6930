//! One stored password: bcrypt or argon2, what checking one costs, and a decoy that costs the same.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordVerifier, Version};
use bcrypt::HashParts;

use crate::config::values::Secret;

/// Beyond it one check takes more than ten seconds.
const HIGHEST_BCRYPT_COST: u32 = 16;
/// KiB of one check.
const MOST_MEMORY: u32 = 256 << 10;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 16;
/// KiB times passes of one check, a second or two: what is allowed each for itself is too much together.
const MOST_WORK: u64 = 1 << 20;
/// bcrypt reads no further.
const BCRYPT_READS: usize = 72;

/// A password's hash as a file holds it.
#[derive(Clone)]
pub struct Stored {
    cost: Cost,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Bcrypt(Secret<String>),
    Argon2(Box<Secret<PasswordHash>>),
}

/// The function and its parameters: all of a check that a clock can tell from another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cost {
    /// Two to the power of `cost` rounds.
    Bcrypt { cost: u32 },
    Argon2 {
        variant: Variant,
        /// 16 or 19.
        version: u32,
        /// KiB
        memory: u32,
        passes: u32,
        lanes: u32,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Variant {
    D,
    I,
    Id,
}

/// What a check brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checked {
    Right,
    Wrong,
    /// Its first 72 bytes are right, and bcrypt knows of no more. It does not count: whoever chose a long password
    /// would otherwise have a shorter one than he thinks.
    TooLong,
    /// The machine could not do it: no memory.
    Failed,
}

/// Why a hash can't be used. Never shows it: it may be somebody's password in plain text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    #[error("there is no hash after the colon")]
    Missing,
    #[error("the password is stored as {0}, which is too easy to guess")]
    Weak(&'static str),
    #[error("the password is stored in a way that docxy does not know (in plain text?)")]
    Unknown,
    #[error("this is not a whole {kind} hash: {reason}")]
    Broken { kind: &'static str, reason: String },
    #[error(
        "{what} is {is}, and docxy accepts {most} at most: one sign-in would keep the machine busy too long"
    )]
    TooCostly { what: &'static str, is: u64, most: u64 },
}

impl Stored {
    /// Reads what follows `name:` in a file.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        if text.is_empty() {
            return Err(Unusable::Missing);
        }
        if ["$2y$", "$2b$", "$2a$"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            return bcrypt_hash(text);
        }
        if text.starts_with("$argon2") {
            return argon2_hash(text);
        }
        Err(weak(text).map_or(Unusable::Unknown, Unusable::Weak))
    }

    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The text that was read, for a fingerprint.
    pub fn text(&self) -> Secret<String> {
        match &self.form {
            Form::Bcrypt(text) => text.clone(),
            Form::Argon2(hash) => Secret::new(hash.expose().to_string()),
        }
    }

    /// Takes as long as the cost says, whatever the password. Blocks: a thread of the pool does it.
    pub fn check(&self, password: &[u8]) -> Checked {
        match &self.form {
            Form::Bcrypt(text) => check_bcrypt(text.expose(), password),
            Form::Argon2(hash) => match Argon2::default().verify_password(password, hash.expose()) {
                Ok(()) => Checked::Right,
                Err(argon2::password_hash::Error::PasswordInvalid) => Checked::Wrong,
                Err(_) => Checked::Failed,
            },
        }
    }
}

impl Cost {
    /// A hash of this cost that is nobody's.
    pub fn decoy(self) -> Result<Stored, Unusable> {
        match self {
            Self::Bcrypt { cost } => bcrypt_hash(&format!("$2b${cost:02}${}", ".".repeat(53))),
            Self::Argon2 {
                variant,
                version,
                memory,
                passes,
                lanes,
            } => {
                let variant = variant.algorithm().as_str();
                // 16 bytes of salt and 32 of hash, all zero.
                let (salt, hash) = ("A".repeat(22), "A".repeat(43));
                argon2_hash(&format!(
                    "${variant}$v={version}$m={memory},t={passes},p={lanes}${salt}${hash}"
                ))
            }
        }
    }
}

impl Variant {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::D => Algorithm::Argon2d,
            Self::I => Algorithm::Argon2i,
            Self::Id => Algorithm::Argon2id,
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({:?}, ***)", self.cost)
    }
}

fn bcrypt_hash(text: &str) -> Result<Stored, Unusable> {
    let broken = |reason: String| Unusable::Broken {
        kind: "bcrypt",
        reason,
    };
    let parts: HashParts = text
        .parse()
        .map_err(|error: bcrypt::BcryptError| broken(error.to_string()))?;
    let cost = parts.get_cost();
    if cost < 4 {
        return Err(broken("its cost is below 4".to_owned()));
    }
    at_most("the cost of this bcrypt hash", cost, HIGHEST_BCRYPT_COST)?;
    Ok(Stored {
        cost: Cost::Bcrypt { cost },
        form: Form::Bcrypt(Secret::new(text.to_owned())),
    })
}

fn argon2_hash(text: &str) -> Result<Stored, Unusable> {
    let broken = |reason: String| Unusable::Broken {
        kind: "argon2",
        reason,
    };
    let hash = PasswordHash::new(text).map_err(|error| broken(error.to_string()))?;
    let variant = match Algorithm::try_from(hash.algorithm.as_str()) {
        Ok(Algorithm::Argon2d) => Variant::D,
        Ok(Algorithm::Argon2i) => Variant::I,
        Ok(Algorithm::Argon2id) => Variant::Id,
        Err(_) => return Err(Unusable::Unknown),
    };
    // Without it the hash is of the first version, and some programs read it as the last.
    let version = hash
        .version
        .ok_or_else(|| broken("it does not say its version (v=19)".to_owned()))?;
    Version::try_from(version).map_err(|_| broken(format!("there is no version {version}")))?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(broken("it ends early".to_owned()));
    }
    let params = Params::try_from(&hash).map_err(|error| broken(error.to_string()))?;
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    at_most("the memory of this argon2 hash (m, KiB)", memory, MOST_MEMORY)?;
    at_most(
        "the number of passes of this argon2 hash (t)",
        passes,
        MOST_PASSES,
    )?;
    at_most("the number of lanes of this argon2 hash (p)", lanes, MOST_LANES)?;
    at_most(
        "memory times passes of this argon2 hash (m x t, KiB)",
        u64::from(memory) * u64::from(passes),
        MOST_WORK,
    )?;
    Ok(Stored {
        cost: Cost::Argon2 {
            variant,
            version,
            memory,
            passes,
            lanes,
        },
        form: Form::Argon2(Box::new(Secret::new(hash))),
    })
}

fn at_most<N: Into<u64>>(what: &'static str, is: N, most: N) -> Result<(), Unusable> {
    let (is, most) = (is.into(), most.into());
    if is > most {
        return Err(Unusable::TooCostly { what, is, most });
    }
    Ok(())
}

/// The other ways a password file may hold passwords, by their prefixes.
fn weak(text: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 9] = [
        ("$apr1$", "MD5 ($apr1$)"),
        ("$1$", "MD5 ($1$)"),
        ("{SHA}", "SHA-1"),
        ("{SSHA}", "SHA-1"),
        ("$5$", "SHA-256 ($5$)"),
        ("$6$", "SHA-512 ($6$)"),
        ("$2x$", "bcrypt of a kind with a known mistake ($2x$)"),
        ("$y$", "yescrypt"),
        ("$7$", "scrypt"),
    ];
    KINDS
        .iter()
        .find(|(prefix, _)| text.starts_with(prefix))
        .map(|(_, kind)| *kind)
}

fn check_bcrypt(text: &str, password: &[u8]) -> Checked {
    let read = &password[..password.len().min(BCRYPT_READS)];
    // Always run, and only then judged: what is not allowed must cost the same.
    let Ok(matches) = bcrypt::verify(read, text) else {
        return Checked::Failed;
    };
    // bcrypt repeats the password with a zero byte after it: `a` and `a\0a` have one hash.
    if !matches || password.contains(&0) {
        Checked::Wrong
    } else if password.len() > BCRYPT_READS {
        Checked::TooLong
    } else {
        Checked::Right
    }
}

#[cfg(test)]
mod tests;
