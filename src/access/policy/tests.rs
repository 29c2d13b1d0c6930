use std::sync::Arc;

use super::*;

/// `allow`/`deny`, then the conditions: `user=`, `group=`, `from=`, `registry=`, `repo=`, `tag=`, `to=`.
fn rule(text: &str) -> Rule {
    let pattern = |text: &str| Pattern::parse(text).unwrap();
    let mut words = text.split(' ');
    let mut rule = Rule {
        effect: match words.next() {
            Some("allow") => Effect::Allow,
            Some("deny") => Effect::Deny,
            other => panic!("{other:?}"),
        },
        users: Vec::new(),
        groups: Vec::new(),
        addresses: Vec::new(),
        registry: Pattern::everything(),
        repository: Pattern::everything(),
        tag: Pattern::everything(),
        actions: Vec::new(),
        comment: None,
    };
    for word in words {
        match word.split_once('=').unwrap() {
            ("user", value) => rule.users.push(pattern(value)),
            ("group", value) => rule.groups.push(value.to_owned()),
            ("from", value) => rule.addresses.push(value.parse().unwrap()),
            ("registry", value) => rule.registry = pattern(value),
            ("repo", value) => rule.repository = pattern(value),
            ("tag", value) => rule.tag = pattern(value),
            ("to", "pull") => rule.actions.push(Action::Pull),
            ("to", "push") => rule.actions.push(Action::Push),
            ("to", "delete") => rule.actions.push(Action::Delete),
            other => panic!("{other:?}"),
        }
    }
    rule
}

fn policy(rules: &[&str]) -> Policy {
    Policy::new(rules.iter().map(|text| rule(text)).collect())
}

/// `ann+dev+ops@192.0.2.1`, `-@::1`
fn subject(text: &str) -> Subject {
    let (who, address) = text.split_once('@').unwrap();
    let mut names = who.split('+').map(str::to_owned);
    let name = names.next().filter(|name| name != "-");
    Subject {
        user: name.map(|name| {
            Arc::new(User {
                name,
                groups: names.collect(),
            })
        }),
        address: address.parse().unwrap(),
    }
}

/// `ghcr.io/team/app:1`, `ghcr.io/team/app@` for a digest, `ghcr.io/` for the list of all repositories.
fn decide(policy: &Policy, who: &str, what: &str) -> Decision {
    decide_to(policy, Action::Pull, who, what)
}

fn decide_to(policy: &Policy, action: Action, who: &str, what: &str) -> Decision {
    let (registry, rest) = what.split_once('/').unwrap();
    let registry = RegistryName::parse(registry).unwrap();
    let (name, tag) = match rest.split_once(':') {
        Some((name, tag)) => match Reference::parse(tag) {
            Ok(Reference::Tag(tag)) => (name, Some(tag)),
            other => panic!("{other:?}"),
        },
        None => (rest.trim_end_matches('@'), None),
    };
    let repository = (!name.is_empty()).then(|| Repository::parse(name).unwrap());
    policy.decide(
        &subject(who),
        &Question {
            registry: &registry,
            repository: repository.as_ref(),
            reference: match &tag {
                Some(tag) => Asked::Tag(tag),
                None if action == Action::Delete => Asked::AnyTag,
                None => Asked::Digest,
            },
            action,
        },
    )
}

const ANN: &str = "ann+dev@192.0.2.1";
const BOB: &str = "bob@192.0.2.2";
const NOBODY: &str = "-@192.0.2.3";
const YES: bool = true;
const NO: bool = false;

