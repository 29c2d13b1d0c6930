//! What is said about who may use the API.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::time::Time;
use crate::access::issued::{About, Created, Wanted};

/// All admin tokens, in the order of their making.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AdminTokens {
    pub tokens: Vec<AdminToken>,
}

/// What is told of one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct AdminToken {
    /// The first digits of its hash.
    pub id: String,
    pub name: String,
    pub created_at: Time,
    /// None: never.
    pub expires_at: Option<Time>,
    /// To a minute or so.
    pub last_used_at: Option<Time>,
}

/// What a new one shall be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedAdminToken {
    pub name: String,
    /// Seconds; none is for ever.
    #[serde(default)]
    pub life: Option<u64>,
}

/// A new one, shown this once. Not to be printed by accident, so without `Debug`.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct NewAdminToken {
    pub token: String,
    #[serde(flatten)]
    pub about: AdminToken,
}

/// How somebody signs in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Of the admin token that a one-time token makes.
    #[serde(default)]
    pub name: Option<String>,
    /// How long that one lasts, in seconds; none is for ever.
    #[serde(default)]
    pub life: Option<u64>,
    /// A browser wants a session.
    #[serde(default)]
    pub cookie: bool,
}

/// Somebody is signed in.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct SignedIn {
    /// The new admin token's text, shown this once; none where there was one before.
    pub token: Option<String>,
    pub about: AdminToken,
    /// Of a session, shown this once: what every request with the cookie must have in the header `X-Docxy-Session`; none where
    /// no cookie was wanted.
    pub session_key: Option<String>,
    /// Seconds that the session lasts at most; none where no cookie was wanted.
    pub ends_in: Option<u64>,
}

/// Who is asking.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    pub by: By,
    pub token: Option<AdminToken>,
    /// Seconds until the session is over at the latest.
    pub ends_in: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SignedInBy)]
pub enum By {
    /// The Unix socket, which asks for nothing.
    Socket,
    Token,
    Session,
}

/// A session is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = SessionEnded)]
pub struct Ended {
    pub ended: bool,
}

impl From<&About> for AdminToken {
    fn from(about: &About) -> Self {
        Self {
            id: about.id.clone(),
            name: about.name.clone(),
            created_at: Time(about.created),
            expires_at: about.expires.map(Time),
            last_used_at: about.last_used.map(Time),
        }
    }
}

impl From<Created> for NewAdminToken {
    fn from(Created { about, token }: Created) -> Self {
        Self {
            token: token.expose().clone(),
            about: (&about).into(),
        }
    }
}

impl From<WantedAdminToken> for Wanted {
    fn from(WantedAdminToken { name, life }: WantedAdminToken) -> Self {
        Self {
            name,
            user: None,
            scopes: Vec::new(),
            push: false,
            life,
        }
    }
}
