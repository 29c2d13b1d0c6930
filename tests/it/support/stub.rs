//! `StubRegistry`: a registry, its token service and its CDN, on loopback, that misbehave on command and remember everything.
//!
//! ```ignore
//! let hub = StubRegistry::builder()
//!     .auth(Auth::Token)
//!     .user("alice", "alice-password")
//!     .image("library/redis", "7", Image::layers(10))
//!     .private("acme/app", &["alice"])
//!     .image("acme/app", "1", Image::layers(2).seed(2))
//!     .cdn(Cdn::on("127.0.0.2"))
//!     .start()
//!     .await;
//! hub.fault(On::cdn("*").nth(1), Fault::CutAt(1000));
//! ```
//!
//! A repository is public unless it was named by `private`. Time is real plus what `advance` added, so that nothing has to
//! be waited for. Faults and contents may change while it runs.

mod body;
mod builder;
mod cdn;
mod dead;
mod fault;
mod journal;
mod quota;
mod registry;
mod reply;
mod serve;
mod state;
mod token;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub use builder::{Auth, Builder, Cdn, LinkForm, Quirk, Quota};
pub use dead::{Dead, Line};
pub use fault::{Fault, Gate, On};
pub use journal::{Door, Ending, Seen};

use super::{ca::TestCa, image::Image, within};
use serve::Running;
use state::State;

/// A running stub; it stops when it is dropped.
pub struct StubRegistry {
    state: Arc<State>,
    running: Running,
}

impl StubRegistry {
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// `http://127.0.0.1:PORT`, or https.
    pub fn url(&self) -> String {
        self.state.places().registry.clone()
    }

    /// `127.0.0.1:PORT`
    pub fn addr(&self) -> SocketAddr {
        self.running.addr(Door::Registry)
    }

    /// `IP:PORT` of the token service and of the CDN, which may be hosts of their own.
    pub fn token_addr(&self) -> SocketAddr {
        self.running.addr(Door::Token)
    }

    pub fn cdn_addr(&self) -> SocketAddr {
        self.running.addr(Door::Cdn)
    }

    /// `HOST:PORT` of the token service, as its realm names it.
    pub fn token_host(&self) -> String {
        let token = &self.state.places().token;
        token.split_once("://").unwrap().1.to_owned()
    }

    /// The names it has, with the address of each.
    pub fn names(&self) -> Vec<(String, IpAddr)> {
        let names = self.state.options.names.iter();
        let places = |(registry, token): &(String, String)| {
            [
                (registry.clone(), self.addr().ip()),
                (token.clone(), self.token_addr().ip()),
            ]
        };
        names.flat_map(places).collect()
    }

    /// The authority that signed its certificate, when it speaks TLS.
    pub fn ca(&self) -> Option<&TestCa> {
        self.state.options.ca.as_deref()
    }

    // ---- contents ----

    /// Adds an image, or moves the tag to it.
    pub fn put(&self, repository: &str, tag: &str, image: impl Into<Image>) -> Image {
        let image = image.into();
        self.state.put(repository, tag, &image);
        image
    }

    /// The image put under this tag.
    pub fn image(&self, repository: &str, tag: &str) -> Image {
        self.state.image(repository, tag)
    }

    pub fn untag(&self, repository: &str, tag: &str) {
        self.state.untag(repository, tag);
    }

    /// From now on only these may read it; tokens that were handed out before go on for as long as they live.
    pub fn close(&self, repository: &str, readers: &[&str]) {
        self.state.close(repository, readers);
    }

    /// From now on anyone may read it.
    pub fn open(&self, repository: &str) {
        self.state.open(repository);
    }

    /// The whole repository, as if it had never been.
    pub fn delete(&self, repository: &str) {
        self.state.delete(repository);
    }

    // ---- behaviour ----

    /// The newest fault that matches a request and is not used up wins.
    pub fn fault(&self, on: On, fault: Fault) {
        self.state.faults.add(on, fault);
    }

    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// This user, or this address, has so many pulls behind it, wherever they were made.
    pub fn has_pulled(&self, source: &str, pulls: u64) {
        self.state.pulls.lock().unwrap().insert(source.to_owned(), pulls);
    }

