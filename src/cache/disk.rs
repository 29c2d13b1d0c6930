//! The one narrow way to the disk: every open, write, fsync, rename and unlink of the cache. A test puts a double in its
//! place that fails the n-th call (threat I4).

#[cfg(test)]
pub(crate) mod failing;

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::SystemTime;

/// Room on a filesystem.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Bytes of the whole filesystem.
    pub total: u64,
    /// Files that may still be made; `u64::MAX` where the filesystem does not count them.
    pub free_inodes: u64,
}

/// Blocking; callers are on threads that may wait.
pub trait Disk: Send + Sync + Debug + 'static {
    /// A new file for reading and writing, 0600; an error if there is one of that name.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// An existing file for reading.
    fn open(&self, path: &Path) -> io::Result<File>;
    /// An existing file for reading and writing.
    fn reopen(&self, path: &Path) -> io::Result<File>;
    /// All of `data` at this place.
    fn write_at(&self, file: &File, data: &[u8], at: u64) -> io::Result<()>;
    /// As many bytes from this place on as one call gives; 0 at the end.
    fn read_at(&self, file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
        file.read_at(into, at)
    }
    fn truncate(&self, file: &File, length: u64) -> io::Result<()>;
    /// The bytes and the length are safe from a power failure.
    fn sync(&self, file: &File) -> io::Result<()>;
    /// The names in a folder are.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The folder and all above it, 0700.
    fn make_folder(&self, folder: &Path) -> io::Result<()>;
    fn space(&self, folder: &Path) -> io::Result<Space>;
    /// When the file was last used, as its time of modification.
    fn stamp(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        self.open(path)?.set_modified(time)
    }
}

/// The machine's own disk.
#[derive(Clone, Copy, Debug)]
pub struct Real;

impl Disk for Real {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        File::open(path)
    }

    fn reopen(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn write_at(&self, file: &File, data: &[u8], at: u64) -> io::Result<()> {
        file.write_all_at(data, at)
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(folder)?;
        Ok(Space {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
            free_inodes: if found.f_files == 0 {
                u64::MAX
            } else {
                found.f_favail
            },
        })
    }
}
