//! Files are looked at every so often.
//!
//! Contents are compared, not times or inotify events: those miss swapped links and network file systems, and a few
//! kilobytes are read faster than that is worth arguing about.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Calls `look`, which may block on files, every so often until `shutdown` resolves.
pub(super) async fn watch<T: Send + Sync + 'static>(
    watched: Arc<T>,
    every: Duration,
    look: fn(&T) -> usize,
    shutdown: impl Future<Output = ()>,
) {
    let looking = async {
        loop {
            tokio::time::sleep(every).await;
            let watched = Arc::clone(&watched);
            if let Err(error) = tokio::task::spawn_blocking(move || look(&watched)).await {
                tracing::error!("looking for new certificates failed: {error}");
            }
        }
    };
    tokio::select! {
        () = looking => {}
        () = shutdown => {}
    }
}
