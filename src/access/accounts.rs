//! docxy's own accounts: users with their passwords, and access tokens. One place that says who somebody is, whatever
//! he proves it with.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Refusal;
use super::issued::text::PREFIX;
use super::issued::{Created, Invalid, Issued, IssuedError, Live, Wanted};
use super::made_here;
use super::subject::User;
use super::users::{SignInError, Users};
use crate::config::values::{Credential, Secret, TokenText};
use crate::route::Target;

/// Everyone whom docxy itself knows.
#[derive(Debug)]
pub struct Accounts {
    users: Users,
    issued: Arc<Issued>,
    /// User to groups.
    groups: HashMap<String, Vec<String>>,
}

/// Somebody who proved who he is.
#[derive(Clone, Debug)]
pub struct Account {
    pub user: Arc<User>,
    /// What a token of docxy's own, made for him, lasts as long as.
    pub proof: Proof,
    /// The access token, where that was the proof: it may be for less than the user may have.
    token: Option<Arc<Live>>,
}

/// What somebody proved himself with, in a form that is no secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// The fingerprint of the user's entry, which changes with the password.
    Password([u8; 32]),
    /// The access token's id.
    Token(String),
}

impl Accounts {
    /// `groups`: name to members.
    pub fn new(users: Users, issued: Arc<Issued>, groups: &BTreeMap<String, Vec<String>>) -> Self {
        let mut of_user: HashMap<String, Vec<String>> = HashMap::new();
        for (group, members) in groups {
            for member in members {
                of_user.entry(member.clone()).or_default().push(group.clone());
            }
        }
        Self {
            users,
            issued,
            groups: of_user,
        }
    }

    /// The access tokens, to be listed and revoked.
    pub fn issued(&self) -> &Arc<Issued> {
        &self.issued
    }

    pub fn users(&self) -> &Users {
        &self.users
    }

    /// A user name with its password, or any name with an access token.
    pub async fn sign_in(&self, credential: &Credential, from: IpAddr) -> Result<Account, Refusal> {
        if let Some(token) = access_token(credential) {
            return self.present(&token);
        }
        // Another token of docxy's is no guess, and not worth a hash.
        if made_here::is_in(credential) {
            return Err(Refusal::BadSignIn);
        }
        let Credential { username, password } = credential;
        let verified = self.users.verify(username, password.expose(), from).await;
        let name = verified.map_err(|error| match error {
            SignInError::Wrong => Refusal::BadSignIn,
            SignInError::Busy { retry_after } | SignInError::BackOff { retry_after } => {
                Refusal::NotNow { retry_after }
            }
        })?;
        // Gone, or another, while the password was being hashed: it was the password of an entry that is no more.
        let fingerprint = self.users.fingerprint(&name).ok_or(Refusal::BadSignIn)?;
        Ok(Account {
            user: self.user(name),
            proof: Proof::Password(fingerprint),
            token: None,
        })
    }

    /// Is this docxy's own, as far as that is known without a hash? Then no registry is shown it, whatever door it came by:
    /// containerd sends one header of `hosts.toml` to docxy for every registry.
    pub fn are_docxys(&self, credential: &Credential, from: IpAddr) -> bool {
        let Credential { username, password } = credential;
        made_here::is_in(credential) || self.users.knows_from(username, password.expose(), from)
    }

    /// An access token.
    pub fn present(&self, token: &TokenText) -> Result<Account, Refusal> {
        self.by_token(self.issued.present(token.expose())?)
    }

    /// Somebody who proved himself before: he is the same for as long as his proof lasts.
    pub fn again(&self, name: &str, proof: &Proof) -> Result<Account, Refusal> {
        match proof {
            Proof::Token(id) => self.by_token(self.issued.of_id(id)?),
            Proof::Password(then) => {
                let now = self.users.fingerprint(name);
                if now.as_ref() != Some(then) {
                    return Err(Refusal::BadSignIn);
                }
                Ok(Account {
                    user: self.user(name.to_owned()),
                    proof: proof.clone(),
                    token: None,
                })
            }
        }
    }

    /// Makes an access token; blocking.
    pub fn create(&self, wanted: Wanted) -> Result<Created, IssuedError> {
        if let Some(user) = &wanted.user
            && self.users.fingerprint(user).is_none()
        {
            return Err(IssuedError::NoUser(user.clone()));
        }
        self.issued.create(wanted)
    }

    /// Ends the access tokens of users who are gone. Blocking; to be called at the start and whenever users change.
    ///
    /// Where no file of users is configured that is more likely a mistake than that all of them left.
    pub fn end_tokens_of_the_gone(&self) {
        if self.users.are_kept() {
            self.issued
                .end_with_users(|name| self.users.fingerprint(name).is_some());
        }
    }

    /// Sees what changes in the files of both, until `end` resolves.
    pub async fn watch(self: Arc<Self>, every: Duration, end: impl Future<Output = ()> + Clone) {
        let accounts = Arc::clone(&self);
        let users = self.users.clone();
        let users = users.watch(every, end.clone(), move || accounts.end_tokens_of_the_gone());
        tokio::join!(users, Arc::clone(&self.issued).watch(end));
    }

    fn by_token(&self, live: Arc<Live>) -> Result<Account, Refusal> {
        let name = match &live.about.user {
            // With the user goes what was made in his name.
            Some(user) if self.users.fingerprint(user).is_none() => return Err(Refusal::BadSignIn),
            Some(user) => user.clone(),
            None => format!("token:{}", live.about.name),
        };
        Ok(Account {
            user: self.user(name),
            proof: Proof::Token(live.about.id.clone()),
            token: Some(live),
        })
    }

    pub fn groups_of(&self, name: &str) -> &[String] {
        self.groups.get(name).map_or(&[], Vec::as_slice)
    }

    fn user(&self, name: String) -> Arc<User> {
        let groups = self.groups_of(&name).to_vec();
        Arc::new(User { name, groups })
    }
}

impl Account {
    #[cfg(test)]
    pub fn for_test(user: Arc<User>, proof: Proof) -> Self {
        Self {
            user,
            proof,
            token: None,
        }
    }

    /// May the access token, if it was one, be used to change anything? A password may whatever its user may.
    pub fn may_push(&self) -> bool {
        self.token.as_ref().is_none_or(|live| live.about.push)
    }

    /// Was it an access token that was made for some repositories only?
    pub fn is_limited(&self) -> bool {
        self.token
            .as_ref()
            .is_some_and(|live| !live.about.scopes.is_empty())
    }

    /// May the access token, if it was one, be used for this? What the user may have is the rules' to say.
    pub fn covers(&self, target: &Target) -> bool {
        let scopes = self.token.as_ref().map_or(&[][..], |live| &live.about.scopes);
        if scopes.is_empty() {
            return true;
        }
        let registry = &target.registry;
        let repository = target
            .endpoint
            .repository()
            .map(|repository| registry.canonical(repository));
        scopes
            .iter()
            .any(|scope| scope.covers(&registry.name, repository.as_deref()))
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Ended => Self::BadSignIn,
            Invalid::Unreadable => Self::Unreadable,
        }
    }
}

/// The password, if it is an access token or was meant as one.
fn access_token(credential: &Credential) -> Option<TokenText> {
    let text = std::str::from_utf8(credential.password.expose()).ok()?;
    text.starts_with(PREFIX).then(|| Secret::new(text.into()))
}
