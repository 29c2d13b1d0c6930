use std::fmt;
/// A token scope: `repository:library/redis:pull,push`. The name may hold colons (a host with a port); the type and
/// the actions may not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Scope {
    pub kind: String,
    pub name: String,
    pub actions: Vec<String>,
}
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScopeError {
    #[error("bad scope")]
    Bad,
}
impl Scope {
    pub fn pull(repository: &super::Repository) -> Self {
        Self {
            kind: "repository".into(),
            name: repository.to_string(),
            actions: vec!["pull".into()],
        }
    }
    pub fn parse(_text: &str) -> Result<Self, ScopeError> {
        Err(ScopeError::Bad)
    }
    /// A `scope` parameter holds several scopes, separated by spaces. At most 64.
    pub fn parse_list(_text: &str) -> Result<Vec<Self>, ScopeError> {
        Err(ScopeError::Bad)
    }
    pub fn asks_push(&self) -> bool {
        self.actions.iter().any(|a| a == "push")
    }
}
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.actions.join(","))
    }
}
