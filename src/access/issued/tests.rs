use tempfile::TempDir;

use super::*;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state/keys/tokens.json");
    (folder, path)
}

fn open(path: &Path) -> Issued {
    Issued::open(Kind::Access, path.to_owned()).expect("readable")
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        user: None,
        scopes: Vec::new(),
        push: false,
        life: Some(60),
    }
}

#[test]
fn a_token_works_until_it_is_revoked_and_in_every_process() {
    // `docxy token` beside a running docxy without a socket: one file, two processes.
    let (_folder, path) = place();
    let (server, command) = (open(&path), open(&path));
    let created = command.create(wanted("ci")).expect("made");
    let text = created.token.expose();
    assert_eq!(server.present(text).err(), Some(Invalid::Ended), "not looked yet");
    server.check();
    assert_eq!(server.present(text).expect("known").about, created.about);
    assert!(server.of_id(&created.about.id).is_ok());
    assert!(server.present(&text[..54]).is_err() && server.present("docxy_").is_err());
    assert_eq!(command.revoke("ci").expect("there").id, created.about.id);
    server.check();
    assert_eq!(server.present(text).err(), Some(Invalid::Ended));
    assert_eq!(server.of_id(&created.about.id).err(), Some(Invalid::Ended));
    assert!(matches!(command.revoke("ci"), Err(IssuedError::Unknown(..))));
}

#[test]
fn changes_by_many_at_once_are_all_kept() {
    // Two operators, a script in a loop, and the server that notes uses: nobody's token is lost.
    let (_folder, path) = place();
    let server = open(&path);
    let first = server.create(wanted("first")).expect("made");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let issued = open(path);
                for number in 0..10 {
                    issued
                        .create(wanted(&format!("t-{writer}-{number}")))
                        .expect("made");
                }
            });
        }
        for _ in 0..20 {
            server.present(first.token.expose()).expect("known");
            server.note_uses();
        }
    });
    let listed = open(&path).list().expect("readable");
    assert_eq!(listed.len(), 41);
    assert!(listed[0].last_used.is_some());
}

#[test]
fn it_ends_with_its_time() {
    // Nobody remembers to revoke what was made for one afternoon.
    let (_folder, path) = place();
    let issued = open(&path);
    let created = issued.create(wanted("ci")).expect("made");
    file::change(&path, |tokens| {
        tokens[0].about.expires = Some(now());
        Ok::<_, FileError>(())
    })
    .expect("changed");
    issued.check();
    assert_eq!(issued.present(created.token.expose()).err(), Some(Invalid::Ended));
    assert_eq!(issued.of_id(&created.about.id).err(), Some(Invalid::Ended));
    assert_eq!(
        issued.list().expect("readable").len(),
        1,
        "its name is shown until it is revoked"
    );
}

#[test]
fn names_are_unmistakable() {
    // `revoke NAME` must end what was meant.
    let (_folder, path) = place();
    let issued = open(&path);
    issued.create(wanted("ci")).expect("made");
    assert!(matches!(issued.create(wanted("ci")), Err(IssuedError::Taken(..))));
    let long = "x".repeat(65);
    for name in ["", "-x", ".", "a b", "a/b", "ä", "0123456789ab", "token:x", &long] {
        assert!(
            matches!(issued.create(wanted(name)), Err(IssuedError::Name(..))),
            "{name}"
        );
    }
    let nothing = Wanted {
        life: Some(0),
        ..wanted("x")
    };
    assert!(matches!(issued.create(nothing), Err(IssuedError::Life(_))));
    assert_eq!(issued.list().expect("readable").len(), 1);
}

