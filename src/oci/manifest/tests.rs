use super::super::digest::Algorithm;
use super::super::media::{
    DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA1, JSON, OCI_ARTIFACT, OCI_INDEX, OCI_MANIFEST,
};
use super::*;

fn digest(of: &str) -> Digest {
    Digest::of(Algorithm::Sha256, of.as_bytes())
}

fn descriptor(of: &str) -> String {
    format!(
        r#"{{"mediaType":"x/{of}","digest":"{}","size":{},"annotations":{{"digest":"y","Size":1}}}}"#,
        digest(of),
        of.len()
    )
}

fn child(of: &str, role: Role) -> Child {
    Child {
        digest: digest(of),
        media_type: format!("x/{of}"),
        size: of.len() as u64,
        role,
    }
}

fn checked(content_type: &str, json: &str) -> Result<Vec<Child>, ManifestError> {
    check(content_type, json.as_bytes())
}

#[test]
fn names_the_children() {
    // What a cache may link, prefetch and keep together hangs on this list being whole.
    let (a, b, c, s) = (
        descriptor("a"),
        descriptor("bb"),
        descriptor("ccc"),
        descriptor("s"),
    );
    let image = format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{a},"layers":[{b},{c}],"subject":{s}}}"#
    );
    assert_eq!(
        checked(
            "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
            &image
        ),
        Ok(vec![
            child("a", Role::Config),
            child("bb", Role::Layer),
            child("ccc", Role::Layer),
            child("s", Role::Subject)
        ])
    );
    let index = format!(r#"{{"manifests":[{a}],"annotations":{{"layers":[1.5,null,true]}}}}"#);
    assert_eq!(checked(DOCKER_LIST, &index), Ok(vec![child("a", Role::Manifest)]));
    let artifact = format!(r#"{{"mediaType":"","blobs":[{a}],"subject":null}}"#);
    assert_eq!(checked(OCI_ARTIFACT, &artifact), Ok(vec![child("a", Role::Blob)]));
    assert_eq!(checked(OCI_INDEX, r#"{"manifests":null}"#), Ok(vec![]));
    assert_eq!(
        checked(DOCKER_SCHEMA1, r#"{"fsLayers":[{"blobSum":"x"}]}"#),
        Ok(vec![])
    );
}

#[test]
fn refuses_what_can_be_read_two_ways() {
    // CVE-2021-41190: an image that one client takes for an index runs code nobody has scanned.
    let ambiguous = |content_type: &str, key| {
        Err(ManifestError::Ambiguous {
            content_type: content_type.into(),
            key,
        })
    };
    for (content_type, json, key) in [
        (OCI_INDEX, r#"{"manifests":[],"layers":[]}"#, "layers"),
        (OCI_INDEX, r#"{"layers":null,"manifests":[]}"#, "layers"),
        (DOCKER_LIST, r#"{"config":null}"#, "config"),
        (OCI_MANIFEST, r#"{"manifests":[],"layers":[]}"#, "manifests"),
        (DOCKER_MANIFEST, r#"{"layers":[],"fsLayers":[]}"#, "fsLayers"),
        (DOCKER_SCHEMA1, r#"{"fsLayers":[],"layers":[]}"#, "layers"),
    ] {
        assert_eq!(
            checked(content_type, json),
            ambiguous(content_type, key),
            "{json}"
        );
    }
    assert_eq!(
        checked(OCI_MANIFEST, &format!(r#"{{"mediaType":"{OCI_INDEX}"}}"#)),
        Err(ManifestError::MediaType {
            field: OCI_INDEX.into(),
            content_type: OCI_MANIFEST.into()
        })
    );
}

#[test]
fn refuses_keys_on_which_readers_differ() {
    // One reader takes the first of two keys, another the last; Go takes `Layers` and `layerſ` for `layers`.
    let spelling = |found: &str, key| {
        Err(ManifestError::Spelling {
            found: found.into(),
            key,
        })
    };
    assert_eq!(
        checked(OCI_MANIFEST, r#"{"layers":[],"layers":[]}"#),
        Err(ManifestError::Repeated("layers"))
    );
    assert_eq!(
        checked(OCI_MANIFEST, r#"{"config":{"size":1,"size":2}}"#),
        Err(ManifestError::Repeated("size"))
    );
    assert_eq!(
        checked(OCI_INDEX, r#"{"Layers":[]}"#),
        spelling("Layers", "layers")
    );
    assert_eq!(
        checked(OCI_INDEX, "{\"layer\u{17f}\":[]}"),
        spelling("layer\\u{17f}", "layers")
    );
    assert_eq!(
        checked(OCI_INDEX, r#"{"manifest\u0053":[]}"#),
        spelling("manifestS", "manifests")
    );
    assert_eq!(
        checked(OCI_INDEX, r#"{"manifests":[{"Digest":""}]}"#),
        spelling("Digest", "digest")
    );
}

#[test]
fn refuses_bad_descriptors() {
    // A child is looked up, linked and perhaps fetched by its digest: one that is none must not get so far.
    let refused = |index, fault| {
        Err(ManifestError::Descriptor {
            key: "layers",
            index,
            fault,
        })
    };
    let good = descriptor("a");
    let d = digest("a");
    for (json, index, fault) in [
        ("null".to_owned(), 0, DescriptorFault::Null),
        ("{}".to_owned(), 0, DescriptorFault::NoDigest),
        (
            r#"{"digest":null,"size":1}"#.to_owned(),
            0,
            DescriptorFault::NoDigest,
        ),
        (
            format!(r#"{good},{{"digest":"md5:00","size":1}}"#),
            1,
            DescriptorFault::Digest(DigestError::Algorithm("md5".into())),
        ),
        (format!(r#"{{"digest":"{d}"}}"#), 0, DescriptorFault::Size),
        (
            format!(r#"{{"digest":"{d}","size":-1}}"#),
            0,
            DescriptorFault::Size,
        ),
        (
            format!(r#"{{"digest":"{d}","size":1.0}}"#),
            0,
            DescriptorFault::Size,
        ),
        (
            format!(r#"{{"mediaType":"{}"}}"#, "x".repeat(256)),
            0,
            DescriptorFault::LongMediaType,
        ),
    ] {
        assert_eq!(
            checked(OCI_MANIFEST, &format!(r#"{{"layers":[{json}]}}"#)),
            refused(index, fault),
            "{json}"
        );
    }
}

#[test]
fn says_where_the_json_is_bad() {
    // A broken upstream is found by the place of the first wrong byte.
    for (json, error) in [
        ("", ManifestError::Json { line: 1, column: 0 }),
        ("{\n \"a\":}", ManifestError::Json { line: 2, column: 6 }),
        ("{} x", ManifestError::Json { line: 1, column: 4 }),
        ("\u{feff}{}", ManifestError::Json { line: 1, column: 1 }),
    ] {
        assert_eq!(checked(OCI_MANIFEST, json), Err(error), "{json}");
    }
    for json in [
        "[]",
        "7",
        r#"{"layers":"x"}"#,
        r#"{"layers":[7]}"#,
        r#"{"mediaType":7}"#,
    ] {
        assert!(
            matches!(checked(OCI_MANIFEST, json), Err(ManifestError::Type { .. })),
            "{json}"
        );
    }
}

#[test]
fn depth_and_number_are_bounded() {
    // Threat I9: a JSON bomb must cost neither the stack nor the memory of the proxy.
    let nested = |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert_eq!(checked(OCI_INDEX, &nested(MAX_DEPTH - 1)), Ok(vec![]));
    assert_eq!(
        checked(OCI_INDEX, &nested(MAX_DEPTH)),
        Err(ManifestError::TooDeep)
    );
    assert_eq!(
        checked(OCI_INDEX, &nested(1_000_000)),
        Err(ManifestError::TooDeep)
    );
    let deep = |levels: usize| {
        format!(
            r#"{{"manifests":[{{"digest":"{}","size":1,"x":{}{}}}]}}"#,
            digest(""),
            "{\"y\":".repeat(levels),
            "0".to_owned() + &"}".repeat(levels)
        )
    };
    assert_eq!(checked(OCI_INDEX, &deep(MAX_DEPTH - 3)).map(|c| c.len()), Ok(1));
    assert_eq!(
        checked(OCI_INDEX, &deep(MAX_DEPTH - 2)),
        Err(ManifestError::TooDeep)
    );

    let one = format!(r#"{{"digest":"{}","size":1}}"#, digest(""));
    let many = |n: usize| format!(r#"{{"manifests":[{}]}}"#, vec![one.as_str(); n].join(","));
    assert_eq!(
        checked(OCI_INDEX, &many(MAX_CHILDREN)).map(|c| c.len()),
        Ok(MAX_CHILDREN)
    );
    assert_eq!(
        checked(OCI_INDEX, &many(MAX_CHILDREN + 1)),
        Err(ManifestError::TooManyChildren)
    );
    let length = MAX_MANIFEST + 1;
    assert_eq!(
        check(OCI_INDEX, &vec![b' '; length]),
        Err(ManifestError::TooLarge { length })
    );
}

#[test]
fn other_types_are_not_read() {
    // Artifacts of types nobody here knows must pass through as they are.
    for content_type in [JSON, "", "text/html", "application/vnd.example+json"] {
        assert_eq!(
            check(content_type, b"\xff not JSON"),
            Ok(vec![]),
            "{content_type}"
        );
    }
}
