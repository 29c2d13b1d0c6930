//! What may be asked of whom. A registry's mirrors are named by its operator as further sources of what everyone may have
//! (threat S16): they hear of digests alone, and only of repositories that the registry itself gave to nobody in particular.

use crate::oci::FullName;

/// Proof that a repository is public: whoever holds one may tell a mirror its name. The one place that makes it looks at the
/// mark which the registry's own answer left (`pull::rights::openness`; a test looks that no other does).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Public(FullName);

impl Public {
    /// The registry gave something of it to a request that showed nobody's credential, and has not taken that back. The name
    /// is the registry's own ([`super::Upstream::canonical`]).
    pub fn proved(name: FullName) -> Self {
        Self(name)
    }

    pub fn name(&self) -> &FullName {
        &self.0
    }
}

/// Who may be asked for the content behind a digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sources {
    /// The registry itself, and nobody else.
    Authority,
    /// Whoever the operator named as a source of public content, too.
    Anyone(Public),
}
