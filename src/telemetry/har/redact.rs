//! What a recording shows of what passes by. Whoever looks for a fault sends the file to others, so what is not known to be
//! harmless is hidden (threat S12): headers by a list of those that are shown, queries and forms by a list of fields, paths
//! that somebody else chose as a whole, JSON by the names of its fields.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;
use url::Url;

use super::entry::Pair;

/// Stands for what is hidden.
pub(super) const HIDDEN: &str = "***";

/// A shorter one is found by chance in everything.
const SHORTEST_SECRET: usize = 4;

/// Headers whose values are shown, beside the families of [`is_shown`].
const SHOWN: [&str; 61] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "cache-control",
    "cdn-loop",
    "cf-cache-status",
    "cf-ray",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "docker-ratelimit-source",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "link",
    "oci-chunk-min-length",
    "oci-filters-applied",
    "oci-namespace",
    "oci-subject",
    "pragma",
    "proxy-authenticate",
    "proxy-connection",
    "range",
    "retry-after",
    "server",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "x-cache",
    "x-cache-hits",
    "x-content-type-options",
    "x-real-ip",
    "x-request-id",
    "x-served-by",
];

/// Fields of queries and forms whose values are shown.
const SHOWN_FIELDS: [&str; 14] = [
    "access_type",
    "account",
    "artifactType",
    "client_id",
    "digest",
    "from",
    "grant_type",
    "last",
    "mount",
    "n",
    "ns",
    "offline_token",
    "scope",
    "service",
];

/// What of the name of a JSON field says that its text is a secret.
const SECRET_NAMES: [&str; 10] = [
    "auth",
    "cookie",
    "credential",
    "jwt",
    "key",
    "passphrase",
    "passw",
    "secret",
    "signature",
    "token",
];

/// Secrets that were seen in one exchange, to be hidden wherever else they stand in it: some registries repeat in their
/// errors what they were sent.
#[derive(Default)]
pub(super) struct Seen(Vec<String>);

impl Seen {
    pub fn note(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() >= SHORTEST_SECRET && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.to_owned());
        }
    }

    /// Of an `Authorization`: what follows its scheme, and the two halves of Basic.
    fn note_credential(&mut self, value: &str) {
        use base64::Engine as _;
        let value = value.split_once(' ').map_or(value, |(_, credential)| credential);
        self.note(value);
        let plain = base64::prelude::BASE64_STANDARD.decode(value.trim());
        if let Ok(plain) = plain.map(|plain| String::from_utf8_lossy(&plain).into_owned())
            && let Some((_, password)) = plain.split_once(':')
        {
            self.note(&plain);
            self.note(password);
        }
    }

    pub fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut shown = Cow::Borrowed(text);
        for secret in &self.0 {
            if shown.contains(secret.as_str()) {
                shown = Cow::Owned(shown.replace(secret.as_str(), HIDDEN));
            }
        }
        shown
    }
}

/// The lines of a head, in their order.
pub(super) fn headers(headers: &HeaderMap, seen: &mut Seen) -> Vec<Pair> {
    let lines = headers.iter().map(|(name, value)| Pair {
        name: name.as_str().to_owned(),
        value: header_value(name, value, seen),
    });
    lines.collect()
}

fn header_value(name: &HeaderName, value: &HeaderValue, seen: &mut Seen) -> String {
    let Ok(text) = value.to_str() else {
        return HIDDEN.to_owned();
    };
    match *name {
        header::AUTHORIZATION | header::PROXY_AUTHORIZATION => {
            seen.note_credential(text);
            let scheme = text.split_once(' ').map(|(scheme, _)| scheme);
            let known = scheme.filter(|scheme| ["basic", "bearer"].contains(&&*scheme.to_ascii_lowercase()));
            known.map_or_else(|| HIDDEN.to_owned(), |scheme| format!("{scheme} {HIDDEN}"))
        }
        header::LOCATION => location(text),
        header::LINK => in_text(text).into_owned(),
        _ if value.is_sensitive() || !is_shown(name.as_str()) => {
            for part in text.split([' ', ';', ',', '=']) {
                seen.note(part);
            }
            seen.note(text);
            HIDDEN.to_owned()
        }
        _ => in_text(text).into_owned(),
    }
}

fn is_shown(name: &str) -> bool {
    SHOWN.contains(&name)
        || [
            "ratelimit-",
            "x-ratelimit-",
            "x-forwarded-",
            "x-docker-registry-proxy-cache-",
        ]
        .iter()
        .any(|family| name.starts_with(family))
}

/// Where a redirect or an upload leads: the host. The rest is what opens the blob, or lets an upload go on.
fn location(text: &str) -> String {
    match Url::parse(text) {
        Ok(url) => elsewhere(&url),
        Err(_) => format!("/{HIDDEN}"),
    }
}

