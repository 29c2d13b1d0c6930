//! Whether a client may come, by the lists of addresses and the operator's rules.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::access::policy::{Asked, Question};
use crate::access::{By, Subject, User};
use crate::admin::api::explain::Access;
use crate::oci::{Action, Reference};
use crate::route::{Clients, Meant};
use crate::server::Shared;

/// For whom it is asked.
pub(super) struct Asker {
    pub user: Option<String>,
    pub address: Option<IpAddr>,
}

pub(super) fn judge(front: &Shared, meant: &Meant, asker: &Asker) -> Access {
    let registry = &meant.registry;
    let answer = |allowed: bool, decided_by: &str, rule: Option<usize>, because: String| Access {
        client: asker.address,
        user: asker.user.clone(),
        allowed,
        decided_by: decided_by.to_owned(),
        rule: rule.and_then(|position| u64::try_from(position).ok()?.checked_add(1)),
        because,
    };
    if asker
        .address
        .is_some_and(|address| front.addresses.judge(address).is_err())
    {
        let because = "the lists of addresses keep this one out, whoever asks and for whatever";
        return answer(false, "address", None, because.to_owned());
    }
    let accounts = front.access.accounts();
    match (registry.clients, &asker.user) {
        (Clients::Users, None) => {
            let because = format!("{} is for docxy's own users here: sign in first", registry.name);
            return answer(false, "sign-in", None, because);
        }
        // Of tokens it is not known here which there are without reading their file.
        (Clients::Users, Some(name))
            if !name.starts_with("token:") && !accounts.users().names().contains(name) =>
        {
            let because = "there is no such user in user_files".to_owned();
            return answer(false, "no-such-user", None, because);
        }
        _ => {}
    }
    let known = asker.user.as_ref().filter(|_| registry.clients == Clients::Users);
    let subject = Subject {
        user: known.map(|name| {
            Arc::new(User {
                name: name.clone(),
                groups: accounts.groups_of(name).to_vec(),
            })
        }),
        // One that nobody gave is in no network that anybody writes.
        address: asker.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    let policy = front.access.policy();
    let decision = policy.decide(
        &subject,
        &Question {
            registry: &meant.name.registry,
            repository: Some(&meant.name.repository),
            reference: match &meant.reference {
                Reference::Tag(tag) => Asked::Tag(tag),
                Reference::Digest(_) => Asked::Digest,
            },
            action: Action::Pull,
        },
    );
    match decision.by {
        By::Rule(position) => {
            let comment = policy
                .rules()
                .get(position)
                .and_then(|rule| rule.comment.as_ref())
                .map_or_else(String::new, |comment| format!(" ({comment})"));
            let because = format!("rule {} of [[access.rules]] decides{comment}", position + 1);
            answer(decision.allowed, "rule", Some(position), because)
        }
        By::NoRule => {
            let because = "no rule denies it, and there is no allow".to_owned();
            answer(decision.allowed, "default", None, because)
        }
        By::NoneMatched => {
            let because = "there are allows, and none is for it".to_owned();
            answer(decision.allowed, "none", None, because)
        }
    }
}
