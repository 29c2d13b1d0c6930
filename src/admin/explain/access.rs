//! Whether a client may come, by the lists of addresses, by who it is, and by the operator's rules.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::access::issued::Scope;
use crate::access::policy::Policy;
use crate::access::{By, Subject, User};
use crate::admin::api::explain::Access;
use crate::route::{Clients, Meant};
use crate::server::Shared;

/// For whom it is asked.
pub(super) struct Asker {
    pub user: Option<String>,
    pub address: Option<IpAddr>,
}

/// Who docxy takes a name for.
enum Known {
    User,
    /// There is none, for this reason.
    No(String),
    /// An access token that is not for this.
    OutOfScope,
}

/// Blocking: it reads the file of access tokens.
pub(super) fn judge(front: &Shared, meant: &Meant, asker: &Asker) -> Access {
    let registry = &meant.registry;
    let groups = match &asker.user {
        Some(name) => front.access.accounts().groups_of(name).to_vec(),
        None => Vec::new(),
    };
    let answer = |allowed: bool, decided_by: &str, because: String| Access {
        client: asker.address,
        user: asker.user.clone(),
        groups: groups.clone(),
        allowed,
        decided_by: decided_by.to_owned(),
        rule: None,
        comment: None,
        because,
    };
    if let Some(Err(kept_out)) = asker.address.map(|address| front.addresses.judge(address)) {
        return answer(false, "address", kept_out.to_string());
    }
    if registry.clients == Clients::Users {
        let Some(name) = &asker.user else {
            let because = format!("{} is for docxy's own users here: sign in first", registry.name);
            return answer(false, "sign-in", because);
        };
        match known(front, meant, name) {
            Known::User => {}
            Known::No(because) => return answer(false, "no-such-user", because),
            Known::OutOfScope => {
                let because = format!("the access token {name} is not for this repository (its scopes)");
                return answer(false, "scope", because);
            }
        }
    }
    let user = asker.user.as_ref().filter(|_| registry.clients == Clients::Users);
    let subject = Subject {
        user: user.map(|name| {
            Arc::new(User {
                name: name.clone(),
                groups: groups.clone(),
            })
        }),
        // One that nobody gave is in no network that anybody writes.
        address: asker.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let policy = front.access.policy();
    let decision = policy.decide_target(&subject, &meant.target());
    let (word, because) = by_rules(policy, decision.by, decision.allowed);
    let told = answer(decision.allowed, word, because);
    let By::Rule(position) = decision.by else {
        return told;
    };
    Access {
        rule: u64::try_from(position)
            .ok()
            .and_then(|position| position.checked_add(1)),
        comment: comment(policy, position),
        ..told
    }
}

fn known(front: &Shared, meant: &Meant, name: &str) -> Known {
    let accounts = front.access.accounts();
    let Some(wanted) = name.strip_prefix("token:") else {
        return match accounts.users().fingerprint(name) {
            Some(_) => Known::User,
            None => Known::No("there is no such user in user_files".to_owned()),
        };
    };
    // A name that nobody can look up is believed.
    let Ok(tokens) = accounts.issued().list() else {
        return Known::User;
    };
    // One that a user stands behind goes by the user's name.
    let token = tokens
        .iter()
        .find(|token| token.name == wanted && token.user.is_none());
    let Some(token) = token else {
        let because = "there is no such access token (or it has a user's name in the rules): `docxy token list` shows them all";
        return Known::No(because.to_owned());
    };
    if token.has_ended() {
        return Known::No("the time of this access token is over".to_owned());
    }
    let (registry, repository) = (&meant.registry.name, &meant.name.repository);
    let is_for_this = |scopes: &[Scope]| {
        scopes.is_empty()
            || scopes
                .iter()
                .any(|scope| scope.covers(registry, Some(repository)))
    };
    if is_for_this(&token.scopes) {
        Known::User
    } else {
        Known::OutOfScope
    }
}

fn by_rules(policy: &Policy, by: By, allowed: bool) -> (&'static str, String) {
    let count = policy.rules().len();
    match by {
        By::Rule(position) => {
            let verb = if allowed { "allows" } else { "denies" };
            let comment = comment(policy, position).map_or_else(String::new, |text| format!(": {text}"));
            let number = position + 1;
            let because = format!("rule {number} of the {count} [[access.rules]] {verb} it{comment}");
            ("rule", because)
        }
        By::NoRule if count == 0 => ("default", "there are no [[access.rules]]".to_owned()),
        By::NoRule => {
            let because = format!("none of the {count} [[access.rules]] is for it, and none is an allow");
            ("default", because)
        }
        By::NoneMatched => {
            let because = format!(
                "none of the {count} [[access.rules]] is for it, and as there are allows, only what they name is allowed"
            );
            ("none", because)
        }
    }
}

fn comment(policy: &Policy, position: usize) -> Option<String> {
    policy.rules().get(position)?.comment.clone()
}
