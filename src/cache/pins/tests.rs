use serde_json::json;

use super::{NewPin, PinEntry, PinError, PinState, Pinned};
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
fn an_index_too_deep_to_look_into_is_never_whole() {
    // Whoever pins it relies on what "whole" says; what was not looked at is not known to be here.
    let shelf = Shelf::new();
    let now = shelf.store.clock().now();
    let (root, _) = image(&shelf, 1, 3000, true);
    let mut top = (root, media::OCI_MANIFEST);
    for depth in 1..=4 {
        let index = json!({
            "schemaVersion": 2,
            "manifests": [{"mediaType": top.1, "digest": top.0.to_string(), "size": 100}],
        });
        let index = shelf.stock(&serde_json::to_vec(&index).unwrap());
        shelf.store.link(&name(REDIS), &index, Some(media::OCI_INDEX));
        top = (index, media::OCI_INDEX);
        let record = TagRecord {
            media_type: top.1.to_owned(),
            ..record(&top.0, "iod", now)
        };
        shelf.store.put_tag(&name(REDIS), &tag("7"), record);
        let state = shelf.store.pin(tagged(&[])).unwrap().state;
        // Deeper than three, what was whole before is still kept.
        let expected = if depth <= 3 {
            PinState::Whole
        } else {
            PinState::Renewing
        };
        assert_eq!(state, expected, "{depth}");
    }
}

#[test]
fn sizes_that_cannot_be_are_no_small_image() {
    // A manifest may say that its layers have 2^63 bytes each: their sum is no small number.
    let shelf = Shelf::new();
    let now = shelf.store.clock().now();
    let layers: Vec<Digest> = (1..=4_u8)
        .map(|n| Digest::of(crate::oci::digest::Algorithm::Sha256, &[n]))
        .collect();
    let layers: Vec<(&Digest, usize)> = layers.iter().map(|layer| (layer, 1 << 62)).collect();
    let root = shelf.stock(&sized_manifest(&layers));
    shelf.store.link(&name(REDIS), &root, Some(media::OCI_MANIFEST));
    moves_to(&shelf, &root, now);
    let refused = shelf.store.pin(tagged(&[]));
    assert!(
        matches!(refused, Err(PinError::NoRoom { bytes: u64::MAX, .. })),
        "{refused:?}"
    );
    let image = shelf.store.image(&root, media::OCI_MANIFEST, &[]);
    assert_eq!((image.bytes(), image.platforms[0].bytes), (u64::MAX, u64::MAX));
}

