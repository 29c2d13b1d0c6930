//! What is counted in: atomic cells that were found before the first request, and no locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A word of a closed set.
pub trait Word: Copy + 'static {
    const ALL: &'static [Self];

    fn word(self) -> &'static str;

    /// Its place in `ALL`.
    fn index(self) -> usize;

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.word() == word)
    }
}

/// A counter for each word.
#[derive(Debug)]
pub struct Counters<W> {
    cells: Box<[AtomicU64]>,
    of: std::marker::PhantomData<fn(W)>,
}

impl<W: Word> Default for Counters<W> {
    fn default() -> Self {
        Self {
            cells: W::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            of: std::marker::PhantomData,
        }
    }
}

impl<W: Word> Counters<W> {
    pub fn inc(&self, word: W) {
        self.add(word, 1);
    }

    pub fn add(&self, word: W, count: u64) {
        self.cells[word.index()].fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self, word: W) -> u64 {
        self.cells[word.index()].load(Ordering::Relaxed)
    }

    /// With all their words, the zeros too.
    pub fn each(&self) -> impl Iterator<Item = (W, u64)> {
        W::ALL.iter().map(|word| (*word, self.get(*word)))
    }
}

/// Something for each word.
#[derive(Debug)]
pub struct By<W, T> {
    cells: Box<[T]>,
    of: std::marker::PhantomData<fn(W)>,
}

impl<W: Word, T> By<W, T> {
    pub fn new(make: impl Fn() -> T) -> Self {
        Self {
            cells: W::ALL.iter().map(|_| make()).collect(),
            of: std::marker::PhantomData,
        }
    }

    pub fn of(&self, word: W) -> &T {
        &self.cells[word.index()]
    }

    pub fn each(&self) -> impl Iterator<Item = (W, &T)> {
        W::ALL.iter().map(|word| (*word, self.of(*word)))
    }
}

impl<W: Word, T: Default> Default for By<W, T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

/// Upper bounds of a histogram's buckets, in microseconds. The last bucket has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds(pub &'static [u64]);

/// For what is answered from memory in 30 microseconds, over an ocean in 300 milliseconds, or as a whole layer in minutes.
pub const REQUEST: Bounds = Bounds(&[
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    100_000,
    250_000,
    1_000_000,
    2_500_000,
    10_000_000,
    60_000_000,
    300_000_000,
]);

/// For an answer's head from somewhere else: from the same rack to the longest limit that is sensible.
pub const UPSTREAM: Bounds = Bounds(&[
    1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    15_000_000,
]);

/// How often something took how long. Two additions, and a walk over a few numbers.
#[derive(Debug)]
pub struct Histogram {
    bounds: Bounds,
    /// Not cumulated; the last is for what is beyond all bounds.
    cells: Box<[AtomicU64]>,
    /// In nanoseconds: full after 584 years of them.
    sum: AtomicU64,
}

/// One histogram as it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Distribution {
    /// Seconds.
    pub sum: f64,
    pub count: u64,
    /// Upper bounds in seconds, the last one endless, with what lies in each bucket alone.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            cells: (0..=bounds.0.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    pub fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bounds = self.bounds.0;
        let bucket = bounds
            .iter()
            .position(|bound| nanoseconds <= bound * 1000)
            .unwrap_or(bounds.len());
        self.cells[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "a graph needs no more than 52 bits")]
    pub fn distribution(&self) -> Distribution {
        let counts: Vec<u64> = self
            .cells
            .iter()
            .map(|cell| cell.load(Ordering::Relaxed))
            .collect();
        let bounds = self.bounds.0.iter().map(|bound| *bound as f64 / 1e6);
        Distribution {
            sum: self.sum.load(Ordering::Relaxed) as f64 / 1e9,
            count: counts.iter().sum(),
            buckets: bounds.chain([f64::INFINITY]).zip(counts).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_into_the_bucket_that_holds_it() {
        // Whoever reads "99 % within a millisecond" relies on the borders: a bound belongs to its bucket.
        let histogram = Histogram::new(UPSTREAM);
        for micros in [0, 999, 1_000, 1_001, 15_000_000, 15_000_001, u64::MAX / 2000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let seen = histogram.distribution();
        assert_eq!(seen.count, 7);
        let of = |bound: f64| seen.buckets.iter().find(|(own, _)| (own - bound).abs() < 1e-9);
        assert_eq!(of(0.001), Some(&(0.001, 3)));
        assert_eq!(of(0.005), Some(&(0.005, 1)));
        assert_eq!(of(15.0), Some(&(15.0, 1)));
        assert_eq!(seen.buckets.last().map(|last| last.1), Some(2));
    }
}
