use proptest::prelude::*;

use super::*;
use crate::oci::{RegistryName, Repository};
use crate::upstream::failure::{Cause, Phase};
use crate::upstream::transport::guard;

const CLASSES: [ErrorClass; 6] = [
    ErrorClass::Connect,
    ErrorClass::Timeout,
    ErrorClass::Server,
    ErrorClass::RateLimited,
    ErrorClass::Denied,
    ErrorClass::Missing,
];
const DAY: Duration = Duration::from_hours(24);

fn name(registry: &str, repository: &str) -> FullName {
    FullName::new(
        RegistryName::parse(registry).unwrap(),
        Repository::parse(repository).unwrap(),
    )
}

fn selector(registry: &str, repository: &str, tag: &str) -> Selector {
    let pattern = |text| Pattern::parse(text).unwrap();
    Selector {
        registry: pattern(registry),
        repository: pattern(repository),
        tag: pattern(tag),
    }
}

fn fresh(fresh: Fresh) -> Rule {
    Rule {
        fresh,
        ..Rule::default()
    }
}

#[test]
fn without_rules_every_tag_is_asked_for_and_outlives_an_outage() {
    // The default is what nobody configures: never an old image while the registry answers, and a month of images when it
    // does not; but what the registry has closed or deleted is gone.
    let rules = Rules::default();
    let rule = rules.rule_for(&name("docker.io", "library/redis"), &Tag::parse("7").unwrap());
    assert_eq!(decide(rule, Duration::ZERO), Decision::Revalidate);
    for class in CLASSES {
        let served = !matches!(class, ErrorClass::Denied | ErrorClass::Missing);
        let expected = if served {
            AfterError::Stale
        } else {
            AfterError::Refuse
        };
        assert_eq!(after_error(rule, Duration::ZERO, class), expected, "{class:?}");
        assert_eq!(
            after_error(rule, (30 * DAY).saturating_sub(Duration::from_secs(1)), class),
            expected
        );
        assert_eq!(after_error(rule, 30 * DAY, class), expected, "{class:?}");
        assert_eq!(
            after_error(rule, 30 * DAY + Duration::from_mins(1), class),
            AfterError::Refuse,
            "{class:?}"
        );
    }
}

#[test]
fn a_rule_says_when() {
    // The edges of each time: a rule of 10 minutes means 10 minutes, and the stale times begin where it ends.
    let minute = Duration::from_mins;
    let rule = Rule {
        fresh: Fresh::For(minute(10)),
        max_stale: minute(60),
        stale_while_revalidate: minute(5),
        ..Rule::default()
    };
    let just_under = |minutes| minute(minutes).saturating_sub(Duration::from_secs(1));
    for (age, decision) in [
        (Duration::ZERO, Decision::Fresh),
        (just_under(10), Decision::Fresh),
        (minute(10), Decision::StaleWhileRevalidate),
        (just_under(15), Decision::StaleWhileRevalidate),
        (minute(15), Decision::Revalidate),
        (Duration::MAX, Decision::Revalidate),
    ] {
        assert_eq!(decide(&rule, age), decision, "{age:?}");
    }
    let after = |age| after_error(&rule, age, ErrorClass::Connect);
    assert_eq!(after(minute(70)), AfterError::Stale);
    assert_eq!(after(just_under(71)), AfterError::Stale);
    assert_eq!(after(minute(71)), AfterError::Refuse);
    let short = Rule {
        max_stale: minute(5),
        ..rule.clone()
    };
    let after_short = |age| after_error(&short, age, ErrorClass::Connect);
    assert_eq!(after_short(just_under(15)), AfterError::Stale);
    assert_eq!(after_short(minute(15)), AfterError::Refuse);

    assert_eq!(decide(&fresh(Fresh::Immutable), Duration::MAX), Decision::Fresh);
    assert_eq!(decide(&fresh(Fresh::Never), Duration::ZERO), Decision::Revalidate);
    assert_eq!(
        after_error(&fresh(Fresh::Never), Duration::ZERO, ErrorClass::Connect),
        AfterError::Refuse
    );
}

#[test]
fn the_first_match_decides() {
    // An operator reads his rules from the top; all three patterns of one must match.
    let rules = Rules::new(vec![
        (selector("ghcr.io", "team/*", "v*"), fresh(Fresh::Immutable)),
        (selector("**", "team/*", "**"), fresh(Fresh::For(DAY))),
        (selector("**", "**", "v*"), fresh(Fresh::Never)),
    ]);
    for (registry, repository, tag, position) in [
        ("ghcr.io", "team/app", "v1", Some(0)),
        ("quay.io", "team/app", "v1", Some(1)),
        ("ghcr.io", "team/app", "main", Some(1)),
        ("ghcr.io", "team/app/sub", "v1", Some(2)),
        ("ghcr.io", "other", "main", None),
    ] {
        let (name, tag) = (name(registry, repository), Tag::parse(tag).unwrap());
        assert_eq!(rules.position_for(&name, &tag), position, "{name}:{tag}");
        let rule = rules.rule_for(&name, &tag);
        match position {
            Some(position) => assert_eq!(*rule, rules.written[position].1),
            None => assert_eq!(*rule, Rule::default()),
        }
    }
}

