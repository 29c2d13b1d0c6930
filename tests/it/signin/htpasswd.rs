//! docxy's own users, in files that the real `htpasswd` writes (A6).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use docxy::access::users::{Config, SignInError, Users, pool};
use docxy::config::values::Secret;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Runs htpasswd on a file, which it makes if need be.
fn htpasswd(options: &[&str], file: &Path, rest: &[&str]) {
    let mut command = Command::new("htpasswd");
    command.args(options);
    if !file.exists() {
        command.arg("-c");
    }
    let done = command.arg(file).args(rest).output();
    let done = done.expect("htpasswd must be installed: ci/install-packages");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn load(file: &Path) -> Result<Users, String> {
    let config = Config {
        files: vec![file.to_owned()],
        key: Secret::new([7; 32]),
        pool: pool::Size::default(),
    };
    Users::load(config).map_err(|error| error.to_string())
}

fn in_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users");
    (folder, file)
}

#[tokio::test]
async fn whoever_is_added_with_htpasswd_signs_in() {
    // It is the program the documentation names; what it accepts as a password must work as one.
    let (_folder, file) = in_folder();
    let longest = "l".repeat(72);
    let people = [
        ("ann", "right"),
        ("bob smith", "p\u{e4}ss: w\u{f6}rd #1"),
        ("#carl", "x"),
        ("dora", &longest),
        ("erik", " "),
    ];
    // A line that begins with `#` is a comment to docxy; htpasswd would make a user of it.
    for (name, password) in people {
        htpasswd(&["-b", "-B", "-C", "5"], &file, &[name, password]);
    }
    let users = load(&file).expect("users");
    assert_eq!(users.names(), ["ann", "bob smith", "dora", "erik"]);
    for (name, password) in people.into_iter().filter(|(name, _)| *name != "#carl") {
        let answer = users.verify(name, password.as_bytes(), HERE).await;
        assert_eq!(answer.as_deref(), Ok(name));
        let other = format!("{password}x");
        let answer = users.verify(name, other.as_bytes(), HERE).await;
        assert_eq!(answer, Err(SignInError::Wrong));
    }
}

#[test]
fn what_htpasswd_does_without_b_is_refused_with_the_line_and_the_remedy() {
    // Without -B it stores passwords in ways that are guessed in no time; the operator must learn it at the start.
    let kinds = ["-m", "-s", "-d", "-p", "-2", "-5"];
    for kind in kinds {
        let (_folder, file) = in_folder();
        htpasswd(&["-b", "-B", "-C", "5"], &file, &["ann", "right"]);
        htpasswd(&["-b", kind], &file, &["bob", "canary"]);
        let error = load(&file).expect_err(kind);
        assert!(
            error.starts_with(&format!("{}:2: \"bob\": ", file.display())),
            "{error}"
        );
        assert!(
            error.ends_with("make it anew with: htpasswd -B FILE NAME"),
            "{error}"
        );
        let text = fs::read_to_string(&file).expect("a file");
        let hash = text
            .lines()
            .last()
            .and_then(|line| line.split_once(':'))
            .expect("a line")
            .1;
        assert!(!error.contains(hash), "{error}");
        htpasswd(&["-b", "-B", "-C", "5"], &file, &["bob", "canary"]);
        assert!(load(&file).is_ok(), "what the message says helps");
    }
    println!("{0} of {0} kinds of weak hashes refused", kinds.len());
}

#[tokio::test]
async fn changes_that_htpasswd_makes_are_seen_by_a_running_docxy_and_nobody_else_is_thrown_out() {
    // It writes in place: for a moment the file is empty. Users come and go all day without a restart.
    let (_folder, file) = in_folder();
    htpasswd(&["-b", "-B", "-C", "4"], &file, &["ann", "right"]);
    let users = load(&file).expect("users");
    let of_ann = users.fingerprint("ann");
    let watching = tokio::spawn(users.clone().watch(
        Duration::from_millis(10),
        std::future::pending(),
        || (),
    ));
    let changing = tokio::task::spawn_blocking({
        let file = file.clone();
        move || {
            for round in 0..20 {
                htpasswd(&["-b", "-B", "-C", "4"], &file, &["bob", &format!("new {round}")]);
            }
        }
    });
    while users.fingerprint("bob").is_none() || !changing.is_finished() {
        assert_eq!(users.fingerprint("ann"), of_ann, "she was out for a moment");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let last = load(&file).expect("users").fingerprint("bob");
    while users.fingerprint("bob") != last {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(users.verify("bob", b"new 19", HERE).await.as_deref(), Ok("bob"));
    htpasswd(&["-D"], &file, &["bob"]);
    while users.fingerprint("bob").is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = users.verify("bob", b"new 19", HERE).await;
    assert!(answer.is_err(), "removed, and remembered as right a moment ago");
    assert_eq!(users.verify("ann", b"right", HERE).await.as_deref(), Ok("ann"));
    watching.abort();
}
