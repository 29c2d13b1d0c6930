//! The Unix socket: nobody else may open it, at no moment of its making.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A bound socket, and its file.
#[derive(Debug)]
pub(super) struct Socket {
    pub listener: UnixListener,
    pub place: Place,
}

/// The socket's file, which goes with this.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    inode: u64,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(
        "another docxy answers at {}; give each its own state_path",
        path.display()
    )]
    Taken { path: PathBuf },
    #[error("the socket {} can't be made: {error}; set state_path to a folder that docxy may write, with a short name", path.display())]
    Io { path: PathBuf, error: io::Error },
}

impl Socket {
    /// Made in a private folder, closed to others there, and then put in its place: a socket's mode counts from the first
    /// moment that somebody could find it.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |error| SocketError::Io {
            path: path.to_owned(),
            error,
        };
        match UnixStream::connect(path) {
            Ok(_) => {
                return Err(SocketError::Taken {
                    path: path.to_owned(),
                });
            }
            // Left by a run that was killed, or never there.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {}
            Err(error) => return Err(failed(error)),
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let private = folder.join(format!(".socket-{:08x}", rand::random::<u32>()));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .and_then(|()| DirBuilder::new().mode(0o700).create(&private))
            .map_err(failed)?;
        let bound = bind_in(&private, path);
        // An empty folder that stays is no harm.
        let _ = fs::remove_dir(&private);
        let (listener, inode) = bound.map_err(failed)?;
        Ok(Self {
            listener,
            place: Place {
                path: path.to_owned(),
                inode,
            },
        })
    }
}

fn bind_in(private: &Path, path: &Path) -> io::Result<(UnixListener, u64)> {
    let temporary = private.join("s");
    let listener = UnixListener::bind(&temporary)?;
    let placed = fs::set_permissions(&temporary, Permissions::from_mode(0o600))
        .and_then(|()| fs::metadata(&temporary))
        .and_then(|metadata| fs::rename(&temporary, path).map(|()| metadata.ino()));
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed.map(|inode| (listener, inode))
}

impl Drop for Place {
    fn drop(&mut self) {
        // Two that started in the same moment: the file is the later one's.
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode);
        if ours {
            // Whoever finds it afterwards is told "connection refused", which says the same.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_owner_may_open_it_and_a_second_docxy_takes_nothing_away() {
        // Who can open the socket can empty the cache.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/docxy.sock");
        let socket = Socket::bind(&path).expect("bound");
        let mode = fs::metadata(&path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        assert!(matches!(Socket::bind(&path), Err(SocketError::Taken { .. })));
        UnixStream::connect(&path).expect("the first still answers");
        drop(socket.place);
        assert!(!path.exists());
        let left: Vec<_> = fs::read_dir(folder.path().join("state"))
            .expect("a folder")
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn what_a_killed_run_left_is_replaced() {
        // After kill -9 the file is still there, and the next start must work.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docxy.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        assert!(path.exists());
        Socket::bind(&path).expect("bound in its place");
    }

    #[tokio::test]
    async fn a_file_that_another_put_there_stays() {
        // Two that start in the same moment both find nobody: the first to end must not cut off the other.
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docxy.sock");
        let first = Socket::bind(&path).expect("bound");
        fs::remove_file(&path).expect("removed");
        let _second = Socket::bind(&path).expect("bound");
        drop(first);
        UnixStream::connect(&path).expect("the second still answers");
    }
}
