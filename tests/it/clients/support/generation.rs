//! The two generations of docker and containerd that every test of them runs with.

use std::{env, ffi::OsString, path::PathBuf, process::Command};

use tokio::sync::OnceCell;

use super::process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// What Debian 12 installs: containerd 1.6, docker 20.10 with its own image store.
    Debian12,
    /// What Debian sid holds today, unpacked into a private folder: containerd 2, docker 28 with containerd's
    /// image store. When sid moves to programs that do not start here, this fails and says so.
    Sid,
}

static SID: OnceCell<PathBuf> = OnceCell::const_new();

impl Generation {
    /// Where a program of this generation lies.
    pub async fn program(self, name: &str) -> PathBuf {
        self.folders()
            .await
            .iter()
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
            .unwrap_or_else(|| panic!("no {name} of {self:?}: `make test` installs what is missing"))
    }

    /// A PATH on which this generation's programs come first: daemons start further programs by name.
    pub async fn search_path(self) -> OsString {
        let system = env::var_os("PATH").unwrap_or_default();
        let folders = self
            .folders()
            .await
            .into_iter()
            .chain(env::split_paths(&system).collect::<Vec<_>>());
        env::join_paths(folders).expect("folders without colons")
    }

    async fn folders(self) -> Vec<PathBuf> {
        let root = match self {
            Self::Debian12 => PathBuf::from("/"),
            Self::Sid => SID.get_or_init(unpack_sid).await.clone(),
        };
        vec![root.join("usr/bin"), root.join("usr/sbin")]
    }
}

async fn unpack_sid() -> PathBuf {
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/ci/install-sid-clients"));
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/target/real-clients/sid"));
    PathBuf::from(process::run(script).await.succeeded().text())
}
