use http::HeaderMap;
/// One challenge of a `WWW-Authenticate` header (RFC 9110 section 11.6.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// Lower-case scheme: `bearer`, `basic`, ...
    pub scheme: String,
    /// Parameters with lower-case names, quoted strings unescaped, in the order they came.
    pub params: Vec<(String, String)>,
}
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChallengeError {
    #[error("bad challenge")]
    Bad,
}
impl Challenge {
    /// Every challenge of every `WWW-Authenticate` line. Limits: 16 challenges, 32 parameters each, 8 KiB in all.
    pub fn parse_all(_headers: &HeaderMap) -> Result<Vec<Self>, ChallengeError> {
        Ok(Vec::new())
    }
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
    /// The header value; values are quoted and escaped.
    pub fn header(&self) -> Result<http::HeaderValue, ChallengeError> {
        Err(ChallengeError::Bad)
    }
}
