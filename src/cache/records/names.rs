//! Repositories by number, so that a million links don't hold a million names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::oci::{FullName, RegistryName};

#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<FullName>, u32>,
    by_number: Vec<Option<Arc<FullName>>>,
    free: Vec<u32>,
}

impl Names {
    pub fn number(&self, name: &FullName) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub fn get(&self, number: u32) -> Option<&Arc<FullName>> {
        self.by_number.get(usize::try_from(number).ok()?)?.as_ref()
    }

    pub fn intern(&mut self, name: &FullName) -> (u32, Arc<FullName>) {
        if let Some((known, number)) = self.numbers.get_key_value(name) {
            return (*number, known.clone());
        }
        let name = Arc::new(name.clone());
        let number = self.free.pop().unwrap_or_else(|| {
            self.by_number.push(None);
            u32::try_from(self.by_number.len() - 1).unwrap_or(u32::MAX)
        });
        if let Ok(place) = usize::try_from(number)
            && let Some(place) = self.by_number.get_mut(place)
        {
            *place = Some(name.clone());
        }
        self.numbers.insert(name.clone(), number);
        (number, name)
    }

    /// Of each repository, by its number, the number of its registry; those are below the count of repositories.
    pub fn registries(&self) -> Vec<usize> {
        let mut numbers = HashMap::new();
        let registries = self.by_number.iter().map(|name| {
            let registry = name.as_ref().map(|name| &name.registry);
            let next = numbers.len();
            *numbers.entry(registry).or_insert(next)
        });
        registries.collect()
    }

    /// The numbers of its repositories.
    pub fn of_registry(&self, registry: &RegistryName) -> impl Iterator<Item = u32> {
        let names = self.numbers.iter();
        names
            .filter(move |(name, _)| name.registry == *registry)
            .map(|(_, number)| *number)
    }

    pub fn all(&self) -> Vec<Arc<FullName>> {
        self.numbers.keys().cloned().collect()
    }

    /// Forgets those that no record uses.
    pub fn keep(&mut self, used: &HashSet<u32>) {
        for (place, number) in self.by_number.iter_mut().zip(0..) {
            if !used.contains(&number)
                && let Some(name) = place.take()
            {
                self.numbers.remove(&name);
                self.free.push(number);
            }
        }
    }
}
