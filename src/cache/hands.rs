//! Threads that may wait for the disk, few of them: a hundred layers at once must not become a hundred threads.

use std::io;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Hands {
    /// For work of at most a few milliseconds: opening, writing a batch.
    quick: Arc<Semaphore>,
    /// For hashing whole files and for fsync.
    patient: Arc<Semaphore>,
}

impl Hands {
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            quick: Arc::new(Semaphore::new((2 * cores).clamp(8, 16))),
            patient: Arc::new(Semaphore::new(cores.clamp(4, 8))),
        }
    }

    /// Threads that work at once.
    #[cfg(test)]
    pub fn most(&self) -> usize {
        self.quick.available_permits() + self.patient.available_permits()
    }

    /// Does work of at most a few milliseconds. An error: it panicked, or the runtime stops.
    pub async fn quick<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        borrowed(&self.quick, work).await
    }

    /// Does work that takes long.
    pub async fn patient<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        borrowed(&self.patient, work).await
    }
}

async fn borrowed<T: Send + 'static>(
    hands: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let permit = Arc::new(hands.clone().acquire_owned().await.map_err(io::Error::other)?);
    let at_work = permit.clone();
    // Here, too, so that the thread has time to become idle before the next needs one; there, because this future may be
    // dropped while the work goes on.
    let _waiting = permit;
    tokio::task::spawn_blocking(move || {
        let _at_work = at_work;
        work()
    })
    .await
    .map_err(io::Error::other)
}
