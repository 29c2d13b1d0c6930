//! One order, from the names to their certificate.

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::Config;
use super::challenges::{Challenges, Kind, Shown};
use super::client::Client;
use super::issued::Issued;
use super::trouble::{Step, Trouble, one_line, words};
use crate::config::values::Secret;

/// How often the authority is asked whether it is done: soon, then ever less often. It may say itself when.
const ASKING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.6)
    .timeout(Duration::from_mins(3));

/// What an authority that looked for a name may say (RFC 8555, 6.7; RFC 8737, 4).
const OF_VALIDATION: [&str; 5] = ["connection", "dns", "incorrectResponse", "tls", "unauthorized"];

/// What an order needs.
pub struct Ordering<'a> {
    pub config: &'a Config,
    pub client: &'a Client,
    pub account: &'a Account,
    pub challenges: &'a Arc<Challenges>,
    /// The kinds of challenge, the one that is tried first in front.
    pub kinds: &'a [Kind],
    pub replaces: Option<CertificateIdentifier<'static>>,
}

/// An open challenge of one name.
struct Open {
    name: String,
    kind: Kind,
    shown: Shown,
}

impl Ordering<'_> {
    /// The chain and its key, as they are kept; and by which kind of challenge the names were checked, if they were.
    pub async fn run(&self) -> Result<(Secret<String>, Option<Kind>), Trouble> {
        let names: Vec<_> = self.config.names.iter().cloned().map(Identifier::Dns).collect();
        let mut wanted = NewOrder::new(&names);
        if let Some(replaces) = &self.replaces {
            wanted = wanted.replaces(replaces.clone());
        }
        let order = self.account.new_order(&wanted).await;
        let mut order = order.map_err(|error| self.trouble(Step::Order, error))?;
        let open = self.open(&mut order).await?;
        self.await_validation(&mut order, &open).await?;
        let checked_by = open.first().map(|open| open.kind);
        drop(open);
        Ok((self.fetch(&mut order).await?, checked_by))
    }

    /// Opens a challenge for each name that the authority has not checked lately.
    async fn open(&self, order: &mut Order) -> Result<Vec<Open>, Trouble> {
        let mut open = Vec::new();
        let mut left: Vec<&str> = self.config.names.iter().map(String::as_str).collect();
        let mut authorisations = order.authorizations();
        while let Some(authorisation) = authorisations.next().await {
            let authorisation = authorisation.map_err(|error| self.trouble(Step::Challenges, error))?;
            let name = authorisation.identifier().to_string();
            let Some(place) = left.iter().position(|wanted| *wanted == name) else {
                return Err(self.odd(
                    Step::Challenges,
                    &format!("it wants to check {name}, which was not ordered, or twice"),
                ));
            };
            left.swap_remove(place);
            match authorisation.status {
                AuthorizationStatus::Valid => {}
                _ => open.push(self.open_one(authorisation).await?),
            }
        }
        Ok(open)
    }

    async fn open_one(&self, mut authorisation: AuthorizationHandle<'_>) -> Result<Open, Trouble> {
        let name = authorisation.identifier().to_string();
        let offered: Vec<_> = authorisation
            .challenges
            .iter()
            .map(|one| one.r#type.clone())
            .collect();
        let kind = self
            .kinds
            .iter()
            .find(|kind| offered.contains(&kind.of_library()));
        let Some(&kind) = kind else {
            let words = offered.iter().map(word).collect::<Vec<_>>().join(", ");
            return Err(Trouble::NoChallenge {
                host: self.config.host().to_owned(),
                name,
                offered: words,
                mine: self
                    .kinds
                    .iter()
                    .map(|kind| kind.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            });
        };
        let Some(mut challenge) = authorisation.challenge(kind.of_library()) else {
            return Err(self.odd(Step::Challenges, &format!("no {kind}")));
        };
        let proof = challenge.key_authorization();
        let shown = match kind {
            Kind::Http01 => self.challenges.show_answer(&challenge.token, proof.as_str()),
            Kind::TlsAlpn01 => self.challenges.show_handshake(&name, proof.as_str())?,
        };
        let told = challenge.set_ready().await;
        told.map_err(|error| match self.trouble(Step::Challenges, error) {
            // It has looked already.
            Trouble::Refused {
                kind: found, detail, ..
            } if OF_VALIDATION.contains(&&*found) => Trouble::Challenge {
                host: self.config.host().to_owned(),
                name: name.clone(),
                kind,
                saw: detail,
                answered: shown.was_asked_for(),
            },
            trouble => trouble,
        })?;
        Ok(Open { name, kind, shown })
    }

    /// Until the authority has looked at all names.
    async fn await_validation(&self, order: &mut Order, open: &[Open]) -> Result<(), Trouble> {
        let status = order.poll_ready(&ASKING).await;
        if matches!(status, Ok(OrderStatus::Ready)) {
            return Ok(());
        }
        let turned = self.client.turned();
        if let Some(found) = self.failed_challenge(order, open).await {
            return Err(found);
        }
        Err(match status {
            Err(error) => Trouble::of(self.config.host(), Step::Validation, error, turned),
            Ok(status) => self.odd(
                Step::Validation,
                &format!("the order is {status:?}, without a reason"),
            ),
        })
    }

    /// The name that was not found here, and what the authority saw instead.
    async fn failed_challenge(&self, order: &mut Order, open: &[Open]) -> Option<Trouble> {
        let mut authorisations = order.authorizations();
        while let Some(authorisation) = authorisations.next().await {
            let mut authorisation = authorisation.ok()?;
            let state = authorisation.refresh().await.ok()?;
            let name = one_line(&state.identifier().to_string());
            let said = state.challenges.iter().find_map(|challenge| {
                let problem = challenge.error.as_ref()?;
                Some((&challenge.r#type, words(problem)))
            });
            let Some((kind, saw)) = said else { continue };
            let mine = open.iter().find(|open| open.name == name);
            return Some(Trouble::Challenge {
                host: self.config.host().to_owned(),
                kind: mine.map_or_else(|| Kind::of(&word(kind)).unwrap_or(Kind::Http01), |open| open.kind),
                name,
                saw,
                answered: mine.is_some_and(|open| open.shown.was_asked_for()),
            });
        }
        None
    }

    /// Hands in a request with a new key, and fetches what is made of it.
    async fn fetch(&self, order: &mut Order) -> Result<Secret<String>, Trouble> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(self.config.names.clone())?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        let handed = order.finalize_csr(request.der()).await;
        handed.map_err(|error| self.trouble(Step::Finalise, error))?;
        let chain = order.poll_certificate(&ASKING).await;
        let chain = chain.map_err(|error| self.trouble(Step::Certificate, error))?;
        Ok(Issued::text(
            self.config.directory.as_str(),
            &key.serialize_pem(),
            &chain,
        ))
    }

    fn odd(&self, step: Step, what: &str) -> Trouble {
        Trouble::Odd {
            host: self.config.host().to_owned(),
            step,
            what: one_line(what),
        }
    }

    fn trouble(&self, step: Step, error: instant_acme::Error) -> Trouble {
        Trouble::of(self.config.host(), step, error, self.client.turned())
    }
}

impl Kind {
    fn of_library(self) -> ChallengeType {
        match self {
            Self::Http01 => ChallengeType::Http01,
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }
}

fn word(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => "http-01".to_owned(),
        ChallengeType::Dns01 => "dns-01".to_owned(),
        ChallengeType::TlsAlpn01 => "tls-alpn-01".to_owned(),
        ChallengeType::DeviceAttest01 => "device-attest-01".to_owned(),
        ChallengeType::Unknown(word) => word.chars().filter(|c| !c.is_control()).take(40).collect(),
        _ => "another".to_owned(),
    }
}