#[test]
fn whatever_befalls_the_file_opens_nothing() {
    // Threat I6, the other way round: a cache is made anew, a list of who may come in is not.
    let (_folder, path) = place();
    let issued = open(&path);
    let created = issued.create(wanted("ci")).expect("made");
    let whole = std::fs::read(&path).expect("there");
    let mut refused = 0;
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).expect("written");
        assert!(
            matches!(
                Issued::open(Kind::Access, path.clone()),
                Err(FileError::Damaged { .. })
            ),
            "{length} bytes of it"
        );
        refused += 1;
    }
    println!("{refused} torn files, all refused");
    issued.check();
    assert_eq!(
        issued.present(created.token.expose()).err(),
        Some(Invalid::Unreadable)
    );
    assert_eq!(issued.of_id(&created.about.id).err(), Some(Invalid::Unreadable));
    assert!(
        issued.create(wanted("next")).is_err(),
        "nothing is written over it"
    );
    std::fs::write(&path, &whole).expect("written");
    issued.check();
    assert!(issued.present(created.token.expose()).is_ok());
    // Gone altogether, as an operator may want it: there are no tokens.
    std::fs::remove_file(&path).expect("removed");
    issued.check();
    assert_eq!(issued.present(created.token.expose()).err(), Some(Invalid::Ended));
}

#[test]
fn a_token_ends_with_its_user_and_does_not_wake_up_for_the_next_of_that_name() {
    // Ann left, and a year later another ann comes: what the first one kept must not open what the second may have.
    let (_folder, path) = place();
    let server = open(&path);
    let made = |name: &str, user: Option<&str>| {
        let user = user.map(str::to_owned);
        server.create(Wanted { user, ..wanted(name) }).expect("made")
    };
    let (of_ann, of_bob, of_nobody) = (made("a", Some("ann")), made("b", Some("bob")), made("c", None));
    server.end_with_users(|_| true);
    assert!(server.present(of_ann.token.expose()).is_ok());
    server.end_with_users(|name| name == "bob");
    for server in [&server, &open(&path)] {
        assert_eq!(server.present(of_ann.token.expose()).err(), Some(Invalid::Ended));
        assert!(server.of_id(&of_ann.about.id).is_err());
        assert!(server.present(of_bob.token.expose()).is_ok());
        assert!(server.present(of_nobody.token.expose()).is_ok());
    }
    server.end_with_users(|_| true);
    assert!(server.present(of_ann.token.expose()).is_err());
}

#[test]
fn a_file_that_could_not_be_read_again_is_not_written() {
    // One token too many must not end all of them at the next start.
    let (_folder, path) = place();
    let server = open(&path);
    let kept = server.create(wanted("kept")).expect("made");
    let long = "x".repeat(17 << 20);
    let refused = file::change(&path, |tokens| {
        tokens[0].about.name = long;
        Ok::<_, FileError>(())
    });
    assert!(matches!(refused, Err(FileError::Full { .. })), "{refused:?}");
    assert!(open(&path).present(kept.token.expose()).is_ok());
}

#[test]
fn a_clock_that_goes_back_revives_no_token() {
    // A machine without a battery wakes up in 1970, where no token has ended yet.
    let (_folder, path) = place();
    let mut about = open(&path).create(wanted("ci")).expect("made").about;
    let created = about.created;
    for (now, over) in [
        (0, true),
        (created - 301, true),
        (created - 299, false),
        (created + 59, false),
        (created + 60, true),
    ] {
        assert_eq!(about.is_over(now), over, "{now} against {created}");
    }
    about.expires = None;
    assert!(!about.is_over(0), "what has no end needs no clock");
}

#[test]
fn a_change_shows_whatever_times_it_was_given() {
    // A backup is put back with `cp --preserve`: what was revoked since must be seen as it is in the file.
    let (_folder, path) = place();
    let server = open(&path);
    let before = server.create(wanted("one")).expect("made");
    let (bytes, times) = (
        std::fs::read(&path).expect("bytes"),
        std::fs::metadata(&path).expect("times"),
    );
    let first = Stamp::of(&path);
    let other = String::from_utf8(bytes)
        .expect("text")
        .replace("\"one\"", "\"two\"");
    std::fs::write(&path, other).expect("written");
    let file = std::fs::File::options().write(true).open(&path).expect("a file");
    file.set_modified(times.modified().expect("a time")).expect("set");
    assert_ne!(Stamp::of(&path), first);
    server.check();
    assert_eq!(server.of_id(&before.about.id).expect("there").about.name, "two");
}
