//! Whose records go when a table is full: those of the registry that has the most. Whoever runs a registry, or makes up
//! repositories in one, pushes out none of the others'.

use super::names::Names;

/// The registry that has the most records of a table.
pub(super) struct Fullest {
    /// By repository: is it one of that registry's?
    owns: Vec<bool>,
    records: usize,
}

impl Fullest {
    /// `repositories`: of each record its own.
    pub fn of(names: &Names, repositories: impl Iterator<Item = u32>) -> Self {
        let registries = names.registries();
        let mut records = vec![0_usize; registries.len()];
        for repository in repositories {
            if let Some(count) = place(repository)
                .and_then(|repository| registries.get(repository))
                .and_then(|registry| records.get_mut(*registry))
            {
                *count += 1;
            }
        }
        let most = records.iter().zip(0..).max_by_key(|(count, _)| **count);
        let (records, fullest) = most.map_or((0, 0), |(count, registry)| (*count, registry));
        let owns = registries.iter().map(|registry| *registry == fullest);
        Self {
            owns: owns.collect(),
            records,
        }
    }

    pub fn owns(&self, repository: u32) -> bool {
        place(repository)
            .and_then(|repository| self.owns.get(repository))
            .is_some_and(|owns| *owns)
    }

    /// So many of its records go from a table of at most `limit`: a hundredth, so that the next looks are far apart; and
    /// no more than half of what it has.
    pub fn going(&self, limit: usize) -> usize {
        (limit / 100 + 1).min(self.records.div_ceil(2))
    }
}

fn place(repository: u32) -> Option<usize> {
    usize::try_from(repository).ok()
}
