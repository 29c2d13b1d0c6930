//! Tokens that docxy handed out: its own anonymous one, sealed ones for registries that know only Basic, and the
//! upstreams' own, remembered by keyed hash so that none is ever sent to another registry (threats S1, S6).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Permit;
use super::login::{AskedBy, LoginKey};
use super::seal::{NoRandom, Sealer, same};
use super::token_key::{TokenKey, TokenKeys};
use crate::config::values::{Credential, Secret};
use crate::oci::{Grant, RegistryName, Repository, Scope};
use crate::upstream::{ClientSecret, Login, Right};

/// How long a token of docxy's own lives, seconds. Clients fetch the next one by themselves.
pub const OWN_LIFE: Duration = Duration::from_mins(5);
/// Registries grant at least this when they say nothing (distribution's token specification).
const DEFAULT_LIFE: Duration = Duration::from_mins(1);
/// A refresh token says nothing of its life; we remember for whom it was this long.
const REFRESH_LIFE: Duration = Duration::from_hours(30 * 24);
/// Tokens remembered; at about 250 bytes each this is 25 MiB, at most three times that.
const REMEMBERED: u64 = 100_000;

/// Grants nothing; a client that presents it has shown that it has no credential for us to ask for.
const ANONYMOUS: &str = "docxy.anonymous";
const SEALED_PREFIX: &str = "docxy.sealed.";

/// The token store.
#[derive(Debug)]
pub struct Tokens {
    sealer: Sealer,
    keys: TokenKeys,
    handed_out: Cache<TokenKey, Arc<HandedOut>>,
    /// When a registry last accepted a login.
    accepted: Cache<LoginKey, Instant>,
}

#[derive(Debug)]
struct HandedOut {
    registry: RegistryName,
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
    catalog: bool,
}

impl Opens {
    fn of(scopes: &[Scope]) -> Self {
        let asks = |scope: &&Scope, wanted: &str| scope.actions.iter().any(|a| a == wanted || a == "*");
        Self {
            repositories: scopes
                .iter()
                .filter(|scope| scope.is_of_repository() && asks(scope, "pull"))
                .map(|scope| scope.name.clone())
                .collect(),
            catalog: scopes
                .iter()
                .any(|scope| scope.kind == "registry" && scope.name == "catalog" && asks(&scope, "*")),
        }
    }

