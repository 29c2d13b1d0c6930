//! `[parent]`: a docxy that stands nearer to the registries.

use std::path::PathBuf;

use url::Url;

/// Every registry that has no `urls` of its own is asked there, as `URL/NAME`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parent {
    pub url: Option<Url>,
    /// Any, where the password is an access token of the parent's.
    pub username: String,
    /// The parent's access token, or the password of one of its users.
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub allow_private_addresses: bool,
}

impl Default for Parent {
    fn default() -> Self {
        Self {
            url: None,
            username: "docxy".to_owned(),
            password_file: None,
            ca_file: None,
            allow_private_addresses: false,
        }
    }
}
