//! `[tls.acme]`: certificates that docxy gets by itself.

use std::path::PathBuf;

use url::Url;

use crate::config::values::Secret;

/// An authority that speaks ACME (RFC 8555), and for which names it is asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acme {
    /// Lower case; one certificate is for all of them. Empty: none is asked for.
    pub domains: Vec<String>,
    /// Whom the authority may write to.
    pub email: Option<String>,
    /// Unset: Let's Encrypt's.
    pub directory: Option<Url>,
    /// Let's Encrypt's directory for tests instead, whose certificates nobody trusts.
    pub staging: bool,
    /// Trusted for the directory's own HTTPS beside the usual roots.
    pub ca_file: Option<PathBuf>,
    pub challenge: AcmeChallenge,
    /// Of an account at the authority to which docxy's is bound (RFC 8555, 7.3.4); both or none.
    pub eab_key_id: Option<String>,
    /// base64url, as authorities hand it out.
    pub eab_hmac_key: Option<Secret<String>>,
    pub eab_hmac_key_file: Option<PathBuf>,
}

/// How docxy shows the authority that a name leads to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AcmeChallenge {
    /// What the listeners allow.
    #[default]
    Auto,
    /// Over plain HTTP, on port 80 as the authority sees it.
    Http01,
    /// In a TLS handshake, on port 443 as the authority sees it.
    TlsAlpn01,
}
