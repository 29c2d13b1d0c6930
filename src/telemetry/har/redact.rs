//! What a recording shows of what passes by. Whoever looks for a fault sends the file to others, so what is not known to be
//! harmless is hidden (threat S12): headers by a list of those that are shown, queries and forms by a list of fields, paths
//! that somebody else chose as a whole, JSON by the names of its fields.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use url::Url;

use super::entry::Pair;

/// Stands for what is hidden.
pub(super) const HIDDEN: &str = "***";

/// A shorter one is found by chance in everything.
const SHORTEST_SECRET: usize = 4;

/// Headers whose values are shown, beside the families of [`is_shown`].
const SHOWN: [&str; 66] = [
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
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
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
const SECRET_NAMES: [&str; 11] = [
    "auth",
    "cookie",
    "credential",
    "jwt",
    "key",
    "passphrase",
    "passw",
    "pwd",
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
        || ["ratelimit-", "x-ratelimit-", "x-docker-registry-proxy-cache-"]
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
    // Of a field that is given twice only the last was looked at.
    if hide_in(&mut value, seen) || serde_json::from_slice::<NothingTwice>(bytes).is_err() {
        return Some(value.to_string());
    }
    String::from_utf8(bytes.to_vec()).ok()
}

/// JSON without a field that is given twice.
struct NothingTwice;

impl<'de> Deserialize<'de> for NothingTwice {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for NothingTwice {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        let mut names = HashSet::new();
        while let Some((name, Self)) = fields.next_entry::<String, Self>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a field is given twice"));
            }
        }
        Ok(self)
    }
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
mod tests;
