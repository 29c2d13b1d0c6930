//! Root at the folder of docxy's own user.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::bail;

/// What root makes in the folder of docxy's own user, that one can't read: the next start would fail. `path` is the file to
/// be made, `command` the word after `docxy`.
pub(super) fn refuse_anothers_folder(path: &Path, command: &str) -> anyhow::Result<()> {
    let nearest = path.ancestors().skip(1).find(|folder| folder.exists());
    if let Some(folder) = nearest
        && rustix::process::geteuid().is_root()
        && let owner = folder.metadata()?.uid()
        && owner != 0
    {
        let start = match command {
            "token" | "admin token" => {
                ", and no docxy answers there: start docxy first, or run this as that user"
            }
            _ => ": run this as that user",
        };
        bail!(
            "{} belongs to user number {owner}{start} (sudo -u '#{owner}' docxy {command} ...)",
            folder.display()
        );
    }
    Ok(())
}
