//! Tokens that docxy handed out: its own anonymous one, sealed ones for registries that know only Basic, and the
//! upstreams' own, remembered by keyed hash so that none is ever sent to another registry (threats S1, S6).

mod logins;
mod own;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use own::Bearer;
pub(super) use own::still_lives;

use super::issued::text;
use super::login::{AskedBy, LoginKey};
use super::made_here;
use super::seal::{NoRandom, Sealer, same};
use super::token_key::{TokenKey, TokenKeys};
use crate::config::values::{Credential, Secret, TokenText};
use crate::oci::{Action, Grant, RegistryName, Repository, Scope};
use crate::upstream::Login;

/// How long a token of docxy's own lives, seconds. Clients fetch the next one by themselves.
pub const OWN_LIFE: Duration = Duration::from_mins(5);
/// Registries grant at least this when they say nothing (distribution's token specification).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// A refresh token says nothing of its life; we remember for whom it was this long.
const REFRESH_LIFE: Duration = Duration::from_hours(30 * 24);
/// Tokens remembered; at about 250 bytes each this is 25 MiB, at most three times that.
const REMEMBERED: u64 = 100_000;

/// Grants nothing; a client that presents it has shown that it has no credential for us to ask for.
pub(super) const ANONYMOUS: &str = "docxy.anonymous";
const SEALED_PREFIX: &str = "docxy.sealed.";
/// A user name of a registry's that is remembered for the log; longer ones are not.
const LONGEST_NAME: usize = 256;

/// The token store.
#[derive(Debug)]
pub struct Tokens {
    sealer: Sealer,
    keys: TokenKeys,
    handed_out: Cache<TokenKey, Arc<HandedOut>>,
    /// When a registry last accepted a login.
    accepted: Cache<LoginKey, Instant>,
    /// The sealer's key is kept between runs.
    outlives_this_run: bool,
}

#[derive(Debug)]
struct HandedOut {
    registry: RegistryName,
    /// The name at that registry, of whom it was handed to.
    user: Option<Box<str>>,
    until: Instant,
    /// Not of a refresh token, which opens nothing by itself.
    asked_by: Option<AskedBy>,
}

/// What is inside a sealed token.
#[derive(Serialize, Deserialize)]
struct Sealed {
    registry: String,
    opens: Opens,
    username: String,
    password: Vec<u8>,
    /// Seconds since 1970.
    expires: u64,
}

/// An upstream's token answer that docxy can't read, and so can't remember, and so must not hand out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the token answer of the registry can't be read")]
pub struct Unreadable;

/// What the scopes of a sealed token open; a login without scope opens nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Opens {
    /// Repositories that may be pulled from.
    repositories: Vec<String>,
    /// Repositories that may be pushed to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pushes: Vec<String>,
    /// Repositories that may be deleted from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deletes: Vec<String>,
    catalog: bool,
}

impl Opens {
    fn of(scopes: &[Scope]) -> Self {
        let to = |action| {
            let asking = scopes
                .iter()
                .filter(|scope| scope.is_of_repository() && scope.asks(action));
            asking.map(|scope| scope.name.clone()).collect()
        };
        let is_catalog = |scope: &Scope| scope.kind == "registry" && scope.name == "catalog";
        Self {
            repositories: to(Action::Pull),
            pushes: to(Action::Push),
            deletes: to(Action::Delete),
            catalog: scopes
                .iter()
                .any(|scope| is_catalog(scope) && scope.actions.iter().any(|action| action == "*")),
        }
    }

    /// `None` is the catalog, the one thing of a registry that is in no repository.
    pub(super) fn covers(&self, action: Action, asked: Option<&Repository>) -> bool {
        let of = match action {
            Action::Pull => &self.repositories,
            Action::Push => &self.pushes,
            Action::Delete => &self.deletes,
        };
        match asked {
            Some(asked) => of.iter().any(|own| own == asked.as_str()),
            None => action == Action::Pull && self.catalog,
        }
    }
}

/// A living token of docxy's handing out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Current {
    Anonymous,
    For(RegistryName),
}

/// What a token that a client presents turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Known {
    Anonymous,
    /// Of docxy's own making, for this registry.
    Sealed {
        registry: RegistryName,
        opens: Opens,
        credential: Credential,
    },
    /// Of docxy's own making, for a user of its own.
    User {
        bearer: Bearer,
        registry: RegistryName,
        opens: Opens,
    },
    /// With which a user of docxy's own gets the next one.
    Refresh(Bearer),
    /// An access token that an operator made, or what looks like one; [`super::issued`] knows more.
    Access,
    /// Looks like one of docxy's own but is expired, changed, or from another docxy.
    Void,
    /// Made by this registry and handed out by docxy, to whoever goes by this name there.
    From {
        registry: RegistryName,
        user: Option<Box<str>>,
    },
    Unknown,
}

