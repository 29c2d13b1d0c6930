//! Who brought the bytes of a blob.

use crate::upstream::site::{Role, Site};

/// Of one download that may have had several places; known when it is over.
#[derive(Clone, Debug, Default)]
pub struct Givers(pub(super) Vec<(Site, u64)>);

impl Givers {
    /// Bytes that came from mirrors.
    pub fn mirrored(&self) -> u64 {
        self.mirrors().map(|(_, bytes)| bytes).sum()
    }

    /// The bytes are not what the digest says. Which of them are wrong nobody knows; the mirrors that brought some are not
    /// asked for a while, and the registry itself is. Tells whether there were any.
    pub fn distrust(&self) -> bool {
        self.mirrors().for_each(|(site, _)| site.distrust());
        self.mirrors().next().is_some()
    }

    fn mirrors(&self) -> impl Iterator<Item = &(Site, u64)> {
        self.0.iter().filter(|(site, _)| site.role() == Role::Mirror)
    }
}
