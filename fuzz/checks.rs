//! What must hold for any bytes at all, one function a parser. The fuzz targets call these, and so does the ordinary
//! test that runs the corpus (`tests/it/oci/corpus.rs`): a finding, once saved, is a regression test for ever.

use docxy::access::issued;
use docxy::access::seal::Sealer;
use docxy::access::tokens::{Known, Tokens};
use docxy::config::import::{Input, Tool, import};
use docxy::config::values::Secret;
use docxy::oci::manifest::{self, MAX_CHILDREN};
use docxy::oci::range::RangeHeader;
use docxy::oci::{Challenge, ContentRange, Endpoint, ErrorBody, Grant, RegistryName, Scope, media};
use http::{HeaderMap, HeaderValue, header};

/// The data is a raw path.
pub fn endpoint(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else {
        return;
    };
    let endpoint = match Endpoint::parse(path) {
        Ok(endpoint) => endpoint,
        Err(error) => return one_short_line(&error),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-:~=".contains(&b);
    assert!(path.bytes().all(plain), "a stranger got through: {path:?}");
    let printed = endpoint.path();
    assert_eq!(Endpoint::parse(&printed).as_ref(), Ok(&endpoint));
    assert!(
        path == printed || path == "/v2" || matches!(endpoint, Endpoint::Upload(_)),
        "{path:?} became {printed:?}"
    );
    if let Some(repository) = endpoint.repository() {
        assert_eq!(endpoint.with_repository(repository.clone()), endpoint);
    }
}

/// The data is the value of a Range or Content-Range header.
pub fn range(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let ranges = match RangeHeader::parse(&value) {
        Ok(RangeHeader::One(one)) => vec![one],
        Ok(RangeHeader::Several(several)) => {
            assert!((2..=RangeHeader::MAX).contains(&several.len()));
            several
        }
        Ok(RangeHeader::OtherUnit) => Vec::new(),
        Err(error) => {
            one_short_line(&error);
            Vec::new()
        }
    };
    for range in ranges {
        assert_eq!(RangeHeader::parse(&range.header()), Ok(RangeHeader::One(range)));
        for length in [0, 1, 499, 500, u64::MAX] {
            if let Some((first, last)) = range.within(length) {
                assert!(first <= last && last < length, "{range} of {length}");
            }
        }
    }
    match ContentRange::parse(&value) {
        Ok(content_range) => {
            assert_eq!(ContentRange::parse(&content_range.header()), Ok(content_range));
            if let ContentRange::Part { first, last, length } = content_range {
                assert!(first <= last && length.is_none_or(|length| last < length));
            }
        }
        Err(error) => one_short_line(&error),
    }
}

/// Each line of the data is a `WWW-Authenticate` line.
pub fn challenge(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            return;
        };
        if headers.try_append(header::WWW_AUTHENTICATE, value).is_err() {
            return;
        }
    }
    let challenges = match Challenge::parse_all(&headers) {
        Ok(challenges) => challenges,
        Err(error) => return one_short_line(&error),
    };
    assert!(challenges.len() <= Challenge::MAX_CHALLENGES);
    for challenge in challenges {
        assert!(challenge.params.len() <= Challenge::MAX_PARAMS);
        let written = match challenge.header() {
            Ok(written) => written,
            Err(error) => panic!("{challenge:?} was read and can't be written: {error}"),
        };
        // Quotes and escapes may make it longer than what is read.
        if written.len() <= Challenge::MAX_BYTES {
            let mut headers = HeaderMap::new();
            headers.insert(header::WWW_AUTHENTICATE, written);
            assert_eq!(Challenge::parse_all(&headers), Ok(vec![challenge]));
        }
    }
}

/// The data is a `scope` parameter.
pub fn scope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let scopes = match Scope::parse_list(text) {
        Ok(scopes) => scopes,
        Err(error) => return one_short_line(&error),
    };
    let written: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    let given: Vec<&str> = text.split(' ').filter(|t| !t.is_empty()).collect();
    assert_eq!(written, given);
    assert_eq!(Scope::parse_list(&written.join(" ")), Ok(scopes));
}

/// The data is what an access token is for.
pub fn token_scope(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let scope = match issued::Scope::parse(text) {
        Ok(scope) => scope,
        Err(error) => {
            // It quotes what a person wrote to the same person.
            assert!(error.to_string().len() <= 4 * text.len() + 1500);
            return;
        }
    };
    assert_eq!(scope.to_string(), text);
    assert_eq!(issued::Scope::parse(&scope.to_string()).as_ref(), Ok(&scope));
    // All repositories are in their list: a scope that opens the list leaves none out.
    let Ok(registry) = RegistryName::parse("ghcr.io") else {
        return;
    };
    if scope.covers(&registry, None)
        && let Ok(any) = docxy::oci::Repository::parse("a/b/c")
    {
        assert!(scope.covers(&registry, Some(&any)), "{text:?}");
    }
}

/// The data is a token that some client made up: what docxy seals opens for nobody who has not docxy's key.
pub fn sealed(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(sealer) = Sealer::new(&[7; 32]) else {
        return;
    };
    assert!(sealer.open(text).is_err(), "{text:?}");
    let tokens = Tokens::new(sealer);
    let kinds = [
        "",
        "docxy.",
        "docxy.sealed.",
        "docxy.user.",
        "docxy.refresh.",
        "docxy_",
    ];
    for kind in kinds {
        let known = tokens.known(&Secret::new(format!("{kind}{text}").into()));
        let opens = matches!(
            known,
            Known::Sealed { .. } | Known::User { .. } | Known::Refresh(_) | Known::From { .. }
        );
        assert!(!opens, "{kind}{text:?}");
        if !kind.is_empty() {
            assert_ne!(
                known,
                Known::Unknown,
                "{kind}{text:?} would be shown to a registry"
            );
        }
    }
    // Whatever is sealed comes back as it was.
    let (Ok(one), Ok(other)) = (Sealer::new(&[1; 32]), Sealer::new(&[2; 32])) else {
        return;
    };
    if let Ok(sealed) = one.seal(data.to_vec()) {
        assert_eq!(one.open(&sealed).as_deref(), Ok(data));
        assert!(other.open(&sealed).is_err());
    }
}

