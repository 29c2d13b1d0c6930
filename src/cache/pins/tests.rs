use serde_json::json;

use super::{NewPin, PinError, PinState, Pinned};
use crate::cache::shelf::{Shelf, name, record, tag};
use crate::cache::{Selector, TagRecord};
use crate::oci::{Digest, Platform, media};

const REDIS: &str = "docker.io/library/redis";

fn tagged(platforms: &[&str]) -> NewPin {
    NewPin {
        what: Pinned::Tag(name(REDIS), tag("7")),
        platforms: platforms
            .iter()
            .map(|text| Platform::parse(text).unwrap())
            .collect(),
        by: "ann".to_owned(),
    }
}

/// A manifest and its one layer, linked; the layer is stored or not.
fn image(shelf: &Shelf, seed: u8, size: usize, with_layer: bool) -> (Digest, Digest) {
    let bytes = vec![seed; size];
    let layer = if with_layer {
        shelf.stock(&bytes)
    } else {
        Digest::of(crate::oci::digest::Algorithm::Sha256, &bytes)
    };
    let root = shelf.stock(&sized_manifest(&[(&layer, size)]));
    shelf.store.link(&name(REDIS), &layer, None);
    shelf.store.link(&name(REDIS), &root, Some(media::OCI_MANIFEST));
    (root, layer)
}

fn sized_manifest(layers: &[(&Digest, usize)]) -> Vec<u8> {
    let layers: Vec<_> = layers
        .iter()
        .map(|(digest, size)| json!({"mediaType": "application/x", "digest": digest.to_string(), "size": size}))
        .collect();
    serde_json::to_vec(&json!({"schemaVersion": 2, "layers": layers})).unwrap()
}

fn moves_to(shelf: &Shelf, digest: &Digest, at: u64) {
    shelf
        .store
        .put_tag(&name(REDIS), &tag("7"), record(digest, "iod", at));
}

fn is_pinned(shelf: &Shelf, digest: &Digest) -> bool {
    shelf.store.parts.index.get(digest).unwrap().pinned
}

#[test]
fn a_pinned_tag_is_followed_and_the_older_goes_only_when_the_newer_is_whole() {
    // Who pins redis:7 wants what redis:7 is today, and never to be without a whole one in between.
    let shelf = Shelf::new();
    let now = shelf.store.clock().now();
    let (old, old_layer) = image(&shelf, 1, 3000, true);
    moves_to(&shelf, &old, now - 50);
    let entry = shelf.store.pin(tagged(&[])).unwrap();
    assert_eq!(
        (entry.state, entry.blobs, entry.stored_blobs),
        (PinState::Whole, 2, 2)
    );
    assert!(is_pinned(&shelf, &old) && is_pinned(&shelf, &old_layer));

    let (new, new_layer) = image(&shelf, 2, 4000, false);
    moves_to(&shelf, &new, now);
    let list = shelf.store.pins();
    assert_eq!(list.pins[0].state, PinState::Renewing);
    assert_eq!(list.pins[0].digests, [new.to_string(), old.to_string()]);
    assert!(is_pinned(&shelf, &new) && is_pinned(&shelf, &old_layer));
    // What comes is kept from its first moment.
    assert_eq!(shelf.stock(&[2; 4000]), new_layer);
    assert!(is_pinned(&shelf, &new_layer));

    let list = shelf.store.pins();
    assert_eq!(list.pins[0].state, PinState::Whole);
    assert_eq!(list.pins[0].digests, [new.to_string()]);
    assert_eq!(list.bytes, list.pins[0].stored_bytes);
    assert!(!is_pinned(&shelf, &old) && !is_pinned(&shelf, &old_layer));
    let files = shelf.path().join("pins/docker.io/library~redis");
    let shelf = shelf.restarted(|_| {}).unwrap();
    assert_eq!(shelf.store.pins(), list, "files are the truth");
    assert!(is_pinned(&shelf, &new_layer));

    // The registry takes the tag away, and then the record is lost: what was pinned stays.
    shelf.store.withdraw_tag(&name(REDIS), &tag("7"), "iod", 404);
    assert_eq!(shelf.store.pins().pins[0].state, PinState::Whole);
    shelf.store.remove_tag(&name(REDIS), &tag("7"));
    assert_eq!(shelf.store.pins().pins[0].digests, [new.to_string()]);
    assert!(shelf.store.unpin(&tagged(&[]).what).unwrap());
    assert!(!shelf.store.unpin(&tagged(&[]).what).unwrap());
    assert!(!is_pinned(&shelf, &new_layer) && !files.exists());
}

