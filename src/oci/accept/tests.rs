use proptest::prelude::*;

use super::*;
use crate::oci::media::{DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED, OCI_ARTIFACT};

/// As real clients send it, each a list of lines.
const DOCKERD: &[&str] = &[
    DOCKER_MANIFEST,
    DOCKER_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_SCHEMA1_SIGNED,
    "application/json",
];
const CONTAINERD: &[&str] = &[
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, */*",
];
const PODMAN: &[&str] = &[
    OCI_MANIFEST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA1_SIGNED,
    DOCKER_SCHEMA1,
    DOCKER_LIST,
    OCI_INDEX,
];
const ALL_FOUR: [&str; 4] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];

fn class(lines: &[&str]) -> Class {
    let lines: Vec<HeaderValue> = lines
        .iter()
        .map(|line| HeaderValue::from_str(line).unwrap())
        .collect();
    Class::of(&lines)
}

fn upstream(class: &Class) -> Vec<String> {
    let lines = class.lines();
    let types = lines.iter().flat_map(|line| line.to_str().unwrap().split(", "));
    types.map(str::to_owned).collect()
}

#[test]
fn real_clients_are_one_class() {
    // A tag warmed by dockerd must be warm for containerd and podman: else every cluster pays for each tag three times.
    for lines in [
        DOCKERD,
        CONTAINERD,
        PODMAN,
        &[],
        &["*/*"],
        &["Application/*;q=0.5"],
    ] {
        assert_eq!(class(lines), Class::all(), "{lines:?}");
    }
    assert_eq!(Class::all().key(), "iod");
    assert_eq!(upstream(&Class::all()), ALL_FOUR);
}

#[test]
fn what_a_client_does_not_take_is_kept_from_it() {
    // An old client that takes no index must get a manifest, never an index that a newer one left in the cache.
    for (lines, key, taken) in [
        (&[DOCKER_MANIFEST] as &[&str], "d", &[DOCKER_MANIFEST] as &[&str]),
        (
            &[DOCKER_MANIFEST, DOCKER_SCHEMA1_SIGNED, "application/json"],
            "d",
            &[DOCKER_MANIFEST],
        ),
        (
            &[OCI_MANIFEST, DOCKER_MANIFEST],
            "od",
            &[OCI_MANIFEST, DOCKER_MANIFEST],
        ),
        (&[OCI_INDEX], "io", &[OCI_INDEX, OCI_MANIFEST]),
        (
            &[DOCKER_LIST, DOCKER_MANIFEST],
            "id",
            &[DOCKER_LIST, DOCKER_MANIFEST],
        ),
        (
            &[
                "*/*, application/vnd.oci.image.index.v1+json;q=0",
                &format!("{DOCKER_LIST};Q=0.000"),
            ],
            "od",
            &[OCI_MANIFEST, DOCKER_MANIFEST],
        ),
        (
            &["application/vnd.oci.image.index.v1+json; charset=utf-8 ; q=0.1, */*;q=0"],
            "io",
            &[OCI_INDEX, OCI_MANIFEST],
        ),
    ] {
        let class = class(lines);
        assert_eq!(class.key(), key, "{lines:?}");
        assert_eq!(upstream(&class), taken, "{lines:?}");
        for known in ALL_FOUR {
            assert_eq!(class.accepts(known), taken.contains(&known), "{lines:?} {known}");
            let content_type = format!("{}; charset=utf-8", known.to_uppercase());
            assert_eq!(class.accepts(&content_type), taken.contains(&known));
        }
    }
}

#[test]
fn artifacts_join_the_key() {
    // A signature tool that names its own type gets it, and never what an ordinary client left.
    let plain = class(&[OCI_MANIFEST]);
    let artifact = class(&[OCI_MANIFEST, OCI_ARTIFACT]);
    assert_ne!(plain.key(), artifact.key());
    assert!(artifact.accepts(OCI_ARTIFACT) && !plain.accepts(OCI_ARTIFACT));
    assert_eq!(upstream(&artifact), [OCI_MANIFEST, OCI_ARTIFACT]);
    // In any order, spelling and division into lines.
    assert_eq!(
        class(&["application/vnd.A+json;q=0.2,application/vnd.b", OCI_MANIFEST]),
        class(&[OCI_MANIFEST, "application/vnd.B", "application/vnd.a+JSON"])
    );
    let only = class(&[OCI_ARTIFACT]);
    assert!(only.key().starts_with("x-"), "{}", only.key());
    assert_eq!(upstream(&only), [OCI_ARTIFACT]);
    assert!(!only.accepts(OCI_MANIFEST));
}

