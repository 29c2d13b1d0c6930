//! A machine to be set up: this one, in a mount namespace where /etc, /usr/local/share and /var/lib are copies that vanish,
//! and where systemctl is a script that writes down what it is told.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Which family of systems it plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// Its real update-ca-certificates runs.
    Debian,
    Rhel,
    Suse,
}

pub struct Machine {
    folder: TempDir,
    family: Family,
}

/// What a run said, and what it told systemctl.
#[derive(Debug)]
pub struct Run {
    pub status: i32,
    pub said: String,
    pub systemctl: Vec<String>,
    /// The trust was refreshed so often.
    pub refreshed: usize,
}

/// Places that are copied.
const COPIED: [&str; 3] = ["etc", "usr/local/share", "var/lib/docxy-there"];

/// `$0`: the machine's folder, `$1`: the shell's name, `$2`...: the script and its options.
const ENTER: &str = r#"
    set -e
    mkdir -p /var/lib
    mount --bind "$0/etc" /etc
    mount --bind "$0/usr/local/share" /usr/local/share
    mount --bind "$0/var/lib" /var/lib
    PATH="$0/bin:$PATH"
    export PATH
    exec $SHELL_UNDER_TEST "$@"
"#;

impl Machine {
    pub fn new(family: Family) -> Self {
        let folder = tempfile::Builder::new().prefix("docxy-setup-").tempdir().unwrap();
        let machine = Self { folder, family };
        for place in COPIED {
            fs::create_dir_all(machine.path(place)).unwrap();
        }
        for place in ["etc", "usr/local/share"] {
            copy(&format!("/{place}"), machine.path(place).parent().unwrap());
        }
        // Java's own list, where there is Java, is kept elsewhere.
        let hooks = machine.path("etc/ca-certificates/update.d");
        if hooks.exists() {
            fs::remove_dir_all(&hooks).unwrap();
        }
        machine.program(
            "systemctl",
            "echo \"$*\" >>\"$DOCXY_TEST/systemctl\"\n\
             case $1 in cat | is-active) for unit; do :; done; grep -qxF \"$1 $unit\" \"$DOCXY_TEST/units\" ;; esac",
        );
        machine.units(&[
            "cat docker.service",
            "is-active docker.service",
            "cat containerd.service",
        ]);
        match family {
            Family::Debian => machine.program(
                "update-ca-certificates",
                "echo x >>\"$DOCXY_TEST/refreshed\"; exec /usr/sbin/update-ca-certificates \"$@\"",
            ),
            Family::Rhel => {
                fs::create_dir_all(machine.path("etc/pki/ca-trust/source/anchors")).unwrap();
                machine.program("update-ca-trust", "echo x >>\"$DOCXY_TEST/refreshed\"");
            }
            Family::Suse => {
                fs::create_dir_all(machine.path("etc/pki/trust/anchors")).unwrap();
                machine.program("update-ca-certificates", "echo x >>\"$DOCXY_TEST/refreshed\"");
            }
        }
        machine
    }

    /// What systemctl says yes to.
    pub fn units(&self, lines: &[&str]) {
        fs::write(self.path("units"), lines.join("\n") + "\n").unwrap();
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_else(|error| panic!("{inside}: {error}"))
    }

    /// Where its certificates go.
    pub fn anchors(&self) -> &'static str {
        match self.family {
            Family::Debian => "usr/local/share/ca-certificates",
            Family::Rhel => "etc/pki/ca-trust/source/anchors",
            Family::Suse => "etc/pki/trust/anchors",
        }
    }

    /// A program that goes before the machine's own.
    pub fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a script with one of the shells that machines have for /bin/sh.
    pub fn run(&self, shell: &str, script: &str, options: &[&str]) -> Run {
        self.run_with(shell, script, options, &[])
    }

    pub fn run_with(&self, shell: &str, script: &str, options: &[&str], environment: &[(&str, &str)]) -> Run {
        for file in ["systemctl", "refreshed"] {
            fs::write(self.path(file), "").unwrap();
        }
        fs::write(self.path("setup.sh"), script).unwrap();
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "--", "sh", "-c", ENTER])
            .arg(self.folder.path())
            .arg(self.path("setup.sh"))
            .args(options)
            .current_dir(self.folder.path())
            .env("SHELL_UNDER_TEST", shell)
            .env("DOCXY_TEST", self.folder.path())
            // As on a machine that has another proxy.
            .env("http_proxy", "http://127.0.0.1:9")
            .env("https_proxy", "http://127.0.0.1:9")
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let calls = self.read("systemctl");
        let changing = calls
            .lines()
            .filter(|line| !line.starts_with("cat ") && !line.starts_with("is-active "));
        Run {
            status: output.status.code().unwrap_or(-1),
            said: format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            systemctl: changing.map(str::to_owned).collect(),
            refreshed: self.read("refreshed").lines().count(),
        }
    }

    /// Nothing of it is another than it was.
    #[track_caller]
    pub fn assert_is(&self, before: &str, what: &str) {
        let now = self.everything();
        let changed: Vec<&str> = now
            .lines()
            .filter(|line| !before.lines().any(|own| own == *line))
            .chain(before.lines().filter(|line| !now.lines().any(|own| own == *line)))
            .collect();
        assert!(changed.is_empty() && now == before, "{what}: {changed:#?}");
    }

    /// Every file, link and folder of the machine: what it is, its mode, and all its bytes.
    pub fn everything(&self) -> String {
        let mut text = String::new();
        for place in ["etc", "usr", "var"] {
            walk(&self.path(place), &mut text);
        }
        text
    }
}

fn copy(from: &str, into: &Path) {
    fs::create_dir_all(into).unwrap();
    let copied = Command::new("cp").args(["-a", from]).arg(into).status().unwrap();
    assert!(copied.success(), "cp -a {from}");
}

fn walk(path: &Path, text: &mut String) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mode = metadata.mode();
    let _ = write!(text, "{mode:o} {}", path.display());
    if metadata.is_symlink() {
        let _ = writeln!(text, " -> {}", fs::read_link(path).unwrap().display());
    } else if metadata.is_dir() {
        text.push('\n');
        let mut inside: Vec<_> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        inside.sort();
        for path in &inside {
            walk(path, text);
        }
    } else if metadata.is_file() {
        let bytes = fs::read(path).unwrap();
        let _ = writeln!(text, " {} {}", bytes.len(), crate::support::image::sha256(&bytes));
    } else {
        text.push('\n');
    }
}
