//! Scripted faults: which request, and what goes wrong with its answer.

use std::sync::{Arc, Mutex};

use http::{HeaderName, HeaderValue, Method};
use tokio::sync::watch;

use super::{journal::Door, reply::Reply};

/// Which requests a fault is for.
#[derive(Clone, Debug)]
pub struct On {
    door: Option<Door>,
    method: Option<Method>,
    path: String,
    skip: usize,
    times: usize,
    every: usize,
}

impl On {
    /// Any method, any door; the pattern is matched against the path, `*` stands for anything.
    pub fn path(pattern: &str) -> Self {
        Self {
            door: None,
            method: None,
            path: pattern.to_owned(),
            skip: 0,
            times: usize::MAX,
            every: 1,
        }
    }

    pub fn get(pattern: &str) -> Self {
        Self {
            method: Some(Method::GET),
            ..Self::path(pattern)
        }
    }

    pub fn head(pattern: &str) -> Self {
        Self {
            method: Some(Method::HEAD),
            ..Self::path(pattern)
        }
    }

    /// Requests to the CDN.
    pub fn cdn(pattern: &str) -> Self {
        Self {
            door: Some(Door::Cdn),
            ..Self::path(pattern)
        }
    }

    /// Requests to the token service.
    pub fn token() -> Self {
        Self {
            door: Some(Door::Token),
            ..Self::path("*")
        }
    }

    /// Only the nth request that matches, counted from 1.
    pub fn nth(self, n: usize) -> Self {
        Self {
            skip: n - 1,
            times: 1,
            ..self
        }
    }

    /// All that match but the first n.
    pub fn after(self, n: usize) -> Self {
        Self {
            skip: n,
            times: usize::MAX,
            ..self
        }
    }

    /// Only the first n that match.
    pub fn first(self, n: usize) -> Self {
        Self {
            skip: 0,
            times: n,
            ..self
        }
    }

    /// The nth that matches, the 2nth, the 3nth and so on.
    pub fn every(self, n: usize) -> Self {
        Self { every: n, ..self }
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The right head; the connection closes after this many bytes of the body have left.
    CutAt(usize),
    /// The body passes as the gate lets it: stalled, or as slow as the test opens it.
    Body(Gate),
    /// The head waits until the gate is open.
    Head(Gate),
    /// The byte at this offset of the whole (also when a later part is asked for) is another one; the length is right.
    WrongByteAt(usize),
    /// A whole answer of fewer bytes, with a Content-Length that agrees.
    Truncated(usize),
    /// A whole answer with so many bytes more than there are, with a Content-Length that agrees.
    Longer(usize),
    /// The body comes at so many bytes a second.
    Pace(usize),
    /// The whole, with 200, whatever part was asked for.
    IgnoreRange,
    /// The right bytes under this `Content-Range`.
    ContentRange(String),
    /// No Content-Length: the body comes in chunks.
    Chunked,
    /// No Content-Length and no chunks: the body ends where the connection does (HTTP/1.0).
    UntilClose,
    /// A Content-Length that does not agree with the body.
    Length(u64),
    /// Another status, with OCI error JSON.
    Status(u16),
    /// An answer of the test's own.
    Answer {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// 200 and half a JSON document.
    BadJson,
    /// The connection closes before any byte of the answer.
    Close,
    /// Several at once.
    All(Vec<Fault>),
}

impl Fault {
    /// A redirect to wherever the test says.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::Answer {
            status,
            headers: vec![("location", location.into())],
            body: String::new(),
        }
    }

    pub(super) fn parts(self) -> Vec<Self> {
        match self {
            Self::All(faults) => faults.into_iter().flat_map(Self::parts).collect(),
            fault => vec![fault],
        }
    }
}

/// Lets a body pass byte by byte, and says when somebody waits at it. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    allowed: watch::Sender<usize>,
    reached: watch::Sender<Option<usize>>,
}

impl Gate {
    /// Nothing passes.
    pub fn closed() -> Self {
        Self::after(0)
    }

    /// This many bytes pass, then nothing.
    pub fn after(bytes: usize) -> Self {
        Self(Arc::new(Ends {
            allowed: watch::Sender::new(bytes),
            reached: watch::Sender::new(None),
        }))
    }

    /// This many more may pass.
    pub fn allow(&self, bytes: usize) {
        self.0
            .allowed
            .send_modify(|allowed| *allowed = allowed.saturating_add(bytes));
    }

    /// Everything passes from now on.
    pub fn open(&self) {
        self.0.allowed.send_replace(usize::MAX);
    }

    /// Waits until an answer stands still at the gate, with everything allowed so far sent.
    pub async fn held(&self) {
        let mut reached = self.0.reached.subscribe();
        let mut allowed = self.0.allowed.subscribe();
        let stands = async {
            loop {
                let limit = *allowed.borrow_and_update();
                if reached.borrow_and_update().is_some_and(|at| at >= limit) {
                    return;
                }
                tokio::select! {
                    changed = reached.changed() => changed.unwrap(),
                    changed = allowed.changed() => changed.unwrap(),
                }
            }
        };
        crate::support::within("an answer to stand at the gate", stands).await;
    }

    /// For whoever sends: waits until more than `sent` bytes are allowed, and says how many.
    pub(super) async fn pass(&self, sent: usize) -> usize {
        let mut allowed = self.0.allowed.subscribe();
        if *allowed.borrow_and_update() <= sent {
            self.0.reached.send_replace(Some(sent));
        }
        *allowed.wait_for(|&allowed| allowed > sent).await.unwrap()
    }
}

/// The faults in force.
#[derive(Default)]
pub(super) struct Faults(Mutex<Vec<Rule>>);

struct Rule {
    on: On,
    fault: Fault,
    matched: usize,
}

impl Faults {
    pub fn add(&self, on: On, fault: Fault) {
        self.0.lock().unwrap().push(Rule {
            on,
            fault,
            matched: 0,
        });
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    /// Every rule counts the requests it matches; the newest whose turn it is applies.
    pub fn take(&self, door: Door, method: &Method, path: &str) -> Option<Fault> {
        let mut chosen = None;
        for rule in self.0.lock().unwrap().iter_mut() {
            let on = &rule.on;
            let matches = on.door.is_none_or(|own| own == door)
                && on.method.as_ref().is_none_or(|own| own == method)
                && glob(&on.path, path);
            if matches {
                rule.matched += 1;
                let turn = rule.matched.is_multiple_of(on.every);
                if turn && rule.matched > on.skip && rule.matched - on.skip <= on.times {
                    chosen = Some(rule.fault.clone());
                }
            }
        }
        chosen
    }
}

impl Fault {
    /// The answer that this fault gives instead of the real one, if it does not need the real one.
    pub(super) fn replacement(&self) -> Option<Reply> {
        match self {
            Self::Status(status) => Some(Reply::error(*status, "UNKNOWN", "scripted fault")),
            Self::BadJson => {
                let json = r#"{"token": "tru"#;
                Some(Reply::new(200, json).header("content-type", "application/json"))
            }
            Self::Answer {
                status,
                headers,
                body,
            } => {
                let mut reply = Reply::new(*status, body.clone());
                for (name, value) in headers {
                    let value = HeaderValue::from_str(value).unwrap();
                    reply.headers.append(HeaderName::from_static(name), value);
                }
                Some(reply)
            }
            _ => None,
        }
    }
}

/// Does `pattern`, in which `*` stands for any run of characters, match the whole of `text`?
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}
