//! State and cache must never lie within each other: emptying the cache would take keys and tokens along.

use std::path::Path;

use super::Findings;
use crate::config::{
    environment::Environment,
    origin::Origin,
    paths::{self, Machine, Overlap, overlap, without_dots},
    schema::Schema,
};

const STATE: &str = "state_path";
const CACHE: &str = "cache.path";

/// A written folder is held against the other's default too, all places that it may take: which one it takes depends
/// on what this user may write to, and nobody asks that here. Two defaults are compared at start ([`paths::cache`]).
pub(super) fn check(schema: &Schema, environment: &Environment, findings: &mut Findings<'_>) {
    match (&schema.state_path, &schema.cache.path) {
        (Some(state), Some(cache)) => {
            if let Some(found) = overlap(state, cache) {
                report(found, state, cache, findings);
            }
        }
        (None, None) => {}
        _ if !schema.cache.is_on_disk() => {}
        _ => against_default(schema, environment, findings),
    }
}

fn against_default(schema: &Schema, environment: &Environment, findings: &mut Findings<'_>) {
    let variable = |name: &str| environment.get(name).cloned();
    for writable in [true, false] {
        let machine = Machine {
            variable: &variable,
            writable: &|_| writable,
            user: 0,
        };
        // A default without any folder is told of at start.
        let (Ok(state), Ok(cache)) = (
            paths::state(schema, &machine),
            paths::disk_cache(schema, &machine),
        ) else {
            continue;
        };
        if let Some(found) = overlap(&state, &cache) {
            report(found, &state, &cache, findings);
            return;
        }
    }
}

/// At the inner folder's key, unless only the outer one is written.
fn report(found: Overlap, state: &Path, cache: &Path, findings: &mut Findings<'_>) {
    let written = |key: &str| *findings.origins.of(key) != Origin::Default;
    let (key, what) = match found {
        Overlap::StateInCache if written(STATE) => (
            STATE,
            format!("is inside the cache's folder {}", without_dots(cache).display()),
        ),
        Overlap::StateInCache => (CACHE, format!("holds the state's folder {}", state.display())),
        Overlap::CacheInState if written(CACHE) => (
            CACHE,
            format!("is inside the state's folder {}", without_dots(state).display()),
        ),
        Overlap::CacheInState => (STATE, format!("holds the cache's folder {}", cache.display())),
    };
    findings.problem(
        key,
        what,
        "give each a folder of its own: emptying the cache must never take keys and tokens along",
    );
}
