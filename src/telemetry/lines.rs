//! The way of the log's lines to standard error. What must be read now is written now; the line of a request, of which
//! there may be 100,000 a second, waits a moment for others, so that a write does not cost more than its request.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::timestamp::Timestamps;

/// How long a line waits at most.
const SOON: Duration = Duration::from_millis(100);
/// Bytes that are written without waiting; no more than twice as many wait ever.
const FULL: usize = 32 * 1024;

/// Writes lines in the order in which they came. Clones are the same. Nothing is dropped: who finds the buffer full and
/// the terminal slow waits for it, as if there were none.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Notified when the first line begins to wait.
    begun: Condvar,
    /// Whoever writes holds it, from the taking of the lines to their last byte.
    out: Mutex<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    times: Timestamps,
    policy: Policy,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Policy {
    #[default]
    Gather,
    /// Nobody will come to write what waits.
    Through,
}

impl Lines {
    /// Starts the thread that writes what has waited long enough.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_in_time())?;
        Ok(Self(shared))
    }

    /// Adds a line that may wait; `write` appends it, with its end, and is told the time as the log writes it.
    pub fn soon(&self, write: impl FnOnce(&mut Vec<u8>, &str)) {
        let mut waiting = self.0.waiting();
        let Waiting { bytes, times, .. } = &mut *waiting;
        let is_first = bytes.is_empty();
        write(bytes, times.now());
        let must_go = waiting.bytes.len() >= FULL || waiting.policy == Policy::Through;
        drop(waiting);
        if must_go {
            self.0.write();
        } else if is_first {
            self.0.begun.notify_one();
        }
    }

    /// From now on no line waits.
    pub fn finish(&self) {
        self.0.waiting().policy = Policy::Through;
        self.0.begun.notify_one();
        self.0.write();
    }
}

impl Shared {
    fn write_in_time(&self) {
        loop {
            let mut waiting = self.waiting();
            while waiting.bytes.is_empty() && waiting.policy == Policy::Gather {
                waiting = self.begun.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.policy == Policy::Through {
                return;
            }
            drop(waiting);
            thread::park_timeout(SOON);
            self.write();
        }
    }

    /// Writes what waits. The end of standard error is nobody's to hear about.
    fn write(&self) {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *out, &mut self.waiting().bytes);
        let _ = io::stderr().lock().write_all(&out);
        out.clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every other line of the log: written at once, after those that wait.
impl<'a> MakeWriter<'a> for Lines {
    type Writer = AtOnce<'a>;

    fn make_writer(&'a self) -> AtOnce<'a> {
        AtOnce(&self.0)
    }
}

/// One line on its way.
#[derive(Debug)]
pub struct AtOnce<'a>(&'a Shared);

impl Write for AtOnce<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.waiting().bytes.extend_from_slice(line);
        self.0.write();
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
