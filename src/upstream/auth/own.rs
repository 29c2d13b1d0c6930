//! Questions asked with docxy's own accounts, one after the other until one of them is answered (features A3, A4).

use std::borrow::Cow;

use http::{HeaderMap, Method, StatusCode};

use super::metered::is_limited;
use super::{As, Auth, Scheme, fetch_token};
use crate::oci::{Endpoint, Scope};
use crate::upstream::credentials::Proof;
use crate::upstream::failure::Failure;
use crate::upstream::fetch::{Landed, Question};
use crate::upstream::place;
use crate::upstream::pool::{Fault, Member, MemberId};
use crate::upstream::quota::Cost;

type Outcome = Result<(Landed, bool), Failure>;

/// How it went with one account.
enum Turn {
    /// An answer, or a failure that is not this account's.
    Final(Outcome),
    /// The registry does not give this to this account, or does not have it: another one may be given it.
    Denied(Outcome),
    /// The account is of no use; why is noted.
    Failed,
    /// Whether it was refused, or only this repository, could not be found out.
    Unheard(Outcome),
    /// Its limit is used up, or the registry wants fewer requests with it: the next one is asked with at once.
    Limited(Outcome),
}

/// What the registry says about a credential as such.
enum Word {
    Good,
    Refused(StatusCode),
    /// It says nothing of a credential alone.
    Untold,
    /// It did not answer.
    Unheard(Failure),
}

impl Auth {
    /// Those that fail are passed over, and so are those that have no right in this repository. Without any that works the
    /// registry decides what everyone may have.
    pub(super) async fn ask_with_own(
        &self,
        cost: Cost,
        question: &Question<'_>,
        scopes: &[Scope],
    ) -> Outcome {
        let pool = &self.pool;
        pool.look_again().await;
        // Of a lone account there is nothing to remember.
        let repository = repository(scopes).filter(|_| pool.members().len() > 1);
        let repository = repository.as_deref();
        let seen = repository.map(|name| pool.sights.of(name));
        let strangers = seen.map_or_else(Vec::new, |seen| seen.strangers(pool.members()));
        let mut passed_over = strangers.clone();
        let mut denied: Vec<MemberId> = Vec::new();
        let mut forbidden: Vec<MemberId> = Vec::new();
        let mut denial: Option<Outcome> = None;
        let mut limited: Option<Outcome> = None;
        let mut unheard: Option<Outcome> = None;
        loop {
            let member = match pool.choose(&passed_over) {
                Some(member) => member,
                // None of them has a right there, as far as is remembered: one is asked all the same.
                None if denied.is_empty() && passed_over.len() == strangers.len() => match pool.choose(&[]) {
                    Some(member) => member,
                    None => break,
                },
                None => break,
            };
            passed_over.push(member.id());
            match self.ask_as_member(cost, question, &member, scopes).await {
                Turn::Failed => {}
                Turn::Limited(outcome) => limited = Some(sooner(limited, outcome)),
                Turn::Unheard(outcome) => unheard = Some(outcome),
                Turn::Final(outcome) => {
                    let given = matches!(&outcome, Ok((landed, false)) if is_given(landed));
                    if let Some(name) = repository.filter(|_| given) {
                        pool.sights.given(name, &member, &denied);
                    }
                    return outcome;
                }
                Turn::Denied(outcome) => {
                    let is_missing = matches!(&outcome, Ok((landed, _)) if is_missing(landed));
                    let is_told = seen.is_some_and(|seen| seen.is_told_all(&member));
                    if repository.is_none() || (is_missing && is_told) {
                        let may_see = seen.is_some_and(|seen| seen.has_given(&member));
                        return if may_see { outcome } else { self.told(outcome) };
                    }
                    denied.push(member.id());
                    if !is_missing {
                        forbidden.push(member.id());
                    }
                    // What is missing says more than what is forbidden.
                    if denial.is_none() || is_missing {
                        denial = Some(outcome);
                    }
                }
            }
        }
        if let Some(outcome) = limited.or(unheard) {
            // That others may not have it says nothing: one that may was not heard.
            return self.ask_without_account(outcome, cost, question, scopes).await;
        }
        match denial {
            Some(outcome) => {
                // One that does not work now was not asked: it may be the one that has the right.
                if let Some(name) = repository.filter(|_| pool.shortfall().is_none()) {
                    pool.sights.denied(name, &forbidden);
                }
                self.told(outcome)
            }
            None => self.told(self.ask_as_nobody(cost, question, scopes).await),
        }
    }

