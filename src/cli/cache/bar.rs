//! A line on the terminal that says how far it is; nothing where nobody watches.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::cache::Progress;
use crate::cli::table::{blobs, size};

/// Between two lines, for terminals at the other end of a slow line.
const TICK: Duration = Duration::from_millis(100);
const WIDTH: u64 = 24;
/// Back to the first column, and away with what is there.
const CLEAR: &str = "\r\x1b[K";

pub(super) struct Bar {
    watched: bool,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    pub fn new() -> Self {
        Self {
            watched: io::stderr().is_terminal(),
            begun: Instant::now(),
            drawn: None,
        }
    }

    pub fn show(&mut self, at: Progress) {
        let now = Instant::now();
        if !self.watched || self.drawn.is_some_and(|drawn| now < drawn + TICK) {
            return;
        }
        self.drawn = Some(now);
        // A terminal that is gone is no reason to stop.
        let _ = write!(io::stderr().lock(), "{CLEAR}{}", line(at, now - self.begun));
    }

    /// Leaves the line empty for what comes next.
    pub fn clear(&self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr().lock(), "{CLEAR}");
        }
    }
}

fn line(at: Progress, elapsed: Duration) -> String {
    let parts = |of: u64| match at.of_bytes {
        0 => of,
        all => u64::try_from(u128::from(at.bytes) * u128::from(of) / u128::from(all)).unwrap_or(of),
    };
    let done = (0..WIDTH).map(|cell| if cell < parts(WIDTH) { '#' } else { '-' });
    let rate = u128::from(at.bytes) * 1000 / elapsed.as_millis().max(1);
    format!(
        "[{}] {:>3}%  {} of {}, {} of {}, {}/s",
        done.collect::<String>(),
        parts(100),
        size(at.bytes),
        size(at.of_bytes),
        at.blobs,
        blobs(at.of_blobs),
        size(u64::try_from(rate).unwrap_or(u64::MAX))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_the_bytes() {
        // A layer of a GiB takes as long as a million configurations: blobs alone would mislead.
        let mut at = Progress {
            blobs: 9,
            of_blobs: 10,
            bytes: 256 << 20,
            of_bytes: 1 << 30,
        };
        assert_eq!(
            line(at, Duration::from_secs(2)),
            "[######------------------]  25%  256.0 MiB of 1.0 GiB, 9 of 10 blobs, 128.0 MiB/s"
        );
        at.bytes = at.of_bytes;
        assert!(line(at, Duration::ZERO).starts_with("[########################] 100%"));
        assert!(line(Progress::default(), Duration::ZERO).contains("100%"));
    }
}