impl Tokens {
    pub fn new(sealer: Sealer) -> Self {
        let handed_out = Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(REFRESH_LIFE)
            .build();
        let accepted = Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(REFRESH_LIFE)
            .build();
        Self {
            sealer,
            keys: TokenKeys::default(),
            handed_out,
            accepted,
            outlives_this_run: false,
        }
    }

    /// The sealer's key is kept between runs, and so is what clients keep of what it sealed.
    #[must_use]
    pub fn kept(self) -> Self {
        Self {
            outlives_this_run: true,
            ..self
        }
    }

    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The JSON a client without credentials gets, at once and without asking anybody.
    pub fn anonymous_answer(&self) -> Vec<u8> {
        answer(ANONYMOUS)
    }

    /// A token for a registry that knows only Basic: the password, sealed, bound to registry and scope.
    pub fn sealed_answer(
        &self,
        registry: &RegistryName,
        scopes: &[Scope],
        credential: &Credential,
    ) -> Result<Vec<u8>, NoRandom> {
        let sealed = Sealed {
            registry: registry.to_string(),
            opens: Opens::of(scopes),
            username: credential.username.clone(),
            password: credential.password.expose().clone(),
            expires: now() + OWN_LIFE.as_secs(),
        };
        let plain = serde_json::to_vec(&sealed).map_err(|_| NoRandom)?;
        Ok(answer(&format!("{SEALED_PREFIX}{}", self.sealer.seal(plain)?)))
    }

    /// Remembers which registry made the tokens of this answer, before the client gets them: one that is not remembered
    /// would later go to any registry that a request names. `user` is the name that the client signed in with there.
    pub fn remember(
        &self,
        registry: &RegistryName,
        user: Option<&str>,
        login: &Login,
        upstream_answer: &[u8],
    ) -> Result<(), Unreadable> {
        let found = Grant::parse(upstream_answer).map_err(|_| Unreadable)?;
        let life = found
            .life
            .unwrap_or(DEFAULT_LIFE)
            .clamp(DEFAULT_LIFE, REFRESH_LIFE);
        let asked_by = Some(AskedBy::new(&self.sealer, registry, login));
        for (token, life, asked_by) in [
            (found.token, life, asked_by.clone()),
            (found.access_token, life, asked_by),
            (found.refresh_token, REFRESH_LIFE, None),
        ] {
            if let Some(token) = token {
                let entry = HandedOut {
                    registry: registry.clone(),
                    user: user.filter(|user| user.len() <= LONGEST_NAME).map(Box::from),
                    until: Instant::now() + life,
                    asked_by,
                };
                self.handed_out.insert(self.keys.of(&token), Arc::new(entry));
            }
        }
        Ok(())
    }

    /// What this token is.
    pub fn known(&self, token: &TokenText) -> Known {
        let text = token.expose();
        if same(text, ANONYMOUS) {
            return Known::Anonymous;
        }
        if let Some(sealed) = text.strip_prefix(SEALED_PREFIX) {
            return self.unseal(sealed).unwrap_or(Known::Void);
        }
        if made_here::is_token(text.as_bytes()) {
            return if text::is_whole(text::Kind::Access, text) {
                Known::Access
            } else {
                self.user_token(text).unwrap_or(Known::Void)
            };
        }
        match self.handed_out.get(&self.keys.of(text)) {
            Some(known) => Known::From {
                registry: known.registry.clone(),
                user: known.user.clone(),
            },
            None => Known::Unknown,
        }
    }

    /// The name that whoever has this token goes by: at docxy, or at the registry that made it if docxy saw him sign in.
    pub fn user_of(&self, token: &TokenText) -> Option<String> {
        match self.known(token) {
            Known::Sealed { credential, .. } => Some(credential.username),
            Known::User { bearer, .. } | Known::Refresh(bearer) => Some(bearer.name),
            Known::From { user, .. } => user.map(String::from),
            Known::Anonymous | Known::Access | Known::Void | Known::Unknown => None,
        }
    }

    /// Must this registry not see this refresh token? docxy's own are no registry's business.
    pub fn belongs_elsewhere(&self, token: &TokenText, registry: &RegistryName) -> bool {
        match self.known(token) {
            Known::Anonymous
            | Known::Void
            | Known::Sealed { .. }
            | Known::User { .. }
            | Known::Refresh(_)
            | Known::Access => true,
            Known::From { registry: of, .. } => of != *registry,
            Known::Unknown => false,
        }
    }

    /// For which registry docxy handed out this token, while it lives. `/v2/` then need not ask upstream (gcr.io
    /// answers 401 there to a token without scope).
    pub fn current(&self, token: &TokenText) -> Option<Current> {
        match self.known(token) {
            Known::Anonymous => Some(Current::Anonymous),
            Known::Sealed { registry, .. } => Some(Current::For(registry)),
            Known::From { registry, .. } => {
                let entry = self.handed_out.get(&self.keys.of(token.expose()))?;
                (entry.until > Instant::now()).then_some(Current::For(registry))
            }
            Known::User { .. } | Known::Refresh(_) | Known::Access | Known::Void | Known::Unknown => None,
        }
    }

