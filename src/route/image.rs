//! An image as people type it, as the registry behind it knows it.

use std::sync::Arc;

use super::door::enabled;
use super::{Door, Registry, RouteError, Routes, Target};
use crate::oci::{Action, Endpoint, FullName, ImageReference, Reference};

/// What an operator means.
#[derive(Clone, Debug)]
pub struct Meant {
    pub registry: Arc<Registry>,
    /// In the registry's own naming.
    pub name: FullName,
    pub reference: Reference,
    pub named: Named,
}

impl Meant {
    /// A pull of it, by nobody's door but the operator's own.
    pub fn target(&self) -> Target {
        let repository = self.name.repository.clone();
        Target {
            registry: Arc::clone(&self.registry),
            door: Door::Namespace,
            endpoint: Endpoint::Manifest(repository.clone(), self.reference.clone()),
            action: Action::Pull,
            asked: Some(repository),
            namespace: None,
        }
    }
}

/// How the registry was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Named {
    Itself,
    /// By this alias of it.
    Alias(String),
    /// It was not named, and is the one behind the default door.
    Default,
}

impl Routes {
    /// # Errors
    /// Its registry is not configured, or switched off.
    pub fn meant(&self, image: &ImageReference) -> Result<Meant, RouteError> {
        let (registry, named) = match &image.registry {
            None => (self.default_registry(), Named::Default),
            Some(typed) => {
                let registry = self.configured(typed.as_str())?;
                let named = if registry.name == *typed {
                    Named::Itself
                } else {
                    Named::Alias(typed.to_string())
                };
                (registry, named)
            }
        };
        let registry = enabled(registry)?;
        let repository = registry.canonical(&image.repository).into_owned();
        Ok(Meant {
            name: FullName::new(registry.name.clone(), repository),
            reference: image.reference.clone(),
            registry,
            named,
        })
    }
}
