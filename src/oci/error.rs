//! Error codes and their JSON.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Error codes of the distribution specification ("Error codes") and the ones registries added (`TOOMANYREQUESTS` is
/// the specification's; `RANGE_INVALID`, `TAG_INVALID`, `PAGINATION_NUMBER_INVALID`, `UNAVAILABLE`, `UNKNOWN` are
/// distribution's).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    TagInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    RangeInvalid,
    PaginationNumberInvalid,
    SizeInvalid,
    Unavailable,
    Unknown,
}

impl Code {
    const ALL: [Self; 19] = [
        Self::BlobUnknown,
        Self::BlobUploadInvalid,
        Self::BlobUploadUnknown,
        Self::DigestInvalid,
        Self::ManifestBlobUnknown,
        Self::ManifestInvalid,
        Self::ManifestUnknown,
        Self::NameInvalid,
        Self::NameUnknown,
        Self::TagInvalid,
        Self::Unauthorized,
        Self::Denied,
        Self::Unsupported,
        Self::TooManyRequests,
        Self::RangeInvalid,
        Self::PaginationNumberInvalid,
        Self::SizeInvalid,
        Self::Unavailable,
        Self::Unknown,
    ];

    /// `BLOB_UNKNOWN`
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The status that goes with the code when nothing says otherwise; an upstream's fault is better told with an
    /// explicit 502 or 504.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BlobUnknown
            | Self::BlobUploadUnknown
            | Self::ManifestBlobUnknown
            | Self::ManifestUnknown
            | Self::NameUnknown => StatusCode::NOT_FOUND,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::PaginationNumberInvalid
            | Self::SizeInvalid
            | Self::TagInvalid => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::RangeInvalid => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The code of this name; any other name is `Unknown`.
    pub fn named(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|code| code.as_str() == name)
            .unwrap_or(Self::Unknown)
    }
}

/// `{"errors":[{"code","message","detail"}]}`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorBody {
    pub code: Code,
    pub message: String,
    pub detail: Option<Value>,
}

impl ErrorBody {
    /// Largest answer that `parse` looks into, bytes.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Longest message that `parse` keeps, characters.
    pub const MAX_MESSAGE: usize = 512;

    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: None,
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        let body = Written {
            errors: [WrittenEntry {
                code: self.code.as_str(),
                message: &self.message,
                detail: self.detail.as_ref(),
            }],
        };
        // Strings and a `Value` always serialise; a body that says so little is still a valid one.
        serde_json::to_vec(&body)
            .unwrap_or_else(|_| br#"{"errors":[{"code":"UNKNOWN","message":""}]}"#.to_vec())
    }

    /// What an upstream's error says: its first entry. A code that is not ours is `Unknown`. The message is an
    /// upstream's text: bounded, without control characters, and without the queries of URLs, which may be signed
    /// (threat S12); the detail is dropped for the same reason. None when the bytes are no error of this form.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > Self::MAX_BYTES {
            return None;
        }
        let body: Read = serde_json::from_slice(bytes).ok()?;
        let entry = body.errors.into_iter().next()?;
        Some(Self::new(
            entry.code.as_str().map_or(Code::Unknown, Code::named),
            entry.message.as_str().map(clean).unwrap_or_default(),
        ))
    }
}

#[derive(Serialize)]
struct Written<'a> {
    errors: [WrittenEntry<'a>; 1],
}

#[derive(Serialize)]
struct WrittenEntry<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a Value>,
}

#[derive(Deserialize)]
struct Read {
    errors: Vec<ReadEntry>,
}

/// Registries have sent null and numbers where strings belong.
#[derive(Deserialize)]
struct ReadEntry {
    #[serde(default)]
    code: Value,
    #[serde(default)]
    message: Value,
}

fn clean(message: &str) -> String {
    let plain: String = message
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect();
    // The query that counts is the one after the scheme: `next?to=https://...?signature`.
    let mut words = plain.split(' ').map(|word| {
        let end = word
            .find("://")
            .and_then(|scheme| Some(scheme + word[scheme..].find('?')?));
        &word[..end.unwrap_or(word.len())]
    });
    let mut cleaned = words.next().unwrap_or_default().to_owned();
    for word in words {
        cleaned.push(' ');
        cleaned.push_str(word);
    }
    if let Some((end, _)) = cleaned.char_indices().nth(ErrorBody::MAX_MESSAGE) {
        cleaned.truncate(end);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn writes_the_specified_json() {
        // Clients show exactly this to people; some compare keys.
        let mut body = ErrorBody::new(Code::NameInvalid, "a \"b\"");
        assert_eq!(
            body.to_json(),
            br#"{"errors":[{"code":"NAME_INVALID","message":"a \"b\""}]}"#
        );
        body.detail = Some(json!({"name": "x"}));
        assert_eq!(
            body.to_json(),
            br#"{"errors":[{"code":"NAME_INVALID","message":"a \"b\"","detail":{"name":"x"}}]}"#
        );
    }

    #[test]
    fn every_code_has_its_name_and_an_error_status() {
        // An upstream's code must arrive at the client as the same code.
        for code in Code::ALL {
            assert_eq!(Code::named(code.as_str()), code);
            assert!(code.status().is_client_error() || code.status().is_server_error());
        }
        assert_eq!(Code::named("NOT_OURS"), Code::Unknown);
        assert_eq!(Code::RangeInvalid.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(Code::Unsupported.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn reads_what_upstreams_send() {
        // What the upstream said helps whoever debugs a pull, whatever shape it came in.
        let parsed = |text: &str| ErrorBody::parse(text.as_bytes());
        assert_eq!(
            parsed(r#"{"errors":[{"code":"DENIED","message":"no","detail":[1]},{"code":"X"}]}"#),
            Some(ErrorBody::new(Code::Denied, "no"))
        );
        assert_eq!(
            parsed(r#"{"errors":[{"code":7}],"x":1}"#),
            Some(ErrorBody::new(Code::Unknown, ""))
        );
        for other in [
            "",
            "{}",
            "[]",
            r#"{"errors":[]}"#,
            r#"{"errors":null}"#,
            r#"{"errors":["x"]}"#,
            "<html>",
        ] {
            assert_eq!(parsed(other), None, "{other}");
        }
        let big = format!(
            r#"{{"errors":[{{"code":"DENIED","message":"{}"}}]}}"#,
            "x".repeat(65_536)
        );
        assert_eq!(parsed(&big), None);
        assert_eq!(parsed(&"[".repeat(10_000)), None);
    }

    #[test]
    fn an_upstreams_text_is_harmless() {
        // It ends up in logs and on terminals: no escapes, no line breaks, no signatures, no end.
        let text = r#"{"errors":[{"message":"a\u001b[31mb\r\nc https://s3/x?X-Amz-Signature=SECRET d?e"}]}"#;
        assert_eq!(
            ErrorBody::parse(text.as_bytes()).unwrap().message,
            "a[31mb  c https://s3/x d?e"
        );
        let text = r#"{"errors":[{"message":"see next?to=https://s3/x?X-Amz-Signature=SECRET"}]}"#;
        assert_eq!(
            ErrorBody::parse(text.as_bytes()).unwrap().message,
            "see next?to=https://s3/x"
        );
        let long = format!(r#"{{"errors":[{{"message":"{}"}}]}}"#, "\u{e9}".repeat(600));
        let message = ErrorBody::parse(long.as_bytes()).unwrap().message;
        assert_eq!(message.chars().count(), 512);
    }
}
