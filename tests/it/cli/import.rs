//! `docxy config import`, as somebody who moves runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use assert_cmd::Command;

use super::{docxy, story};
use crate::config::import::fixture;

fn import(tool: &str, files: &[&str]) -> Command {
    // A file of docxy's own that can't be read must not be in the way of making one.
    let mut command = docxy(Path::new("/nowhere/docxy.toml"));
    command
        .args(["config", "import", "--from", tool])
        .args(files.iter().map(|name| fixture(name)));
    command
}

#[test]
fn what_it_makes_check_config_accepts() {
    // The next thing anybody does; a file that docxy made and refuses would end the move.
    for (tool, files) in [
        ("docker-registry-proxy", &["proxy.env"][..]),
        ("docker-registry-proxy", &["compose.yaml"]),
        ("distribution", &["ecr.yml"]),
        ("distribution", &["harbor.yml"]),
        ("docxy", &["behind.toml"]),
        ("docker-proxy", &["gateway.yaml"]),
        ("docker-proxy", &["registry-hub.yml", "registry-quay.yml"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let made = folder.path().join("docxy.toml");
        let said = story(import(tool, files).arg("-o").arg(&made));
        assert!(said.starts_with("exit code Some(0)\n--- stdout\n\n"), "{said}");
        // Whatever docxy this machine has of its own.
        let checked = story(
            docxy(&made)
                .env("STATE_DIRECTORY", folder.path())
                .arg("check-config"),
        );
        assert!(checked.starts_with("exit code Some(0)"), "{files:?}: {checked}");
        let printed = import(tool, files).output().unwrap();
        assert_eq!(fs::read(&made).unwrap(), printed.stdout, "the same on stdout");
    }
}

#[test]
fn certificates_that_moved_are_named() {
    // Those of the old machine are seldom where they were; check-config says which key means them.
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("docxy.toml");
    import("docxy", &["default.toml"])
        .arg("-o")
        .arg(&made)
        .assert()
        .success();
    let checked = story(docxy(&made).arg("check-config"));
    assert!(checked.contains("tls.certificates"), "{checked}");
}

#[test]
fn passwords_are_for_their_owner() {
    // The old file was often readable by everybody; the new one must not be (S12).
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let (secret, plain) = (
        folder.path().join("secret.toml"),
        folder.path().join("plain.toml"),
    );
    import("distribution", &["hub.yml"])
        .arg("-o")
        .arg(&secret)
        .assert()
        .success();
    import("docxy", &["behind.toml"])
        .arg("-o")
        .arg(&plain)
        .assert()
        .success();
    assert_eq!((mode(&secret), mode(&plain)), (0o600, 0o644));
    // Over a file that everybody may read, too.
    import("distribution", &["hub.yml"])
        .arg("-o")
        .arg(&plain)
        .arg("--force")
        .assert()
        .success();
    assert_eq!(mode(&plain), 0o600);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "nothing is left beside them"
    );
}

#[test]
fn a_file_that_is_there_stays() {
    // Somebody tries it twice and has changed the first one meanwhile.
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("docxy.toml");
    fs::write(&made, "mine").unwrap();
    let said = story(import("docxy", &["behind.toml"]).arg("-o").arg(&made));
    assert!(
        said.contains("is there already: name another file, or add --force"),
        "{said}"
    );
    assert!(said.starts_with("exit code Some(1)"), "{said}");
    assert_eq!(fs::read_to_string(&made).unwrap(), "mine");
}

#[test]
fn what_is_wrong_is_said() {
    // With the file's name and line, and nothing is made.
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.env");
    fs::write(&old, "REGISTRIES=quay.io\nCACHE_MAX_SIZE=CANARY\n").unwrap();
    let said = story(
        docxy(Path::new("x"))
            .args(["config", "import", "--from", "docker-registry-proxy"])
            .arg(&old),
    );
    assert!(
        said.contains("old.env:2:1: CACHE_MAX_SIZE: is not a size"),
        "{said}"
    );
    assert!(
        said.starts_with("exit code Some(1)") && !said.contains("CANARY"),
        "{said}"
    );
    let said = story(&mut import("docxy", &["behind.toml", "default.toml"]));
    assert!(said.contains("docxy has one file; 2 were named"), "{said}");
    let said = story(&mut import("docxy", &["none.toml"]));
    assert!(said.contains("none.toml can't be read"), "{said}");
    let said = story(&mut import("harbor", &["hub.yml"]));
    assert!(
        said.starts_with("exit code Some(2)") && said.contains("docker-registry-proxy"),
        "{said}"
    );
}

#[test]
fn help() {
    // Which file of which tool is meant is nowhere else to be read at that moment.
    insta::assert_snapshot!(story(docxy(Path::new("x")).args(["config", "import", "--help"])));
}
