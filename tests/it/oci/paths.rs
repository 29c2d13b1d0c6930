//! Threat S9: path tricks against the endpoint grammar.

use docxy::oci::endpoint::EndpointError;
use docxy::oci::{Code, Endpoint};
use std::collections::HashSet;

/// What must not pass in any place of a path, whether a name, a tag, a digest or an upload session is expected there.
const PIECES: [&str; 62] = [
    // dot segments, plain and dressed up
    ".",
    "..",
    "../..",
    "../../etc/passwd",
    "./x",
    "x/..",
    "x/./y",
    "..;",
    "..;x=y",
    "..\\",
    "..\\..\\x",
    ".%2e",
    "%2e",
    "%2e%2e",
    "%2e%2e%2f",
    "%2E%2E/",
    "%252e%252e%252f",
    "%c0%ae%c0%ae",
    "%e0%80%ae",
    "%uff0e%uff0e",
    "\u{ff0e}\u{ff0e}",
    "\u{2024}\u{2024}",
    // slashes
    "/x",
    "x/",
    "x//y",
    "//",
    "///x",
    "%2f",
    "%2Fetc%2Fpasswd",
    "x%2fy",
    "%5c",
    "\\",
    "x\\y",
    "\\\\host\\share",
    "%c0%af",
    "\u{2215}x",
    "\u{ff0f}x",
    "\u{2044}",
    // ends of strings and of requests
    "\0",
    "x\0",
    "x\0.json",
    "%00",
    "x%00y",
    "\r\nx: y",
    "%0d%0a",
    "x\n",
    "\t",
    "\u{7f}",
    "\u{85}",
    // queries, fragments, parameters, user info, other schemes
    "x?ns=evil.example",
    "%3fns=evil.example",
    "x#y",
    "%23",
    "x;y=z",
    "x;",
    "user@host",
    "http://evil.example/x",
    "file:///etc/passwd",
    // what shells, templates and scripts would like
    "${jndi:x}",
    "$(id)",
    "<script>",
    "x y",
];

/// A place in a path, and the code that a stranger there is answered with.
const PLACES: [(&str, &str, Code); 7] = [
    ("/v2/", "/manifests/v1", Code::NameInvalid),
    ("/v2/library/", "/redis/tags/list", Code::NameInvalid),
    ("/v2/library/", "/blobs/DIGEST", Code::NameInvalid),
    ("/v2/library/redis/manifests/", "", Code::TagInvalid),
    ("/v2/library/redis/blobs/", "", Code::DigestInvalid),
    ("/v2/library/redis/referrers/", "", Code::DigestInvalid),
    ("/v2/library/redis/blobs/uploads/", "", Code::BlobUploadInvalid),
];

/// Whole paths: around the API rather than in it.
const WHOLE: [&str; 40] = [
    "",
    "/",
    "//",
    "v2",
    "v2/",
    "/v2//",
    "//v2/",
    "///v2/a/tags/list",
    "/./v2/",
    "/../v2/",
    "/v2/.",
    "/v2/..",
    "/v2/../",
    "/v2/./_catalog",
    "/v2/_catalog/",
    "/v2//_catalog",
    "/v2/_catalog%2f",
    "/v2/%5fcatalog",
    "/%76%32/",
    "/V2/",
    "/v2%2f",
    "/v2;/",
    "/v2/;",
    "/v2\\",
    "\\v2\\",
    "/v2 /",
    " /v2/",
    "/v2/ ",
    "/v2\0",
    "/v2/\0",
    "/v2?",
    "/v2/?",
    "/v2/#",
    "/v1/",
    "/v2x",
    "/v2.",
    "http://evil.example/v2/",
    "/v2/a/tags/list/",
    "/v2/a/tags/list/..",
    "/v2/manifests/v1",
];

#[test]
fn hostile_paths_are_refused() {
    // Whoever runs this on a network must know that no spelling of a path reaches routing, upstreams or the store.
    let digest = format!("sha256:{}", "a".repeat(64));
    let mut tried = HashSet::new();
    let mut refused = 0;
    for path in WHOLE {
        assert!(tried.insert(path.to_owned()), "{path:?} stands here twice");
        refused += usize::from(Endpoint::parse(path).is_err());
    }
    for (before, after, code) in PLACES {
        let after = after.replace("DIGEST", &digest);
        for piece in PIECES {
            let path = format!("{before}{piece}{after}");
            assert!(tried.insert(path.clone()), "{path:?} stands here twice");
            let Err(error) = Endpoint::parse(&path) else {
                continue;
            };
            refused += 1;
            assert_ne!(error, EndpointError::Unknown, "{path:?} should say what is wrong");
            let expected = match code {
                // A slash moves the place of all that stands before it.
                _ if piece.contains('/') => error.code(),
                Code::TagInvalid if piece.contains(':') => Code::DigestInvalid,
                code => code,
            };
            assert_eq!(error.code(), expected, "{path:?}");
        }
    }
    println!("{refused} of {} refused", tried.len());
    assert_eq!(refused, tried.len());
    assert!(tried.len() >= 300);
}

#[test]
fn overlong_names_are_refused() {
    // A path of megabytes must cost one comparison and come back as a short message.
    for (path, code) in [
        (
            format!("/v2/{}/tags/list", "a/".repeat(1 << 20)),
            Code::NameInvalid,
        ),
        (format!("/v2/{}/tags/list", "a".repeat(256)), Code::NameInvalid),
        (format!("/v2/a/manifests/{}", "t".repeat(129)), Code::TagInvalid),
        (
            format!("/v2/a/manifests/{}", "%".repeat(1 << 20)),
            Code::TagInvalid,
        ),
        (
            format!("/v2/a/blobs/sha256:{}", "0".repeat(1 << 20)),
            Code::DigestInvalid,
        ),
        (
            format!("/v2/a/blobs/uploads/{}", "s".repeat(8193)),
            Code::BlobUploadInvalid,
        ),
    ] {
        let error = Endpoint::parse(&path).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().len() < 300, "{error}");
    }
}
