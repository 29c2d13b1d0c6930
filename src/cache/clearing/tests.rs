use super::{Cleared, Selector};
use crate::cache::shelf::{Shelf, manifest, name, record, tag};
use crate::oci::media;

#[test]
fn removing_a_tag_spares_what_others_name() {
    // `docxy cache rm redis:7` must free its bytes, but break no other image.
    let shelf = Shelf::new();
    let (redis, fork) = (name("docker.io/library/redis"), name("docker.io/x/redis"));
    let (base, own, elsewhere) = (
        shelf.stock(b"base layer"),
        shelf.stock(b"own layer"),
        shelf.stock(b"elsewhere"),
    );
    let seven = shelf.stock(&manifest(&[&base, &own, &elsewhere]));
    let eight = shelf.stock(&manifest(&[&base]));
    for blob in [&base, &own, &elsewhere] {
        shelf.store.link(&redis, blob, None);
    }
    shelf.store.link(&fork, &elsewhere, None);
    for (version, image) in [("7", &seven), ("8", &eight)] {
        shelf.store.link(&redis, image, Some(media::OCI_MANIFEST));
        shelf
            .store
            .put_tag(&redis, &tag(version), record(image, "oci", 1));
    }
    let size = u64::try_from(manifest(&[&base, &own, &elsewhere]).len() + b"own layer".len()).unwrap();
    let cleared = shelf.store.remove(&Selector::Tag(redis.clone(), tag("7")));
    let expected = Cleared {
        blobs: 2,
        bytes: size,
        tags: 1,
        links: 3,
        held: 0,
        ..Cleared::default()
    };
    assert_eq!(cleared, expected);
    assert!(!shelf.has(&seven) && !shelf.has(&own));
    assert!(shelf.has(&eight) && shelf.has(&base) && shelf.has(&elsewhere));
    assert!(shelf.store.linked(&redis, &elsewhere).is_none());
    assert!(shelf.store.linked(&fork, &elsewhere).is_some());
    let shelf = shelf.restarted(|_| {}).unwrap();
    assert!(shelf.store.tag(&redis, &tag("7"), "oci").is_none());
    assert!(shelf.store.tag(&redis, &tag("8"), "oci").is_some());
}

#[test]
fn removing_a_repository_or_all_leaves_nothing_of_it() {
    // Whoever had an image removed for good reason must not find it served after the next start.
    let shelf = Shelf::new();
    let (one, two) = (name("a.example/one"), name("a.example/two"));
    let (shared, own) = (shelf.stock(b"shared"), shelf.stock(b"own"));
    shelf.store.link(&one, &own, None);
    shelf.store.link(&one, &shared, None);
    shelf.store.link(&two, &shared, None);
    shelf.store.mark_public(&one);
    shelf.store.put_tag(&one, &tag("latest"), record(&own, "oci", 1));
    let cleared = shelf.store.remove(&Selector::Repository(one.clone()));
    assert_eq!(
        (cleared.blobs, cleared.bytes, cleared.tags, cleared.held),
        (1, 3, 1, 0)
    );
    assert!(shelf.has(&shared) && !shelf.has(&own));
    let shelf = shelf.restarted(|_| {}).unwrap();
    assert!(!shelf.store.is_public(&one) && shelf.store.tags_of(&one, &tag("latest")).is_empty());
    let cleared = shelf.store.remove(&Selector::All);
    assert_eq!((cleared.blobs, cleared.bytes), (1, 6));
    let left = std::fs::read_dir(shelf.store.parts.layout.repositories())
        .unwrap()
        .count();
    assert_eq!(left, 0, "no empty folders stay");
}

#[test]
fn gc_takes_what_nothing_refers_to() {
    // A blob without a link can be served to nobody.
    let shelf = Shelf::new();
    let now = shelf.store.clock().now();
    let (stray, young) = (
        shelf.stock_at(b"stray", now - 7200),
        shelf.stock_at(b"young", now),
    );
    let linked = shelf.stock_at(b"linked", now - 7200);
    shelf.store.link(&name("a.example/x"), &linked, None);
    let parts = &shelf.store.parts;
    let rest = parts.layout.partial(&stray, "0123456789abcdef");
    std::fs::write(&rest, vec![1; 100_000]).unwrap();
    let long_ago = std::time::SystemTime::now() - 2 * parts.limits.load().partials;
    let file = std::fs::File::options().write(true).open(&rest).unwrap();
    file.set_modified(long_ago).unwrap();
    let cleared = shelf.store.collect();
    assert_eq!((cleared.blobs, cleared.bytes), (1, 5));
    assert_eq!((cleared.unreferenced.blobs, cleared.inactive.blobs), (1, 0));
    assert_eq!((cleared.partials.blobs, cleared.partials.bytes), (1, 100_000));
    assert!(!rest.exists());
    assert!(!shelf.has(&stray) && shelf.has(&young) && shelf.has(&linked));
}

#[test]
fn lists_and_sums_what_is_there() {
    // `docxy cache ls` and `du`: where the space goes, page by page.
    let shelf = Shelf::new();
    let (redis, other) = (name("docker.io/library/redis"), name("ghcr.io/x/y"));
    let image = shelf.stock(b"image");
    let blobs: Vec<_> = (0..9_u8).map(|n| shelf.stock(&[n; 100])).collect();
    shelf.store.link(&redis, &image, Some(media::OCI_MANIFEST));
    shelf.store.put_tag(&redis, &tag("7"), record(&image, "oci", 1));
    for blob in &blobs {
        shelf.store.link(&redis, blob, None);
    }
    shelf.store.link(&other, &blobs[0], None);
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let page = shelf.store.list(after.as_ref(), 4);
        listed.extend(page.blobs);
        let Some(next) = page.next else { break };
        after = Some(crate::oci::Digest::parse(&next).unwrap());
    }
    assert_eq!(listed.len(), 10);
    let found = listed
        .iter()
        .find(|blob| blob.digest == image.to_string())
        .unwrap();
    assert_eq!(found.tags, ["docker.io/library/redis:7"]);
    assert_eq!(found.media_type.as_deref(), Some(media::OCI_MANIFEST));
    let usage = shelf.store.usage();
    assert_eq!(
        (usage.blobs, usage.bytes, usage.links, usage.tags),
        (10, 905, 11, 1)
    );
    assert_eq!(usage.registries["docker.io"].bytes, 905);
    assert_eq!(usage.registries["ghcr.io"].bytes, 100);
    assert_eq!(shelf.metrics.cache_bytes.get(), 905);
    let text = serde_json::to_string(&usage).unwrap();
    assert_eq!(serde_json::from_str::<crate::cache::Usage>(&text).unwrap(), usage);
}
