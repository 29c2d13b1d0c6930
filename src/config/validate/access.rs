//! `[access]`: rules that never decide, people whom nobody knows, and doors that stand open.

use std::collections::BTreeSet;

use super::{Findings, listens_beyond_loopback, rules};
use crate::config::{
    origin::join_key,
    schema::{Access, AccessRule, AuthMode, Clients, Effect, Registry, RuleAction, Schema},
    setting::nearest,
};
use crate::oci::RegistryName;

const RULES: &str = "access.rules";

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    clients(schema, findings);
    pushes(schema, findings);
    login_of_two_kinds(schema, findings);
    limits(&schema.access, findings);
    each_rule(schema, findings);
    all_refused(schema, findings);
    open_to_all(schema, findings);
}

/// Does anything keep anybody out by what is written under `[access]`?
pub(super) fn keeps_somebody_out(access: &Access) -> bool {
    !(access.rules.is_empty()
        && access.allow_addresses.is_empty()
        && access.deny_addresses.is_empty()
        && access.allow_address_files.is_empty()
        && access.deny_address_files.is_empty())
}

/// Does anything under `[access]` depend on where a client is?
pub(super) fn goes_by_address(schema: &Schema) -> bool {
    let access = &schema.access;
    let limits = access.requests_per_minute > 0 || access.concurrent > 0;
    let users = schema
        .enabled_registries()
        .any(|(_, registry)| knows_users(schema, registry));
    let rules = access.rules.iter().any(|rule| !rule.addresses.is_empty());
    let lists = !(access.allow_addresses.is_empty()
        && access.deny_addresses.is_empty()
        && access.allow_address_files.is_empty()
        && access.deny_address_files.is_empty());
    limits || users || rules || lists
}

/// The passwords of the shared host are docxy's users' or those of registries, never both (threat S1).
fn login_of_two_kinds(schema: &Schema, findings: &mut Findings<'_>) {
    let of = |name: &RegistryName| {
        schema
            .registries
            .get(name)
            .map(|registry| schema.clients_of(registry))
    };
    let names = schema.login_registries.as_deref().unwrap_or_default();
    let Some((first, rest)) = names.split_first() else {
        return;
    };
    if of(first) != Some(Clients::Users) {
        login_of_docxys_users_elsewhere(schema, first, findings);
        return;
    }
    if let Some(other) = rest.iter().find(|name| of(name) == Some(Clients::Passthrough)) {
        findings.warn(
            "login_registries",
            format!(
                "{first} is for docxy's own users, so no password typed for the shared host goes to {other}"
            ),
            format!("take {other} out, and give it a host of its own: hosts under [registries.\"{other}\"]"),
        );
    }
}

/// `docker login` names no registry: what docxy's users type there must not go to one.
fn login_of_docxys_users_elsewhere(schema: &Schema, first: &RegistryName, findings: &mut Findings<'_>) {
    let takes_passwords = schema.registries.get(first).is_some_and(|registry| {
        registry.enabled
            && registry.auth == AuthMode::Passthrough
            && schema.clients_of(registry) == Clients::Passthrough
    });
    let ours = schema
        .enabled_registries()
        .find(|(_, registry)| knows_users(schema, registry));
    if let Some((ours, _)) = ours.filter(|_| takes_passwords) {
        findings.warn(
            "login_registries",
            format!("what docxy's own users (of {ours}) type at `docker login` for the shared host is shown to {first}"),
            format!(
                "name {ours} first, and give {first} a host of its own: hosts under [registries.\"{first}\"]"
            ),
        );
    }
}

fn clients(schema: &Schema, findings: &mut Findings<'_>) {
    for (name, registry) in schema.enabled_registries() {
        if registry.auth == AuthMode::Configured && schema.clients_of(registry) == Clients::Passthrough {
            let section = join_key("registries", name.as_str());
            let (key, whose) = match registry.clients {
                Some(_) => (format!("{section}.clients"), ""),
                None => (format!("{section}.auth"), ", as [access] says,"),
            };
            findings.problem(
                &key,
                format!(
                    "docxy signs in at {name} itself, so clients{whose} can't sign in there with accounts of their own"
                ),
                format!(
                    "write clients = \"users\" (docxy's own) or \"open\" under [{section}], or auth = \"passthrough\""
                ),
            );
        }
    }
    if !schema.access.user_files.is_empty() {
        return;
    }
    let needs_users = schema
        .enabled_registries()
        .find(|(_, registry)| schema.clients_of(registry) == Clients::Users);
    if let Some((name, registry)) = needs_users {
        let key = match registry.clients {
            Some(_) => format!("{}.clients", join_key("registries", name.as_str())),
            None => "access.clients".to_owned(),
        };
        findings.warn(
            &key,
            "there are no users: only tokens made by `docxy token create` can sign in",
            "add user_files = [\"/etc/docxy/users\"] under [access]; `htpasswd -B` makes such a file",
        );
    }
}

