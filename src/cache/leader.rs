//! The end of a flight that the downloading side holds. What is written here goes to the pump; the network never waits for
//! the disk as long as less than a batch is under way.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Ending;
use super::flight::Flight;
use super::pump::{Command, Ready};
use super::writer::Piece;
use crate::oci::Digest;
use crate::oci::digest::Hasher;

/// Bytes of one download that may be in memory: half of them are being written while the other half arrives.
const SHARE: usize = 2 * 1024 * 1024;

/// Fills one blob. Dropped without a word it ends the flight as [`Ending::LeaderCancelled`]; what was written stays for
/// the next.
#[derive(Debug)]
pub struct Leader {
    flight: Arc<Flight>,
    commands: mpsc::UnboundedSender<Command>,
    share: Arc<Semaphore>,
    ready: Ready,
    /// Nothing was written yet.
    fresh: bool,
}

impl Leader {
    /// Waits until what an earlier try left is hashed.
    pub(super) async fn new(
        flight: Arc<Flight>,
        commands: mpsc::UnboundedSender<Command>,
        is_ready: oneshot::Receiver<Ready>,
    ) -> Self {
        let mut leader = Self {
            commands,
            share: Arc::new(Semaphore::new(SHARE)),
            ready: Ready::beginning(flight.digest()),
            fresh: true,
            flight,
        };
        if let Ok(ready) = is_ready.await {
            leader.ready = ready;
        }
        leader
    }

    pub fn digest(&self) -> &Digest {
        self.flight.digest()
    }

    /// The bytes before this one are there already: the first to fetch.
    pub fn resume_at(&self) -> u64 {
        self.ready.resume_at
    }

    /// The state of the hash at [`Self::resume_at`].
    pub fn hasher(&self) -> Hasher {
        self.ready.hasher.clone()
    }

    /// How it has ended already, if it has: the disk failed before a byte was written, docxy stops.
    pub fn ending(&self) -> Option<Ending> {
        self.flight.ending()
    }

    /// Another to follow what is led here.
    pub fn follower(&self) -> super::Follower {
        super::Follower::new(self.flight.clone())
    }

    /// Throws away what was there: it turned out to be longer than the blob, or the upstream gives no rest.
    pub async fn restart(&mut self) -> Result<(), Ending> {
        let (done, answer) = oneshot::channel();
        self.say(Command::Restart { done })?;
        self.ready = self.heard(answer).await?;
        Ok(())
    }

    /// Brings [`Self::resume_at`] and [`Self::hasher`] up to what has been written meanwhile: for a leader that goes on with
    /// another download.
    pub async fn take_stock(&mut self) -> Result<(), Ending> {
        let (done, answer) = oneshot::channel();
        self.say(Command::Where { done })?;
        self.ready = self.heard(answer).await?;
        Ok(())
    }

    /// The upstream's final answer is known: everyone's headers may go out. Waits until there is room for the blob. Once,
    /// and before anything is written.
    pub async fn begin(&mut self, length: u64) -> Result<(), Ending> {
        let (done, answer) = oneshot::channel();
        self.say(Command::Begin { length, done })?;
        self.heard(answer).await
    }

    /// Bytes, and where they belong; in any order, though what is far ahead is read back from the disk later. Waits while
    /// the disk is behind. An error is how the flight ended: there is nobody left to fetch for.
    ///
    /// After the first piece it waits until the disk has it: the readers have waited longest for that one, and the flood
    /// that comes after it would take the processors from its way to them.
    pub async fn write(&mut self, at: u64, data: Bytes) -> Result<(), Ending> {
        let share = share(data.len());
        let share = self.share.clone().acquire_many_owned(share).await;
        let share = share.map_err(|_| self.over())?;
        self.say(Command::Piece(Piece {
            at,
            data,
            _share: share,
        }))?;
        if std::mem::take(&mut self.fresh) {
            // It is nobody's share any more when it is written, or when the flight is over.
            let _ = self.share.acquire_many(self::share(SHARE)).await;
        }
        Ok(())
    }

    /// All bytes were written. Comes back when the blob is stored or given up; readers have the end long before.
    pub async fn finish(self) -> Ending {
        self.finish_or(|| ()).await
    }

    /// The same, and if the bytes are wrong `blame` is called before anybody hears of it: whoever asks again at once must not
    /// meet those who sent them.
    pub async fn finish_or(self, blame: impl FnOnce() + Send + 'static) -> Ending {
        let (done, answer) = oneshot::channel();
        let blame = Box::new(blame);
        if let Err(ending) = self.say(Command::Finish { done, blame }) {
            return ending;
        }
        answer.await.unwrap_or_else(|_| self.over())
    }

    /// It can't go on. [`Ending::Complete`] and [`Ending::Detached`] are not for a leader to say: they count as
    /// [`Ending::LeaderCancelled`].
    pub fn end(self, ending: Ending) {
        let _ = self.say(Command::End(ending));
    }

    fn say(&self, command: Command) -> Result<(), Ending> {
        self.commands.send(command).map_err(|_| self.over())
    }

    async fn heard<T>(&self, answer: oneshot::Receiver<Result<T, Ending>>) -> Result<T, Ending> {
        answer.await.unwrap_or_else(|_| Err(self.over()))
    }

    fn over(&self) -> Ending {
        self.flight.ending().unwrap_or(Ending::LeaderCancelled)
    }
}

/// What so many bytes take of the share.
fn share(bytes: usize) -> u32 {
    u32::try_from(bytes.min(SHARE)).unwrap_or(u32::MAX)
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.flight.leave();
    }
}
