//! An upgrade under load: the running docxy starts the program anew, gives it its sockets and then its cache, and serves
//! what it has accepted to the end (threat R7).
//!
//! Both sides talk over a pair of Unix sockets, of which the successor's is its standard input, announced by [`VARIABLE`].
//! Listening sockets travel over it, too (`SCM_RIGHTS`), so that no other program that is started in the meantime inherits
//! any. Each message is a line of JSON; words that one side does not know are passed over, since the other may be of
//! another version.
//!
//! ```text
//! old                                          new
//! (SIGUSR2) sockets and their deeds      ->    reads its configuration, files and keys, takes its sockets
//!                                        <-    prepared
//! retires the cache, closes the operators'
//! listeners; serves and accepts on
//! yours                                  ->    takes the cache's lock, reads the folder, opens the operators' listeners
//!                                        <-    ready
//! go; accepts no more                    ->    accepts
//! drains for `limits.hand_over`
//! growing, stored, withdrawn, changed    ->    counts, takes in, forgets
//!                                        <-    heard (a change: its client waits for that)
//! ```
//!
//! Until `go` the old one has lost nothing: if the successor dies, or takes too long, it takes the cache back and goes on.
//! If it is the old one that dies, whatever is not said any more is not waited for: the cache's lock tells whether the
//! folder is free. What it said of itself ends with the connection.
//!
//! A record (a link, a tag, a mark) that the old one makes after it retired is not written down: its successor asks for
//! itself. What must not be lost is told: a tag that a push through the old one changed, before the push is answered; a
//! repository that is public no more; a blob that came whole, with its links. One that hands over while its own predecessor
//! still drains passes on what that says, and stays for it.
//!
//! The old one keeps the listening sockets until its drain ends, and accepts nothing: if the successor dies, another is started
//! and accepts what has been waiting there.

mod candidate;
mod channel;
mod heritage;
mod program;
mod steward;
mod turns;
mod voice;
mod words;

pub use heritage::{Heritage, Succession};
pub use program::Program;
pub use steward::{Operators, Steward, requests};
pub use turns::{Held, Turns};

/// Set in a successor's environment.
const VARIABLE: &str = "DOCXY_HAND_OVER";
