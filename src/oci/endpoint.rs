use super::{Digest, Reference, Repository};
/// An endpoint of the distribution API, from the *raw* path (threat S9: no percent sign, no empty component, no dots trick).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// `/v2` and `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Repository, Reference),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Repository, Digest),
    /// `/v2/<name>/tags/list`
    Tags(Repository),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Repository, Digest),
    /// `/v2/<name>/blobs/uploads/` and `/v2/<name>/blobs/uploads/<session>`: only ever a push.
    Upload(Repository),
}
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Not a path of this API at all: 404.
    #[error("unknown path")]
    Unknown,
    /// 400 NAME_INVALID
    #[error(transparent)]
    Name(#[from] super::name::NameError),
    /// 400 TAG_INVALID or DIGEST_INVALID
    #[error(transparent)]
    Reference(#[from] super::reference::ReferenceError),
}
impl Endpoint {
    /// `raw_path` is the path of the request target as it came, without the query.
    pub fn parse(raw_path: &str) -> Result<Self, EndpointError> {
        if raw_path == "/v2/" {
            Ok(Self::Base)
        } else {
            Err(EndpointError::Unknown)
        }
    }
    pub fn repository(&self) -> Option<&Repository> {
        None
    }
    /// The same endpoint of another repository (a prefix stripped, `library/` added).
    pub fn with_repository(&self, _repository: Repository) -> Self {
        self.clone()
    }
    /// The path, `/v2/...`; `parse` of it is this endpoint again.
    pub fn path(&self) -> String {
        String::new()
    }
}
