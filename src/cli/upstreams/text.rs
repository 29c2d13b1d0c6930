//! For people.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::admin::api::upstreams::{Condition, Credential, Health, Place, Quota, Role, Upstream};
use crate::cli::table::{Align, age, count, table};
use crate::upstream::hour;

pub(super) fn all(upstreams: &[Upstream], now: SystemTime) -> String {
    let mut text = String::new();
    for upstream in upstreams {
        if !text.is_empty() {
            text.push('\n');
        }
        one(&mut text, upstream, now);
    }
    text
}

fn one(text: &mut String, upstream: &Upstream, now: SystemTime) {
    text.push_str(&upstream.registry);
    if let Some(asked) = upstream.asked {
        let _ = write!(text, ", asked {}", ago(asked));
    }
    if upstream.rate_limited > 0 {
        let answers = count(upstream.rate_limited, "answer", "answers");
        let _ = write!(text, ", {answers} of 429");
    }
    text.push('\n');
    for place in &upstream.urls {
        at(text, place, upstream.urls.len() > 1, now);
    }
}

fn at(text: &mut String, place: &Place, is_one_of_many: bool, now: SystemTime) {
    let role = match place.role {
        _ if !is_one_of_many => "",
        Role::Authority => " (speaks for it)",
        Role::Mirror => " (mirror)",
    };
    let since = || {
        place
            .since
            .map_or_else(String::new, |since| format!(" for {}", span(since)))
    };
    let health = match place.health {
        Health::Well => ": well".to_owned(),
        Health::Unreachable => format!(": can't be reached{}", since()),
        Health::Late => format!(": does not answer in time{}", since()),
        Health::Unknown => String::new(),
    };
    let _ = writeln!(text, "  {}{role}{health}", place.url);
    if place.credentials.is_empty() {
        return;
    }
    let rows: Vec<_> = place
        .credentials
        .iter()
        .map(|credential| row(credential, now))
        .collect();
    let columns = [
        ("CREDENTIAL", Align::Left),
        ("STATE", Align::Left),
        ("LEFT", Align::Right),
        ("ALL BACK BY", Align::Left),
        ("AT THIS RATE", Align::Left),
    ];
    for line in table(columns, &rows).lines() {
        let _ = writeln!(text, "    {line}");
    }
    for credential in &place.credentials {
        if let (Some(reason), Some(since)) = (&credential.reason, credential.since) {
            let (name, since) = (&credential.name, span(since));
            let key = credential.key.as_deref().unwrap_or_default();
            let _ = writeln!(text, "    {name} ({key}) has not worked for {since}: {reason}");
        }
    }
}

fn row(credential: &Credential, now: SystemTime) -> [String; 5] {
    let state = match credential.state {
        Condition::Anonymous => "no account",
        Condition::Working => "working",
        Condition::Failing => "failing",
        Condition::Unknown => "configured",
    };
    let [left, back, rate] = match &credential.quota {
        Some(quota) => figures(quota, now),
        None => ["", "", ""].map(str::to_owned),
    };
    [credential.name.clone(), state.to_owned(), left, back, rate]
}

fn figures(quota: &Quota, now: SystemTime) -> [String; 3] {
    let at = |seconds: u64| hour(now, Duration::from_secs(seconds));
    let rate = match (quota.asked_again_in, quota.empty_in) {
        (Some(0), _) => "empty".to_owned(),
        (Some(wait), _) => format!("empty, tried again at {}", at(wait)),
        (None, Some(wait)) => format!("empty at {}", at(wait)),
        (None, None) => String::new(),
    };
    [
        format!("{} of {}", quota.remaining, quota.limit),
        quota.full_in.map(at).unwrap_or_default(),
        rate,
    ]
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..60 => "just now".to_owned(),
        _ => format!("{} ago", age(seconds)),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        _ => age(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn credential(name: &str, state: Condition, quota: Option<Quota>) -> Credential {
        Credential {
            name: name.to_owned(),
            key: Some(format!("registries.\"docker.io\".{name}")),
            state,
            reason: None,
            since: None,
            quota,
        }
    }

    fn quota(remaining: u64, limit: u64) -> Quota {
        Quota {
            limit,
            remaining,
            window: Some(21_600),
            source: None,
            seen: 5,
            full_in: (remaining < limit).then_some(15_000),
            empty_in: None,
            asked_again_in: None,
        }
    }

    #[test]
    fn shows_what_is_left_and_what_fails() {
        // At noon an operator must see which account is nearly empty, which does not work, and until when it lasts.
        let now = UNIX_EPOCH + Duration::from_hours(500_000);
        let hub = Upstream {
            registry: "docker.io".to_owned(),
            asked: Some(130),
            rate_limited: 3,
            urls: vec![
                Place {
                    url: "https://registry-1.docker.io/".to_owned(),
                    role: Role::Authority,
                    health: Health::Well,
                    since: None,
                    credentials: vec![
                        credential(
                            "ann",
                            Condition::Working,
                            Some(Quota {
                                empty_in: Some(7_830),
                                ..quota(12, 200)
                            }),
                        ),
                        Credential {
                            reason: Some("password_file /etc/docxy/bob can't be read".to_owned()),
                            since: Some(400),
                            ..credential("bob", Condition::Failing, None)
                        },
                        credential(
                            "carol",
                            Condition::Working,
                            Some(Quota {
                                asked_again_in: Some(60),
                                ..quota(0, 200)
                            }),
                        ),
                        credential("dave", Condition::Working, None),
                        credential("anonymous", Condition::Anonymous, Some(quota(100, 100))),
                    ],
                },
                Place {
                    url: "https://mirror.example.com/hub".to_owned(),
                    role: Role::Mirror,
                    health: Health::Unreachable,
                    since: Some(45),
                    credentials: Vec::new(),
                },
            ],
        };
        let quiet = Upstream {
            registry: "ghcr.io".to_owned(),
            asked: None,
            rate_limited: 0,
            urls: vec![Place {
                url: "https://ghcr.io/".to_owned(),
                role: Role::Authority,
                health: Health::Unknown,
                since: None,
                credentials: Vec::new(),
            }],
        };
        insta::assert_snapshot!(all(&[hub, quiet], now));
    }
}
