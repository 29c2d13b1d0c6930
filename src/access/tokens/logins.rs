//! Logins that registries accepted, and what the tokens of one login can do for each other.

use std::time::Duration;

use tokio::time::Instant;

use super::{Known, Tokens};
use crate::access::Permit;
use crate::access::login::{AskedBy, LoginKey};
use crate::access::made_here;
use crate::config::values::{Credential, TokenText};
use crate::oci::{Action, RegistryName, Repository};
use crate::upstream::{ClientSecret, Login, Right};

impl Tokens {
    /// Keyed hashes of this login at this registry, and of the login with what it asks for.
    pub fn keys_of(&self, registry: &RegistryName, login: &Login) -> ([u8; 32], [u8; 32]) {
        let key = *LoginKey::of(&self.sealer, registry, &login.credential).as_bytes();
        let mut asked = b"asked\0".to_vec();
        asked.extend_from_slice(&key);
        for scope in &login.scopes {
            asked.extend_from_slice(scope.to_string().as_bytes());
            asked.push(0);
        }
        (key, self.sealer.hash(&asked))
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

    /// A keyed hash of the login that this token was handed out to, whether or not it lives: the next one of the same login
    /// has the same.
    pub(in crate::access) fn owner_of(&self, token: &TokenText, registry: &RegistryName) -> Option<LoginKey> {
        match self.known(token) {
            Known::Sealed {
                registry: of,
                credential,
                ..
            } if of == *registry => Some(self.login_of(registry, credential)),
            Known::From { registry: of, .. } if of == *registry => {
                let entry = self.handed_out.get(&self.keys.of(token.expose()))?;
                entry.asked_by.as_ref().map(AskedBy::login)
            }
            _ => None,
        }
    }

    /// The same of a name and password.
    pub(in crate::access) fn login_of(&self, registry: &RegistryName, credential: Credential) -> LoginKey {
        LoginKey::of(&self.sealer, registry, &ClientSecret::Password(credential))
    }

    /// What this token lets us present to this registry, for this repository or (`None`) for its catalog, with the login
    /// that asked for the token, where its other tokens can do the same, and the name there of whom it was handed to, if
    /// docxy saw him sign in.
    ///
    /// A token of another registry grants nothing here and stays here. So does one that we don't know, because it may be
    /// another's (handed out before a restart): its client is denied, and fetches one that we know. Only where the door
    /// itself names the registry (`names_registry`) it is for that one, as the client's whole sign-in is.
    pub fn permit(
        &self,
        token: &TokenText,
        action: Action,
        registry: &RegistryName,
        repository: Option<&Repository>,
        names_registry: bool,
    ) -> (Permit, Option<Box<str>>) {
        let text = token.expose();
        if made_here::is_token(text.as_bytes()) {
            return match self.known(token) {
                Known::Sealed {
                    registry: of,
                    opens,
                    credential,
                } if of == *registry && opens.covers(action, repository) => {
                    let user = credential.username.as_str().into();
                    let secret = ClientSecret::Password(credential.clone());
                    let login = LoginKey::of(&self.sealer, registry, &secret);
                    let right = Right::Basic {
                        registry: of,
                        credential,
                    };
                    (Permit::TryFor(right, login), Some(user))
                }
                _ => (Permit::Try(Right::Anonymous), None),
            };
        }
        let right = Right::Bearer {
            registry: registry.clone(),
            token: token.clone(),
        };
        let Some(known) = self.handed_out.get(&self.keys.of(text)) else {
            let right = if names_registry { right } else { Right::Anonymous };
            return (Permit::Try(right), None);
        };
        if known.registry != *registry {
            return (Permit::Try(Right::Anonymous), None);
        }
        let alive = known.asked_by.as_ref().filter(|_| known.until > Instant::now());
        let login = alive
            .zip(repository)
            .and_then(|(asked_by, repository)| asked_by.for_repository(repository));
        let permit = match login {
            Some(login) => Permit::TryFor(right, login),
            None => Permit::Try(right),
        };
        (permit, known.user.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::seal::Sealer;
    use crate::config::values::{Credential, Secret};
    use crate::oci::Scope;

    #[tokio::test(start_paused = true)]
    async fn a_living_token_proves_for_its_login_in_the_repository_it_was_asked_for() {
        // One question upstream for each login, not for each token; but a token that ended, or that was asked for in
        // another repository's name, must not profit from what a better one proved.
        let tokens = Tokens::new(Sealer::new(&[7; 32]).expect("a sealer"));
        let hub = RegistryName::parse("docker.io").expect("a name");
        let repository = |name| Repository::parse(name).expect("a name");
        let login = Login {
            credential: ClientSecret::Password(Credential {
                username: "u".into(),
                password: Secret::new(b"p".to_vec()),
            }),
            scopes: vec![Scope::pull(&repository("team/app"))],
            offline: false,
            client_id: None,
        };
        for answer in [
            r#"{"token":"one","expires_in":300}"#,
            r#"{"token":"two","expires_in":600}"#,
        ] {
            tokens
                .remember(&hub, None, &login, answer.as_bytes())
                .expect("readable");
        }
        let login_of = |token: &str, name: &'static str| {
            let token = TokenText::new(token.into());
            match tokens
                .permit(&token, Action::Pull, &hub, Some(&repository(name)), true)
                .0
            {
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
        let elsewhere = RegistryName::parse("ghcr.io").expect("a name");
        let (permit, _) = tokens.permit(&Secret::new("two".into()), Action::Pull, &elsewhere, None, true);
        assert!(matches!(permit, Permit::Try(Right::Anonymous)));
    }
}