/// A registry that takes what anybody sends, under docxy's own name.
fn pushes(schema: &Schema, findings: &mut Findings<'_>) {
    if !listens_beyond_loopback(schema) {
        return;
    }
    let open = schema.enabled_registries().filter(|(_, registry)| {
        let own_account = registry.auth == AuthMode::Configured;
        registry.push.enabled && own_account && schema.clients_of(registry) == Clients::Open
    });
    for (name, registry) in open {
        let section = join_key("registries", name.as_str());
        let what = format!(
            "anybody who reaches docxy may push to {name}, and delete there, with docxy's own account"
        );
        let close = format!(
            "write clients = \"users\" under [{section}], and user_files = [\"/etc/docxy/users\"] under [access]"
        );
        if registry.clients == Some(Clients::Open) {
            if !keeps_somebody_out(&schema.access) {
                findings.warn(&format!("{section}.push.enabled"), what.to_uppercase(), close);
            }
            continue;
        }
        findings.problem(
            &format!("{section}.push.enabled"),
            what,
            format!("{close}; if it is meant so, write clients = \"open\" under [{section}]"),
        );
    }
}

fn limits(access: &Access, findings: &mut Findings<'_>) {
    if access.burst > 0 && access.requests_per_minute == 0 {
        findings.problem(
            "access.burst",
            "has no meaning while requests_per_minute is 0",
            "add requests_per_minute = 600 under [access], or take burst out",
        );
    }
}

fn each_rule(schema: &Schema, findings: &mut Findings<'_>) {
    let access = &schema.access;
    for (index, rule) in access.rules.iter().enumerate() {
        rules::registry(schema, RULES, index, &rule.registry, findings);
        groups(access, index, rule, findings);
        if is_for_everything(rule) && rule.effect == Effect::Deny {
            findings.warn_of_rule(
                RULES,
                index,
                "refuses everything to everybody, for a deny wins over every allow",
                "take it out: as soon as there is an allow, what no allow names is refused anyway",
            );
        } else if let Some((what, fix)) = never_decides(schema, index) {
            findings.warn_of_rule(RULES, index, &what, fix);
        }
    }
}

fn groups(access: &Access, index: usize, rule: &AccessRule, findings: &mut Findings<'_>) {
    for group in &rule.groups {
        if access.groups.contains_key(group) {
            continue;
        }
        let fix = match nearest(group, access.groups.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("add {} = [\"NAME\"] under [access.groups]", join_key("", group)),
        };
        findings.problem_of_rule(RULES, index, &format!("there is no group {group:?}"), &fix);
    }
}

/// Why a rule might as well not be there, and what to do about it.
fn never_decides(schema: &Schema, index: usize) -> Option<(String, &'static str)> {
    let all = &schema.access.rules;
    let rule = &all[index];
    let same = all[..index]
        .iter()
        .position(|earlier| earlier.effect == rule.effect && covers(earlier, rule));
    if let Some(earlier) = same {
        let what = format!(
            "never decides: rule {} before it does the same for all that it matches",
            earlier + 1
        );
        return Some((what, "take it out, or make the other one narrower"));
    }
    let denied = all
        .iter()
        .position(|other| other.effect == Effect::Deny && is_for_every_tag(other) && covers(other, rule));
    if let Some(deny) = denied.filter(|_| rule.effect == Effect::Allow) {
        let what = format!(
            "never allows anything: rule {} denies all of it, and a deny wins whatever the order",
            deny + 1
        );
        return Some((what, "take it out, or make that deny narrower"));
    }
    let registries: Vec<(&RegistryName, &Registry)> = is_for(schema, rule).collect();
    if registries.is_empty() {
        let what = format!("never decides: no registry here is {}", rule.registry);
        return Some((what, "correct registry, or take the rule out"));
    }
    if names_users(rule)
        && !registries
            .iter()
            .any(|(_, registry)| knows_users(schema, registry))
    {
        let what =
            "never decides: it asks who somebody is, and that is known only where docxy's own users sign in";
        return Some((
            what.to_owned(),
            "add clients = \"users\" under [access] or under the registry, or take users and groups out",
        ));
    }
    None
}

