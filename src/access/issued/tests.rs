use tempfile::TempDir;

use super::*;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("state/keys/tokens.json");
    (folder, path)
}

fn open(path: &Path) -> Issued {
    Issued::open(path.to_owned()).expect("readable")
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        user: None,
        scopes: Vec::new(),
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
    assert!(matches!(command.revoke("ci"), Err(IssuedError::Unknown(_))));
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
    assert!(matches!(issued.create(wanted("ci")), Err(IssuedError::Taken(_))));
    let long = "x".repeat(65);
    for name in ["", "-x", ".", "a b", "a/b", "ä", "0123456789ab", "token:x", &long] {
        assert!(
            matches!(issued.create(wanted(name)), Err(IssuedError::Name(_))),
            "{name}"
        );
    }
    let nothing = Wanted {
        life: Some(0),
        ..wanted("x")
    };
    assert!(matches!(issued.create(nothing), Err(IssuedError::Life)));
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
            matches!(Issued::open(path.clone()), Err(FileError::Damaged { .. })),
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
