//! The task behind a flight: takes what the leader says, has it written by threads that may wait, and brings the flight
//! to its end whatever happens to the leader. Whoever holds a [`super::Leader`] may vanish at any moment.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Ending;
use super::claims::{Claim, Occupant};
use super::flight::Flight;
use super::flights::Shared;
use super::hashing::hash_on;
use super::index::Charge;
use super::leader::Leader;
use super::partials::{Giver, Partial};
use super::room::{self, Reservation};
use super::trouble::Failed;
use super::writer::{Broken, Piece, Writer};
use crate::oci::Digest;
use crate::oci::digest::Hasher;
use crate::telemetry::metrics::Place;

/// Commands taken at once.
const BATCH: usize = 512;

/// What a leader says.
pub(super) enum Command {
    Restart {
        done: Answer<Ready>,
    },
    Where {
        done: Answer<Ready>,
    },
    Begin {
        length: u64,
        done: Answer<()>,
    },
    Piece(Piece),
    Finish {
        done: oneshot::Sender<Ending>,
        blame: Blame,
    },
    End(Ending),
}

/// Done when the bytes are wrong, before anybody hears of it.
pub(super) type Blame = Box<dyn FnOnce() + Send>;

type Answer<T> = oneshot::Sender<Result<T, Ending>>;

/// Where a leader begins.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    pub resume_at: u64,
    pub hasher: Hasher,
}

impl Ready {
    /// Nothing is there.
    pub fn beginning(digest: &Digest) -> Self {
        Self {
            resume_at: 0,
            hasher: Hasher::new(digest.algorithm()),
        }
    }
}

/// May the disk be tried?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    Usual,
    /// Nothing is left of an earlier try: the leader asks the upstream while the file is made.
    Clear,
    /// It just failed for this blob, or the folder is another's by now: everyone fetches alone.
    Detached,
}

/// Its parts are given back in this order: the claim last, so that whoever comes next finds all in order.
struct Pump {
    reservation: Option<Reservation>,
    /// From `begin` on.
    writer: Option<Writer>,
    partial: Option<Partial>,
    /// Where the prefix that is there ends.
    ready: Ready,
    flight: Arc<Flight>,
    /// Heard, not done yet. Dropped only after the end is known: who waits for an answer then asks how it ended.
    heard: VecDeque<Command>,
    finished: Option<oneshot::Sender<Ending>>,
    claim: Claim,
    giver: Giver,
    shared: Arc<Shared>,
}

/// Begins a flight under this claim. Comes back when the leader may begin: what is left of an earlier try is hashed first.
pub(super) async fn launch(shared: &Arc<Shared>, claim: Claim, start: Start, giver: &Giver) -> Leader {
    let digest = claim.digest().clone();
    let start = match start {
        _ if shared.parts.tenure.is_retired() => Start::Detached,
        Start::Usual if shared.partials.is_clear_for(&digest) => Start::Clear,
        start => start,
    };
    let flight = Arc::new(Flight::new(digest.clone(), shared.parts.index.lease(&digest)));
    claim.show(Occupant::Filling(flight.clone()));
    let pump = Pump {
        shared: shared.clone(),
        claim,
        giver: giver.clone(),
        flight: flight.clone(),
        partial: None,
        ready: Ready::beginning(&digest),
        writer: None,
        reservation: None,
        heard: VecDeque::new(),
        finished: None,
    };
    let (commands, heard) = mpsc::unbounded_channel();
    let (ready, is_ready) = oneshot::channel();
    let ready = if start == Start::Clear {
        let _ = ready.send(Ready::beginning(&digest));
        None
    } else {
        Some(ready)
    };
    tokio::spawn(pump.run(start, heard, ready));
    Leader::new(flight, commands, is_ready).await
}

