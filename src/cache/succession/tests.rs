//! One folder, two processes, one after the other and for a while both.

use std::fs;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::cache::rehearsal::{blob, send, until};
use crate::cache::shelf::{self, Shelf, name, record, tag};
use crate::cache::{Ending, Inheritance, Leader, Legacy, OpenError, Opened, PutError, Source};
use crate::oci::{Digest, RegistryName};

async fn open(shelf: &Shelf, digest: &Digest, repository: &str) -> Opened {
    let linked = shelf.store.link(&name(repository), digest, None);
    shelf
        .store
        .open_linked(&linked, &RegistryName::parse("r.test").unwrap())
        .await
}

async fn lead(shelf: &Shelf, digest: &Digest, repository: &str) -> Leader {
    match open(shelf, digest, repository).await {
        Opened::Lead(leader) => leader,
        other => panic!("no lead but {other:?}"),
    }
}

/// Does what was said until now.
async fn heed(inheritance: &mut Inheritance, legacy: &mut UnboundedReceiver<Legacy>) {
    while let Ok(said) = legacy.try_recv() {
        match said {
            Legacy::Growing(bytes) => inheritance.growing(bytes).await,
            Legacy::Stored { digest, size, links } => inheritance.stored(digest, size, links).await,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_retired_store_serves_and_takes_nothing_new() {
    // The old docxy's clients get what is there, and a miss that is nobody's error; the folder is the new one's alone.
    let old = Shelf::new();
    let known = old.stock(b"known");
    let evicted = old.stock(b"evicted");
    let repository = "r.test/a/b";
    let legacy = old.store.retire().await.unwrap();
    assert!(old.store.retire().await.is_none(), "once");
    let new = old.beside().unwrap();
    assert!(matches!(old.beside(), Err(OpenError::Taken { .. })));
    fs::remove_file(new.store.parts.layout.blob(&evicted)).unwrap();

    match open(&old, &known, repository).await {
        Opened::Hit(reader) => assert_eq!(reader.length(), 5),
        other => panic!("{other:?}"),
    }
    for missing in [evicted, blob(100, 1).1] {
        let leader = lead(&old, &missing, repository).await;
        assert!(matches!(leader.ending(), Some(Ending::Detached { at: 0, .. })));
    }
    let bytes = b"a manifest".to_vec();
    let digest = Digest::of(crate::oci::digest::Algorithm::Sha256, &bytes);
    let put = old.store.put(&digest, bytes.into()).await;
    assert!(matches!(put, Err(PutError::Retired)), "{put:?}");
    old.store
        .put_tag(&name(repository), &tag("1"), record(&known, "any", 5));
    old.store.remove(&crate::cache::Selector::All);
    assert!(old.store.pin(shelf::pin(&known)).is_err());
    old.store.give_up();
    old.store.flush();
    let layout = &new.store.parts.layout;
    assert!(
        layout.blob(&known).exists(),
        "nothing of the new one's is removed"
    );
    assert!(
        !layout.repository(&name(repository)).exists(),
        "no record is written"
    );
    assert!(crate::cache::rehearsal::names(&layout.partials()).is_empty());
    drop(legacy);
}

#[tokio::test]
async fn a_download_of_the_retired_one_is_its_own_and_then_the_successors() {
    // A layer under way at the upgrade is fetched once: its clients read on, its bytes count in the cap, and whoever asks
    // the new process afterwards gets it from the cache.
    let cap = 10_000_000;
    let old = Shelf::with(|config| config.limits.max_size = cap);
    let (bytes, digest) = blob(3_000_000, 2);
    let repository = "r.test/a/b";
    let mut leader = lead(&old, &digest, repository).await;
    leader.begin(3_000_000).await.unwrap();
    send(&mut leader, &bytes, 0, 1_000_000).await.unwrap();
    let mut legacy = old.store.retire().await.unwrap();

    let new = old.beside().unwrap();
    let mut inheritance = new.store.inheritance();
    heed(&mut inheritance, &mut legacy).await;
    let parts = &new.store.parts;
    assert_eq!((parts.index.growing(), parts.index.bytes()), (3_000_000, 0));
    let swept = new
        .store
        .flights
        .partials()
        .sweep(new.store.flights.claims(), std::time::Duration::ZERO);
    assert_eq!(swept.discarded.blobs, 0, "it is not the new one's");
    let (_, other) = blob(8_000_000, 3);
    let mut too_large = lead(&new, &other, repository).await;
    assert!(
        too_large.begin(8_000_000).await.is_err(),
        "the cap holds for both"
    );

    send(&mut leader, &bytes, 1_000_000, 3_000_000).await.unwrap();
    let ending = leader.finish().await;
    assert!(matches!(ending, Ending::Complete), "{ending:?}");
    heed(&mut inheritance, &mut legacy).await;
    assert_eq!((parts.index.growing(), parts.index.bytes()), (0, 3_000_000));
    assert!(
        !parts.index.get(&digest).unwrap().verified,
        "it is hashed when it is first served"
    );
    assert!(new.store.linked(&name(repository), &digest).is_some());
    assert!(matches!(open(&new, &digest, repository).await, Opened::Hit(_)));
    assert!(matches!(open(&old, &digest, repository).await, Opened::Hit(_)));
    new.store.flush();
    assert!(parts.layout.link(&name(repository), &digest).exists());
}

#[tokio::test]
async fn what_nobody_would_hear_of_is_not_left_behind() {
    // The successor is dead: a blob that nobody counts must not fill the disk.
    let old = Shelf::new();
    let (bytes, digest) = blob(200_000, 4);
    let mut leader = lead(&old, &digest, "r.test/a/b").await;
    leader.begin(200_000).await.unwrap();
    drop(old.store.retire().await.unwrap());
    send(&mut leader, &bytes, 0, 200_000).await.unwrap();
    let ending = leader.finish().await;
    assert!(
        matches!(ending, Ending::Complete),
        "its clients have all of it: {ending:?}"
    );
    let layout = &old.store.parts.layout;
    assert!(!layout.blob(&digest).exists());
    until(|| crate::cache::rehearsal::names(&layout.partials()).is_empty()).await;
}

#[tokio::test]
async fn the_rest_of_a_process_that_was_cut_is_taken_over() {
    // The old process's time was over before its download was: the new one goes on from there.
    let old = Shelf::new();
    let (bytes, digest) = blob(2_000_000, 5);
    let mut leader = lead(&old, &digest, "r.test/a/b").await;
    leader.begin(2_000_000).await.unwrap();
    send(&mut leader, &bytes, 0, 1_000_000).await.unwrap();
    let mut legacy = old.store.retire().await.unwrap();
    let new = old.beside().unwrap();
    let mut inheritance = new.store.inheritance();
    old.store.flights.stop().await;
    heed(&mut inheritance, &mut legacy).await;
    assert_eq!(
        new.store.parts.index.growing(),
        1_000_000,
        "it is counted at once"
    );
    inheritance.over().await;
    let mut next = lead(&new, &digest, "r.test/a/b").await;
    assert_eq!(next.resume_at(), 1_000_000);
    next.begin(2_000_000).await.unwrap();
    send(&mut next, &bytes, 1_000_000, 2_000_000).await.unwrap();
    assert!(matches!(next.finish().await, Ending::Complete));
    assert_eq!(new.store.parts.index.bytes(), 2_000_000);
}

#[tokio::test]
async fn taken_back_it_is_as_if_nothing_had_been_but_what_was() {
    // A successor that died on its way: what it removed is gone, what it left is there, and what was to be written in the
    // meantime is written.
    let old = Shelf::new();
    let (stays, goes) = (old.stock(b"stays"), old.stock(b"goes"));
    let repository = name("r.test/a/b");
    old.store.link(&repository, &goes, None);
    let legacy = old.store.retire().await.unwrap();
    old.store
        .put_tag(&repository, &tag("1"), record(&stays, "any", 5));
    let came = {
        let new = old.beside().unwrap();
        fs::remove_file(new.store.parts.layout.blob(&goes)).unwrap();
        assert!(old.store.resume().await.is_err(), "it is still the new one's");
        new.stock(b"came")
    };
    old.store.resume().await.unwrap();
    drop(legacy);
    assert!(old.has(&stays) && old.has(&came) && !old.has(&goes));
    assert!(old.store.linked(&repository, &goes).is_none());
    assert_eq!(old.store.parts.index.bytes(), 9);
    let (bytes, digest) = blob(100_000, 6);
    old.store.put(&digest, bytes.into()).await.unwrap();
    let again = old.restarted(|_| {}).unwrap();
    assert!(again.has(&digest) && again.store.tag(&repository, &tag("1"), "any").is_some());
}
