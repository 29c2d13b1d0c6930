//! What has to be asked of the disk and of the kernel, for whoever wants figures: a disk that hangs may keep one thread
//! waiting, and no operator.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::cache::Store;
use crate::telemetry::metrics::Process;

/// How long somebody waits for it. A scrape has ten seconds usually.
const PATIENCE: Duration = Duration::from_secs(1);

/// One for the whole process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    free: Look<Option<u64>>,
    process: Look<Process>,
}

impl Looks {
    /// Bytes that are free on the cache's file system. None: there is no cache, or it does not say; or it takes longer than a
    /// second, when an old figure would say that the disk is well.
    pub(super) async fn free(&self, store: Option<&Store>) -> Option<u64> {
        let store = store?.clone();
        self.free.at(move || store.free()).await
    }

    /// What the kernel says of this process.
    pub(super) async fn process(&self) -> Process {
        self.process.at(Process::now).await
    }
}

/// One at a time: whoever comes meanwhile waits for the same.
#[derive(Debug)]
struct Look<T>(Arc<Mutex<Option<watch::Receiver<Option<T>>>>>);

impl<T: Copy + Default + Send + Sync + 'static> Look<T> {
    async fn at(&self, look: impl FnOnce() -> T + Send + 'static) -> T {
        let mut seen = {
            let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &*running {
                // Who looks has not gone.
                Some(seen) if seen.has_changed().is_ok() => seen.clone(),
                _ => {
                    let (tell, seen) = watch::channel(None);
                    *running = Some(seen.clone());
                    tokio::task::spawn_blocking(move || tell.send_replace(Some(look())));
                    seen
                }
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen.wait_for(Option::is_some)).await;
        seen.ok()
            .and_then(Result::ok)
            .and_then(|seen| *seen)
            .unwrap_or_default()
    }
}

impl<T> Clone for Look<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Look<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_holds_up_one_thread_and_nobody() {
        // Prometheus asks four times a minute: the alert about the disk has to come, and docxy has to go on serving.
        let (look, looks) = (Look::<Option<u64>>::default(), Arc::new(AtomicUsize::new(0)));
        let (comes_back, hangs) = mpsc::channel::<()>();
        let counted = Arc::clone(&looks);
        let first = look.at(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = hangs.recv();
            None
        });
        assert_eq!(first.await, None);
        let again = || {
            let counted = Arc::clone(&looks);
            move || {
                counted.fetch_add(1, Ordering::Relaxed);
                Some(7)
            }
        };
        let (second, third) = tokio::join!(look.at(again()), look.at(again()));
        assert_eq!((second, third), (None, None));
        assert_eq!(looks.load(Ordering::Relaxed), 1);
        // Figures come back when the disk does.
        drop(comes_back);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while look.at(again()).await != Some(7) {
            assert!(tokio::time::Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
    }
}
