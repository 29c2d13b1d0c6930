use http::StatusCode;
/// Error codes of the distribution specification and the ones registries added (`TOOMANYREQUESTS`, `RANGE_INVALID`, `UNAVAILABLE`, ...).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    BlobUnknown,
    DigestInvalid,
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
    /// `BLOB_UNKNOWN`
    pub fn as_str(self) -> &'static str {
        "UNKNOWN"
    }
    /// The status that goes with the code when nothing says otherwise.
    pub fn status(self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }
}
/// `{"errors":[{"code","message","detail"}]}`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorBody {
    pub code: Code,
    pub message: String,
    pub detail: Option<serde_json::Value>,
}
impl ErrorBody {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            detail: None,
        }
    }
    pub fn to_json(&self) -> Vec<u8> {
        Vec::new()
    }
}
