//! Who may read a file with a secret in it (threat S12).

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

const READ: u32 = 4;

/// `Err` says who else may read it. Nobody but its owner may; or, where docxy is not the owner, one of docxy's groups, for
/// reading only: so does an administrator who keeps the file (`root:docxy`, 0640), and so does Kubernetes (`fsGroup`).
pub fn is_private(metadata: &Metadata) -> Result<(), Exposed> {
    let mode = metadata.permissions().mode() & 0o777;
    let (group, others) = ((mode >> 3) & 7, mode & 7);
    let group_is_ours = group == READ
        && metadata.uid() != rustix::process::geteuid().as_raw()
        && is_our_group(metadata.gid());
    if others == 0 && (group == 0 || group_is_ours) {
        Ok(())
    } else {
        Err(Exposed { mode })
    }
}

/// A secret that others may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("other users may read this secret (mode {mode:04o})")]
pub struct Exposed {
    mode: u32,
}

fn is_our_group(group: u32) -> bool {
    rustix::process::getegid().as_raw() == group
        || rustix::process::getgroups().is_ok_and(|groups| groups.iter().any(|own| own.as_raw() == group))
}