    fn unseal(&self, sealed: &str) -> Option<Known> {
        let plain = self.sealer.open(sealed).ok()?;
        let Sealed {
            registry,
            opens,
            username,
            password,
            expires,
        } = serde_json::from_slice(&plain).ok()?;
        let registry = RegistryName::parse(&registry).ok()?;
        own::still_lives(expires, OWN_LIFE).then_some(Known::Sealed {
            registry,
            opens,
            credential: Credential {
                username,
                password: Secret::new(password),
            },
        })
    }
}

/// `token` for docker, `access_token` for `OAuth2` clients.
fn answer(token: &str) -> Vec<u8> {
    let json = serde_json::json!({ "token": token, "access_token": token, "expires_in": OWN_LIFE.as_secs() });
    json.to_string().into_bytes()
}

pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{ClientSecret, Right};

    fn tokens() -> Tokens {
        Tokens::new(Sealer::new(&[7; 32]).expect("a sealer"))
    }

    fn registry(name: &str) -> RegistryName {
        RegistryName::parse(name).expect("a registry's name")
    }

    fn login() -> Login {
        Login {
            credential: ClientSecret::Refresh(Secret::new("r".into())),
            scopes: Vec::new(),
            offline: false,
            client_id: None,
        }
    }

    /// On the shared host.
    fn right(tokens: &Tokens, token: &TokenText, of: &RegistryName, in_: Option<&Repository>) -> Right {
        tokens
            .permit(token, Action::Pull, of, in_, false)
            .0
            .right()
            .clone()
    }

    fn token_of(answer: &[u8]) -> TokenText {
        let token = Grant::parse(answer).ok().and_then(|grant| grant.token);
        Secret::new(token.expect("a token").into())
    }

    #[test]
    fn a_token_goes_only_to_the_registry_it_came_from() {
        // Threat S1: one client, two registries, one Authorization header.
        let tokens = tokens();
        tokens
            .remember(
                &registry("docker.io"),
                Some("alice"),
                &login(),
                br#"{"token":"hub","refresh_token":"again"}"#,
            )
            .expect("readable");
        let hub = Secret::new("hub".into());
        assert!(matches!(
            right(&tokens, &hub, &registry("docker.io"), None),
            Right::Bearer { .. }
        ));
        assert!(matches!(
            right(&tokens, &hub, &registry("ghcr.io"), None),
            Right::Anonymous
        ));
        assert!(tokens.belongs_elsewhere(&Secret::new("again".into()), &registry("ghcr.io")));
        assert_eq!(tokens.current(&hub), Some(Current::For(registry("docker.io"))));
        assert_eq!(tokens.user_of(&hub).as_deref(), Some("alice"));
        let unknown = Secret::new("mine".into());
        assert!(matches!(
            right(&tokens, &unknown, &registry("ghcr.io"), None),
            Right::Anonymous
        ));
        let (permit, _) = tokens.permit(&unknown, Action::Pull, &registry("ghcr.io"), None, true);
        assert!(matches!(permit.right(), Right::Bearer { registry, .. } if registry.as_str() == "ghcr.io"));
    }

    #[test]
    fn a_sealed_token_is_bound_to_registry_and_repository() {
        // A token for one private image must not open another registry or repository.
        let tokens = tokens();
        let (lan, other) = (registry("lan.example"), registry("other.example"));
        let credential = Credential {
            username: "u".into(),
            password: Secret::new(b"p\0\xff".to_vec()),
        };
        let scope = Scope::pull(&Repository::parse("team/app").expect("a name"));
        let token = token_of(&tokens.sealed_answer(&lan, &[scope], &credential).expect("sealed"));
        let repository = |name| Repository::parse(name).expect("a name");
        assert!(
            matches!(right(&tokens, &token, &lan, Some(&repository("team/app"))),
            Right::Basic { credential: c, .. } if c == credential)
        );
        assert!(matches!(
            right(&tokens, &token, &lan, Some(&repository("team/other"))),
            Right::Anonymous
        ));
        assert!(matches!(
            right(&tokens, &token, &other, Some(&repository("team/app"))),
            Right::Anonymous
        ));
        let forged = Secret::new(format!("{}x", token.expose()).into());
        assert_eq!(tokens.known(&forged), Known::Void);
        assert!(matches!(right(&tokens, &forged, &lan, None), Right::Anonymous));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_stops_being_current_when_its_life_ends() {
        // `/v2/` says 200 to a current token without asking; an expired one must not look signed in.
        let tokens = tokens();
        tokens
            .remember(
                &registry("docker.io"),
                None,
                &login(),
                br#"{"token":"hub","expires_in":300}"#,
            )
            .expect("readable");
        let hub = Secret::new("hub".into());
        assert!(tokens.current(&hub).is_some());
        tokio::time::advance(Duration::from_secs(301)).await;
        assert_eq!(tokens.current(&hub), None);
        assert!(
            matches!(tokens.known(&hub), Known::From { registry, .. } if registry.as_str() == "docker.io")
        );
    }
}
