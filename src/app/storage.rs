//! The cache as the configuration wants it: on the disk, in memory for as long as the process lives, or none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::cache::{self, Store, disk};
use crate::config::paths::{self, Machine};
use crate::config::schema::{CacheMode, Inactive, Schema, Verify};
use crate::telemetry::Metrics;

/// Opens it; blocking. `None`: docxy only forwards.
pub fn open(schema: &Schema, metrics: &Metrics) -> Result<Option<Store>> {
    if schema.cache.mode == CacheMode::Off {
        return Ok(None);
    }
    let path = paths::cache(schema, &Machine::this())?;
    let store = match schema.cache.mode {
        CacheMode::Memory => Store::open(config(schema, path.clone()), Arc::new(disk::Real), metrics.clone()),
        CacheMode::Disk | CacheMode::Off => {
            Store::open(config(schema, path.clone()), Arc::new(disk::Real), metrics.clone())
        }
    };
    let store = store.with_context(|| format!("the cache in {}", path.display()))?;
    tracing::info!(path = %path.display(), "cache");
    Ok(Some(store))
}

/// The folder that `docxy cache` works on when no docxy runs.
pub fn folder(schema: &Schema) -> Result<PathBuf> {
    Ok(paths::cache(schema, &Machine::this())?)
}

/// The socket on which a running docxy answers its operator.
pub fn socket(state: &Path) -> PathBuf {
    state.join("docxy.sock")
}

pub fn config(schema: &Schema, path: PathBuf) -> cache::Config {
    let cache = &schema.cache;
    cache::Config {
        path,
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
    }
}