impl Pump {
    async fn run(
        mut self,
        start: Start,
        mut commands: mpsc::UnboundedReceiver<Command>,
        ready: Option<oneshot::Sender<Ready>>,
    ) {
        let ending = match self.prepare(start).await {
            Ok(()) => {
                if let Some(ready) = ready {
                    let _ = ready.send(self.ready.clone());
                }
                let Err(ending) = self.fly(&mut commands).await;
                ending
            }
            Err(ending) => {
                self.flight.end(ending.clone());
                drop(ready);
                ending
            }
        };
        match &ending {
            Ending::Complete => self.flight.release(),
            ending => self.flight.end(ending.clone()),
        }
        // Only now: whoever still says something hears how it ended.
        drop(commands);
        self.heard.clear();
        self.land(ending).await;
    }

    /// Finds or makes the file.
    async fn prepare(&mut self, start: Start) -> Result<(), Ending> {
        if start == Start::Detached {
            return Err(self.detached());
        }
        let Some(ticket) = self.shared.parts.tenure.enter() else {
            return Err(self.detached());
        };
        let shared = self.shared.clone();
        let (digest, giver) = (self.claim.digest().clone(), self.giver.clone());
        let taken = self
            .shared
            .hands
            .quick(move || {
                room::foresee(&shared.parts);
                match start {
                    Start::Clear => shared.partials.create(&digest, &giver),
                    Start::Usual | Start::Detached => shared.partials.take(&digest, &giver),
                }
            })
            .await;
        let partial = taken
            .map_err(|error| internal(&error))?
            .map_err(|failed| self.failed(&failed))?;
        // The file is locked by now, and a successor does not wait until gigabytes are hashed.
        drop(ticket);
        let partial = if partial.size > 0 {
            self.hash_again(partial).await?
        } else {
            partial
        };
        self.partial = Some(partial);
        Ok(())
    }

    /// What an earlier try left is not trusted: the hash begins anew over it.
    async fn hash_again(&mut self, partial: Partial) -> Result<Partial, Ending> {
        let shared = self.shared.clone();
        let (digest, giver) = (self.claim.digest().clone(), self.giver.clone());
        let hashed = self.shared.hands.patient(move || {
            let mut hasher = Hasher::new(digest.algorithm());
            match hash_on(&*shared.parts.disk, &partial.file, &mut hasher, 0, partial.size) {
                Ok(()) => Ok((partial, hasher)),
                Err(error) => {
                    let failed = Failed::at("read", &partial.path)(error);
                    shared.trouble.report(&shared.parts.metrics, &failed);
                    let ticket = shared.parts.tenure.enter();
                    shared.partials.discard(&partial.path);
                    Err(ticket.map(|_ticket| shared.partials.create(&digest, &giver)))
                }
            }
        });
        match hashed.await.map_err(|error| internal(&error))? {
            Ok((partial, hasher)) => {
                self.ready = Ready {
                    resume_at: partial.size,
                    hasher,
                };
                Ok(partial)
            }
            Err(Some(made)) => made.map_err(|failed| self.failed(&failed)),
            Err(None) => Err(self.detached()),
        }
    }

