//! Which login a token was handed out to, so that what was proved with one token counts for the next one too: clients
//! fetch a new token every few minutes, and each would otherwise cost the registry a question.
//!
//! It is safe because the next token could do the same at the registry: it was asked for by the same name and password
//! (which the registry checked to make it), in the name of the same repository, and is still alive. A token that was asked
//! for in another repository's name may be narrower than the login, and proves only for itself.

use super::seal::Sealer;
use crate::oci::{RegistryName, Repository, Scope};
use crate::upstream::{ClientSecret, Login};

/// Bytes of repositories' names that are remembered with a token; clients ask in the name of one or two.
const MOST_NAMES: usize = 300;

/// A keyed hash of a registry, a name and a password, or of a refresh token: equal for equal ones, and of no use to who
/// reads the memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LoginKey([u8; 32]);

/// A login, and the repositories in whose names it asked for a token.
#[derive(Clone, Debug)]
pub(super) struct AskedBy {
    key: LoginKey,
    /// As clients name them.
    repositories: Box<[Box<str>]>,
}

impl LoginKey {
    pub(super) fn of(sealer: &Sealer, registry: &RegistryName, secret: &ClientSecret) -> Self {
        let mut text = format!("login\0{registry}\0").into_bytes();
        match secret {
            ClientSecret::Password(credential) => {
                // The name's length keeps ("a", "bc") apart from ("ab", "c").
                text.extend_from_slice(&(credential.username.len() as u64).to_be_bytes());
                text.extend_from_slice(credential.username.as_bytes());
                text.extend_from_slice(credential.password.expose());
            }
            ClientSecret::Refresh(token) => {
                // No name has this length.
                text.extend_from_slice(&u64::MAX.to_be_bytes());
                text.extend_from_slice(token.expose().as_bytes());
            }
        }
        Self(sealer.hash(&text))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl AskedBy {
    pub fn new(sealer: &Sealer, registry: &RegistryName, login: &Login) -> Self {
        let mut room = MOST_NAMES;
        let pulls = |scope: &&Scope| {
            scope.is_of_repository()
                && scope
                    .actions
                    .iter()
                    .any(|action| action == "pull" || action == "*")
        };
        let names = login.scopes.iter().filter(pulls).map(|scope| scope.name.as_str());
        let repositories = names.take_while(|name| {
            let fits = name.len() <= room;
            room = room.saturating_sub(name.len());
            fits
        });
        Self {
            repositories: repositories.map(Into::into).collect(),
            key: LoginKey::of(sealer, registry, &login.credential),
        }
    }

    /// Whatever it asked for.
    pub fn login(&self) -> LoginKey {
        self.key
    }

    /// The login, where it asked in this repository's name.
    pub fn for_repository(&self, repository: &Repository) -> Option<LoginKey> {
        let asked = self
            .repositories
            .iter()
            .any(|name| **name == *repository.as_str());
        asked.then_some(self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::{Credential, Secret};

    fn asked_by(username: &str, password: &str, scopes: &str) -> AskedBy {
        let sealer = Sealer::new(&[7; 32]).expect("a sealer");
        let login = Login {
            credential: ClientSecret::Password(Credential {
                username: username.into(),
                password: Secret::new(password.into()),
            }),
            scopes: Scope::parse_list(scopes).expect("scopes"),
            offline: false,
            client_id: None,
        };
        let registry = RegistryName::parse("docker.io").expect("a name");
        AskedBy::new(&sealer, &registry, &login)
    }

    #[test]
    fn only_the_same_password_and_repository_are_the_same_login() {
        // Whoever holds a token for one repository only (a build machine) must not profit from its owner's other pulls.
        let repository = |name| Repository::parse(name).expect("a name");
        let app = repository("acme/app");
        let one = asked_by("alice", "secret", "repository:acme/app:pull").for_repository(&app);
        let same = asked_by(
            "alice",
            "secret",
            "repository:a/b:pull repository:acme/app:pull,push",
        );
        assert!(one.is_some());
        assert_eq!(same.for_repository(&app), one);
        for (username, password, scopes) in [
            ("alice", "secre", "repository:acme/app:pull"),
            ("alic", "esecret", "repository:acme/app:pull"),
            ("bob", "secret", "repository:acme/app:pull"),
            ("alice", "secret", "repository:acme/other:pull"),
            ("alice", "secret", "repository:acme/app:push"),
            ("alice", "secret", ""),
        ] {
            let other = asked_by(username, password, scopes).for_repository(&app);
            assert_ne!(other, one, "{username} {password} {scopes}");
        }
        let long = format!(
            "repository:{}:pull repository:acme/app:pull",
            "a".repeat(MOST_NAMES)
        );
        assert_eq!(asked_by("alice", "secret", &long).for_repository(&app), None);
    }
}
