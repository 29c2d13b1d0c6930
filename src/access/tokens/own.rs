//! Tokens for docxy's own users: sealed, so that nothing need be remembered, and only as good as what they were made
//! for. They say who it is and what he proved it with, never a password; both are looked up again at every use.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Known, OWN_LIFE, Opens, Tokens, now};
use crate::access::accounts::{Account, Proof};
use crate::access::seal::NoRandom;
use crate::oci::{RegistryName, Scope};

pub(super) const PULL_PREFIX: &str = "docxy.user.";
pub(super) const REFRESH_PREFIX: &str = "docxy.refresh.";

/// Who a token is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Bearer {
    pub name: String,
    #[serde(with = "as_text")]
    pub proof: Proof,
}

/// What is inside. The two kinds can't be taken for each other, whatever prefix somebody puts before them.
#[derive(Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case", deny_unknown_fields)]
enum Inside {
    Pull {
        bearer: Bearer,
        registry: String,
        opens: Opens,
        /// Seconds since 1970.
        expires: u64,
    },
    /// Lasts as long as the proof does, as the password would that a client keeps without it.
    Refresh { bearer: Bearer },
}

impl Tokens {
    /// The answer for somebody who signed in as a user of docxy's own. A client that wants to sign in again by itself
    /// (`offline`) gets a second token, to keep instead of the password, unless that would end with this run.
    pub fn user_answer(
        &self,
        registry: &RegistryName,
        scopes: &[Scope],
        account: &Account,
        offline: bool,
    ) -> Result<Vec<u8>, NoRandom> {
        let bearer = Bearer {
            name: account.user.name.clone(),
            proof: account.proof.clone(),
        };
        let refresh = if offline && self.outlives_this_run {
            let bearer = bearer.clone();
            Some(self.sealed(REFRESH_PREFIX, &Inside::Refresh { bearer })?)
        } else {
            None
        };
        let pull = self.sealed(
            PULL_PREFIX,
            &Inside::Pull {
                bearer,
                registry: registry.to_string(),
                opens: Opens::of(scopes),
                expires: now() + OWN_LIFE.as_secs(),
            },
        )?;
        let mut answer = serde_json::json!({
            "token": pull,
            "access_token": pull,
            "expires_in": OWN_LIFE.as_secs(),
        });
        if let Some(refresh) = refresh {
            answer["refresh_token"] = refresh.into();
        }
        Ok(answer.to_string().into_bytes())
    }

    pub(super) fn user_token(&self, text: &str) -> Option<Known> {
        let (sealed, is_refresh) = match text.strip_prefix(PULL_PREFIX) {
            Some(sealed) => (sealed, false),
            None => (text.strip_prefix(REFRESH_PREFIX)?, true),
        };
        let plain = self.sealer.open(sealed).ok()?;
        match (serde_json::from_slice(&plain).ok()?, is_refresh) {
            (Inside::Refresh { bearer }, true) => Some(Known::Refresh(bearer)),
            (
                Inside::Pull {
                    bearer,
                    registry,
                    opens,
                    expires,
                },
                false,
            ) => still_lives(expires, OWN_LIFE).then_some(Known::User {
                bearer,
                registry: RegistryName::parse(&registry).ok()?,
                opens,
            }),
            _ => None,
        }
    }

    fn sealed(&self, prefix: &str, inside: &Inside) -> Result<String, NoRandom> {
        let plain = serde_json::to_vec(inside).map_err(|_| NoRandom)?;
        Ok(format!("{prefix}{}", self.sealer.seal(plain)?))
    }
}

/// No later than it could have been made either: a clock that jumped back does not make tokens immortal (R8).
pub(in crate::access) fn still_lives(expires: u64, longest: Duration) -> bool {
    expires
        .checked_sub(now())
        .is_some_and(|life| life > 0 && life <= longest.as_secs())
}

