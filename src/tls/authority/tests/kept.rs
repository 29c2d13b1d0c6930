//! The authority's files: private, whole, one for each installation, and exchanged at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::support::{chain, config, name, open, openssl};
use crate::tls::Error;
use crate::tls::authority::{Authority, Origin, signers};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

fn refusal(state: &Path) -> String {
    Authority::open(&config(state, &["ghcr.io"]))
        .map(|_| ())
        .expect_err("refused")
        .to_string()
}

#[test]
fn it_is_made_once_and_private() {
    // Whoever reads the key is every registry of this installation to its clients.
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let first = open(&state, &["ghcr.io"]).certificates_pem();
    let key = state.join("ca/current.key");
    assert_eq!((mode(&state.join("ca")), mode(&key)), (0o700, 0o600));
    assert_eq!(open(&state, &["quay.io"]).certificates_pem(), first, "made again");
    assert!(!first.contains("PRIVATE"));
    for exposed in [0o640, 0o604, 0o644, 0o660, 0o666] {
        set_mode(&key, exposed);
        let said = refusal(&state);
        assert!(said.contains("chmod 600"), "{exposed:o}: {said}");
    }
    set_mode(&key, 0o600);
    set_mode(&state.join("ca"), 0o777);
    assert!(refusal(&state).contains("chmod 700"));
    set_mode(&state.join("ca"), 0o700);
    open(&state, &["ghcr.io"]);
}

