//! docxy in a time of the test's own: every clock of the process jumps when the test says so, and nothing is waited for.

use std::{
    cell::Cell,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::cache::support::Cached;
use crate::support::{app::Builder, stub::StubRegistry};

pub struct Time {
    folder: TempDir,
    skipped: u64,
    /// The docxy that was started last.
    docxy: Cell<Option<SocketAddr>>,
}

/// So many answers in a row must be of the new time, for as long as a thread of a busy machine may have to wait for its turn.
const SETTLED: usize = 10;
const SETTLING: Duration = Duration::from_millis(300);
/// Every answer has a line in docxy's log.
const BETWEEN: Duration = Duration::from_millis(5);

impl Time {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let time = Self {
            folder,
            skipped: 0,
            docxy: Cell::default(),
        };
        time.write();
        time
    }

    /// docxy before this registry, in this time.
    pub async fn docxy(&self, stub: StubRegistry, how: impl Fn(Builder) -> Builder + 'static) -> Cached {
        let file = self.file().to_str().unwrap().to_owned();
        let docxy = Cached::built(stub, move |app| {
            how(app)
                .env("LD_PRELOAD", library().to_str().unwrap())
                .env("FAKETIME_TIMESTAMP_FILE", file.as_str())
                .env("FAKETIME_NO_CACHE", "1")
                .env("NO_FAKE_STAT", "1")
        })
        .await;
        self.docxy.set(Some(docxy.app.addr()));
        docxy
    }

    /// Returns once docxy lives in the new time. The library keeps one offset for all threads, and a thread that was reading
    /// the old one puts it back for a moment: what began in that moment would find its deadlines over.
    pub async fn advance(&mut self, seconds: u64) {
        self.skipped += seconds;
        self.write();
        let Some(docxy) = self.docxy.get() else { return };
        let until = Instant::now() + Duration::from_secs(20);
        let (mut settled, mut since) = (0, Instant::now());
        while settled < SETTLED || since.elapsed() < SETTLING {
            assert!(Instant::now() < until, "docxy's time does not come to rest");
            // The header has whole seconds.
            let due = SystemTime::now() + Duration::from_secs(self.skipped) - Duration::from_secs(2);
            match told_by(docxy).await {
                Ok(Some(date)) if date >= due => settled += 1,
                // It has ended.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return,
                Ok(_) | Err(_) => (settled, since) = (0, Instant::now()),
            }
            tokio::time::sleep(BETWEEN).await;
        }
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

/// The time that docxy's answers have; `None` where it did not answer.
async fn told_by(docxy: SocketAddr) -> io::Result<Option<SystemTime>> {
    let mut socket = TcpStream::connect(docxy).await?;
    socket.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await?;
    let mut answer = String::new();
    timeout(Duration::from_secs(5), socket.read_to_string(&mut answer)).await??;
    let date = answer.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("date:")
            .map(|_| line[5..].trim().to_owned())
    });
    Ok(date.and_then(|date| httpdate::parse_http_date(&date).ok()))
}

fn library() -> PathBuf {
    let found = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut found = found.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    found
        .find(|path| Path::exists(path))
        .expect("libfaketime is a package of ci/packages.txt")
}