#[test]
fn who_gets_what() {
    // Every row is a sentence that an operator would say about his rules; a wrong one is a leak or an outage.
    let rows: &[(&[&str], &str, &str, bool, By)] = &[
        // No rules, or none that says who may: everything.
        (&[], NOBODY, "ghcr.io/team/app:1", YES, By::NoRule),
        (
            &["deny repo=secret/**"],
            NOBODY,
            "ghcr.io/team/app:1",
            YES,
            By::NoRule,
        ),
        // An allow closes everything else.
        (
            &["allow repo=team/**"],
            NOBODY,
            "ghcr.io/team/app:1",
            YES,
            By::Rule(0),
        ),
        (
            &["allow repo=team/**"],
            NOBODY,
            "ghcr.io/other/app:1",
            NO,
            By::NoneMatched,
        ),
        (
            &["allow registry=ghcr.io"],
            ANN,
            "quay.io/team/app:1",
            NO,
            By::NoneMatched,
        ),
        // A deny wins, wherever it stands.
        (
            &["allow", "deny repo=secret/*"],
            ANN,
            "ghcr.io/secret/app:1",
            NO,
            By::Rule(1),
        ),
        (
            &["deny repo=secret/*", "allow"],
            ANN,
            "ghcr.io/secret/app:1",
            NO,
            By::Rule(0),
        ),
        (
            &["deny repo=secret/*", "allow user=ann"],
            ANN,
            "ghcr.io/secret/app:1",
            NO,
            By::Rule(0),
        ),
        (
            &["allow", "deny repo=x", "deny repo=secret/*"],
            ANN,
            "ghcr.io/secret/app:1",
            NO,
            By::Rule(2),
        ),
        // The first of several that match is the one that is named.
        (
            &["allow repo=team/*", "allow"],
            ANN,
            "ghcr.io/team/app:1",
            YES,
            By::Rule(0),
        ),
        (
            &["allow user=bob", "allow group=dev"],
            ANN,
            "ghcr.io/team/app:1",
            YES,
            By::Rule(1),
        ),
        // Users and groups: one of them is enough, and both need someone who signed in.
        (&["allow user=ann"], ANN, "ghcr.io/a:1", YES, By::Rule(0)),
        (&["allow user=a*"], ANN, "ghcr.io/a:1", YES, By::Rule(0)),
        (&["allow user=ann"], BOB, "ghcr.io/a:1", NO, By::NoneMatched),
        (&["allow user=ann"], NOBODY, "ghcr.io/a:1", NO, By::NoneMatched),
        (&["allow user=**"], NOBODY, "ghcr.io/a:1", NO, By::NoneMatched),
        (&["allow group=dev"], ANN, "ghcr.io/a:1", YES, By::Rule(0)),
        (&["allow group=dev"], BOB, "ghcr.io/a:1", NO, By::NoneMatched),
        (
            &["allow group=ops user=bob"],
            BOB,
            "ghcr.io/a:1",
            YES,
            By::Rule(0),
        ),
        (&["deny user=bob"], BOB, "ghcr.io/a:1", NO, By::Rule(0)),
        (&["deny user=bob"], NOBODY, "ghcr.io/a:1", YES, By::NoRule),
        // A group is not a user of that name.
        (&["allow user=dev"], ANN, "ghcr.io/a:1", NO, By::NoneMatched),
        (&["allow group=bob"], BOB, "ghcr.io/a:1", NO, By::NoneMatched),
        // Addresses: every condition of a rule must hold.
        (
            &["allow from=192.0.2.0/30"],
            NOBODY,
            "ghcr.io/a:1",
            YES,
            By::Rule(0),
        ),
        (
            &["allow from=192.0.2.0/31"],
            NOBODY,
            "ghcr.io/a:1",
            NO,
            By::NoneMatched,
        ),
        (
            &["allow from=192.0.2.2/32 user=ann"],
            ANN,
            "ghcr.io/a:1",
            NO,
            By::NoneMatched,
        ),
        (
            &["allow from=10.0.0.0/8 from=192.0.2.1/32"],
            ANN,
            "ghcr.io/a:1",
            YES,
            By::Rule(0),
        ),
        (
            &["deny from=192.0.2.0/24"],
            "-@::ffff:192.0.2.9",
            "ghcr.io/a:1",
            NO,
            By::Rule(0),
        ),
        (
            &["deny from=::ffff:192.0.2.0/120"],
            NOBODY,
            "ghcr.io/a:1",
            NO,
            By::Rule(0),
        ),
        (&["deny from=::/0"], NOBODY, "ghcr.io/a:1", YES, By::NoRule),
        (
            &["allow from=2001:db8::/32"],
            "-@2001:db8::7",
            "ghcr.io/a:1",
            YES,
            By::Rule(0),
        ),
        // Patterns: `*` stops at a slash.
        (
            &["allow repo=team/*"],
            ANN,
            "ghcr.io/team/a/b:1",
            NO,
            By::NoneMatched,
        ),
        (&["deny repo=team/*"], ANN, "ghcr.io/team/a/b:1", YES, By::NoRule),
        (&["deny repo=team"], ANN, "ghcr.io/team/a:1", YES, By::NoRule),
        (
            &["deny registry=*.example.com"],
            ANN,
            "r.example.com/a:1",
            NO,
            By::Rule(0),
        ),
        // Tags.
        (&["allow tag=v*"], ANN, "ghcr.io/a:v1", YES, By::Rule(0)),
        (&["allow tag=v*"], ANN, "ghcr.io/a:latest", NO, By::NoneMatched),
        (&["deny tag=latest"], ANN, "ghcr.io/a:latest", NO, By::Rule(0)),
        (&["deny tag=latest"], ANN, "ghcr.io/a:v1", YES, By::NoRule),
        // A digest has none: an allow opens it with its layers, a deny of some tags leaves it alone.
        (&["allow tag=v*"], ANN, "ghcr.io/a@", YES, By::Rule(0)),
        (&["deny tag=latest"], ANN, "ghcr.io/a@", YES, By::NoRule),
        (&["deny tag=*"], ANN, "ghcr.io/a@", NO, By::Rule(0)),
        (&["deny tag=**"], ANN, "ghcr.io/a@", NO, By::Rule(0)),
        (&["deny repo=a"], ANN, "ghcr.io/a@", NO, By::Rule(0)),
        (&["allow tag=v* repo=a"], ANN, "ghcr.io/b@", NO, By::NoneMatched),
        // The list of all repositories is only for rules about all of them.
        (&["allow repo=team/**"], ANN, "ghcr.io/", NO, By::NoneMatched),
        (&["allow repo=*"], ANN, "ghcr.io/", NO, By::NoneMatched),
        (&["allow tag=v*"], ANN, "ghcr.io/", NO, By::NoneMatched),
        (&["allow registry=ghcr.io"], ANN, "ghcr.io/", YES, By::Rule(0)),
        (&["deny repo=team/**"], ANN, "ghcr.io/", YES, By::NoRule),
        (&["deny tag=latest"], ANN, "ghcr.io/", YES, By::NoRule),
        (&["deny user=ann"], ANN, "ghcr.io/", NO, By::Rule(0)),
    ];
    for (rules, who, what, allowed, by) in rows {
        let expected = Decision {
            allowed: *allowed,
            by: *by,
        };
        assert_eq!(
            decide(&policy(rules), who, what),
            expected,
            "{rules:?}: {who}, {what}"
        );
    }
    println!("{} decisions", rows.len());
}

