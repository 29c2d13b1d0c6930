//! Names as people type them, and what the configuration calls them.

use crate::config::Schema;
use crate::config::schema::Registry;
use crate::oci::name::NameError;
use crate::oci::{FullName, ImageReference, RegistryName, Repository};

/// The registry of this name or alias, switched off or not.
pub(super) fn registry<'a>(
    schema: &'a Schema,
    wanted: &RegistryName,
) -> Option<(&'a RegistryName, &'a Registry)> {
    let alias = || {
        schema
            .registries
            .iter()
            .find(|(_, registry)| registry.aliases.contains(wanted))
    };
    schema.registries.get_key_value(wanted).or_else(alias)
}

/// What an image is called in the cache. What is no longer configured may still be stored.
pub(super) fn full(schema: &Schema, image: &ImageReference) -> Result<FullName, NameError> {
    let typed = image.registry.as_ref().unwrap_or(&schema.default_registry);
    Ok(match registry(schema, typed) {
        Some((name, settings)) => FullName::new(name.clone(), repository(settings, &image.repository)?),
        None => FullName::new(typed.clone(), image.repository.clone()),
    })
}

/// `redis` is `library/redis` where the registry has it so.
pub(super) fn repository(registry: &Registry, typed: &Repository) -> Result<Repository, NameError> {
    if registry.library_prefix && !typed.as_str().contains('/') {
        typed.with_prefix(&Repository::parse("library")?)
    } else {
        Ok(typed.clone())
    }
}
