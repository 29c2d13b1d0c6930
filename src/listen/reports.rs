//! Why connections end, for the log of one listener.
//!
//! It is of interest to whoever looks for it, except two things that the operator must be told: that the load balancer is
//! not trusted, once; and that clients without a certificate come, once a minute however many do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Ended;

const BETWEEN: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Reports {
    untrusted: AtomicBool,
    uncertified: Mutex<Uncertified>,
}

#[derive(Debug, Default)]
struct Uncertified {
    last: Option<Instant>,
    since: u64,
}

impl Reports {
    pub fn ended(&self, id: u64, peer: SocketAddr, reason: &Ended) {
        match reason {
            Ended::Untrusted { .. } if !self.untrusted.swap(true, Ordering::Relaxed) => tracing::warn!(
                "refused a connection: {reason}; add its network to trusted_proxies if it is your load balancer"
            ),
            Ended::Uncertified(_) => {
                if let Some(others) = self.uncertified() {
                    tracing::warn!(
                        client = %peer.ip(),
                        others,
                        "refused a TLS handshake: {reason} (told once a minute; others: refused since the last time)"
                    );
                }
            }
            _ => tracing::debug!(connection = id, %peer, "connection ended: {reason}"),
        }
    }

    /// How many were refused in silence before this one; `None`: this one is, too.
    fn uncertified(&self) -> Option<u64> {
        let mut state = self.uncertified.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.last.is_some_and(|last| now - last < BETWEEN) {
            state.since += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_without_certificates_is_a_line_a_minute() {
        // Scanners of the Internet must not fill the operator's disk, and must not go unnoticed.
        let reports = Reports::default();
        assert_eq!(reports.uncertified(), Some(0));
        for _ in 0..1000 {
            assert_eq!(reports.uncertified(), None);
        }
        tokio::time::advance(BETWEEN).await;
        assert_eq!(reports.uncertified(), Some(1000));
        assert_eq!(reports.uncertified(), None);
    }
}