/// A URL whose path somebody else chose.
pub(super) fn elsewhere(url: &Url) -> String {
    let query = if url.query().is_some() { "?***" } else { "" };
    format!("{}/{HIDDEN}{query}", authority(url))
}

/// A URL that docxy made itself.
pub(super) fn own(url: &Url, seen: &mut Seen) -> (String, Vec<Pair>) {
    with_query(&format!("{}{}", authority(url), url.path()), url.query(), seen)
}

fn authority(url: &Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// `base` and a query: as text, and field by field.
pub(super) fn with_query(base: &str, query: Option<&str>, seen: &mut Seen) -> (String, Vec<Pair>) {
    let base = path(base);
    let Some(query) = query else {
        return (base.into_owned(), Vec::new());
    };
    let fields = form(query.as_bytes(), seen);
    let mut text = form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(fields.iter().map(|field| (&field.name, &field.value)));
    (format!("{base}?{}", text.finish()), fields)
}

/// What stands behind `uploads/` lets an upload go on.
fn path(path: &str) -> Cow<'_, str> {
    const UPLOADS: &str = "/blobs/uploads/";
    match path.find(UPLOADS).map(|at| at + UPLOADS.len()) {
        Some(end) if end < path.len() => Cow::Owned(format!("{}{HIDDEN}", &path[..end])),
        _ => Cow::Borrowed(path),
    }
}

/// The fields of a query or a form.
pub(super) fn form(text: &[u8], seen: &mut Seen) -> Vec<Pair> {
    let fields = form_urlencoded::parse(text).map(|(name, value)| {
        if SHOWN_FIELDS.contains(&&*name) {
            return Pair {
                name: name.into_owned(),
                value: in_text(&value).into_owned(),
            };
        }
        seen.note(&value);
        // A field without a value may be the secret itself.
        let name = if value.is_empty() {
            HIDDEN.to_owned()
        } else {
            name.into_owned()
        };
        Pair {
            name,
            value: HIDDEN.to_owned(),
        }
    });
    fields.collect()
}

/// A body of JSON; none: it is none.
pub(super) fn json(bytes: &[u8], seen: &mut Seen) -> Option<String> {
    let mut value: Value = serde_json::from_slice(bytes).ok()?;
    if hide_in(&mut value, seen) {
        return Some(value.to_string());
    }
    String::from_utf8(bytes.to_vec()).ok()
}

/// Was there something to hide?
fn hide_in(value: &mut Value, seen: &mut Seen) -> bool {
    match value {
        Value::Object(fields) => {
            let mut hidden = false;
            for (name, field) in fields {
                hidden |= if is_secret_name(name) {
                    hide_all(field, seen)
                } else {
                    hide_in(field, seen)
                };
            }
            hidden
        }
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |hidden, item| hide_in(item, seen) | hidden),
        Value::String(text) if is_token(text) => hide_all(value, seen),
        Value::String(text) => match in_text(text) {
            Cow::Borrowed(_) => false,
            Cow::Owned(shown) => {
                *text = shown;
                true
            }
        },
        _ => false,
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Every text below; numbers and the like are no secrets.
fn hide_all(value: &mut Value, seen: &mut Seen) -> bool {
    match value {
        Value::Object(fields) => fields
            .values_mut()
            .fold(false, |hidden, field| hide_all(field, seen) | hidden),
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |hidden, item| hide_all(item, seen) | hidden),
        Value::String(text) if !text.is_empty() => {
            seen.note(text);
            HIDDEN.clone_into(text);
            true
        }
        _ => false,
    }
}

/// A JSON web token, or a token of docxy's own making.
fn is_token(text: &str) -> bool {
    (text.starts_with("eyJ") && text.len() > 40) || text.starts_with("docxy.") || text.starts_with("docxy_")
}

/// Hides the users and the queries of URLs, and the fields of relative ones that are not known.
fn in_text(text: &str) -> Cow<'_, str> {
    if !text.contains("://") && !text.contains('?') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '\\');
    for piece in text.split_inclusive(is_end) {
        let end = piece.len()
            - piece
                .chars()
                .next_back()
                .filter(|c| is_end(*c))
                .map_or(0, char::len_utf8);
        let (word, after) = piece.split_at(end);
        shown.push_str(&in_word(word));
        shown.push_str(after);
    }
    if shown == text {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(shown)
    }
}

fn in_word(word: &str) -> String {
    let (url, query) = match word.split_once('?') {
        Some((url, query)) => (url, Some(query)),
        None => (word, None),
    };
    let mut shown = without_user(url);
    if let Some(query) = query
        && (url.contains('/') || query.contains('='))
    {
        // What follows a query in a text (a comma, a bracket) goes with it.
        let (text, _) = with_query("", Some(query), &mut Seen::default());
        shown.push_str(&text);
    } else if query.is_some() {
        return word.to_owned();
    }
    shown
}

fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_header(name: &'static str, value: &str) -> String {
        let mut map = HeaderMap::new();
        map.insert(name, HeaderValue::from_str(value).unwrap());
        headers(&map, &mut Seen::default()).remove(0).value
    }

    #[test]
    fn headers_show_what_is_harmless_and_nothing_else() {
        // Whoever sends a recording to strangers: a header that nobody thought of must not carry a secret out.
        for (name, value, shown) in [
            ("authorization", "Bearer CANARY", "Bearer ***"),
            ("authorization", "CANARY", "***"),
            ("authorization", "CANARY CANARY", "***"),
            ("proxy-authorization", "Basic CANARY", "Basic ***"),
            ("cookie", "a=CANARY", "***"),
            ("set-cookie", "a=CANARY; Secure", "***"),
            ("x-registry-auth", "CANARY", "***"),
            ("x-amz-security-token", "CANARY", "***"),
            ("docker-upload-uuid", "CANARY", "***"),
            (
                "location",
                "https://u:CANARY@cdn.test:8443/CANARY/x?sig=CANARY",
                "https://cdn.test:8443/***?***",
            ),
            ("location", "/v2/a/blobs/uploads/CANARY", "/***"),
            (
                "link",
                "</v2/a/tags/list?n=2&last=b&cursor=CANARY>; rel=\"next\"",
                "</v2/a/tags/list?n=2&last=b&cursor=***>; rel=\"next\"",
            ),
            (
                "www-authenticate",
                "Bearer realm=\"https://auth.test/token\",service=\"r\"",
                "Bearer realm=\"https://auth.test/token\",service=\"r\"",
            ),
            (
                "www-authenticate",
                "Bearer realm=\"https://auth.test/token?key=CANARY\"",
                "Bearer realm=\"https://auth.test/token?key=***\"",
            ),
            ("ratelimit-remaining", "20;w=21600", "20;w=21600"),
            ("accept", "text/html, */*;q=0.1", "text/html, */*;q=0.1"),
            ("user-agent", "docker/29 (a; b?)", "docker/29 (a; b?)"),
        ] {
            assert_eq!(shown_header(name, value), shown, "{name}: {value}");
        }
    }

    #[test]
    fn urls_show_no_signature() {
        // A signed URL opens somebody's blob for as long as it lives (S12).
        let mut seen = Seen::default();
        let url = Url::parse(
            "https://u:CANARY@auth.test/token?service=r&scope=repository:a/b:pull&account=ann&x=CANARY",
        )
        .unwrap();
        let (text, fields) = own(&url, &mut seen);
        assert_eq!(
            text,
            "https://auth.test/token?service=r&scope=repository%3Aa%2Fb%3Apull&account=ann&x=***"
        );
        assert_eq!(fields.len(), 4);
        assert_eq!(elsewhere(&url), "https://auth.test/***?***");
        let (text, _) = with_query(
            "http://hub/v2/a/blobs/uploads/CANARY",
            Some("digest=sha256:1&CANARY"),
            &mut seen,
        );
        assert_eq!(
            text,
            "http://hub/v2/a/blobs/uploads/***?digest=sha256%3A1&***=***"
        );
        assert_eq!(seen.hide("once more: CANARY"), "once more: ***");
    }

    #[test]
    fn json_keeps_its_bytes_where_there_is_nothing_to_hide() {
        // Whoever compares a digest with a recorded manifest.
        let manifest = br#"{ "schemaVersion":2,  "config":{"size":1} , "annotations":{"url":"https://a/b"}}"#;
        assert_eq!(json(manifest, &mut Seen::default()).unwrap().as_bytes(), manifest);
    }

    #[test]
    fn json_hides_tokens_and_what_repeats_them() {
        // A token answer is most of what a fault with signing in is about.
        let mut seen = Seen::default();
        let text = json(
            br#"{"token":"CANARY-1","access_token":"CANARY-2","expires_in":300,"RefreshToken":["CANARY-3"],
                "other":"eyJCANARY.CANARYCANARYCANARYCANARYCANARYCANARY.x","urls":["https://cdn/b?sig=CANARY-4"]}"#,
            &mut seen,
        )
        .unwrap();
        assert!(!text.contains("CANARY") && text.contains("300"), "{text}");
        assert_eq!(seen.hide("a CANARY-1 b CANARY-3"), "a *** b ***");
        assert_eq!(json(b"{", &mut seen), None);
    }

    #[test]
    fn what_was_shown_as_basic_is_hidden_in_all_its_forms() {
        // Some registries repeat the password, decoded, in their error.
        let mut seen = Seen::default();
        let mut map = HeaderMap::new();
        map.insert(
            header::AUTHORIZATION,
            HeaderValue::from_static("Basic YW5uOkNBTkFSWTpY"),
        );
        headers(&map, &mut seen);
        assert_eq!(
            seen.hide("ann:CANARY:X, CANARY:X, YW5uOkNBTkFSWTpY"),
            "***, ***, ***"
        );
    }
}
