//! Which bytes of a blob nobody fetches yet, and which have been handed out.

use std::ops::Range;

use crc32fast::Hasher as Sum;

/// What is still to be given to a connection: ranges in order, none empty, none touching another.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    holes: Vec<Range<u64>>,
}

impl Ground {
    pub fn new(range: Range<u64>) -> Self {
        Self {
            holes: if range.is_empty() { Vec::new() } else { vec![range] },
        }
    }

    /// The first byte that nobody fetches.
    pub fn first(&self) -> Option<u64> {
        self.holes.first().map(|hole| hole.start)
    }

    /// The next piece: `size` bytes from the first hole, and only if they lie before `limit`. A rest that is not worth a
    /// question of its own goes with them.
    pub fn take(&mut self, size: u64, limit: u64) -> Option<Range<u64>> {
        let hole = self.holes.first_mut()?;
        let mut end = hole.end.min(hole.start.saturating_add(size));
        if end > limit {
            return None;
        }
        if hole.end - end < size / 8 {
            end = hole.end;
        }
        let piece = hole.start..end;
        hole.start = end;
        self.holes.retain(|hole| !hole.is_empty());
        Some(piece)
    }

    /// The same, of a hole that begins at `at`, for a connection whose body runs on: where its ground ends now.
    pub fn extend(&mut self, at: u64, size: u64, limit: u64) -> Option<u64> {
        let index = self.holes.iter().position(|hole| hole.start == at)?;
        let hole = &mut self.holes[index];
        let end = hole.end.min(at.saturating_add(size));
        if end > limit {
            return None;
        }
        hole.start = end;
        self.holes.retain(|hole| !hole.is_empty());
        Some(end)
    }

    /// As far as ground that begins at `at` is free.
    pub fn free_until(&self, at: u64) -> u64 {
        let hole = self.holes.iter().find(|hole| hole.start == at);
        hole.map_or(at, |hole| hole.end)
    }

    /// What a connection did not come to fetch.
    pub fn give_back(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let index = self.holes.partition_point(|hole| hole.start < range.start);
        self.holes.insert(index, range);
        self.holes.dedup_by(|next, hole| {
            let touching = next.start <= hole.end;
            if touching {
                hole.end = hole.end.max(next.end);
            }
            touching
        });
    }

    /// The length of the blob became known: nothing lies behind it.
    pub fn end_at(&mut self, length: u64) {
        for hole in &mut self.holes {
            hole.end = hole.end.min(length);
        }
        self.holes.retain(|hole| hole.start < hole.end);
    }
}

/// What has been handed out, with a check sum of each stretch, so that an upstream that begins again from byte 0 can be
/// compared with what it sent before. It only notices early what the digest notices in the end; so it is a sum that costs
/// next to nothing, and not a second hash.
#[derive(Clone, Debug)]
pub(super) struct Covered {
    /// In order, not touching; the first one begins where the download began, and may be empty.
    runs: Vec<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    range: Range<u64>,
    sum: Sum,
}

impl Covered {
    pub fn from(first: u64) -> Self {
        Self {
            runs: vec![Run {
                range: first..first,
                sum: Sum::new(),
            }],
        }
    }

    pub fn note(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        let before = self.runs.iter().position(|run| run.range.end == at);
        let index = before.unwrap_or_else(|| {
            let index = self.runs.partition_point(|run| run.range.start < at);
            let (range, sum) = (at..at, Sum::new());
            self.runs.insert(index, Run { range, sum });
            index
        });
        self.runs[index].sum.update(bytes);
        self.runs[index].range.end = end;
        if self
            .runs
            .get(index + 1)
            .is_some_and(|next| next.range.start == end)
        {
            let next = self.runs.remove(index + 1);
            self.runs[index].sum.combine(&next.sum);
            self.runs[index].range.end = next.range.end;
        }
    }

    /// The first byte that has not been handed out.
    pub fn reached(&self) -> u64 {
        self.runs.first().map_or(0, |run| run.range.end)
    }

    /// The check sum from the beginning of the download to `reached`.
    pub fn sum(&self) -> u32 {
        self.runs.first().map_or(0, |run| run.sum.clone().finalize())
    }

    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.range.end - run.range.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pieces_come_in_order_and_come_back() {
        // Whoever reads along waits for the first gap: it must always be the next to be fetched.
        let mut ground = Ground::new(10..40);
        assert_eq!(ground.take(10, 20), Some(10..20));
        assert_eq!(ground.take(10, 29), None, "not beyond the window");
        assert_eq!(ground.take(10, 30), Some(20..30));
        assert_eq!(ground.free_until(30), 40);
        ground.give_back(13..20);
        assert_eq!((ground.first(), ground.free_until(13)), (Some(13), 20));
        assert_eq!(ground.extend(30, 10, 40), Some(40));
        ground.give_back(20..30);
        assert_eq!(ground.free_until(13), 30);
        assert_eq!(ground.take(100, u64::MAX), Some(13..30));
        assert_eq!((ground.first(), ground.take(1, u64::MAX)), (None, None));
        assert_eq!(Ground::new(5..5).first(), None);
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_bytes_in_order(
            bytes in prop::collection::vec(any::<u8>(), 1..600),
            cuts in prop::collection::vec(0usize..600, 0..12),
            seed in any::<u64>(),
        ) {
            // Segments arrive in any order; the comparison must see them as one body.
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut pieces: Vec<Range<usize>> = cuts.windows(2).map(|two| two[0]..two[1]).collect();
            let count = pieces.len();
            for index in 0..count {
                let other = usize::try_from(seed.rotate_left(u32::try_from(index).unwrap()) % count as u64).unwrap();
                pieces.swap(index, other);
            }
            let mut covered = Covered::from(7);
            for piece in pieces {
                covered.note(7 + piece.start as u64, &bytes[piece]);
            }
            prop_assert_eq!(covered.reached(), 7 + bytes.len() as u64);
            prop_assert_eq!(covered.bytes(), bytes.len() as u64);
            prop_assert_eq!(covered.sum(), crc32fast::hash(&bytes));
        }
    }
}