/// A fingerprint as an array of numbers would make a token half as long again.
mod as_text {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Engine, Proof, STANDARD_NO_PAD};

    const PASSWORD: &str = "p:";
    const TOKEN: &str = "t:";

    pub fn serialize<S: Serializer>(proof: &Proof, serializer: S) -> Result<S::Ok, S::Error> {
        let text = match proof {
            Proof::Password(fingerprint) => format!("{PASSWORD}{}", STANDARD_NO_PAD.encode(fingerprint)),
            Proof::Token(id) => format!("{TOKEN}{id}"),
        };
        text.serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Proof, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(id) = text.strip_prefix(TOKEN) {
            return Ok(Proof::Token(id.to_owned()));
        }
        text.strip_prefix(PASSWORD)
            .and_then(|encoded| STANDARD_NO_PAD.decode(encoded).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Proof::Password)
            .ok_or_else(|| D::Error::custom("no proof"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::User;
    use crate::access::seal::Sealer;
    use crate::config::values::Secret;
    use crate::oci::{Action, Grant, Repository};
    use crate::upstream::Right;

    fn tokens() -> Tokens {
        Tokens::new(Sealer::new(&[7; 32]).expect("a sealer")).kept()
    }

    fn ann() -> Account {
        Account::for_test(
            Arc::new(User {
                name: "ann".to_owned(),
                groups: vec!["dev".to_owned()],
            }),
            Proof::Password([9; 32]),
        )
    }

    fn registry() -> RegistryName {
        RegistryName::parse("ghcr.io").expect("a name")
    }

    fn granted(tokens: &Tokens, offline: bool) -> Grant {
        let scope = Scope::pull(&Repository::parse("team/app").expect("a name"));
        let answer = tokens.user_answer(&registry(), &[scope], &ann(), offline);
        let Ok(grant) = Grant::parse(&answer.expect("sealed")) else {
            panic!("an answer that no client reads");
        };
        grant
    }

    #[test]
    fn a_users_token_says_who_and_for_what_and_goes_to_no_registry() {
        // Threat S1: it names a user of docxy's; a registry that saw it could use it here.
        let tokens = tokens();
        let grant = granted(&tokens, true);
        let pull = Secret::new(grant.token.expect("a token").into());
        let Known::User {
            bearer,
            registry: of,
            opens,
        } = tokens.known(&pull)
        else {
            panic!("{:?}", tokens.known(&pull));
        };
        assert_eq!(
            (bearer.name.as_str(), bearer.proof),
            ("ann", Proof::Password([9; 32]))
        );
        assert_eq!(of, registry());
        let repository = |name| Repository::parse(name).expect("a name");
        assert!(opens.covers(Action::Pull, Some(&repository("team/app"))));
        assert!(
            !opens.covers(Action::Pull, Some(&repository("team/other"))) && !opens.covers(Action::Pull, None)
        );
        let refresh = Secret::new(grant.refresh_token.expect("docker asked for one").into());
        assert!(matches!(tokens.known(&refresh), Known::Refresh(bearer) if bearer.name == "ann"));
        for secret in [&pull, &refresh] {
            assert!(!secret.expose().contains("ann"));
            let (permit, _) = tokens.permit(secret, Action::Pull, &registry(), None, true);
            assert!(matches!(permit.right(), Right::Anonymous));
            assert!(tokens.belongs_elsewhere(secret, &registry()));
        }
    }

    #[test]
    fn one_kind_is_never_taken_for_the_other() {
        // A refresh token has no end of its own: as a pull token it would be one for ever, and for everything.
        let tokens = tokens();
        let grant = granted(&tokens, true);
        let (pull, refresh) = (grant.token.expect("one"), grant.refresh_token.expect("one"));
        let sealed = |text: &str, prefix| text.strip_prefix(prefix).expect("its prefix").to_owned();
        let (pull, refresh) = (sealed(&pull, PULL_PREFIX), sealed(&refresh, REFRESH_PREFIX));
        for forged in [
            format!("{PULL_PREFIX}{refresh}"),
            format!("{REFRESH_PREFIX}{pull}"),
            format!("docxy.sealed.{pull}"),
            format!("docxy.sealed.{refresh}"),
            format!("{PULL_PREFIX}{pull}x"),
            format!("docxy.{pull}"),
            "docxy.user.".to_owned(),
            "docxy_nonsense".to_owned(),
        ] {
            let known = tokens.known(&Secret::new(forged.as_str().into()));
            assert_eq!(known, Known::Void, "{forged}");
        }
    }

    #[test]
    fn without_a_kept_key_no_client_throws_its_password_away() {
        // docker keeps a refresh token instead of the password; one that ends with a restart would sign everyone out.
        let tokens = Tokens::new(Sealer::new(&[7; 32]).expect("a sealer"));
        assert_eq!(granted(&tokens, true).refresh_token, None);
        assert_eq!(granted(&tokens.kept(), false).refresh_token, None);
    }
}