    /// `None` is the catalog, the one thing of a registry that is in no repository.
    fn covers(&self, asked: Option<&Repository>) -> bool {
        match asked {
            Some(asked) => self.repositories.iter().any(|own| own == asked.as_str()),
            None => self.catalog,
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
    /// Looks like one of docxy's own but is expired, changed, or from another docxy.
    Void,
    /// Made by this registry and handed out by docxy.
    From(RegistryName),
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
        }
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
    /// would later go to any registry that a request names.
    pub fn remember(
        &self,
        registry: &RegistryName,
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
                    until: Instant::now() + life,
                    asked_by,
                };
                self.handed_out.insert(self.keys.of(&token), Arc::new(entry));
            }
        }
        Ok(())
    }

    /// The registry accepted this login just now.
    pub fn accept(&self, registry: &RegistryName, login: &Login) {
        let key = LoginKey::of(&self.sealer, registry, &login.credential);
        self.accepted.insert(key, Instant::now());
    }

    /// The registry refused it.
    pub fn refuse(&self, registry: &RegistryName, login: &Login) {
        let key = LoginKey::of(&self.sealer, registry, &login.credential);
        self.accepted.invalidate(&key);
    }

    /// Did the registry accept it so short a time ago? While it can't be asked, its owner gets a sealed token: what that
    /// opens is only what was proved before (`access.grace`).
    pub fn was_accepted(&self, registry: &RegistryName, login: &Login, within: Duration) -> bool {
        let key = LoginKey::of(&self.sealer, registry, &login.credential);
        self.accepted.get(&key).is_some_and(|at| at.elapsed() < within)
    }

    /// What this token is.
    pub fn known(&self, token: &Secret<String>) -> Known {
        let text = token.expose();
        if same(text, ANONYMOUS) {
            return Known::Anonymous;
        }
        if let Some(sealed) = text.strip_prefix(SEALED_PREFIX) {
            return self.unseal(sealed).unwrap_or(Known::Void);
        }
        match self.handed_out.get(&self.keys.of(text)) {
            Some(entry) => Known::From(entry.registry.clone()),
            None => Known::Unknown,
        }
    }

    /// Must this registry not see this refresh token? docxy's own are no registry's business.
    pub fn belongs_elsewhere(&self, token: &Secret<String>, registry: &RegistryName) -> bool {
        match self.known(token) {
            Known::Anonymous | Known::Void | Known::Sealed { .. } => true,
            Known::From(of) => of != *registry,
            Known::Unknown => false,
        }
    }

    /// For which registry docxy handed out this token, while it lives. `/v2/` then need not ask upstream (gcr.io
    /// answers 401 there to a token without scope).
    pub fn current(&self, token: &Secret<String>) -> Option<Current> {
        match self.known(token) {
            Known::Anonymous => Some(Current::Anonymous),
            Known::Sealed { registry, .. } => Some(Current::For(registry)),
            Known::From(registry) => {
                let entry = self.handed_out.get(&self.keys.of(token.expose()))?;
                (entry.until > Instant::now()).then_some(Current::For(registry))
            }
            Known::Void | Known::Unknown => None,
        }
    }

    /// What this token lets us present to this registry, for this repository or (`None`) for its catalog. A token of another registry grants
    /// nothing here and stays here; one we don't know goes to the registry that the request names, and no other.
    pub fn right(
        &self,
        token: &Secret<String>,
        registry: &RegistryName,
        repository: Option<&Repository>,
    ) -> Right {
        match self.known(token) {
            Known::Anonymous | Known::Void => Right::Anonymous,
            Known::Sealed {
                registry: of,
                opens,
                credential,
            } => {
                if of == *registry && opens.covers(repository) {
                    Right::Basic {
                        registry: of,
                        credential,
                    }
                } else {
                    Right::Anonymous
                }
            }
            Known::From(of) if of != *registry => Right::Anonymous,
            Known::From(_) | Known::Unknown => Right::Bearer {
                registry: registry.clone(),
                token: token.clone(),
            },
        }
    }

    /// As [`Self::right`], with the login that asked for the token, where its other tokens can do the same.
    pub fn permit(
        &self,
        token: &Secret<String>,
        registry: &RegistryName,
        repository: Option<&Repository>,
    ) -> Permit {
        let text = token.expose();
        if same(text, ANONYMOUS) || text.starts_with(SEALED_PREFIX) {
            let right = self.right(token, registry, repository);
            let Right::Basic { credential, .. } = &right else {
                return Permit::Try(right);
            };
            let secret = ClientSecret::Password(credential.clone());
            let login = LoginKey::of(&self.sealer, registry, &secret);
            return Permit::TryFor(right, login);
        }
        let known = self.handed_out.get(&self.keys.of(text));
        let login = match known {
            Some(known) if known.registry != *registry => return Permit::Try(Right::Anonymous),
            Some(known) if known.until > Instant::now() => known
                .asked_by
                .as_ref()
                .zip(repository)
                .and_then(|(asked_by, repository)| asked_by.for_repository(repository)),
            Some(_) | None => None,
        };
        let right = Right::Bearer {
            registry: registry.clone(),
            token: token.clone(),
        };
        match login {
            Some(login) => Permit::TryFor(right, login),
            None => Permit::Try(right),
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
        // No later than it could have been made either: a clock that jumped back does not make tokens immortal (R8).
        let life = expires.checked_sub(now())?;
        (life > 0 && life <= OWN_LIFE.as_secs()).then_some(Known::Sealed {
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

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(Sealer::new(&[7; 32]).expect("a sealer"))
    }

    fn registry(name: &str) -> RegistryName {
        RegistryName::parse(name).expect("a registry's name")
    }

    fn login() -> Login {
        Login {
            credential: ClientSecret::Password(Credential {
                username: "u".into(),
                password: Secret::new(b"p".to_vec()),
            }),
            scopes: vec![Scope::pull(&Repository::parse("team/app").expect("a name"))],
            offline: false,
            client_id: None,
        }
    }

    fn token_of(answer: &[u8]) -> Secret<String> {
        let token = Grant::parse(answer).ok().and_then(|grant| grant.token);
        Secret::new(token.expect("a token"))
    }

    #[test]
    fn a_token_goes_only_to_the_registry_it_came_from() {
        // Threat S1: one client, two registries, one Authorization header.
        let tokens = tokens();
        tokens
            .remember(
                &registry("docker.io"),
                &login(),
                br#"{"token":"hub","refresh_token":"again"}"#,
            )
            .expect("readable");
        let hub = Secret::new("hub".to_owned());
        assert!(matches!(
            tokens.right(&hub, &registry("docker.io"), None),
            Right::Bearer { .. }
        ));
        assert!(matches!(
            tokens.right(&hub, &registry("ghcr.io"), None),
            Right::Anonymous
        ));
        assert_eq!(
            tokens.known(&Secret::new("again".into())),
            Known::From(registry("docker.io"))
        );
        assert_eq!(tokens.current(&hub), Some(Current::For(registry("docker.io"))));
        let unknown = Secret::new("mine".to_owned());
        assert!(matches!(tokens.right(&unknown, &registry("ghcr.io"), None),
            Right::Bearer { registry, .. } if registry.as_str() == "ghcr.io"));
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
            matches!(tokens.right(&token, &lan, Some(&repository("team/app"))),
            Right::Basic { credential: c, .. } if c == credential)
        );
        assert!(matches!(
            tokens.right(&token, &lan, Some(&repository("team/other"))),
            Right::Anonymous
        ));
        assert!(matches!(
            tokens.right(&token, &other, Some(&repository("team/app"))),
            Right::Anonymous
        ));
        let forged = Secret::new(format!("{}x", token.expose()));
        assert_eq!(tokens.known(&forged), Known::Void);
        assert!(matches!(tokens.right(&forged, &lan, None), Right::Anonymous));
    }

    #[tokio::test(start_paused = true)]
    async fn a_living_token_proves_for_its_login_in_the_repository_it_was_asked_for() {
        // One question upstream for each login, not for each token; but a token that ended, or that was asked for in
        // another repository's name, must not profit from what a better one proved.
        let tokens = tokens();
        let hub = registry("docker.io");
        for answer in [
            r#"{"token":"one","expires_in":300}"#,
            r#"{"token":"two","expires_in":600}"#,
        ] {
            tokens
                .remember(&hub, &login(), answer.as_bytes())
                .expect("readable");
        }
        let login_of = |token: &str, repository: &str| {
            let repository = Repository::parse(repository).expect("a name");
            match tokens.permit(&Secret::new(token.to_owned()), &hub, Some(&repository)) {
                Permit::TryFor(Right::Bearer { .. }, login) => Some(login),
                _ => None,
            }
        };
        let one = login_of("one", "team/app");
        assert!(one.is_some());
        assert_eq!(one, login_of("two", "team/app"));
        assert_eq!(login_of("one", "team/other"), None);
        assert_eq!(login_of("unknown", "team/app"), None);
        tokio::time::advance(Duration::from_secs(301)).await;
        assert_eq!(login_of("one", "team/app"), None);
        assert_eq!(login_of("two", "team/app"), one);
        assert!(matches!(
            tokens.permit(&Secret::new("two".into()), &registry("ghcr.io"), None),
            Permit::Try(Right::Anonymous)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_stops_being_current_when_its_life_ends() {
        // `/v2/` says 200 to a current token without asking; an expired one must not look signed in.
        let tokens = tokens();
        tokens
            .remember(
                &registry("docker.io"),
                &login(),
                br#"{"token":"hub","expires_in":300}"#,
            )
            .expect("readable");
        let hub = Secret::new("hub".to_owned());
        assert!(tokens.current(&hub).is_some());
        tokio::time::advance(Duration::from_secs(301)).await;
        assert_eq!(tokens.current(&hub), None);
        assert_eq!(tokens.known(&hub), Known::From(registry("docker.io")));
    }
}
