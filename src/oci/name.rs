use std::fmt;
/// A repository name: `library/redis`. At most 255 bytes, components by the specification's grammar.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Repository(String);
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    #[error("bad repository name")]
    Bad,
}
impl Repository {
    /// # Errors: says which component is wrong and why.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Bad);
        }
        Ok(Self(text.to_owned()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// `("ghcr.io", Some("owner/image"))`; the rest is None for a name of one component.
    pub fn split_first(&self) -> (&str, Option<Repository>) {
        match self.0.split_once('/') {
            Some((f, r)) => (f, Some(Repository(r.to_owned()))),
            None => (&self.0, None),
        }
    }
    /// `library` + `redis` -> `library/redis`.
    pub fn with_prefix(&self, prefix: &Repository) -> Result<Self, NameError> {
        Self::parse(&format!("{prefix}/{self}"))
    }
}
impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
