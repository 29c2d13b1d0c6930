//! What the stub saw, in the order of arrival.

use std::{fmt, net::IpAddr, sync::Mutex};

use base64::Engine as _;
use http::{HeaderMap, Method};
use tokio::sync::watch;

/// Which of the stub's three parts was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Registry,
    Token,
    Cdn,
}

/// What became of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Still being answered.
    Open,
    /// All of it was handed to the connection.
    Sent,
    /// The stub broke it, as it was told.
    Broken,
    /// The other side hung up first.
    Left,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Seen {
    pub door: Door,
    pub method: Method,
    /// Of an absolute-form or CONNECT target: the stub was used as a proxy for this host.
    pub authority: Option<String>,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    /// Of a POST.
    pub body: String,
    pub from: IpAddr,
    /// Who it was answered as; none for the anonymous.
    pub user: Option<String>,
    pub status: Option<u16>,
    /// Bytes of the body handed to the connection; what a hang-up threw away is among them.
    pub sent: usize,
    pub ending: Ending,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All lines of this name.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        self.headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect()
    }

    /// A parameter of the query, decoded; all of them, as a scope may come several times.
    pub fn params(&self, name: &str) -> Vec<String> {
        form(&self.query, name)
    }

    /// A field of a form, decoded.
    pub fn fields(&self, name: &str) -> Vec<String> {
        form(&self.body, name)
    }

    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    /// See `StubRegistry::secrets_seen`.
    pub fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = Vec::new();
        for name in ["authorization", "proxy-authorization", "cookie"] {
            for line in self.lines(name) {
                secrets.push(decoded_basic(line).unwrap_or_else(|| line.to_owned()));
            }
        }
        for name in ["password", "refresh_token", "access_token"] {
            secrets.extend(self.fields(name));
            secrets.extend(self.params(name));
        }
        secrets
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.authority.as_deref().unwrap_or_default();
        write!(f, "{:?} {} {authority}{}", self.door, self.method, self.path)?;
        if !self.query.is_empty() {
            write!(f, "?{}", self.query)?;
        }
        for name in ["host", "authorization", "range", "accept"] {
            for line in self.lines(name) {
                write!(f, " [{name}: {line}]")?;
            }
        }
        write!(f, " -> {:?} {} bytes, {:?}", self.status, self.sent, self.ending)
    }
}

/// The list, and a bell that rings when it changes.
pub(super) struct Journal {
    entries: Mutex<Entries>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Entries {
    list: Vec<Seen>,
    /// Entries before this number were forgotten; tickets go on counting.
    first: usize,
}

impl Journal {
    pub fn new() -> Self {
        Self {
            entries: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    pub fn add(&self, seen: Seen) -> usize {
        let number = {
            let mut entries = self.entries.lock().unwrap();
            entries.list.push(seen);
            entries.first + entries.list.len() - 1
        };
        self.changed.send_replace(());
        number
    }

    pub fn update(&self, number: usize, change: impl FnOnce(&mut Seen)) {
        {
            let mut entries = self.entries.lock().unwrap();
            let first = entries.first;
            if let Some(seen) = number.checked_sub(first).and_then(|at| entries.list.get_mut(at)) {
                change(seen);
            }
        }
        self.changed.send_replace(());
    }

    pub fn all(&self) -> Vec<Seen> {
        self.entries.lock().unwrap().list.clone()
    }

    pub fn clear(&self) {
        let mut entries = self.entries.lock().unwrap();
        entries.first += entries.list.len();
        entries.list.clear();
    }

    pub async fn until(&self, test: impl Fn(&[Seen]) -> bool) {
        let mut changed = self.changed.subscribe();
        while !test(&self.all()) {
            changed.changed().await.unwrap();
        }
    }
}

/// `user:password` of a Basic header.
pub(super) fn decoded_basic(value: &str) -> Option<String> {
    let encoded = value
        .strip_prefix("Basic ")
        .or_else(|| value.strip_prefix("basic "))?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// All values of `name` in a query or a form.
pub(super) fn form(text: &str, name: &str) -> Vec<String> {
    form_urlencoded::parse(text.as_bytes())
        .filter(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
        .collect()
}