#[test]
fn a_pinned_tag_outlives_ten_thousand_newer_ones() {
    // A repository of a busy CI pushes a tag for each build; what is pinned there is asked for only when something is down.
    let shelf = Shelf::new();
    let now = shelf.store.clock().now();
    let (root, layer) = image(&shelf, 1, 3000, true);
    moves_to(&shelf, &root, now - 50);
    shelf.store.pin(tagged(&[])).unwrap();
    for build in 0..10_001 {
        let record = record(&root, "iod", now);
        shelf
            .store
            .put_tag(&name(REDIS), &tag(&format!("build-{build}")), record);
    }
    let list = shelf.store.pins();
    assert_eq!((list.pins[0].state, list.pins[0].blobs), (PinState::Whole, 2));
    assert!(shelf.store.tag(&name(REDIS), &tag("7"), "iod").is_some());
    assert!(shelf.store.tag(&name(REDIS), &tag("build-0"), "iod").is_none());
    assert!(shelf.store.linked(&name(REDIS), &layer).is_some());
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
fn another_size_is_felt_by_pins_at_once() {
    // An operator who makes a cache smaller must not lose everything that is not pinned to pins which are too large for it now;
    // who makes it larger must not lose, within the hour, what he pinned.
    let shelf = Shelf::with(|config| config.limits.max_size = 20_000);
    let (root, layer) = image(&shelf, 1, 9000, true);
    moves_to(&shelf, &root, shelf.store.clock().now());
    shelf.store.pin(tagged(&[])).unwrap();
    let resize = |max_size| {
        let mut limits = (*shelf.store.limits()).clone();
        limits.max_size = max_size;
        shelf.store.reconfigure(limits);
    };
    resize(10_000);
    assert!(!is_pinned(&shelf, &layer), "it would leave too little room");
    resize(20_000);
    assert!(is_pinned(&shelf, &layer));
}

#[test]
fn pins_leave_room_in_their_registrys_quota() {
    // Else nothing else of that registry is ever stored again, and nobody is told why.
    let shelf = Shelf::with(|config| {
        let hub = crate::oci::RegistryName::parse("docker.io").unwrap();
        config.limits.quotas = [(hub, 5000)].into();
    });
    let (root, layer) = image(&shelf, 1, 4800, true);
    moves_to(&shelf, &root, shelf.store.clock().now());
    let refused = shelf.store.pin(tagged(&[])).unwrap_err();
    let PinError::NoRoom { limit: 4500, .. } = &refused else {
        panic!("{refused}");
    };
    let told = refused.to_string();
    assert!(told.contains("registries.\"docker.io\".cache_quota"), "{told}");
    assert!(!is_pinned(&shelf, &layer));
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

#[test]
fn many_at_once_are_as_one_after_the_other() {
    // A list of a thousand images is pinned in seconds, and of one that is too long the same ones are refused as by hand.
    let sizes = [900, 4000, 100, 2500, 3000, 50, 5000, 200, 1000];
    let build = || {
        let shelf = Shelf::with(|config| config.limits.max_size = 10_000);
        let now = shelf.store.clock().now();
        for (size, n) in sizes.iter().zip(0_u8..) {
            let layer = shelf.stock(&vec![n; *size]);
            let root = shelf.stock(&sized_manifest(&[(&layer, *size)]));
            shelf.store.link(&name(REDIS), &layer, None);
            shelf.store.link(&name(REDIS), &root, Some(media::OCI_MANIFEST));
            shelf
                .store
                .put_tag(&name(REDIS), &tag(&format!("t{n}")), record(&root, "iod", now));
        }
        shelf
    };
    let new: Vec<NewPin> = [0, 1, 2, 3, 4, 5, 6, 7, 8, 2]
        .iter()
        .map(|n| NewPin {
            what: Pinned::Tag(name(REDIS), tag(&format!("t{n}"))),
            ..tagged(&[])
        })
        .collect();
    let (one, other) = (build(), build());
    let by_hand: Vec<_> = new.iter().map(|new| one.store.pin(new.clone())).collect();
    let at_once = other.store.pin_all(&new);
    let told = |outcomes: &[Result<PinEntry, PinError>]| -> Vec<Result<String, String>> {
        let told = outcomes.iter().map(|outcome| match outcome {
            Ok(entry) => Ok(entry.image.clone()),
            Err(error) => Err(error.to_string()),
        });
        told.collect()
    };
    assert_eq!(told(&by_hand), told(&at_once));
    let refused: Vec<usize> = (0..)
        .zip(&at_once)
        .filter(|(_, pinned)| pinned.is_err())
        .map(|(n, _)| n)
        .collect();
    assert_eq!(refused, [4, 6, 8]);
    let pinned = |shelf: &Shelf| shelf.store.pins().pins;
    assert_eq!(pinned(&one), pinned(&other));
    let other = other.restarted(|_| {}).unwrap();
    assert_eq!(pinned(&one), pinned(&other), "each has its file");
    let all: Vec<Pinned> = new.into_iter().map(|new| new.what).collect();
    let unpinned: Vec<bool> = other
        .store
        .unpin_all(&all)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(
        unpinned,
        [true, true, true, true, false, true, false, true, false, false]
    );
    assert_eq!(pinned(&other), []);
    assert!(other.store.pin_all(&[]).is_empty() && other.store.unpin_all(&[]).is_empty());
}
