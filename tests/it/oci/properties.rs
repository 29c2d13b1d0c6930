//! Properties of the parsers: what parses prints back, what is refused is exactly what the specification refuses, and
//! nothing panics.

use super::checks;
use docxy::oci::digest::{Algorithm, Hasher};
use docxy::oci::manifest::{self, Role};
use docxy::oci::{
    ByteRange, Challenge, Code, ContentRange, Digest, Endpoint, ErrorBody, Reference, Repository, Scope,
    Session, Tag, media,
};
use http::{HeaderMap, header};
use proptest::collection::vec;
use proptest::prelude::*;
use regex::Regex;

const NAME: &str = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*";
const TAG: &str = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}";
const DIGEST: &str = "sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}";

fn matches(grammar: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{grammar})$")).is_ok_and(|grammar| grammar.is_match(text))
}

fn repository() -> impl Strategy<Value = Repository> {
    let component =
        r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}|manifests|blobs|tags|list|uploads|referrers";
    vec(component, 1..6).prop_filter_map("a name", |parts| Repository::parse(&parts.join("/")).ok())
}

fn digest() -> impl Strategy<Value = Digest> {
    (any::<bool>(), any::<u64>()).prop_map(|(long, seed)| {
        let algorithm = if long {
            Algorithm::Sha512
        } else {
            Algorithm::Sha256
        };
        Digest::of(algorithm, &seed.to_le_bytes())
    })
}

fn reference() -> impl Strategy<Value = Reference> {
    let tag = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}|uploads|list|manifests"
        .prop_filter_map("a tag", |text| Tag::parse(&text).ok().map(Reference::Tag));
    prop_oneof![tag, digest().prop_map(Reference::Digest)]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    prop_oneof![
        Just(Endpoint::Base),
        Just(Endpoint::Catalog),
        (repository(), reference()).prop_map(|(name, reference)| Endpoint::Manifest(name, reference)),
        (repository(), digest()).prop_map(|(name, digest)| Endpoint::Blob(name, digest)),
        repository().prop_map(Endpoint::Tags),
        (repository(), digest()).prop_map(|(name, digest)| Endpoint::Referrers(name, digest)),
        repository().prop_map(Endpoint::Upload),
        (repository(), "[a-zA-Z0-9_~=-]{1,40}").prop_filter_map("a session", |(name, session)| {
            Some(Endpoint::Session(name, Session::parse(&session).ok()?))
        }),
    ]
}