#[test]
fn what_other_clients_were_told_long_ago_is_not_pinned_for_ever() {
    // A client that takes no index came once, a year ago: its old manifest must not stay pinned beside today's.
    let shelf = Shelf::new();
    let now = shelf.store.clock().now();
    let (old, _) = image(&shelf, 1, 10, true);
    let (new, _) = image(&shelf, 2, 10, true);
    let (other, _) = image(&shelf, 3, 10, true);
    let put = |digest: &Digest, class: &str, checked: u64, stored: u64| {
        let record = TagRecord {
            stored,
            ..record(digest, class, checked)
        };
        shelf.store.put_tag(&name(REDIS), &tag("7"), record);
    };
    put(&old, "od", now - 100, now - 100);
    put(&new, "iod", now, now - 50);
    put(&other, "o", now - 20, now - 100);
    shelf.store.pin(tagged(&[])).unwrap();
    let pinned = [&old, &new, &other].map(|digest| is_pinned(&shelf, digest));
    assert_eq!(pinned, [false, true, true]);
}

#[test]
fn of_an_index_only_the_wanted_platforms_are_held() {
    // Eight platforms of everything would fill the disk for machines that nobody has.
    let shelf = Shelf::new();
    let now = shelf.store.clock().now();
    let (amd, amd_layer) = image(&shelf, 1, 1000, true);
    let (arm, arm_layer) = image(&shelf, 2, 1000, true);
    let entry = |digest: &Digest, architecture: &str| {
        json!({"mediaType": media::OCI_MANIFEST, "digest": digest.to_string(), "size": 1,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = json!({"schemaVersion": 2, "manifests": [entry(&amd, "amd64"), entry(&arm, "arm64")]});
    let index = shelf.stock(index.to_string().as_bytes());
    shelf.store.link(&name(REDIS), &index, Some(media::OCI_INDEX));
    let told = TagRecord {
        media_type: media::OCI_INDEX.to_owned(),
        ..record(&index, "iod", now)
    };
    shelf.store.put_tag(&name(REDIS), &tag("7"), told);
    let entry = shelf.store.pin(tagged(&["linux/amd64"])).unwrap();
    assert_eq!((entry.state, entry.blobs), (PinState::Whole, 3));
    assert!(is_pinned(&shelf, &index) && is_pinned(&shelf, &amd_layer));
    assert!(!is_pinned(&shelf, &arm) && !is_pinned(&shelf, &arm_layer));
    let entry = shelf.store.pin(tagged(&[])).unwrap();
    assert_eq!(entry.blobs, 5);
    assert!(is_pinned(&shelf, &arm_layer));
    assert_eq!(shelf.store.pins().pins.len(), 1, "the same pin, with more in it");
}

#[test]
fn pins_that_would_fill_the_cache_are_refused() {
    // A cache in which nothing may go is no cache any more.
    let shelf = Shelf::with(|config| config.limits.max_size = 10_000);
    let now = shelf.store.clock().now();
    let (first, _) = image(&shelf, 1, 5000, true);
    moves_to(&shelf, &first, now);
    shelf.store.pin(tagged(&[])).unwrap();
    let (second, _) = image(&shelf, 2, 4500, false);
    let by_digest = NewPin {
        what: Pinned::Digest(name(REDIS), second.clone()),
        ..tagged(&[])
    };
    let refused = shelf.store.pin(by_digest).unwrap_err();
    let PinError::NoRoom { bytes, limit, .. } = &refused else {
        panic!("{refused}");
    };
    assert!(*bytes > 9500 && *limit == 9000, "{refused}");
    assert_eq!(shelf.store.pins().pins.len(), 1);

    // One that grows by itself is not kept, and says so; the others are.
    moves_to(&shelf, &second, now + 1);
    assert_eq!(shelf.store.pins().pins[0].state, PinState::OverLimit);
    let third = NewPin {
        what: Pinned::Digest(name(REDIS), first.clone()),
        ..tagged(&[])
    };
    shelf.store.pin(third).unwrap();
    let list = shelf.store.pins();
    let states: Vec<PinState> = list.pins.iter().map(|pin| pin.state).collect();
    assert!(
        states.contains(&PinState::OverLimit) && states.contains(&PinState::Whole),
        "{list:?}"
    );
    assert!(is_pinned(&shelf, &first) && list.bytes <= list.limit);
}

#[test]
fn what_is_pinned_is_not_removed_by_hand_and_stays_readable() {
    // A slip in a script must not undo what somebody pinned; and a blob that stays without its link is lost all the same.
    let shelf = Shelf::new();
    let redis = name(REDIS);
    let now = shelf.store.clock().now();
    let (root, layer) = image(&shelf, 1, 3000, true);
    let other = shelf.stock(&[9; 100]);
    shelf.store.link(&redis, &other, None);
    shelf.store.mark_public(&redis);
    moves_to(&shelf, &root, now);
    shelf.store.pin(tagged(&[])).unwrap();
    let kept = |selector: &Selector| {
        let cleared = shelf.store.remove(selector);
        assert_eq!(cleared.pins, ["docker.io/library/redis:7"], "{selector}");
        assert!(shelf.has(&root) && shelf.has(&layer), "{selector}");
        assert!(shelf.store.linked(&redis, &layer).is_some() && shelf.store.is_public(&redis));
        assert!(shelf.store.tag(&redis, &tag("7"), "iod").is_some());
        cleared
    };
    assert_eq!(kept(&Selector::Digest(layer.clone())).pinned, 1);
    assert_eq!(kept(&Selector::Tag(redis.clone(), tag("7"))).blobs, 0);
    let cleared = kept(&Selector::Repository(redis.clone()));
    assert_eq!((cleared.pinned, cleared.blobs), (2, 1));
    assert!(!shelf.has(&other));
    assert_eq!(kept(&Selector::All).pinned, 2);
    shelf.store.unpin(&tagged(&[]).what).unwrap();
    assert_eq!(shelf.store.remove(&Selector::All).blobs, 2);
}

#[test]
fn a_pin_that_rotted_is_set_aside_and_the_others_count() {
    // A power cut that tore one file must not unpin the rest, or stop docxy.
    let shelf = Shelf::new();
    let (root, _) = image(&shelf, 1, 100, true);
    let by_digest = NewPin {
        what: Pinned::Digest(name(REDIS), root.clone()),
        ..tagged(&[])
    };
    shelf.store.pin(by_digest).unwrap();
    shelf.store.pin(tagged(&[])).unwrap();
    let shelf = shelf
        .restarted(|folder| {
            std::fs::write(folder.join("pins/docker.io/library~redis/7"), b"{\"image\":").unwrap();
        })
        .unwrap();
    let list = shelf.store.pins();
    assert_eq!(list.pins.len(), 1);
    assert_eq!(list.pins[0].image, format!("{REDIS}@{root}"));
    assert_eq!(
        std::fs::read_dir(shelf.path().join("quarantine"))
            .unwrap()
            .count(),
        1
    );
}
