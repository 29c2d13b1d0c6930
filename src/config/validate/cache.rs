//! `[cache]`: sizes that can't work, keys that contradict each other, rules that never decide.

use super::{
    Findings, not_zero,
    rules::{is_wider, registry},
};
use crate::config::{
    origin::join_key,
    schema::{Cache, CacheMode, Fresh, Schema, StaleOn, TagRule, Verify},
    values::Size,
};

/// Less does not hold one manifest of the size that every registry takes (4 MiB) beside anything else.
const SMALLEST: Size = Size::from_mib(8);

/// As many as the store counts apart.
const MOST_QUOTAS: usize = 64;

const TAGS: &str = "cache.tags";

pub(super) fn check(schema: &Schema, findings: &mut Findings<'_>) {
    let cache = &schema.cache;
    sizes(cache, findings);
    not_zero("cache.revalidate_timeout", cache.revalidate_timeout, findings);
    if cache.mode == CacheMode::Memory && cache.path.is_some() {
        findings.problem(
            "cache.path",
            "has no meaning while mode is \"memory\": that cache lives in a folder of its own on tmpfs and goes with the process",
            "take path out, or write mode = \"disk\" (a path on a tmpfs of your own is fine)",
        );
    }
    if cache.inactive.after().is_some_and(|time| time.is_zero()) {
        findings.problem(
            "cache.inactive",
            "a time of 0 would remove everything at once",
            "write \"never\", or a time such as \"90d\"",
        );
    }
    if cache.verify == Verify::Scrub && cache.scrub().is_none() {
        findings.problem(
            "cache.verify",
            "\"scrub\" leaves all checking to the scrub, which scrub_rate = 0 switches off",
            "write verify = \"first\", or a scrub_rate such as \"16MiB\"",
        );
    }
    if cache.mode == CacheMode::Off && cache.offline {
        findings.problem(
            "cache.offline",
            "nothing is ever served while mode is \"off\" and no registry is asked",
            "write mode = \"disk\" under [cache]",
        );
    }
    quotas(schema, findings);
    tag_rules(schema, findings);
}

fn quotas(schema: &Schema, findings: &mut Findings<'_>) {
    let cache = &schema.cache;
    let mut count = 0;
    for (name, registry) in &schema.registries {
        let Some(quota) = registry.cache_quota else {
            continue;
        };
        let key = join_key(&join_key("registries", name.as_str()), "cache_quota");
        count += 1;
        if cache.mode == CacheMode::Off {
            findings.warn(
                &key,
                "has no effect while cache.mode is \"off\"",
                "take it out, or write mode = \"disk\" under [cache]",
            );
        } else if quota > cache.max_size {
            findings.problem(
                &key,
                format!(
                    "{quota} is more than cache.max_size ({}), which holds for all together",
                    cache.max_size
                ),
                "write a smaller size, or a larger max_size under [cache]",
            );
        } else if count == MOST_QUOTAS + 1 {
            findings.problem(
                &key,
                format!("there are more than {MOST_QUOTAS} registries with a quota"),
                "take the cache_quota of some of them out",
            );
        }
    }
}

fn sizes(cache: &Cache, findings: &mut Findings<'_>) {
    if cache.max_size < SMALLEST && cache.mode != CacheMode::Off {
        findings.problem(
            "cache.max_size",
            format!(
                "{} is less than {SMALLEST}, too little for any image",
                cache.max_size
            ),
            "write a size such as \"32GiB\", or mode = \"off\" for no cache",
        );
    }
    // 1 EiB: no filesystem has it free, so the cache would always be empty.
    if cache.min_free >= Size::from_gib(1 << 30) {
        findings.problem(
            "cache.min_free",
            format!("{} is more than any disk has", cache.min_free),
            "write a size such as \"1GiB\", or 0 for no floor",
        );
    }
}

fn tag_rules(schema: &Schema, findings: &mut Findings<'_>) {
    let rules = &schema.cache.tags;
    for (index, rule) in rules.iter().enumerate() {
        registry(schema, TAGS, index, &rule.registry, findings);
        let earlier = rules[..index].iter().position(|earlier| covers(earlier, rule));
        if let Some(earlier) = earlier {
            let what = format!(
                "never decides: rule {} before it matches all that it matches",
                earlier + 1
            );
            findings.warn_of_rule(TAGS, index, &what, "put the narrower rule first");
        }
        if rule.fresh == Fresh::Never && rule.stale != TagRule::default().stale && !rule.stale.is_empty() {
            findings.problem_of_rule(
                TAGS,
                index,
                "with fresh = \"never\" nothing is served stale",
                "take stale out, or write fresh = \"revalidate\"",
            );
        }
        if matches!(rule.fresh, Fresh::Never | Fresh::Immutable) && !rule.stale_while_revalidate.is_zero() {
            findings.problem_of_rule(
                TAGS,
                index,
                "stale_while_revalidate has no meaning with fresh = \"never\" or \"immutable\"",
                "take it out, or write fresh = \"revalidate\" or a time",
            );
        }
        if rule.stale.contains(&StaleOn::Denied) {
            findings.warn_of_rule(
                TAGS,
                index,
                "with \"denied\" in stale, images that a registry has closed are served on",
                "take \"denied\" out unless that is what you want",
            );
        }
    }
}

/// Does `one` certainly match everything that `other` matches?
fn covers(one: &TagRule, other: &TagRule) -> bool {
    is_wider(&one.registry, &other.registry)
        && is_wider(&one.repository, &other.repository)
        && is_wider(&one.tag, &other.tag)
}