    async fn ask_as_member(
        &self,
        cost: Cost,
        question: &Question<'_>,
        member: &Member,
        scopes: &[Scope],
    ) -> Turn {
        let fails = |fault| {
            self.pool.fails(member, &fault);
            Turn::Failed
        };
        let mut proof = match member.credentials.current().await {
            Ok(proof) => proof,
            Err(reason) => return fails(Fault::Source(reason)),
        };
        let mut is_second = false;
        loop {
            let asking = Box::pin(self.ask_as(question, As::With(&proof), scopes));
            let outcome = self.metered(member.quota(), cost, asking).await;
            if question.is_spent() {
                return Turn::Final(outcome);
            }
            if is_limited(&outcome) {
                return Turn::Limited(outcome);
            }
            let word = match &outcome {
                Err(Failure::CredentialUnavailable { reason, .. }) => {
                    return fails(Fault::Source(reason.as_str().into()));
                }
                Err(Failure::Denied { status, .. }) => match self.word_on(member, &proof).await {
                    // The service does not say so without a scope; to one with a right it says it otherwise.
                    Word::Untold if *status == StatusCode::UNAUTHORIZED => Word::Refused(*status),
                    word => word,
                },
                // An outage is everybody's; and where nothing was shown, no account would change the answer.
                Err(_) | Ok((_, true)) => return Turn::Final(outcome),
                Ok((landed, false)) if self.is_basic() => match landed.answer.status() {
                    _ if is_denial(landed) => self.word_on(member, &proof).await,
                    status if status.is_server_error() => return Turn::Final(outcome),
                    _ => Word::Good,
                },
                // A token was made from it.
                Ok((_, false)) => Word::Good,
            };
            let status = match word {
                Word::Good => {
                    self.pool.works(member);
                    return match &outcome {
                        Ok((landed, _)) if !is_denial(landed) && !is_missing(landed) => Turn::Final(outcome),
                        _ => Turn::Denied(outcome),
                    };
                }
                Word::Untold => return Turn::Denied(outcome),
                Word::Unheard(failure) => return Turn::Unheard(Err(failure)),
                Word::Refused(status) => status,
            };
            // The same again helps nobody; another one from the same source may.
            match member.credentials.after_refusal(&proof).await {
                Ok(Some(other)) if !is_second => {
                    self.pool.sights.forget();
                    proof = other;
                }
                Ok(_) => return fails(Fault::Refused(status)),
                Err(reason) => return fails(Fault::Source(reason)),
            }
            is_second = true;
        }
    }

    /// Whether the registry takes this credential at all: a denial alone may be about the repository.
    async fn word_on(&self, member: &Member, proof: &Proof) -> Word {
        if member.is_good() {
            return Word::Good;
        }
        let asked = match (self.scheme.load_full().as_deref(), proof) {
            (Some(Scheme::Bearer { realm, service }), _) => {
                let service = self.service(realm, service.as_deref());
                // Not one that is remembered: the credential may have been good when it was made.
                fetch_token(service, self.transport.clone(), Some(proof.clone()), Vec::new())
                    .await
                    .map(|_| StatusCode::OK)
            }
            (Some(Scheme::Basic), Proof::Password(_)) => self.status_of_base(proof).await,
            _ => return Word::Untold,
        };
        match asked {
            Ok(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
            | Err(Failure::Denied { status, .. }) => Word::Refused(status),
            Ok(status) if status.is_success() => Word::Good,
            Err(failure) if failure.is_outage() => Word::Unheard(failure),
            _ => Word::Untold,
        }
    }

    async fn status_of_base(&self, proof: &Proof) -> Result<StatusCode, Failure> {
        let base = place::base(&self.config);
        let none = HeaderMap::new();
        let question = Question {
            registry: &self.config.name,
            method: Method::GET,
            url: place::url(base, &Endpoint::Base, None),
            at_location: false,
            headers: &none,
            authorization: None,
            body: None,
            max_redirects: self.config.max_redirects,
        };
        let name = As::With(proof);
        let shown = self.show(&Scheme::Basic, name, &[]).await?;
        let landed = self.ask_once(&question, shown.as_ref()).await?;
        Ok(landed.answer.status())
    }

    fn is_basic(&self) -> bool {
        matches!(self.scheme.load_full().as_deref(), Some(Scheme::Basic))
    }

    /// A denial names the accounts that could not be asked with: they might have been given it. What is missing may be so
    /// for all the others alone.
    fn told(&self, mut outcome: Outcome) -> Outcome {
        if self.pool.shortfall().is_none() {
            return outcome;
        }
        let status = match &mut outcome {
            Err(Failure::Denied { status, .. }) => *status,
            Ok((landed, _)) if is_denial(landed) => landed.answer.status(),
            Ok((landed, _)) => {
                landed.unheard = is_missing(landed);
                return outcome;
            }
            Err(_) => return outcome,
        };
        Err(self.pool.denial(status))
    }
}

/// Of two refusals the registry's own word, which says most; of docxy's own the one that ends first.
fn sooner(before: Option<Outcome>, now: Outcome) -> Outcome {
    match (before, &now) {
        (
            Some(Err(Failure::Spent {
                retry_after: one,
                registry,
            })),
            Err(Failure::Spent {
                retry_after: other, ..
            }),
        ) => Err(Failure::Spent {
            retry_after: one.min(*other),
            registry,
        }),
        (Some(word @ Ok(_)), _) => word,
        _ => now,
    }
}

/// Whose rights differ: only a repository's, and with what is done to it.
fn repository(scopes: &[Scope]) -> Option<Cow<'_, str>> {
    let scope = scopes.first().filter(|scope| scope.is_of_repository())?;
    Some(if scope.asks_push() {
        Cow::Owned(scope.to_string())
    } else {
        Cow::Borrowed(&scope.name)
    })
}

fn is_denial(landed: &Landed) -> bool {
    let status = landed.answer.status();
    landed.at_registry && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn is_missing(landed: &Landed) -> bool {
    landed.at_registry && landed.answer.status() == StatusCode::NOT_FOUND
}

/// Something of the repository came, or a redirect to it.
pub(super) fn is_given(landed: &Landed) -> bool {
    let status = landed.answer.status();
    status.is_success() || status == StatusCode::NOT_MODIFIED || status == StatusCode::RANGE_NOT_SATISFIABLE
}
