//! A listener's limits, which may be others tomorrow.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Config;

/// What new connections are held to; those that are there keep what they came under. Clones are the same.
#[derive(Clone, Debug)]
pub struct Settings(Arc<ArcSwap<Config>>);

impl Settings {
    /// `max_connections` stays what it was.
    pub fn set(&self, config: Config) {
        self.0.store(Arc::new(config));
    }

    pub(super) fn get(&self) -> Arc<Config> {
        self.0.load_full()
    }

    /// Is it still this?
    pub(super) fn is(&self, config: &Arc<Config>) -> bool {
        Arc::ptr_eq(&self.0.load(), config)
    }
}

impl From<Config> for Settings {
    fn from(config: Config) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(config)))
    }
}
