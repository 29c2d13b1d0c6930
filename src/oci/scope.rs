//! Token scopes.

use super::Repository;
use super::excerpt::excerpt;
use std::fmt;

/// A token scope: `repository:library/redis:pull,push`. The name may hold colons (a host with a port); the type and
/// the actions may not. Grammar: distribution's "Docker Registry v2 token scope", and what Azure adds to it
/// (`metadata_read`, `content/read`).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Scope {
    /// `repository`, `repository(plugin)`, `registry`
    pub kind: String,
    pub name: String,
    /// May be empty: a scope that asks for nothing is legal.
    pub actions: Vec<String>,
}

/// What is done to a repository.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    /// As tokens name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }

    /// What a token must allow for it. Clients ask for no push without a pull, and registries name the right to delete
    /// each in its own way: who may push and who may delete are seldom two.
    fn needs(self) -> &'static [Self] {
        match self {
            Self::Pull => &[Self::Pull],
            Self::Push => &[Self::Pull, Self::Push],
            Self::Delete => &[Self::Pull, Self::Push, Self::Delete],
        }
    }
}

impl Scope {
    /// Most scopes in one parameter.
    pub const MAX_SCOPES: usize = 64;
    /// Longest scope, in bytes: the longest repository name and host, and room for type and actions.
    pub const MAX_BYTES: usize = 1024;

    pub fn pull(repository: &Repository) -> Self {
        Self::to(Action::Pull, repository)
    }

    /// What a token is asked for to do this.
    pub fn to(action: Action, repository: &Repository) -> Self {
        Self {
            kind: "repository".into(),
            name: repository.to_string(),
            actions: action
                .needs()
                .iter()
                .map(|action| action.as_str().into())
                .collect(),
        }
    }

    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let bad = |fault| ScopeError::Bad {
            scope: excerpt(text),
            fault,
        };
        if text.len() > Self::MAX_BYTES {
            return Err(bad(ScopeFault::TooLong));
        }
        let parts = text
            .split_once(':')
            .and_then(|(kind, rest)| rest.rsplit_once(':').map(|(name, actions)| (kind, name, actions)));
        let Some((kind, name, actions)) = parts else {
            return Err(bad(ScopeFault::Parts));
        };
        if !is_kind(kind) {
            return Err(bad(ScopeFault::Kind));
        }
        if !is_name(name) {
            return Err(bad(ScopeFault::Name));
        }
        let actions: Vec<String> = match actions {
            "" => Vec::new(),
            some => some.split(',').map(ToOwned::to_owned).collect(),
        };
        if !actions.iter().all(|action| is_action(action)) {
            return Err(bad(ScopeFault::Action));
        }
        Ok(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
            actions,
        })
    }

    /// A `scope` parameter holds several scopes, separated by spaces. At most 64; none is no error.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, ScopeError> {
        let mut scopes = Vec::new();
        for scope in text.split(' ').filter(|scope| !scope.is_empty()) {
            if scopes.len() == Self::MAX_SCOPES {
                return Err(ScopeError::TooMany);
            }
            scopes.push(Self::parse(scope)?);
        }
        Ok(scopes)
    }

    /// `repository`, also of a class: `repository(plugin)`.
    pub fn is_of_repository(&self) -> bool {
        self.kind == "repository" || self.kind.starts_with("repository(")
    }

    pub fn asks_push(&self) -> bool {
        self.actions.iter().any(|a| a == "push")
    }

    /// The same without what would change anything. What stands for everything stays, for the catalog asks so.
    #[must_use]
    pub fn pulls_only(&self) -> Self {
        let changes = |action: &String| {
            matches!(action.as_str(), "push" | "delete") || (self.is_of_repository() && action == "*")
        };
        let mut actions: Vec<String> = self
            .actions
            .iter()
            .filter(|action| !changes(action))
            .cloned()
            .collect();
        if self.is_of_repository() && self.asks(Action::Pull) && !actions.iter().any(|a| a == "pull") {
            actions.push("pull".into());
        }
        Self {
            actions,
            ..self.clone()
        }
    }

    /// Is this among what it asks for?
    pub fn asks(&self, action: Action) -> bool {
        self.actions.iter().any(|a| a == action.as_str() || a == "*")
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.actions.join(","))
    }
}

/// Why a text is no scope, or no list of scopes; `scope` is an excerpt.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScopeError {
    #[error("the scope \"{scope}\" {fault}")]
    Bad { scope: String, fault: ScopeFault },
    #[error("there are more than {max} scopes", max = Scope::MAX_SCOPES)]
    TooMany,
}

/// What is wrong with one scope.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScopeFault {
    #[error("must have three parts, as in repository:library/redis:pull")]
    Parts,
    #[error("has more than {max} bytes", max = Scope::MAX_BYTES)]
    TooLong,
    #[error(
        "has a type that is not made of lower-case letters and digits, as in repository or repository(plugin)"
    )]
    Kind,
    #[error("has a name that is no repository name, with or without a host")]
    Name,
    #[error("has an empty or malformed action; actions are separated by commas, as in pull,push")]
    Action,
}

