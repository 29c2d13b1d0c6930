//! The command line, run as a person runs it.
#![expect(clippy::unwrap_used, reason = "a test whose stage can't be set fails")]

mod admin;
mod ca;
mod cache;
mod client_config;
mod explain;
mod healthcheck;
mod import;
mod texts;
mod token;
mod why;

use std::path::Path;

use assert_cmd::Command;

/// The real program, with no environment but the one a test gives it. `--config` keeps this machine's own file out.
pub fn docxy(file: &Path) -> Command {
    let mut command = Command::cargo_bin("docxy").unwrap();
    command.env_clear().arg("--config").arg(file);
    command
}

/// A configuration file with this text, in a folder of its own.
pub fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docxy.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// What a finished program said and how it ended.
pub fn story(command: &mut Command) -> String {
    let output = command.output().unwrap();
    format!(
        "exit code {:?}\n--- stdout\n{}\n--- stderr\n{}",
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).trim_end(),
        String::from_utf8_lossy(&output.stderr).trim_end()
    )
}
