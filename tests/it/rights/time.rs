//! docxy in a time of the test's own: every clock of the process jumps when the test says so, and nothing is waited for.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::cache::support::Cached;
use crate::support::{app::Builder, stub::StubRegistry};

pub struct Time {
    folder: TempDir,
    skipped: u64,
}

impl Time {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let time = Self { folder, skipped: 0 };
        time.write();
        time
    }

    /// docxy before this registry, in this time.
    pub async fn docxy(&self, stub: StubRegistry, how: impl Fn(Builder) -> Builder + 'static) -> Cached {
        let file = self.file().to_str().unwrap().to_owned();
        Cached::built(stub, move |app| {
            how(app)
                .env("LD_PRELOAD", library().to_str().unwrap())
                .env("FAKETIME_TIMESTAMP_FILE", file.as_str())
                .env("FAKETIME_NO_CACHE", "1")
                .env("NO_FAKE_STAT", "1")
        })
        .await
    }

    pub fn advance(&mut self, seconds: u64) {
        self.skipped += seconds;
        self.write();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("time")
    }

    fn write(&self) {
        let next = self.folder.path().join("next");
        fs::write(&next, format!("+{}\n", self.skipped)).unwrap();
        fs::rename(next, self.file()).unwrap();
    }
}

fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = found.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    found
        .find(|path| Path::exists(path))
        .expect("libfaketime is a package of ci/packages.txt")
}