/// `resourcetype`: a word, or a word and its class in parentheses.
fn is_kind(text: &str) -> bool {
    let word = |t: &str| {
        t.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && t.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    match text.strip_suffix(')') {
        Some(open) => open.split_once('(').is_some_and(|(a, b)| word(a) && word(b)),
        None => word(text),
    }
}

/// `resourcename`: components with a host, and so perhaps a port or an IPv6 address, in front. Wider than `Repository`,
/// which whoever routes by the name parses from it.
fn is_name(text: &str) -> bool {
    text.split('/').enumerate().all(|(index, component)| {
        let plain = |b: u8| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'.' | b'_' | b'-')
                || (index == 0 && matches!(b, b':' | b'[' | b']'))
        };
        !matches!(component, "" | "." | "..") && component.bytes().all(plain)
    })
}

fn is_action(text: &str) -> bool {
    text == "*"
        || (!text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(kind: &str, name: &str, actions: &[&str]) -> Scope {
        Scope {
            kind: kind.into(),
            name: name.into(),
            actions: actions.iter().map(|a| (*a).into()).collect(),
        }
    }

    #[test]
    fn reads_what_clients_ask() {
        // Each of these has been seen on the wire; a refused one is a refused login.
        for (text, parsed) in [
            (
                "repository:library/redis:pull",
                scope("repository", "library/redis", &["pull"]),
            ),
            (
                "repository:localhost:5000/x:pull,push",
                scope("repository", "localhost:5000/x", &["pull", "push"]),
            ),
            (
                "repository:[::1]:5000/x:pull",
                scope("repository", "[::1]:5000/x", &["pull"]),
            ),
            (
                "repository(plugin):o/p:pull",
                scope("repository(plugin)", "o/p", &["pull"]),
            ),
            ("registry:catalog:*", scope("registry", "catalog", &["*"])),
            (
                "repository:a:metadata_read,content/read",
                scope("repository", "a", &["metadata_read", "content/read"]),
            ),
            ("repository:a:", scope("repository", "a", &[])),
        ] {
            assert_eq!(Scope::parse(text), Ok(parsed), "{text}");
        }
        let redis = Repository::parse("library/redis").unwrap();
        assert_eq!(Scope::pull(&redis).to_string(), "repository:library/redis:pull");
        assert!(scope("repository", "a", &["pull", "push"]).asks_push());
        assert!(!scope("repository", "push", &["pull"]).asks_push());
        for (asked, left) in [
            ("repository:a:pull,push,delete", "repository:a:pull"),
            ("repository:a:*", "repository:a:pull"),
            ("repository:a:push", "repository:a:"),
            ("registry:catalog:*", "registry:catalog:*"),
        ] {
            assert_eq!(Scope::parse(asked).unwrap().pulls_only().to_string(), left);
        }
    }

    #[test]
    fn says_what_is_wrong() {
        // A scope decides which registry sees a password: a doubtful one is refused with its reason.
        use ScopeFault::{Action, Kind, Name, Parts, TooLong};
        let long = format!("repository:{}:pull", "a".repeat(1024));
        for (text, fault) in [
            ("", Parts),
            ("repository", Parts),
            ("repository:a", Parts),
            (":a:pull", Kind),
            ("Repository:a:pull", Kind),
            ("repository(:a:pull", Kind),
            ("repository():a:pull", Kind),
            ("repository(a)(b):a:pull", Kind),
            ("repository::pull", Name),
            ("repository:a//b:pull", Name),
            ("repository:a/../b:pull", Name),
            ("repository:a/b:c/d:pull", Name),
            ("repository:a%2fb:pull", Name),
            ("repository:a\r\nb:pull", Name),
            ("repository:a:pull,", Action),
            ("repository:a:,", Action),
            ("repository:a:PULL", Action),
            ("repository:a:pu ll", Action),
            (&long, TooLong),
        ] {
            let bad = ScopeError::Bad {
                scope: excerpt(text),
                fault,
            };
            assert_eq!(Scope::parse(text), Err(bad), "{text:?}");
        }
    }

    #[test]
    fn reads_lists() {
        // containerd merges its own scope with the challenge's into one parameter.
        let list = Scope::parse_list(" repository:ghcr.io/o/i:pull  repository:o/i:pull ").unwrap();
        assert_eq!(
            list,
            [
                scope("repository", "ghcr.io/o/i", &["pull"]),
                scope("repository", "o/i", &["pull"])
            ]
        );
        assert_eq!(Scope::parse_list(""), Ok(vec![]));
        assert_eq!(
            Scope::parse_list(&["registry:catalog:*"; 64].join(" ")).map(|l| l.len()),
            Ok(64)
        );
        assert_eq!(
            Scope::parse_list(&["registry:catalog:*"; 65].join(" ")),
            Err(ScopeError::TooMany)
        );
        assert!(matches!(
            Scope::parse_list("registry:catalog:* x"),
            Err(ScopeError::Bad { .. })
        ));
    }
}