    /// Pulls that counted, by whom they counted for.
    pub fn counted(&self) -> BTreeMap<String, u64> {
        let pulls = self.state.pulls.lock().unwrap();
        pulls
            .iter()
            .map(|(source, count)| (source.clone(), *count))
            .collect()
    }

    /// Makes tokens and signatures older, without waiting.
    pub fn advance(&self, by: Duration) {
        self.state.advance(by);
    }

    /// Ends every connection, and puts this behind the same addresses.
    pub async fn turn(&self, line: Line) {
        self.running.turn(line).await;
    }

    /// As if it had been switched off.
    pub async fn down(&self) {
        self.turn(Line::Refusing).await;
    }

    pub async fn up(&self) {
        self.turn(Line::Up).await;
    }

    // ---- what it saw ----

    /// Every request, in the order of arrival, of all three doors.
    pub fn requests(&self) -> Vec<Seen> {
        self.state.journal.all()
    }

    /// GET requests whose path matches the glob (`*` stands for anything).
    pub fn gets(&self, pattern: &str) -> Vec<Seen> {
        self.matching("GET", pattern)
    }

    pub fn heads(&self, pattern: &str) -> Vec<Seen> {
        self.matching("HEAD", pattern)
    }

    /// How many requests of any method and door matched.
    pub fn count(&self, pattern: &str) -> usize {
        self.requests()
            .iter()
            .filter(|seen| fault::glob(pattern, &seen.path))
            .count()
    }

    /// Requests at one door.
    pub fn at(&self, door: Door) -> Vec<Seen> {
        self.requests()
            .into_iter()
            .filter(|seen| seen.door == door)
            .collect()
    }

    /// Bytes of bodies of GET requests whose path matches, handed to connections.
    pub fn sent(&self, pattern: &str) -> usize {
        self.gets(pattern).iter().map(|seen| seen.sent).sum()
    }

    /// TCP connections accepted, by all three doors: the proof that nobody dialled.
    pub fn connections(&self) -> usize {
        self.running.connections()
    }

    /// Forgets the requests (not the connections) seen until now.
    pub fn forget(&self) {
        self.state.journal.clear();
    }

    /// Everything a client proved itself with: Authorization (decoded, when Basic), Cookie, passwords and refresh tokens in forms.
    pub fn secrets_seen(&self) -> Vec<String> {
        self.requests().iter().flat_map(Seen::secrets).collect()
    }

    /// Everything secret that this stub knows or gave away: passwords, tokens, refresh tokens.
    pub fn secrets_issued(&self) -> Vec<String> {
        self.state.secrets()
    }

    /// Signatures of the CDN links it gave away, which no log and no error may show.
    pub fn signatures(&self) -> Vec<String> {
        self.state.signatures()
    }

    /// Waits until the requests seen satisfy the test; `what` says which ones in the failure.
    pub async fn until(&self, what: &str, test: impl Fn(&[Seen]) -> bool) {
        within(what, self.state.journal.until(test)).await;
    }

    /// Every request on a line, for the message of a failed assertion.
    pub fn story(&self) -> String {
        let lines: Vec<String> = self.requests().iter().map(ToString::to_string).collect();
        format!(
            "{} saw {} request(s):\n  {}",
            self.url(),
            lines.len(),
            lines.join("\n  ")
        )
    }

    /// Requests of the registry door as `METHOD path`, with how often.
    pub fn tally(&self) -> BTreeMap<String, usize> {
        let mut tally = BTreeMap::new();
        for seen in self.at(Door::Registry) {
            *tally.entry(format!("{} {}", seen.method, seen.path)).or_default() += 1;
        }
        tally
    }

    fn matching(&self, method: &str, pattern: &str) -> Vec<Seen> {
        let wanted = |seen: &Seen| seen.method == method && fault::glob(pattern, &seen.path);
        self.requests().into_iter().filter(wanted).collect()
    }
}
