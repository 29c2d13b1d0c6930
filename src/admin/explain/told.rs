//! What `pull` and `upstream` know, as operators are told it.

use std::time::{Duration, SystemTime};

use crate::access::decisions::{Entry, Verdict};
use crate::admin::api::explain::{
    Credential, CredentialKind, Decided, Entitlement, Freshness, Stored, TagMeaning,
};
use crate::oci::FullName;
use crate::pull::freshness::{Decision, ErrorClass, Fresh};
use crate::pull::{self, Kept, Knowledge, Openness, Shown};
use crate::upstream::{ANONYMOUS, Report, Role, SiteReport};

pub(super) fn entitlement(name: &FullName, known: &Knowledge, shown: Shown) -> Entitlement {
    let (registry, repository) = (&name.registry, &name.repository);
    let by = known.entitlement(shown);
    let because = match (by, known.openness) {
        (pull::Entitlement::Registry, _) => {
            "docxy only forwards, and remembers nothing of what is public".to_owned()
        }
        (pull::Entitlement::DocxysAccount, Some(Openness::Public)) if known.public_since.is_some() => {
            format!("{registry} is asked with docxy's own account; {repository} is public, too")
        }
        (pull::Entitlement::DocxysAccount, _) => {
            format!("{registry} is asked with docxy's own account: whoever may come reads what is stored")
        }
        (_, Some(Openness::Public)) if known.is_served_on => {
            format!(
                "{repository} was public and is so no more; what is stored is served on (access.withdrawn)"
            )
        }
        (_, Some(Openness::Public)) => {
            format!("{repository} is public: {registry} gave it without an account")
        }
        (_, Some(Openness::Closed)) => format!(
            "{repository} is private: {registry} refused it a short while ago without an account, and confirms each client's own \
             right"
        ),
        (_, Some(Openness::Unknown) | None) => format!(
            "{repository} is treated as private, for nothing proves that it is public: {registry} confirms each client's own right"
        ),
    };
    Entitlement { by, because }
}

pub(super) fn freshness(name: &FullName, known: &Knowledge, freshness: &pull::Freshness) -> Freshness {
    let first = known.tag_means.first();
    let seconds = |left: Option<Duration>| {
        left.filter(|left| *left != Duration::MAX)
            .map(|left| left.as_secs())
    };
    Freshness {
        rule: freshness.rule.map(|position| count(position).saturating_add(1)),
        state: match freshness.decision {
            _ if freshness.fresh == Fresh::Never => Some("never"),
            None => None,
            Some(Decision::Fresh) => Some("fresh"),
            Some(Decision::StaleWhileRevalidate) => Some("stale-while-revalidate"),
            Some(Decision::Revalidate) => Some("revalidate"),
        }
        .map(str::to_owned),
        confirmed: first.map(|meaning| meaning.confirmed),
        fresh_for: seconds(freshness.fresh_left),
        for_ever: freshness.fresh_left == Some(Duration::MAX),
        stale_for: seconds(freshness.stale_left),
        stale_after: freshness
            .stale_after
            .iter()
            .map(|class| word(*class).to_owned())
            .collect(),
        because: why(name, known, freshness),
    }
}

fn why(name: &FullName, known: &Knowledge, freshness: &pull::Freshness) -> String {
    let registry = &name.registry;
    let gone = known.tag_means.first().and_then(|meaning| meaning.withdrawn);
    if known.is_offline && freshness.decision.is_some() {
        return format!("{registry} is never asked (cache.offline), and what is stored is served");
    }
    if let Some(status) = gone {
        return format!("{registry} said that it is gone ({status}), and is asked again each time");
    }
    if freshness.is_unsure {
        return format!(
            "something was pushed to it, and what came of that is not known: {registry} is asked"
        );
    }
    let Some(decision) = freshness.decision else {
        return match freshness.fresh {
            Fresh::Never => format!("by its rule {registry} is asked each time, and nothing is kept"),
            Fresh::For(_) | Fresh::Revalidate | Fresh::Immutable => "nothing is known of this tag".to_owned(),
        };
    };
    match (decision, known.suspicion.map(ErrorClass::of_suspicion)) {
        _ if freshness.fresh == Fresh::Never => {
            format!("by its rule {registry} is asked each time, and nothing is kept")
        }
        (Decision::Fresh, _) if freshness.fresh_left == Some(Duration::MAX) => {
            "its rule says that it never changes".to_owned()
        }
        (Decision::Fresh, _) => "it was confirmed within the time of its rule".to_owned(),
        (_, Some(class)) if freshness.stale_after.contains(&class) => {
            format!("stale: {registry} can't be asked, and its rule lets it be served on")
        }
        (_, Some(_)) => {
            format!("stale, and its rule does not let it be served while {registry} can't be asked")
        }
        (Decision::StaleWhileRevalidate, None) => {
            format!("older than its rule wants, it is served while {registry} is asked")
        }
        (Decision::Revalidate, None) => {
            format!("by its rule {registry} is asked whether it still holds")
        }
    }
}

