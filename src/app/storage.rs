//! The cache as the configuration wants it: on the disk, in memory for as long as the process lives, or none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::cache::{self, Limits, Store, disk};
use crate::config::paths::{self, Machine};
use crate::config::schema::{CacheMode, Inactive, Schema, Verify};
use crate::telemetry::Metrics;

/// Opens it; blocking. `None`: docxy only forwards.
pub fn open(schema: &Schema, metrics: &Metrics) -> Result<Option<Store>> {
    if schema.cache.mode == CacheMode::Off {
        return Ok(None);
    }
    let path = paths::cache(schema, &Machine::this())?;
    let config = cache::Config {
        path: path.clone(),
        limits: limits(schema),
    };
    let disk = Arc::new(disk::Real);
    let store = match schema.cache.mode {
        CacheMode::Memory => Store::open_in_memory(config, disk, metrics.clone()),
        CacheMode::Disk | CacheMode::Off => Store::open(config, disk, metrics.clone()),
    };
    let store = store.with_context(|| format!("the cache in {}", path.display()))?;
    tracing::info!(path = %path.display(), "cache");
    Ok(Some(store))
}

/// The folder of the cache on the disk, as a `docxy cache` finds it that makes none itself.
pub fn folder(schema: &Schema) -> Result<PathBuf> {
    Ok(paths::cache(schema, &Machine::onlooker())?)
}

/// The socket on which a running docxy answers its operator, found in the same way.
pub fn socket(schema: &Schema) -> Result<PathBuf> {
    Ok(socket_in(&paths::state(schema, &Machine::onlooker())?))
}

/// Where recordings are made that an operator asks for.
pub fn traces(schema: &Schema) -> Result<PathBuf> {
    Ok(paths::state(schema, &Machine::this())?.join("traces"))
}

pub(super) fn socket_in(state: &Path) -> PathBuf {
    state.join("docxy.sock")
}

pub fn limits(schema: &Schema) -> Limits {
    let cache = &schema.cache;
    let quotas = schema.registries.iter().filter_map(|(name, registry)| {
        let quota = registry.cache_quota?;
        Some((name.clone(), quota.bytes()))
    });
    Limits {
        max_size: cache.max_size.bytes(),
        min_free: cache.min_free.bytes(),
        min_free_inodes: u64::from(cache.min_free_inodes),
        inactive: match cache.inactive {
            Inactive::Never => None,
            Inactive::After(time) => Some(time),
        },
        verify: match cache.verify {
            Verify::First => cache::Verify::First,
            Verify::Always => cache::Verify::Always,
            Verify::Scrub => cache::Verify::Scrub,
        },
        scrub_rate: cache.scrub_rate.bytes(),
        partials: cache.partials,
        quotas: quotas.collect(),
    }
}