#[test]
fn what_counts_for_nothing() {
    // curl's and a browser's header must not be an error, and no header makes an endless key or request.
    for lines in [
        &["application/json"] as &[&str],
        &[DOCKER_SCHEMA1_SIGNED],
        &[""],
        &[",;q=,/,a,a/,*"],
    ] {
        assert_eq!(class(lines), Class::all(), "{lines:?}");
    }
    assert_eq!(
        Class::of(&[HeaderValue::from_bytes(b"application/\xff").unwrap()]),
        Class::all()
    );
    let many: Vec<String> = (0..1000).map(|n| format!("application/vnd.x{n}")).collect();
    let many = class(&[&many.join(","), OCI_MANIFEST]);
    assert_eq!(upstream(&many).len(), MAX_OTHERS + 1);
    let long = format!("application/{}", "a".repeat(300));
    assert_eq!(class(&[&long]), Class::all());
    assert!(!many.accepts(DOCKER_SCHEMA1) && !many.accepts("") && !many.accepts("*/*"));
}

#[test]
fn people_can_read_it() {
    // The log and the tag list of an operator show which class an answer is for.
    for (lines, text) in [
        (&[] as &[&str], "OCI and Docker images with their indexes"),
        (&[DOCKER_MANIFEST], "Docker images without indexes"),
        (
            &[OCI_INDEX, "application/x"],
            "OCI images with their indexes, application/x",
        ),
        (&["application/x"], "application/x"),
    ] {
        assert_eq!(class(lines).to_string(), text);
    }
}

fn range() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        OCI_INDEX,
        OCI_MANIFEST,
        DOCKER_LIST,
        DOCKER_MANIFEST,
        DOCKER_SCHEMA1,
        OCI_ARTIFACT,
        "application/json",
        "application/vnd.a",
        "application/vnd.b+json",
        "*/*",
        "nonsense",
    ]);
    let quality = prop::sample::select(vec!["", ";q=0", "; q=0.5", ";charset=utf-8"]);
    (name, quality).prop_map(|(name, quality)| format!("{name}{quality}"))
}

proptest! {
    #[test]
    fn a_key_is_the_class(a in prop::collection::vec(range(), 0..6), b in prop::collection::vec(range(), 0..6)) {
        // Two clients meet in the cache exactly if the registry is asked the same for both.
        let one = |ranges: &[String]| class(&ranges.iter().map(String::as_str).collect::<Vec<_>>());
        let (first, second) = (one(&a), one(&b));
        prop_assert_eq!(first == second, first.key() == second.key());
        prop_assert_eq!(first == second, first.lines() == second.lines());
        prop_assert_eq!(class(&[&a.join(",")]), first.clone());
        let mut reversed = a.clone();
        reversed.reverse();
        prop_assert_eq!(one(&reversed), first);
    }

    #[test]
    fn what_is_asked_for_is_accepted(ranges in prop::collection::vec(range(), 0..6)) {
        // Asking upstream for a type that the class then refuses to serve would fetch it again and again.
        let class = class(&[&ranges.join(",")]);
        for asked in upstream(&class) {
            prop_assert!(class.accepts(&asked), "{asked}");
        }
        prop_assert_eq!(Class::of(&class.lines()), class.clone());
        prop_assert!(!class.lines().is_empty());
    }

    #[test]
    fn any_header_gives_a_file_name(line in "[ -~]{0,200}") {
        // A client's header ends up in the name of a file: it must not choose which.
        let class = class(&[&line]);
        let key = class.key();
        prop_assert!((1..=40).contains(&key.len()));
        prop_assert!(key.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')), "{key}");
        prop_assert_eq!(class.lines().len(), 1);
    }
}
