//! Who a client is to docxy itself, on registries that are for docxy's own users.

use std::net::IpAddr;

use super::accounts::Account;
use super::identity::Identity;
use super::subject::Subject;
use super::tokens::Known;
use super::{Access, Refusal};
use crate::config::values::TokenText;
use crate::oci::Action;
use crate::route::{Clients, Target};

impl Access {
    /// Who this is to docxy: who signed in to it as a proxy, for all that goes through (`by_proxy`). Else, only where a registry is for docxy's own users does it look at what was presented; elsewhere
    /// that is the registry's business.
    pub async fn identify(
        &self,
        identity: &Identity,
        target: &Target,
        address: IpAddr,
        by_proxy: Option<&Account>,
    ) -> Result<Subject, Refusal> {
        if let Some(account) = by_proxy {
            let account = self.accounts.again(&account.user.name, &account.proof)?;
            return subject(account, target, address);
        }
        if target.registry.clients != Clients::Users {
            return Ok(Subject { user: None, address });
        }
        let account = match identity {
            Identity::Nobody => return Err(Refusal::SignInFirst),
            // Boxed: a password is rarely looked at, and every request would carry the room for it.
            Identity::Password(credential) => Box::pin(self.accounts.sign_in(credential, address)).await?,
            Identity::Token(token) => self.bearer(token, target)?,
        };
        subject(account, target, address)
    }

    fn bearer(&self, token: &TokenText, target: &Target) -> Result<Account, Refusal> {
        match self.tokens.known(token) {
            Known::User {
                bearer,
                registry,
                opens,
            } => {
                let account = self.accounts.again(&bearer.name, &bearer.proof)?;
                let is_for_this = registry == target.registry.name
                    && opens.covers(target.action, target.endpoint.repository());
                // Another token of the same access token would be no better.
                if is_for_this || (target.action != Action::Pull && !account.may_push()) {
                    Ok(account)
                } else {
                    Err(Refusal::OtherToken)
                }
            }
            Known::Access => self.accounts.present(token),
            // Not of a user of docxy's, but nothing is wrong with it: its client fetches one that is.
            Known::Anonymous | Known::Sealed { .. } | Known::From { .. } => Err(Refusal::OtherToken),
            Known::Refresh(_) | Known::Void | Known::Unknown => Err(Refusal::BadSignIn),
        }
    }
}

fn subject(account: Account, target: &Target, address: IpAddr) -> Result<Subject, Refusal> {
    if !account.covers(target) {
        return Err(Refusal::OutOfScope);
    }
    if target.action != Action::Pull && !account.may_push() {
        return Err(Refusal::PullOnly);
    }
    Ok(Subject {
        user: Some(account.user),
        address,
    })
}