#[test]
fn failures_are_sorted_by_what_they_mean() {
    // An outage must not look like a verdict (images gone during it), nor a verdict like an outage (a closed image served on).
    let registry = || RegistryName::parse("r.test").unwrap();
    let host = || "r.test".to_owned();
    let failures = [
        (
            Failure::Unreachable {
                registry: registry(),
                host: host(),
                cause: Cause::Refused,
            },
            Some(ErrorClass::Connect),
        ),
        (
            Failure::AddressRefused {
                registry: registry(),
                host: host(),
                address: [10, 0, 0, 1].into(),
                class: guard::Class::Private,
            },
            Some(ErrorClass::Connect),
        ),
        (
            Failure::CredentialUnavailable {
                registry: registry(),
                reason: host(),
            },
            Some(ErrorClass::Connect),
        ),
        (
            Failure::Timeout {
                registry: registry(),
                host: host(),
                phase: Phase::Headers,
                limit: DAY,
            },
            Some(ErrorClass::Timeout),
        ),
        (
            Failure::TokenService {
                registry: registry(),
                host: host(),
                status: StatusCode::BAD_GATEWAY,
            },
            Some(ErrorClass::Server),
        ),
        (
            Failure::BadAnswer {
                registry: registry(),
                host: host(),
                reason: host(),
            },
            Some(ErrorClass::Server),
        ),
        (
            Failure::RateLimited {
                registry: registry(),
                retry_after: None,
            },
            Some(ErrorClass::RateLimited),
        ),
        (
            Failure::Denied {
                registry: registry(),
                status: StatusCode::FORBIDDEN,
                own: None,
            },
            Some(ErrorClass::Denied),
        ),
        (
            Failure::RealmRefused {
                registry: registry(),
                realm: host(),
                reason: "foreign",
            },
            Some(ErrorClass::Denied),
        ),
        (
            Failure::ForeignCredential {
                registry: registry(),
                issued_for: registry(),
            },
            None,
        ),
        (
            Failure::NotAskable {
                registry: registry(),
                reason: host(),
            },
            None,
        ),
    ];
    for (failure, class) in failures {
        assert_eq!(ErrorClass::of_failure(&failure), class, "{failure}");
    }
    for (status, class) in [
        (200, None),
        (307, None),
        (400, None),
        (401, Some(ErrorClass::Denied)),
        (403, Some(ErrorClass::Denied)),
        (404, Some(ErrorClass::Missing)),
        (406, None),
        (408, Some(ErrorClass::Timeout)),
        (410, Some(ErrorClass::Missing)),
        (429, Some(ErrorClass::RateLimited)),
        (451, Some(ErrorClass::Missing)),
        (500, Some(ErrorClass::Server)),
        (599, Some(ErrorClass::Server)),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(ErrorClass::of_status(status), class, "{status}");
    }
}

fn any_time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0..1000_u64).prop_map(Duration::from_secs),
    ]
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let fresh = prop_oneof![
        Just(Fresh::Revalidate),
        Just(Fresh::Immutable),
        Just(Fresh::Never),
        any_time().prop_map(Fresh::For),
    ];
    let stale = prop::sample::subsequence(CLASSES.to_vec(), 0..=CLASSES.len());
    (fresh, stale, any_time(), any_time()).prop_map(|(fresh, stale, max_stale, while_revalidate)| Rule {
        fresh,
        stale: stale.into_iter().collect(),
        max_stale,
        stale_while_revalidate: while_revalidate,
    })
}

proptest! {
    #[test]
    fn an_answer_never_gets_fresher(rule in any_rule(), a in any_time(), b in any_time()) {
        // What is too old to be served is not served an hour later either.
        let (young, old) = (a.min(b), a.max(b));
        prop_assert!(decide(&rule, young) <= decide(&rule, old));
        for class in CLASSES {
            prop_assert!(after_error(&rule, young, class) <= after_error(&rule, old, class));
        }
    }

    #[test]
    fn a_class_that_is_not_named_is_never_served(rule in any_rule(), age in any_time()) {
        // `stale = []` is how an operator says: rather no image than an old one.
        for class in CLASSES {
            if !rule.stale.contains(&class) || rule.fresh == Fresh::Never {
                prop_assert_eq!(after_error(&rule, age, class), AfterError::Refuse);
            }
        }
    }

    #[test]
    fn a_rule_below_a_match_changes_nothing(
        above in any_rule(),
        below in prop::collection::vec(any_rule(), 0..4),
        tag in "[a-z0-9]{1,8}",
    ) {
        // First match wins, whatever follows.
        let everything = || selector("**", "**", "**");
        let mut written = vec![(everything(), above.clone())];
        written.extend(below.into_iter().map(|rule| (everything(), rule)));
        let rules = Rules::new(written);
        let tag = Tag::parse(&tag).unwrap();
        prop_assert_eq!(rules.rule_for(&name("ghcr.io", "a/b"), &tag), &above);
    }
}