/// The first line of the data is the Content-Type, the rest the manifest.
pub fn manifest(data: &[u8]) {
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(0);
    let Ok(content_type) = std::str::from_utf8(&data[..end]) else {
        return;
    };
    let bytes = data.get(end + 1..).unwrap_or_default();
    let children = match manifest::check(content_type, bytes) {
        Ok(children) => children,
        Err(error) => return one_short_line(&error),
    };
    assert!(children.len() <= MAX_CHILDREN);
    let known = media::is_index(content_type) || media::is_manifest(content_type);
    assert!(known || children.is_empty());
    if !known && !media::is_schema1(content_type) {
        return;
    }
    assert!(std::str::from_utf8(bytes).is_ok(), "JSON is UTF-8");
    // Blanks around a document change nothing, a second one after it is refused.
    let blank = [b" \n", bytes, b"\t"].concat();
    assert_eq!(manifest::check(content_type, &blank), Ok(children));
    assert!(manifest::check(content_type, &[bytes, b"{}"].concat()).is_err());
}

/// The data is a name from `ns=`, a Host or an image reference.
pub fn registry_name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let name = match RegistryName::parse(text) {
        Ok(name) => name,
        Err(error) => return one_short_line(&error),
    };
    assert!(text.is_ascii() && !text.contains(['/', '@', '%', ' ', '?', '#', '\\']));
    assert_eq!(RegistryName::parse(name.as_str()).as_ref(), Ok(&name));
    assert_eq!(
        RegistryName::parse(&text.to_ascii_uppercase()).as_ref(),
        Ok(&name)
    );
    let rebuilt = match name.port() {
        Some(port) => format!("{}:{port}", name.host()),
        None => name.host().to_owned(),
    };
    assert_eq!(rebuilt, name.as_str());
}

/// The data is an upstream's error answer. What is kept of it is shown to people and logged (threat S12).
pub fn error_body(data: &[u8]) {
    let Some(body) = ErrorBody::parse(data) else {
        return;
    };
    assert!(data.len() <= ErrorBody::MAX_BYTES);
    assert!(body.detail.is_none());
    assert!(body.message.chars().count() <= ErrorBody::MAX_MESSAGE);
    assert!(!body.message.contains(char::is_control), "{:?}", body.message);
    let signed = |word: &str| {
        word.find("://")
            .is_some_and(|scheme| word[scheme..].contains('?'))
    };
    assert!(!body.message.split(' ').any(signed), "{:?}", body.message);
    // Passed on, it is read as what it was.
    assert_eq!(ErrorBody::parse(&body.to_json()), Some(body));
}

/// The data is a token service's answer. Whoever reads it again must find the same tokens (threat S1).
pub fn grant(data: &[u8]) {
    let Ok(grant) = Grant::parse(data) else {
        return;
    };
    assert!(std::str::from_utf8(data).is_ok(), "JSON is UTF-8");
    let most = std::time::Duration::from_secs(1_000_000_000);
    assert!(grant.life.is_none_or(|life| life <= most));
    let token = |token: &Option<String>| token.as_deref().map(str::len);
    for length in [
        token(&grant.token),
        token(&grant.access_token),
        token(&grant.refresh_token),
    ] {
        assert!(length.is_none_or(|length| length <= data.len()));
    }
    // Blanks around it change nothing, a second answer after it is refused.
    let blank = Grant::parse(&[b" \n", data, b"\t"].concat());
    let same = blank.is_ok_and(|other| {
        (other.token, other.access_token, other.refresh_token, other.life)
            == (grant.token, grant.access_token, grant.refresh_token, grant.life)
    });
    assert!(same, "read otherwise a second time");
    assert!(Grant::parse(&[data, b"{}"].concat()).is_err());
}

/// The data is a file of docker-registry-proxy's variables.
pub fn import_variables(data: &[u8]) {
    imported(Tool::DockerRegistryProxy, data);
}

/// The data is a file of one of the other tools.
pub fn import_files(data: &[u8]) {
    for tool in [Tool::Distribution, Tool::Docxy, Tool::DockerProxy] {
        imported(tool, data);
    }
}

/// Whatever is made of it loads, or it is told where it is wrong.
fn imported(tool: Tool, text: &[u8]) {
    let name = std::path::Path::new("old");
    match import(tool, &[Input { name, text }]) {
        Ok(imported) => {
            assert!(imported.text.starts_with("# Made by"));
            let passwords = imported.text.lines().any(|line| line.starts_with("password = "));
            assert!(imported.holds_secret || !passwords);
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems.iter() {
                assert!(!problem.what.contains(['\0', '\r']), "{problem}");
            }
        }
    }
}

/// Every message may end up in a log line or on a client's screen.
fn one_short_line(error: &impl std::error::Error) {
    let message = error.to_string();
    assert!(message.len() <= 1500, "{} bytes", message.len());
    assert!(!message.contains(char::is_control), "{message:?}");
}