/// As the configuration writes it.
fn word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Connect => "connect",
        ErrorClass::Timeout => "timeout",
        ErrorClass::Server => "5xx",
        ErrorClass::RateLimited => "429",
        ErrorClass::Denied => "denied",
        ErrorClass::Missing => "missing",
    }
}

pub(super) fn stored(kept: &Kept) -> Stored {
    let image = &kept.image;
    Stored {
        digest: kept.digest.to_string(),
        media_type: kept.media_type.clone(),
        whole: image.is_whole(),
        linked: kept.is_linked,
        blobs: count(image.parts.len()),
        bytes: image.bytes(),
        stored_blobs: count(image.stored_blobs()),
        stored_bytes: image.stored_bytes(),
        platforms: image.platforms.clone(),
        pins: kept.pins.clone(),
        next: kept.place,
    }
}

pub(super) fn meaning(meaning: &pull::Meaning) -> TagMeaning {
    TagMeaning {
        digest: meaning.digest.to_string(),
        media_type: meaning.media_type.clone(),
        confirmed: meaning.confirmed,
        known: meaning.known,
        withdrawn: meaning.withdrawn,
    }
}

pub(super) fn credential(report: &Report, shown: Shown) -> Option<Credential> {
    let registry = &report.registry;
    let site = report.sites.iter().find(|site| site.role == Role::Authority)?;
    let own = || {
        let name = site.next.as_ref()?;
        site.accounts.iter().find(|account| account.name == *name)
    };
    Some(match shown {
        Shown::ClientsAccount => Credential {
            kind: CredentialKind::Clients,
            name: None,
            quota: None,
            because: format!("{registry} is asked with the client's own account, whose limit is its own"),
        },
        Shown::Nothing => nothing(
            site,
            format!("{registry} is asked without an account: docxy's address pays"),
        ),
        Shown::DocxysAccount if site.accounts.is_empty() => Credential {
            kind: CredentialKind::OwnCertificate,
            ..nothing(
                site,
                format!("{registry} is asked with docxy's own certificate, and no account"),
            )
        },
        Shown::DocxysAccount => match own() {
            Some(account) => Credential {
                kind: CredentialKind::OwnAccount,
                name: Some(account.name.clone()),
                quota: account.quota.clone().map(Into::into),
                because: format!("{registry} is asked with docxy's account {}", account.name),
            },
            None => nothing(
                site,
                format!(
                    "{registry} is asked without an account, for what is for everyone: none of docxy's works just now"
                ),
            ),
        },
    })
}

fn nothing(site: &SiteReport, because: String) -> Credential {
    Credential {
        kind: CredentialKind::Nothing,
        name: Some(ANONYMOUS.to_owned()),
        quota: site.anonymous.clone().map(Into::into),
        because,
    }
}

pub(super) fn decided(entry: Entry, now: SystemTime) -> Decided {
    let reason = match entry.verdict {
        Verdict::Granted => None,
        Verdict::Refused(reason) => Some(reason.to_string()),
    };
    Decided {
        ago: now.duration_since(entry.at).unwrap_or(Duration::ZERO).as_secs(),
        count: entry.count,
        client: entry.client,
        user: entry.user.map(|user| user.name.clone()),
        granted: reason.is_none(),
        reason,
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