fn challenge() -> impl Strategy<Value = Challenge> {
    let params = prop::collection::btree_map("[a-z0-9_.~!-]{1,8}", "[\t -~\u{e9}\u{4e2d}]{0,20}", 0..6);
    let token68 = "[A-Za-z0-9._~+/-]{1,20}={0,2}".prop_map(|token| vec![(String::new(), token)]);
    let params = prop_oneof![4 => params.prop_map(|p| p.into_iter().collect()), 1 => token68];
    ("bearer|basic|[a-z][a-z0-9-]{0,9}", params).prop_map(|(scheme, params)| Challenge { scheme, params })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_name_is_what_the_specification_says(text in "[a-c0/._:%A-]{0,12}|[a-z0-9/_.-]{0,40}|[a-z]{250,260}|\\PC{0,8}") {
        // Neither a repository that exists nor a trick may be judged otherwise than the grammar does.
        let parsed = Repository::parse(&text);
        prop_assert_eq!(parsed.is_ok(), text.len() <= 255 && matches(NAME, &text));
        if let Ok(name) = parsed {
            prop_assert_eq!(name.as_str(), &text);
            let (first, rest) = name.split_first();
            let rebuilt = rest.map_or(first.to_owned(), |rest| format!("{first}/{rest}"));
            prop_assert_eq!(rebuilt, text);
        }
    }

    #[test]
    fn a_reference_is_what_the_specification_says(text in "[a-c._-]{0,6}|[A-Za-z0-9._-]{120,135}|sha(256|512):[a-f0-9F]{63,65}|sha512:[a-f0-9]{127,129}|\\PC{0,8}") {
        // A tag or a digest that means nothing upstream is refused here, all others go through.
        prop_assert_eq!(Tag::parse(&text).is_ok(), matches(TAG, &text));
        prop_assert_eq!(Digest::parse(&text).is_ok(), matches(DIGEST, &text));
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn an_endpoint_is_its_path(endpoint in endpoint(), other in repository()) {
        // The path sent upstream must be the endpoint that was routed, whatever words its name holds.
        prop_assert_eq!(Endpoint::parse(&endpoint.path()), Ok(endpoint.clone()));
        checks::endpoint(endpoint.path().as_bytes());
        let moved = endpoint.with_repository(other.clone());
        prop_assert_eq!(moved.repository(), endpoint.repository().map(|_| &other));
        prop_assert_eq!(Endpoint::parse(&moved.path()), Ok(moved));
    }

    #[test]
    fn a_range_is_the_bytes_it_names(first in 0u64..12, last in prop::option::of(0u64..12), n in 1u64..12, length in 0u64..12) {
        // Compared with counting byte by byte: an off-by-one here corrupts every resumed layer.
        let last = last.filter(|last| *last >= first);
        let wanted: Vec<u64> = (first..=last.unwrap_or(u64::MAX).min(100)).filter(|i| *i < length).collect();
        let place = ByteRange::From { first, last }.within(length);
        prop_assert_eq!(place, wanted.first().copied().zip(wanted.last().copied()));
        let wanted: Vec<u64> = (0..length).rev().take(usize::try_from(n).unwrap_or(0)).collect();
        let place = ByteRange::Suffix(n).within(length);
        prop_assert_eq!(place, wanted.last().copied().zip(wanted.first().copied()));
    }

    #[test]
    fn ranges_print_back(first in any::<u64>(), more in any::<u64>(), open in any::<bool>()) {
        // What goes upstream is printed anew from what was read; it must mean the same.
        let last = first.saturating_add(more);
        checks::range(ByteRange::From { first, last: (!open).then_some(last) }.header().as_bytes());
        checks::range(ByteRange::Suffix(more.max(1)).header().as_bytes());
        let length = last.checked_add(1).filter(|_| !open);
        let part = ContentRange::Part { first, last, length };
        prop_assert_eq!(ContentRange::parse(&part.header()), Ok(part));
        let unsatisfied = ContentRange::Unsatisfied { length: more };
        prop_assert_eq!(ContentRange::parse(&unsatisfied.header()), Ok(unsatisfied));
    }

    #[test]
    fn challenges_print_back(challenges in vec(challenge(), 1..5)) {
        // A realm or scope that changed on its way through the proxy would send people to the wrong place.
        let mut apart = HeaderMap::new();
        let mut joined = Vec::new();
        for challenge in &challenges {
            let value = challenge.header().map_err(|e| TestCaseError::fail(e.to_string()))?;
            joined.push(value.as_bytes().to_vec());
            apart.append(header::WWW_AUTHENTICATE, value);
        }
        prop_assert_eq!(Challenge::parse_all(&apart), Ok(challenges.clone()));
        let mut together = HeaderMap::new();
        let line = http::HeaderValue::from_bytes(&joined.join(&b" , "[..]));
        together.append(header::WWW_AUTHENTICATE, line.map_err(|e| TestCaseError::fail(e.to_string()))?);
        prop_assert_eq!(Challenge::parse_all(&together), Ok(challenges));
    }

    #[test]
    fn scopes_print_back(name in repository(), port in prop::option::of(1u16..), actions in vec("[a-z]{1,6}|\\*", 0..4)) {
        // containerd's scopes name hosts with ports; the name must come out whole.
        let name = port.map_or(name.to_string(), |port| format!("localhost:{port}/{name}"));
        let scope = Scope { kind: "repository".into(), name, actions };
        prop_assert_eq!(Scope::parse(&scope.to_string()), Ok(scope));
    }

    #[test]
    fn errors_read_back(message in "\\PC{0,60}", upstream in vec(any::<u8>(), 0..200)) {
        // Clients parse this JSON: any text in it must stay valid, and any upstream's garbage harmless.
        let body = ErrorBody::new(Code::Denied, message.clone());
        let json: serde_json::Value = serde_json::from_slice(&body.to_json()).unwrap_or_default();
        prop_assert_eq!(&json["errors"][0]["message"], &serde_json::Value::from(message));
        prop_assert_eq!(ErrorBody::parse(&body.to_json()).map(|b| b.code), Some(Code::Denied));
        if let Some(read) = ErrorBody::parse(&upstream) {
            prop_assert!(!read.message.contains(char::is_control));
        }
    }

    #[test]
    fn a_hash_does_not_depend_on_the_pieces(bytes in vec(any::<u8>(), 0..300), cuts in vec(any::<prop::sample::Index>(), 0..5)) {
        // Downloads arrive in pieces of any size; the digest is that of the whole.
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hasher = Hasher::new(algorithm);
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.sort_unstable();
            let mut from = 0;
            for to in places.into_iter().chain([bytes.len()]) {
                hasher.update(&bytes[from..to]);
                from = to;
            }
            let digest = hasher.finish();
            prop_assert_eq!(&digest, &Digest::of(algorithm, &bytes));
            prop_assert!(digest.matches(&bytes));
            prop_assert_eq!(Digest::parse(&digest.to_string()), Ok(digest));
        }
    }

    #[test]
    fn a_manifest_names_what_was_put_in(config in digest(), layers in vec((digest(), any::<u64>()), 0..8)) {
        // A child that got lost would be missing when the network is.
        let layers_json: Vec<_> = layers
            .iter()
            .map(|(digest, size)| serde_json::json!({"digest": digest.to_string(), "size": size}))
            .collect();
        let json = serde_json::json!({
            "config": {"size": 7, "digest": config.to_string(), "mediaType": "application/x"},
            "layers": layers_json,
        });
        let children = manifest::check(media::OCI_MANIFEST, json.to_string().as_bytes())
            .map_err(|e| TestCaseError::fail(e.to_string()))?;
        let found: Vec<_> = children.iter().map(|c| (c.role, c.digest.clone(), c.size)).collect();
        let mut expected = vec![(Role::Config, config, 7)];
        expected.extend(layers.into_iter().map(|(digest, size)| (Role::Layer, digest, size)));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn nothing_panics(bytes in vec(any::<u8>(), 0..120), text in "[ -~\t\n]{0,80}") {
        // Every one of these bytes may come from a stranger; a panic would end somebody's pull.
        for data in [&bytes, text.as_bytes()] {
            checks::endpoint(data);
            checks::endpoint(&[b"/v2/", data].concat());
            checks::range(data);
            checks::range(&[b"bytes=", data].concat());
            checks::range(&[b"bytes ", data].concat());
            checks::challenge(data);
            checks::challenge(&[b"Bearer ", data].concat());
            checks::scope(data);
            checks::scope(&[b"repository:", data, b":pull"].concat());
            checks::manifest(&[media::OCI_MANIFEST.as_bytes(), b"\n", data].concat());
            checks::manifest(&[media::OCI_INDEX.as_bytes(), b"\n{\"manifests\":", data, b"}"].concat());
            checks::registry_name(data);
        }
    }

    #[test]
    fn near_misses_hold_too(
        path in "/v2/[ab/.%:;-]{0,8}(/manifests|/blobs|/blobs/uploads|/tags|/referrers)?/[ab/.:%-]{0,6}",
        range in "bytes[= ][0-9*/, -]{0,24}",
        challenge in "(Bearer |Basic )?[ab=\", \\\\/+]{0,24}",
        scope in "[ab:/.,() *]{0,16}",
        name in "[aA1.:x\\[\\]-]{0,14}",
        json in "\\{[a\":,\\[\\]{}0-9\\\\n]{0,30}\\}",
    ) {
        // Random bytes rarely get past the first character; these do.
        checks::endpoint(path.as_bytes());
        checks::range(range.as_bytes());
        checks::challenge(challenge.as_bytes());
        checks::scope(scope.as_bytes());
        checks::registry_name(name.as_bytes());
        checks::manifest(format!("{}\n{json}", media::DOCKER_MANIFEST).as_bytes());
    }
}