#[test]
fn who_pushes_what() {
    // What an operator wrote for pulls lets nobody push; what he wrote to keep somebody out keeps him out of everything.
    use Action::{Delete, Pull, Push};
    let rows: &[(&[&str], &str, Action, &str, bool)] = &[
        (&[], NOBODY, Push, "r.io/a:1", YES),
        (&["deny user=bob"], BOB, Push, "r.io/a:1", NO),
        (&["deny user=bob"], ANN, Push, "r.io/a:1", YES),
        (&["deny user=bob to=push"], BOB, Push, "r.io/a:1", NO),
        (&["deny user=bob to=push"], BOB, Pull, "r.io/a:1", YES),
        (&["deny user=bob to=push"], BOB, Delete, "r.io/a:1", YES),
        (&["allow"], ANN, Pull, "r.io/a:1", YES),
        (&["allow"], ANN, Push, "r.io/a:1", NO),
        (&["allow user=ann to=pull to=push"], ANN, Push, "r.io/a:1", YES),
        (&["allow user=ann to=pull to=push"], ANN, Delete, "r.io/a:1", NO),
        (&["allow user=ann to=pull to=push"], BOB, Push, "r.io/a:1", NO),
        // Who may push is said; who may pull is not, and is everyone.
        (&["allow user=ann to=push"], BOB, Push, "r.io/a:1", NO),
        (&["allow user=ann to=push"], BOB, Pull, "r.io/a:1", YES),
        // Blobs have no tag, and are pushed before the tag is.
        (&["allow user=ann to=push tag=v*"], ANN, Push, "r.io/a@", YES),
        (&["allow user=ann to=push tag=v*"], ANN, Push, "r.io/a:latest", NO),
        (&["deny tag=v*"], ANN, Push, "r.io/a@", YES),
        // A manifest that is deleted by digest takes its tags along, whichever they are.
        (&["deny tag=v*"], ANN, Delete, "r.io/a@", NO),
        (&["allow to=delete tag=tmp"], ANN, Delete, "r.io/a@", NO),
        (&["allow to=delete"], ANN, Delete, "r.io/a@", YES),
    ];
    for (rules, who, action, what, allowed) in rows {
        let decision = decide_to(&policy(rules), *action, who, what);
        assert_eq!(decision.allowed, *allowed, "{rules:?}: {who}, {action:?} {what}");
    }
    let only_pushes = policy(&["allow user=ann to=push", "deny user=bob to=push"]);
    assert!(!only_pushes.restricts(&RegistryName::parse("r.io").unwrap()));
}

