//! Logical seconds. They advance with the monotonic clock while docxy runs, so that a jump of the wall clock evicts
//! nothing and makes nothing stale (threat R8).

use std::io;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::atomic;
use super::disk::Disk;
use super::layout::Layout;

/// Longest time between two runs that counts: a machine that comes back with its clock years ahead forgets a week.
const LONGEST_PAUSE: u64 = 7 * 24 * 3600;

/// Cheap to clone.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    began: Instant,
    base: u64,
}

impl Clock {
    /// Begins at `base`.
    pub fn from(base: u64) -> Self {
        Self {
            began: Instant::now(),
            base,
        }
    }

    /// Goes on where the last run left off: what the wall clock says passed since counts, but nothing when it went
    /// backwards and at most seven days. Without a readable beat it begins at `newest`, the last use of any blob, and
    /// without that at the wall clock. `wall` in seconds since 1970.
    pub fn resume(kept: Option<Beat>, newest: Option<u64>, wall: u64) -> Self {
        Self::from(match (kept, newest) {
            (Some(beat), _) => {
                let pause = wall.saturating_sub(beat.wall).min(LONGEST_PAUSE);
                beat.logical.saturating_add(pause)
            }
            (None, Some(newest)) => newest,
            (None, None) => wall,
        })
    }

    /// Seconds; at first those since 1970.
    pub fn now(&self) -> u64 {
        self.base.saturating_add(self.began.elapsed().as_secs())
    }

    /// Keeps the time for the next run. Blocking.
    pub(crate) fn beat(&self, disk: &dyn Disk, layout: &Layout) -> io::Result<()> {
        let text = format!("{} {}\n", self.now(), wall_clock());
        atomic::replace(disk, layout, &layout.clock(), text.as_bytes())
    }
}

/// What the file `clock` holds: the logical and the wall clock at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Beat {
    pub logical: u64,
    pub wall: u64,
}

impl Beat {
    /// None when there is none, or what is there is no beat. Blocking.
    pub(crate) fn read(disk: &dyn Disk, layout: &Layout) -> Option<Self> {
        let mut text = String::new();
        let file = disk.open(&layout.clock()).ok()?;
        file.take(100).read_to_string(&mut text).ok()?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Option<Self> {
        let (logical, wall) = text.strip_suffix('\n')?.split_once(' ')?;
        let beat = Self {
            logical: logical.parse().ok()?,
            wall: wall.parse().ok()?,
        };
        // A time that the tables cannot hold is as good as none.
        (beat.logical < u64::from(u32::MAX)).then_some(beat)
    }
}

/// Seconds since 1970; 0 before.
pub(crate) fn wall_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::disk::Real;

    const DAY: u64 = 86_400;

    #[test]
    fn a_jump_of_the_wall_clock_between_runs_counts_for_little() {
        // After a battery change the clock may be anywhere: no tag may expire and no blob go for it (threat R8).
        let now = 1_700_000_000;
        let kept = Some(Beat {
            logical: 1_000_000,
            wall: now,
        });
        for (wall, passed) in [
            (now + 60, 60),
            (now + DAY, DAY),
            (now - DAY, 0),
            (0, 0),
            (now + 3650 * DAY, 7 * DAY),
            (u64::MAX, 7 * DAY),
        ] {
            assert_eq!(
                Clock::resume(kept, Some(5), wall).base,
                1_000_000 + passed,
                "{wall}"
            );
        }
        assert_eq!(Clock::resume(None, Some(77), now).base, 77);
        assert_eq!(Clock::resume(None, None, now).base, now);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_monotonic_clock_moves_it_while_running() {
        // Tests of time to live hold this clock; so does a machine whose wall clock is set while docxy runs.
        let clock = Clock::from(100);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(clock.now(), 3700);
    }

    #[test]
    fn garbage_in_the_file_is_as_good_as_no_file() {
        // A torn state file must not keep docxy from starting (threat I6).
        for text in [
            "",
            "\n",
            "12",
            "12 13",
            "-1 4\n",
            "x y\n",
            "1 2 3\n",
            "9999999999999 5\n",
        ] {
            assert_eq!(Beat::parse(text), None, "{text:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned());
        std::fs::create_dir(layout.temp()).unwrap();
        assert_eq!(Beat::read(&Real, &layout), None);
        std::fs::write(layout.clock(), [0xff, 0xfe, 0]).unwrap();
        assert_eq!(Beat::read(&Real, &layout), None);
        Clock::from(4711).beat(&Real, &layout).unwrap();
        assert_eq!(Beat::read(&Real, &layout).map(|beat| beat.logical), Some(4711));
    }
}
