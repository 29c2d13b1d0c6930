//! The file of a recording. It is whole JSON after each entry: the next one is written over the closing brackets, with new
//! ones behind it, in one go. Each entry is one line, so that of a file that was cut in the middle of that (the machine
//! lost its power) everything up to the last line is good.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde_json::json;

/// Kept free below the limit for the last words.
const LAST_WORDS: u64 = 1024;

/// Closes a file that is still written.
const UNDER_WAY: &str =
    "\n],\"comment\":\"this recording was not ended: docxy still writes it, or was killed\"}}\n";

pub(super) struct HarFile {
    file: File,
    /// Where the closing brackets begin.
    end: u64,
    is_empty: bool,
    most: u64,
}

/// Why an entry is not in the file, which is as good as before.
#[derive(Debug)]
pub(super) enum NotWritten {
    Full,
    Failed(io::Error),
}

impl HarFile {
    /// Makes the file, for its owner alone; `most` bytes is the longest that it gets.
    ///
    /// # Errors
    /// There is one already, also a link wherever it leads; or it can't be made.
    pub fn create(path: &Path, most: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let creator = json!({ "name": "docxy", "version": env!("CARGO_PKG_VERSION") });
        let begin = format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},\"entries\":[");
        let file = Self {
            file,
            end: begin.len() as u64,
            is_empty: true,
            most,
        };
        file.file
            .write_all_at(format!("{begin}{UNDER_WAY}").as_bytes(), 0)?;
        Ok(file)
    }

    /// Bytes of it until now.
    pub fn length(&self) -> u64 {
        self.end + UNDER_WAY.len() as u64
    }

    pub fn append(&mut self, entry: &[u8]) -> Result<(), NotWritten> {
        let separator = if self.is_empty { "\n" } else { ",\n" };
        let taken = (separator.len() + entry.len()) as u64;
        if self.end + taken + LAST_WORDS > self.most {
            return Err(NotWritten::Full);
        }
        let text = [separator.as_bytes(), entry, UNDER_WAY.as_bytes()].concat();
        match self.file.write_all_at(&text, self.end) {
            Ok(()) => {
                self.end += taken;
                self.is_empty = false;
                Ok(())
            }
            Err(error) => {
                self.close(UNDER_WAY);
                Err(NotWritten::Failed(error))
            }
        }
    }

    /// Writes why it ended.
    pub fn end(self, comment: &str) {
        self.close(&format!("\n],\"comment\":{}}}}}\n", json!(comment)));
    }

    /// Where the disk is full the space of the brackets is there already; what can't be closed is as good as cut.
    fn close(&self, brackets: &str) {
        let end = self.end + brackets.len() as u64;
        if self.file.write_all_at(brackets.as_bytes(), self.end).is_ok() {
            let _ = self.file.set_len(end);
        } else if brackets != UNDER_WAY {
            self.close(UNDER_WAY);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::Value;

    use super::*;

    fn read(path: &Path) -> Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn is_json_after_every_entry() {
        // A recording is needed most where docxy died.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.har");
        let mut file = HarFile::create(&path, 1 << 20).unwrap();
        assert_eq!(read(&path)["log"]["entries"], json!([]));
        for count in 1..4 {
            file.append(b"{\"a\":1}").unwrap();
            let log = &read(&path)["log"];
            assert_eq!(log["entries"].as_array().map(Vec::len), Some(count));
            assert!(log["comment"].as_str().unwrap().contains("not ended"), "{log}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), file.length());
        }
        file.end("over");
        assert_eq!(read(&path)["log"]["comment"], "over");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn takes_nobody_elses_place() {
        // A link in the folder must not make docxy write over another file.
        let folder = tempfile::tempdir().unwrap();
        let (path, link, other) = ["a.har", "link.har", "other"]
            .map(|name| folder.path().join(name))
            .into();
        std::fs::write(&path, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        for taken in [&path, &link] {
            let error = HarFile::create(taken, 1 << 20).err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{error}");
        }
        assert!(!other.exists());
    }

    #[test]
    fn has_a_limit_and_stays_whole() {
        // A recording that was forgotten must not fill the disk.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.har");
        let mut file = HarFile::create(&path, 4096).unwrap();
        let entry = format!("{{\"a\":\"{}\"}}", "x".repeat(500));
        let mut written = 0;
        while file.append(entry.as_bytes()).is_ok() {
            written += 1;
        }
        assert!(matches!(file.append(entry.as_bytes()), Err(NotWritten::Full)));
        file.end("the limit is reached");
        assert!(std::fs::metadata(&path).unwrap().len() <= 4096);
        assert_eq!(
            read(&path)["log"]["entries"].as_array().map(Vec::len),
            Some(written)
        );
        assert!(written >= 4, "{written}");
    }
}