    /// Does what the leader says until that ends the flight.
    async fn fly(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Result<Infallible, Ending> {
        let mut batch = Vec::new();
        loop {
            let count = tokio::select! {
                biased;
                () = self.shared.stopping.cancelled() => return Err(Ending::Shutdown),
                count = commands.recv_many(&mut batch, BATCH) => count,
            };
            if count == 0 {
                return Err(Ending::LeaderCancelled);
            }
            self.heard.extend(batch.drain(..));
            let mut pieces = Vec::new();
            while let Some(command) = self.heard.pop_front() {
                match command {
                    Command::Piece(piece) => pieces.push(piece),
                    other => {
                        self.heard.push_front(other);
                        self.absorb(std::mem::take(&mut pieces)).await?;
                        self.obey_next().await?;
                    }
                }
            }
            self.absorb(pieces).await?;
        }
    }

    async fn obey_next(&mut self) -> Result<(), Ending> {
        let Some(command) = self.heard.pop_front() else {
            return Ok(());
        };
        match command {
            Command::Piece(piece) => self.absorb(vec![piece]).await,
            Command::Restart { done } => {
                let restarted = self.restart().await;
                let _ = done.send(restarted.clone());
                restarted.map(drop)
            }
            Command::Where { done } => {
                if let Some(writer) = &self.writer {
                    self.ready = Ready {
                        resume_at: writer.at,
                        hasher: writer.hasher.clone(),
                    };
                }
                let _ = done.send(Ok(self.ready.clone()));
                Ok(())
            }
            Command::Begin { length, done } => {
                let begun = self.begin(length).await;
                let _ = done.send(begun.clone());
                begun
            }
            Command::Finish { done, blame } => {
                self.finished = Some(done);
                let verdict = self.verdict();
                if verdict.is_wrong_bytes() {
                    blame();
                }
                Err(verdict)
            }
            // Those two are ours to say.
            Command::End(Ending::Complete | Ending::Detached { .. }) => Err(Ending::LeaderCancelled),
            Command::End(ending) => Err(ending),
        }
    }

    async fn restart(&mut self) -> Result<Ready, Ending> {
        let Some(partial) = self.partial.as_ref().filter(|_| self.writer.is_none()) else {
            return Err(Ending::GaveUp {
                why: "the download began anew in its middle".to_owned(),
            });
        };
        let (shared, file, path) = (self.shared.clone(), partial.file.clone(), partial.path.clone());
        let cut = self.shared.hands.quick(move || {
            shared.partials.forget(&path);
            shared
                .parts
                .disk
                .truncate(&file, 0)
                .map_err(Failed::at("shorten the file", &path))
        });
        self.ready = Ready::beginning(self.claim.digest());
        cut.await
            .map_err(|error| internal(&error))?
            .map_err(|failed| self.failed(&failed))?;
        Ok(self.ready.clone())
    }

    async fn begin(&mut self, length: u64) -> Result<(), Ending> {
        if let Some(writer) = &self.writer {
            let said = writer.length;
            return (said == length)
                .then_some(())
                .ok_or(Ending::WrongLength { said, got: length });
        }
        let Some(partial) = &self.partial else {
            return Err(self.detached());
        };
        let Ready { resume_at, hasher } = self.ready.clone();
        let Some(rest) = length.checked_sub(resume_at) else {
            return Err(Ending::WrongLength {
                said: length,
                got: resume_at,
            });
        };
        let file = partial.file.clone();
        let charge = Charge {
            lanes: self.shared.parts.index.lanes_of_giver(&self.giver),
            bytes: length,
        };
        // Of a blob that is here whole nothing is left to be written: it is judged and stored however full the disk is.
        if rest > 0 {
            match room::reserve(&self.shared, rest, charge).await {
                Ok(reservation) => self.reservation = Some(reservation),
                Err(no_room) => {
                    tracing::debug!(digest = %self.claim.digest(), "{no_room}: this blob goes past it");
                    self.flight.begin(file, length, resume_at);
                    return Err(self.detached());
                }
            }
        }
        self.writer = Some(Writer {
            disk: self.shared.parts.disk.clone(),
            file: file.clone(),
            length,
            at: resume_at,
            hasher,
            ahead: BTreeMap::new(),
        });
        self.flight.begin(file, length, resume_at);
        Ok(())
    }

    async fn absorb(&mut self, pieces: Vec<Piece>) -> Result<(), Ending> {
        if pieces.is_empty() {
            return Ok(());
        }
        let Some(mut writer) = self.writer.take() else {
            return Err(Ending::NoLength);
        };
        let flight = self.flight.clone();
        let worked = self.shared.hands.quick(move || {
            let outcome = writer.absorb(pieces, &flight);
            (writer, outcome)
        });
        let (writer, outcome) = worked.await.map_err(|error| internal(&error))?;
        let said = writer.length;
        self.writer = Some(writer);
        outcome.map_err(|broken| match broken {
            Broken::TooLong { got } => Ending::WrongLength { said, got },
            Broken::Disk(error) => self.failed(&Failed::at("write to", self.path())(error)),
        })
    }

    /// The leader says that this is all.
    fn verdict(&self) -> Ending {
        let Some(writer) = &self.writer else {
            return Ending::NoLength;
        };
        if writer.at != writer.length {
            return Ending::WrongLength {
                said: writer.length,
                got: writer.at,
            };
        }
        if writer.hasher.clone().finish() == *self.claim.digest() {
            Ending::Complete
        } else {
            Ending::WrongDigest
        }
    }

    fn failed(&self, failed: &Failed) -> Ending {
        self.shared.trouble.report(&self.shared.parts.metrics, failed);
        self.detached()
    }

    /// Everyone goes on alone from here.
    fn detached(&self) -> Ending {
        let (at, hasher) = match &self.writer {
            Some(writer) => (writer.at, writer.hasher.clone()),
            None => (self.ready.resume_at, self.ready.hasher.clone()),
        };
        Ending::Detached { at, hasher }
    }

    fn path(&self) -> &std::path::Path {
        self.partial
            .as_ref()
            .map_or(std::path::Path::new(""), |partial| &partial.path)
    }

    /// Readers know the end already; now the files are put in order, and then the digest is free for the next.
    async fn land(mut self, ending: Ending) {
        let metrics = &self.shared.parts.metrics;
        let word = ending.as_str();
        metrics.fills.inc(ending.word());
        let fate = match &ending {
            Ending::Complete => Fate::Store,
            Ending::WrongDigest | Ending::WrongLength { .. } => {
                metrics.integrity_failures.inc(Place::Upstream);
                tracing::warn!(digest = %self.claim.digest(), ending = word, "the upstream sent wrong bytes; none of them are kept");
                Fate::Discard
            }
            // A rest that a process before left is whoever's has the folder now.
            Ending::Detached { .. } if self.writer.is_none() && self.shared.parts.tenure.is_retired() => {
                Fate::Keep {
                    prefix: self.ready.resume_at,
                }
            }
            Ending::Detached { .. } => Fate::Discard,
            Ending::LeaderCancelled
            | Ending::Denied
            | Ending::NoLength
            | Ending::GaveUp { .. }
            | Ending::Shutdown => Fate::Keep {
                prefix: self
                    .writer
                    .as_ref()
                    .map_or(self.ready.resume_at, |writer| writer.at),
            },
        };
        if let Some(partial) = self.partial.take() {
            let shared = self.shared.clone();
            let digest = self.claim.digest().clone();
            let work = move || settle(&shared, &digest, &partial, fate);
            let settled = match fate {
                Fate::Store => self.shared.hands.patient(work).await,
                Fate::Keep { .. } | Fate::Discard => self.shared.hands.quick(work).await,
            };
            if let Ok(Err(failed)) = settled {
                self.shared.trouble.report(&self.shared.parts.metrics, &failed);
            }
        }
        let finished = self.finished.take();
        // Gives back the claim and the room.
        drop(self);
        if let Some(finished) = finished {
            let _ = finished.send(ending);
        }
    }
}

/// What becomes of the file.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Store,
    Keep { prefix: u64 },
    Discard,
}

/// Blocking. After an error nothing is left of the file.
fn settle(shared: &Shared, digest: &Digest, partial: &Partial, fate: Fate) -> Result<(), Failed> {
    match fate {
        Fate::Discard => {
            shared.partials.discard(&partial.path);
            Ok(())
        }
        Fate::Keep { prefix } => shared.partials.keep(partial, prefix),
        Fate::Store => shared.store(digest, partial),
    }
}

fn internal(error: &std::io::Error) -> Ending {
    Ending::GaveUp {
        why: format!("docxy could not go on: {error}"),
    }
}