/// There are allows, and none of them can let anybody.
fn all_refused(schema: &Schema, findings: &mut Findings<'_>) {
    let all = &schema.access.rules;
    let mut allows = (0..all.len())
        .filter(|index| all[*index].effect == Effect::Allow)
        .peekable();
    if allows.peek().is_none() {
        return;
    }
    // One that repeats another lets whom that one lets.
    if allows.all(|index| never_decides(schema, index).is_some() && !repeats(all, index)) {
        findings.warn(
            RULES,
            "nobody may pull anything: there are allows, which closes all that they do not name, and none of them can ever \
             decide",
            "see what is said about each of them",
        );
    }
}

fn repeats(all: &[AccessRule], index: usize) -> bool {
    all[..index]
        .iter()
        .any(|earlier| earlier.effect == all[index].effect && covers(earlier, &all[index]))
}

/// The loudest of all: whoever finds this docxy may use it.
fn open_to_all(schema: &Schema, findings: &mut Findings<'_>) {
    let has_users = schema
        .enabled_registries()
        .any(|(_, registry)| knows_users(schema, registry));
    // Plain listeners beside it only redirect, or have been refused.
    let by_certificate = schema.tls.client_ca_file.is_some();
    if !listens_beyond_loopback(schema) || keeps_somebody_out(&schema.access) || has_users || by_certificate {
        return;
    }
    let plain = schema
        .listen
        .iter()
        .any(|entry| !entry.address.ip().is_loopback());
    let key = if plain { "listen" } else { "tls.listen" };
    findings.warn(
        key,
        "ANYBODY WHO REACHES THIS ADDRESS MAY PULL THROUGH DOCXY: there is no rule, no list of addresses and no user",
        "these three lines close it:\n\
         \x20   [access]\n\
         \x20   clients = \"users\"\n\
         \x20   user_files = [\"/etc/docxy/users\"]\n\
         \x20   or, without users, allow_addresses = [\"10.0.0.0/8\"] under [access]",
    );
}

fn knows_users(schema: &Schema, registry: &Registry) -> bool {
    schema.clients_of(registry) == Clients::Users
}

fn is_for<'a>(
    schema: &'a Schema,
    rule: &'a AccessRule,
) -> impl Iterator<Item = (&'a RegistryName, &'a Registry)> {
    schema
        .enabled_registries()
        .filter(move |(name, _)| rule.registry.matches(name.as_str()))
}

fn names_users(rule: &AccessRule) -> bool {
    !rule.users.is_empty() || !rule.groups.is_empty()
}

fn is_for_every_tag(rule: &AccessRule) -> bool {
    rule.tag.is_everything() || rule.tag.as_str() == "*"
}

fn is_for_everything(rule: &AccessRule) -> bool {
    !names_users(rule)
        && rule.addresses.is_empty()
        && rule.registry.is_everything()
        && rule.repository.is_everything()
        && is_for_every_tag(rule)
        && rule.actions().contains(&RuleAction::Pull)
}

/// Does `one` certainly match all that `other` matches?
fn covers(one: &AccessRule, other: &AccessRule) -> bool {
    let same_people = || {
        let set = |rule: &AccessRule| -> BTreeSet<String> {
            let users = rule.users.iter().map(|user| format!("u{user}"));
            users
                .chain(rule.groups.iter().map(|group| format!("g{group}")))
                .collect()
        };
        names_users(other) && set(one).is_superset(&set(other))
    };
    let everywhere = one.addresses.is_empty();
    let same_places = || {
        let within = |network| one.addresses.iter().any(|wider| wider.contains(network));
        !other.addresses.is_empty() && other.addresses.iter().all(within)
    };
    (!names_users(one) || same_people())
        && (everywhere || same_places())
        && rules::is_wider(&one.registry, &other.registry)
        && rules::is_wider(&one.repository, &other.repository)
        && (is_for_every_tag(one) || one.tag == other.tag)
        && other
            .actions()
            .iter()
            .all(|action| one.actions().contains(action))
}
