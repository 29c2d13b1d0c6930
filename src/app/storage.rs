//! The cache as the configuration wants it: on the disk, in memory for as long as the process lives, or none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustix::fs::{Access, access};

use crate::cache::{self, Store, disk};
use crate::config::paths::{self, Machine};
use crate::config::schema::{CacheMode, Inactive, Schema, Verify};
use crate::oci::RegistryName;
use crate::telemetry::Metrics;

/// Opens it; blocking. `None`: docxy only forwards.
pub fn open(schema: &Schema, metrics: &Metrics) -> Result<Option<Store>> {
    if schema.cache.mode == CacheMode::Off {
        return Ok(None);
    }
    let path = paths::cache(schema, &Machine::this())?;
    let (config, disk) = (config(schema, path.clone()), Arc::new(disk::Real));
    let store = match schema.cache.mode {
        CacheMode::Memory => Store::open_in_memory(config, disk, metrics.clone()),
        CacheMode::Disk | CacheMode::Off => Store::open(config, disk, metrics.clone()),
    };
    let store = store.with_context(|| format!("the cache in {}", path.display()))?;
    store.set_quotas(quotas(schema));
    tracing::info!(path = %path.display(), "cache");
    Ok(Some(store))
}

/// What registries may hold of it, of those that may not hold all. One that is switched off keeps its quota.
pub fn quotas(schema: &Schema) -> BTreeMap<RegistryName, u64> {
    let limits = schema.registries.iter();
    limits
        .filter_map(|(name, registry)| Some((name.clone(), registry.cache_quota?.bytes())))
        .collect()
}

/// The folder of the cache on the disk, as a `docxy cache` finds it that makes none itself.
pub fn folder(schema: &Schema) -> Result<PathBuf> {
    Ok(paths::cache(schema, &onlooker())?)
}

/// The socket on which a running docxy answers its operator, found in the same way.
pub fn socket(schema: &Schema) -> Result<PathBuf> {
    Ok(socket_in(&paths::state(schema, &onlooker())?))
}

/// Where recordings are made that an operator asks for.
pub fn traces(schema: &Schema) -> Result<PathBuf> {
    Ok(paths::state(schema, &Machine::this())?.join("traces"))
}

pub(super) fn socket_in(state: &Path) -> PathBuf {
    state.join("docxy.sock")
}

/// Asks what may be written to without making anything.
pub(super) fn onlooker() -> Machine<'static> {
    Machine {
        writable: &|folder| access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
        ..Machine::this()
    }
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