#[test]
fn two_installations_share_nothing() {
    // What one docxy's clients trust must not be what another's key can sign (Superfish's mistake).
    let (one, two) = (tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b"));
    let (one, two) = (open(one.path(), &["ghcr.io"]), open(two.path(), &["ghcr.io"]));
    let (of_one, of_two) = (one.certificates_pem(), two.certificates_pem());
    assert_ne!(of_one, of_two);
    openssl(&of_one, &chain(&one, "ghcr.io"), "ghcr.io").expect("its own");
    assert!(openssl(&of_one, &chain(&two, "ghcr.io"), "ghcr.io").is_err());
    assert_ne!(chain(&one, "ghcr.io"), chain(&two, "ghcr.io"));
}

#[test]
fn the_key_is_nowhere_to_be_seen() {
    // S12: neither a log line with {:?} nor what clients are offered may hold it.
    let folder = tempfile::tempdir().expect("a folder");
    let authority = open(folder.path(), &["ghcr.io"]);
    let kept = fs::read_to_string(folder.path().join("ca/current.key")).expect("there");
    let line = kept.lines().nth(1).expect("a line of the key").to_owned();
    let seen = format!(
        "{authority:?} {:?} {} {:?}",
        authority.signing.load(),
        authority.certificates_pem(),
        authority.leaf_key
    );
    assert!(!seen.contains(&line) && !seen.contains("PRIVATE"));
}

#[test]
fn what_is_torn_stops_the_start_with_advice() {
    // A half-written or foreign file must not silently become a new authority that no client trusts.
    let folder = tempfile::tempdir().expect("a folder");
    open(folder.path(), &["ghcr.io"]);
    let path = folder.path().join("ca/current.key");
    let whole = fs::read_to_string(&path).expect("there");
    let (key, certificate) = whole.split_at(whole.find("-----BEGIN CERT").expect("both"));
    for (content, said) in [
        (String::new(), "holds no certificate"),
        ("nonsense".to_owned(), "holds no certificate"),
        (key.to_owned(), "holds no certificate"),
        (certificate.to_owned(), "holds no private key"),
        (whole[..whole.len() / 2].to_owned(), "PEM"),
    ] {
        fs::write(&path, &content).expect("written");
        let error = refusal(folder.path());
        assert!(error.contains(said), "{said}: {error}");
        assert!(error.contains("current.key"), "{error}");
    }
}

#[test]
fn the_next_one_waits_until_it_is_activated() {
    // Clients get the new certificate while nothing has changed for them; then one command exchanges the two, and a
    // process that serves takes it without a restart.
    let folder = tempfile::tempdir().expect("a folder");
    let authority = open(folder.path(), &["ghcr.io"]);
    let config = config(folder.path(), &["ghcr.io", "quay.io"]);
    let origin = &config.origin;
    let old = authority.certificates_pem();
    assert!(matches!(origin.activate(), Err(Error::NoneWaits)));
    assert_eq!(authority.reload(), 0);
    origin.rotate(config.may()).expect("a next one");
    assert_eq!(mode(&folder.path().join("ca/next.key")), 0o600);
    assert!(matches!(
        origin.rotate(config.may()),
        Err(Error::NextWaits { .. })
    ));
    assert_eq!((authority.reload(), authority.reload()), (1, 0));
    let both = authority.certificates_pem();
    let new = both.strip_prefix(&old).expect("the old one first").to_owned();
    assert_eq!(both.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(!authority.permits(&name("quay.io")));
    let before = chain(&authority, "ghcr.io");
    openssl(&old, &before, "ghcr.io").expect("the old one signs");
    openssl(&new, &before, "ghcr.io").expect_err("the new one does not yet");

    origin.activate().expect("exchanged");
    assert_eq!((authority.reload(), authority.reload()), (1, 0));
    assert_eq!(authority.certificates_pem(), new);
    assert!(authority.permits(&name("quay.io")));
    let after = chain(&authority, "ghcr.io");
    openssl(&new, &after, "ghcr.io").expect("the new one signs");
    openssl(&old, &after, "ghcr.io").expect_err("the old one does not any more");
    assert_eq!(
        open(folder.path(), &[]).certificates_pem(),
        new,
        "after a restart"
    );
    let previous = fs::read_to_string(folder.path().join("ca/previous.key")).expect("kept");
    assert!(previous.ends_with(&old));
    assert!(!folder.path().join("ca/next.key").exists());
}

#[test]
fn a_crash_in_between_leaves_one_whole_authority() {
    // The exchange is: keep the old one, then one rename. After each step alone a start finds what signed before, or what
    // was to sign next, and saying it again ends well.
    let folder = tempfile::tempdir().expect("a folder");
    let old = open(folder.path(), &["ghcr.io"]).certificates_pem();
    let config = config(folder.path(), &["ghcr.io"]);
    config.origin.rotate(config.may()).expect("a next one");
    let ca = folder.path().join("ca");
    fs::copy(ca.join("current.key"), ca.join("previous.key")).expect("the first step");
    let found = signers(&config.origin).expect("readable").expect("there");
    assert_eq!(found.in_use.pem(), old);
    let new = found.next.expect("still waits").pem();
    config.origin.activate().expect("the rest");
    let found = signers(&config.origin).expect("readable").expect("there");
    assert_eq!((found.in_use.pem(), found.next.is_none()), (new, true));
    // Left by a write that was cut off.
    fs::write(ca.join("current.key.1234"), "half").expect("written");
    open(folder.path(), &[]);
}

#[test]
fn what_becomes_of_the_files_does_not_stop_what_serves() {
    // Whoever makes a mistake with the files while docxy serves must not end everybody's pulls.
    let folder = tempfile::tempdir().expect("a folder");
    let authority = open(folder.path(), &["ghcr.io"]);
    let pem = authority.certificates_pem();
    let path = folder.path().join("ca/current.key");
    let whole = fs::read(&path).expect("there");
    let still_good = |authority: &Arc<Authority>| {
        openssl(&pem, &chain(authority, "ghcr.io"), "ghcr.io").expect("still signs");
    };
    fs::write(&path, "nonsense").expect("written");
    assert_eq!(authority.reload(), 0);
    still_good(&authority);
    fs::remove_file(&path).expect("removed");
    assert_eq!(authority.reload(), 0);
    still_good(&authority);
    fs::write(&path, &whole).expect("written");
    set_mode(&path, 0o644);
    assert_eq!(authority.reload(), 0);
    still_good(&authority);
    set_mode(&path, 0o600);
    assert_eq!(authority.reload(), 1);
    still_good(&authority);
}

#[test]
fn making_it_in_parallel_makes_one() {
    // `docxy ca init` while docxy starts for the first time: clients must not be given one and shown the other.
    let folder = tempfile::tempdir().expect("a folder");
    let made: usize = std::thread::scope(|scope| {
        let make = || {
            let config = config(folder.path(), &["ghcr.io"]);
            usize::from(config.origin.make_first(config.may()).expect("made or there"))
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .sum()
    });
    assert_eq!(made, 1);
}

#[test]
fn looking_makes_nothing() {
    // check-config on another machine must not leave a key there.
    let folder = tempfile::tempdir().expect("a folder");
    let origin = Origin::State(folder.path().join("state"));
    assert!(signers(&origin).expect("readable").is_none());
    assert!(!folder.path().join("state").exists());
}

#[test]
fn without_a_place_the_message_says_which_keys_help() {
    // A read-only container: an authority that is another at each start is one that nobody trusts.
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "").expect("written");
    let said = refusal(&folder.path().join("file/state"));
    for word in ["state_path", "ca_cert"] {
        assert!(said.contains(word), "{said}");
    }
}