#[test]
fn a_cache_in_front_keeps_only_what_no_rule_can_refuse() {
    // What a shared cache in front of docxy stores for everyone goes past every rule.
    for (rules, registry, restricts) in [
        (&[][..], "ghcr.io", false),
        (&["deny registry=ghcr.io user=bob"], "ghcr.io", true),
        (&["deny registry=ghcr.io user=bob"], "quay.io", false),
        (&["deny registry=*.example.com"], "r.example.com", true),
        (&["deny tag=x"], "quay.io", true),
        (&["allow registry=ghcr.io"], "ghcr.io", true),
        (&["allow registry=ghcr.io"], "quay.io", true),
    ] {
        let name = RegistryName::parse(registry).unwrap();
        assert_eq!(policy(rules).restricts(&name), restricts, "{rules:?}: {registry}");
    }
}

#[test]
fn words_for_the_log() {
    // Whoever counts lines by `rule` must find the number that stands in the configuration, counted from 1.
    assert_eq!(By::Rule(2).word(), "3");
    assert_eq!(By::NoRule.word(), "default");
    assert_eq!(By::NoneMatched.word(), "none");
}

proptest::proptest! {
    #[test]
    fn the_order_of_rules_never_changes_who_gets_what(order in proptest::collection::vec(0..8_usize, 1..8), who in 0..3_usize, what in 0..4_usize) {
        // Operators sort their rules as they like; deny wins over all of them.
        const RULES: [&str; 8] = [
            "allow", "allow repo=team/**", "allow user=ann tag=v*", "allow from=192.0.2.2/32",
            "deny repo=team/secret", "deny user=bob tag=latest", "deny registry=quay.io", "deny from=192.0.2.3/32",
        ];
        let who = [ANN, BOB, NOBODY][who];
        let what = ["ghcr.io/team/app:v1", "ghcr.io/team/secret:latest", "quay.io/team/app@", "ghcr.io/"][what];
        let written: Vec<&str> = order.iter().map(|index| RULES[*index]).collect();
        let turned: Vec<&str> = written.iter().rev().copied().collect();
        let (one, other) = (decide(&policy(&written), who, what), decide(&policy(&turned), who, what));
        proptest::prop_assert_eq!(one.allowed, other.allowed);
        let denied = written.iter().any(|rule| rule.starts_with("deny") && !decide(&policy(&[rule]), who, what).allowed);
        proptest::prop_assert!(!(denied && one.allowed));
    }
}
