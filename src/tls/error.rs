//! What can be wrong with certificates and keys, and what to do about it.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("cannot read {}: {source}; check the path and that docxy's user may read it", path.display())]
    Read { path: PathBuf, source: std::io::Error },
}
