//! The words that labels may have: closed sets, each with a place in an array, so that counting looks nothing up.

use super::cells::Word;

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

words! {
    /// How a request went: the words of `pull::Outcome`.
    Outcome {
        Hit = "hit",
        Joined = "joined",
        Miss = "miss",
        Stale = "stale",
        Revalidated = "revalidated",
        Bypass = "bypass",
        Denied = "denied",
        FailedClient = "failed-client",
        FailedUpstream = "failed-upstream",
        FailedLocal = "failed-local",
        /// docxy's own answers, and requests of which nothing else is known.
        Own = "own",
    }
}

words! {
    /// What was asked for.
    Kind {
        Manifest = "manifest",
        Blob = "blob",
        Tags = "tags",
        Referrers = "referrers",
        Catalog = "catalog",
        Base = "base",
        Upload = "upload",
        Token = "token",
        Connect = "connect",
        Other = "other",
    }
}

words! {
    /// Of an answer.
    Status {
        /// The client left before there was one.
        None = "none",
        Informational = "1xx",
        Success = "2xx",
        Redirect = "3xx",
        Client = "4xx",
        Server = "5xx",
    }
}

words! {
    /// Where the bytes that clients got came from.
    Source {
        Cache = "cache",
        Upstream = "upstream",
        /// A download that another request had begun.
        Joined = "joined",
    }
}

words! {
    /// How a download into the cache ended: the words of `cache::Ending`.
    Ending {
        Complete = "complete",
        LeaderCancelled = "leader-cancelled",
        Denied = "denied",
        WrongDigest = "wrong-digest",
        WrongLength = "wrong-length",
        NoLength = "no-length",
        GaveUp = "gave-up",
        Detached = "detached",
        Shutdown = "shutdown",
    }
}

words! {
    /// What comes through docxy in bytes worth counting.
    Content {
        Blob = "blob",
        Manifest = "manifest",
    }
}

words! {
    /// Why a blob was removed.
    Eviction {
        Size = "size",
        FreeSpace = "free-space",
        Inactive = "inactive",
        Asked = "asked",
        /// Of its registry.
        Quota = "quota",
    }
}

words! {
    /// Where wrong bytes were found.
    Place {
        Upstream = "upstream",
        /// Before anybody heard of them.
        Mirror = "mirror",
        Disk = "disk",
        Scrub = "scrub",
    }
}

words! {
    /// Why a repository is public no more.
    Why {
        /// The registry does not give it to everyone.
        Denied = "denied",
        /// It has it no more.
        Missing = "missing",
    }
}

words! {
    /// What docxy turned away before it looked at what was wanted.
    Reason {
        /// By the lists of addresses.
        Address = "address",
        /// More requests than a minute has.
        Requests = "requests",
        /// Too many at once.
        Concurrent = "concurrent",
        /// Sign-ins that were not checked: after wrong passwords, or because too many are.
        Password = "password",
        /// Calls of the admin API without credentials, or with wrong ones.
        AdminToken = "admin-token",
        /// Calls of the admin API under a name that is not docxy's, or from another site's page.
        AdminHost = "admin-host",
    }
}

words! {
    /// Why a sign-in came to nothing.
    Failed {
        /// A wrong name, password or token of docxy's.
        BadSignIn = "bad-sign-in",
        /// A registry did not take a client's own.
        Registry = "registry",
        /// It was not even checked.
        NotChecked = "not-checked",
    }
}

words! {
    /// Why a client does not get what it asked for.
    Denial {
        SignInFirst = "sign-in-first",
        BadSignIn = "bad-sign-in",
        OtherToken = "other-token",
        /// Beyond what its access token is for.
        Scope = "scope",
        Rule = "rule",
        Limit = "limit",
        Address = "address",
        /// The registry does not give it.
        Registry = "registry",
        /// docxy is no proxy for this host.
        ProxyHost = "proxy-host",
        /// Nor for this port of it.
        ProxyPort = "proxy-port",
        /// The host's address may not be dialled.
        ProxyAddress = "proxy-address",
        Other = "other",
    }
}

words! {
    /// Whom docxy asks.
    Hop {
        Registry = "registry",
        /// Where a redirect leads.
        Storage = "storage",
        Token = "token",
    }
}

words! {
    /// What came of a question.
    Answered {
        Success = "2xx",
        Redirect = "3xx",
        Client = "4xx",
        Server = "5xx",
        /// No answer.
        None = "none",
    }
}

words! {
    /// What came of asking for a token.
    Fetched {
        Granted = "granted",
        Refused = "refused",
        Failed = "failed",
    }
}

words! {
    /// What came of another configuration.
    Reload {
        Taken = "taken",
        Refused = "refused",
    }
}

words! {
    /// What came of giving everything to a new process.
    HandOver {
        /// As the new one tells it.
        Done = "done",
        Failed = "failed",
        TakenBack = "taken-back",
        Refused = "refused",
    }
}

words! {
    /// What a certificate is for.
    Certificate {
        /// Shown by TLS listeners.
        Listener = "listener",
        /// Signs for intercepted hosts.
        Authority = "authority",
        /// Shown to a registry that asks for one.
        Registry = "registry",
    }
}

words! {
    /// How an order of a certificate ended.
    Order {
        Issued = "issued",
        /// The authority did not answer.
        Unreachable = "unreachable",
        /// It wants to be asked later.
        Limited = "limited",
        Refused = "refused",
        /// It did not find docxy where the name leads.
        Challenge = "challenge",
        Failed = "failed",
    }
}

words! {
    /// What became of a span.
    Span {
        Exported = "exported",
        /// There were too many to wait.
        Dropped = "dropped",
        /// The collector did not take it.
        Failed = "failed",
    }
}

impl Status {
    pub fn of(status: Option<http::StatusCode>) -> Self {
        match status.map(|status| status.as_u16() / 100) {
            None => Self::None,
            Some(1) => Self::Informational,
            Some(2) => Self::Success,
            Some(3) => Self::Redirect,
            Some(4) => Self::Client,
            Some(_) => Self::Server,
        }
    }
}

impl Answered {
    pub fn of(status: http::StatusCode) -> Self {
        match status.as_u16() / 100 {
            0..=2 => Self::Success,
            3 => Self::Redirect,
            4 => Self::Client,
            _ => Self::Server,
        }
    }
}

impl Source {
    /// Of bytes of a request that went so.
    pub fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Hit | Outcome::Stale | Outcome::Revalidated => Some(Self::Cache),
            Outcome::Joined => Some(Self::Joined),
            Outcome::Miss | Outcome::Bypass => Some(Self::Upstream),
            Outcome::Denied
            | Outcome::FailedClient
            | Outcome::FailedUpstream
            | Outcome::FailedLocal
            | Outcome::Own => None,
        }
    }
}

impl Content {
    pub fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Blob => Some(Self::Blob),
            Kind::Manifest => Some(Self::Manifest),
            _ => None,
        }
    }
}
