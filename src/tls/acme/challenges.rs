//! What is shown to an authority that looks whether a name leads here, for as long as it may look.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::tls::Error;
use crate::tls::server::{MinVersion, open_to_all};

/// The protocol of RFC 8737, section 6.2.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// How a name is shown to lead here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// RFC 8555, 8.3
    Http01,
    /// RFC 8737
    TlsAlpn01,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }

    pub fn of(word: &str) -> Option<Self> {
        [Self::Http01, Self::TlsAlpn01]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The challenges that are open now. The listeners ask here; nearly always there are none.
#[derive(Debug, Default)]
pub struct Challenges {
    open: Mutex<Open>,
    /// Is there one in `open.handshakes`? Asked for each connection.
    awaits_handshakes: AtomicBool,
}

#[derive(Debug, Default)]
struct Open {
    /// By token.
    answers: HashMap<String, Answer>,
    /// By name.
    handshakes: HashMap<String, Handshake>,
}

#[derive(Debug)]
struct Answer {
    key_authorisation: String,
    asked: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Handshake {
    config: Arc<ServerConfig>,
    asked: Arc<AtomicUsize>,
}

impl Challenges {
    /// The key authorisation of a token, where its challenge is open.
    pub fn answer(&self, token: &str) -> Option<String> {
        let open = self.open();
        let answer = open.answers.get(token)?;
        answer.asked.fetch_add(1, Ordering::Relaxed);
        Some(answer.key_authorisation.clone())
    }

    pub fn awaits_handshakes(&self) -> bool {
        self.awaits_handshakes.load(Ordering::Acquire)
    }

    /// What a client is shown that can only be an authority: it speaks nothing but that protocol, and asks for a name whose
    /// challenge is open.
    pub fn handshake(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        if protocols.next() != Some(PROTOCOL) || protocols.next().is_some() {
            return None;
        }
        let name = hello.server_name()?.to_ascii_lowercase();
        let open = self.open();
        let handshake = open.handshakes.get(&name)?;
        handshake.asked.fetch_add(1, Ordering::Relaxed);
        Some(Arc::clone(&handshake.config))
    }

    /// Opens a challenge of `http-01`.
    pub fn show_answer(self: &Arc<Self>, token: &str, key_authorisation: &str) -> Shown {
        let asked = Arc::default();
        let answer = Answer {
            key_authorisation: key_authorisation.to_owned(),
            asked: Arc::clone(&asked),
        };
        self.open().answers.insert(token.to_owned(), answer);
        Shown {
            challenges: Arc::clone(self),
            what: What::Answer(token.to_owned()),
            asked,
        }
    }

    /// Opens a challenge of `tls-alpn-01`.
    ///
    /// # Errors
    /// No certificate can be made for the name.
    pub fn show_handshake(self: &Arc<Self>, name: &str, key_authorisation: &str) -> Result<Shown, Error> {
        let asked = Arc::default();
        let handshake = Handshake {
            config: Arc::new(challenge(name, key_authorisation)?),
            asked: Arc::clone(&asked),
        };
        let mut open = self.open();
        open.handshakes.insert(name.to_owned(), handshake);
        self.awaits_handshakes.store(true, Ordering::Release);
        drop(open);
        Ok(Shown {
            challenges: Arc::clone(self),
            what: What::Handshake(name.to_owned()),
            asked,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open challenge; closed when this is dropped.
#[derive(Debug)]
pub struct Shown {
    challenges: Arc<Challenges>,
    what: What,
    asked: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum What {
    Answer(String),
    Handshake(String),
}

impl Shown {
    /// Has anybody come to look? Where nobody has, the name leads elsewhere, or something stands in the way.
    pub fn was_asked_for(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut open = self.challenges.open();
        match &self.what {
            What::Answer(token) => drop(open.answers.remove(token)),
            What::Handshake(name) => {
                open.handshakes.remove(name);
                let awaits = !open.handshakes.is_empty();
                self.challenges.awaits_handshakes.store(awaits, Ordering::Release);
            }
        }
    }
}

/// For one name, and for nothing but that protocol. No certificate is asked of the authority, whatever other clients must
/// show (RFC 8737, section 3).
fn challenge(name: &str, key_authorisation: &str) -> Result<ServerConfig, Error> {
    let hash = digest::digest(&digest::SHA256, key_authorisation.as_bytes());
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(hash.as_ref())];
    let certified = self_signed(&params)?;
    let provider = Arc::new(provider::default_provider());
    let shown = Arc::new(SingleCertAndKey::from(certified));
    let mut config = open_to_all(provider, MinVersion::Tls12, shown)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// With a key of its own.
pub fn self_signed(params: &CertificateParams) -> Result<CertifiedKey, Error> {
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider::default_provider().key_provider.load_private_key(der)?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_open_for_as_long_as_it_is_held() {
        // A key authorisation that outlives its order would answer whoever asks for it later.
        let challenges = Arc::new(Challenges::default());
        let shown = challenges.show_answer("token", "token.thumb");
        assert!(!shown.was_asked_for());
        assert_eq!(challenges.answer("token").as_deref(), Some("token.thumb"));
        assert_eq!(challenges.answer("other"), None);
        assert!(shown.was_asked_for());
        drop(shown);
        assert_eq!(challenges.answer("token"), None);
    }

    #[test]
    fn connections_are_looked_at_only_while_a_handshake_is_awaited() {
        // Every client's handshake would pay for it otherwise.
        let challenges = Arc::new(Challenges::default());
        assert!(!challenges.awaits_handshakes());
        let one = challenges.show_handshake("a.test", "x.y").unwrap();
        let other = challenges.show_handshake("b.test", "x.y").unwrap();
        drop(one);
        assert!(challenges.awaits_handshakes());
        drop(other);
        assert!(!challenges.awaits_handshakes());
    }
}
