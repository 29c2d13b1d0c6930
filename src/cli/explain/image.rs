//! Which registry and repository an image means.

use anyhow::{Context as _, bail};

use crate::cli::naming;
use crate::config::Schema;
use crate::config::schema::{Registry, UrlEntry};
use crate::oci::{FullName, ImageReference, Reference, RegistryName};

/// An image as docxy understands it.
pub(super) struct Image<'a> {
    pub name: FullName,
    pub registry: &'a Registry,
    /// Why it is this registry, where the image does not simply name it.
    because: Option<String>,
    pub reference: Reference,
}

impl<'a> Image<'a> {
    /// # Errors
    /// docxy would refuse it, whoever asks.
    pub fn find(schema: &'a Schema, text: &str) -> anyhow::Result<Self> {
        let image = ImageReference::parse(text).with_context(|| format!("{text:?} is no image"))?;
        let named = image.registry.as_ref();
        let (registry_name, registry) = find(schema, named.unwrap_or(&schema.default_registry))?;
        let because = match named {
            None => Some("the image names none, and this is default_registry".to_owned()),
            Some(named) if named != registry_name => Some(format!("{named} is an alias of it")),
            Some(_) => None,
        };
        let repository = naming::repository(registry, &image.repository)?;
        Ok(Self {
            name: FullName::new(registry_name.clone(), repository),
            registry,
            because,
            reference: image.reference,
        })
    }

    /// The image in full.
    pub fn whole(&self) -> String {
        match &self.reference {
            Reference::Tag(tag) => format!("{}:{tag}", self.name),
            Reference::Digest(digest) => format!("{}@{digest}", self.name),
        }
    }

    /// The registry, why it is that one, and where it is.
    pub fn whereabouts(&self) -> String {
        let because = self.because.as_ref();
        let because = because.map_or_else(String::new, |because| format!(" ({because})"));
        let shown = |entry: &UrlEntry| {
            let url = entry.url.as_str().trim_end_matches('/');
            match entry.mirror {
                Some(_) => format!("{url} (a mirror)"),
                None => url.to_owned(),
            }
        };
        let urls: Vec<String> = self.registry.urls.iter().map(shown).collect();
        format!("{}{because}, at {}", self.name.registry, urls.join(", "))
    }
}

/// The registry of this name or alias.
fn find<'a>(schema: &'a Schema, wanted: &RegistryName) -> anyhow::Result<(&'a RegistryName, &'a Registry)> {
    match naming::registry(schema, wanted) {
        Some((name, registry)) if registry.enabled => Ok((name, registry)),
        Some((name, _)) => bail!("{name} is switched off: docxy refuses it"),
        None => {
            bail!("{wanted} is not configured, so docxy refuses it: add a section [registries.\"{wanted}\"]")
        }
    }
}
