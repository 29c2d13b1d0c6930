//! Whether more connections are worth it: how fast one is alone, and whether several are faster.

use std::time::Duration;

use tokio::time::Instant;

/// How long the first connection is watched before others are opened. Long enough to tell a fast line from a slow one even
/// when one of the machines is busy, short enough to lose little on a slow one.
const LOOK: Duration = Duration::from_millis(75);

/// The same on a long road, where one connection is slow by nature and others are slow to come.
const SHORT_LOOK: Duration = Duration::from_millis(25);

/// An answer that takes so long has come a long road (or from a slow registry).
const LONG_ROAD: Duration = Duration::from_millis(50);

/// A connection that brings this much a second is left alone: what holds single connections back (limits of a storage, a
/// long road, a lossy line) holds them far below it, and above it each further request only costs the upstream.
const FAST: f64 = 32.0 * 1024.0 * 1024.0;

/// How long several are watched.
const GAIN_LOOK: Duration = Duration::from_secs(1);

/// Who is called so much later than he asked to be, as a share of the time watched, sits on a machine that has no time for its own
/// work: then the line may be fast and only its bytes wait here, and more connections would make all of it slower.
const TOO_LATE: f64 = 0.25;

/// Several connections must bring this many times what one brought, or they go.
const GAIN: f64 = 1.3;

#[derive(Debug)]
pub(super) struct Meter {
    phase: Phase,
    look: Duration,
    since: Instant,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// No byte has come.
    Before,
    /// Only one connection.
    Alone,
    /// Others were asked for, but only one has its answer.
    Opening,
    Together {
        alone: f64,
    },
    Decided,
}

/// What follows from the speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    Stay,
    Spread,
    /// Back to one.
    Shrink,
}

impl Meter {
    /// `latency`: how long the first answer took.
    pub fn new(now: Instant, latency: Duration) -> Self {
        Self {
            phase: Phase::Before,
            look: if latency < LONG_ROAD { LOOK } else { SHORT_LOOK },
            since: now,
            bytes: 0,
        }
    }

    /// Nothing is to be advised any more.
    pub fn decided() -> Self {
        Self {
            phase: Phase::Decided,
            ..Self::new(Instant::now(), Duration::ZERO)
        }
    }

    /// When it should be looked at, bytes or not.
    pub fn look_at(&self) -> Option<Instant> {
        (self.phase == Phase::Alone).then(|| self.since + self.look)
    }

    /// So many bytes came while so many connections have their answers.
    pub fn note(&mut self, bytes: usize, flowing: usize, now: Instant) -> Advice {
        match self.phase {
            // The first chunk may have waited in a buffer: it only starts the clock.
            Phase::Before => {
                self.start(Phase::Alone, now);
                return Advice::Stay;
            }
            Phase::Opening if flowing > 1 => {
                let alone = self.speed(now);
                self.start(Phase::Together { alone }, now);
            }
            Phase::Alone | Phase::Opening | Phase::Together { .. } | Phase::Decided => {}
        }
        self.bytes += bytes as u64;
        match self.phase {
            // Only a look at its time shows whether this machine keeps its times.
            Phase::Alone => Advice::Stay,
            _ => self.look(now),
        }
    }

    /// To be called at `look_at`, and not before.
    pub fn look(&mut self, now: Instant) -> Advice {
        let watched = now.duration_since(self.since);
        match self.phase {
            Phase::Alone if watched >= self.look => {
                let late = watched.saturating_sub(self.look);
                if self.speed(now) >= FAST || late > self.look.mul_f64(TOO_LATE) {
                    self.start(Phase::Alone, now);
                    return Advice::Stay;
                }
                self.phase = Phase::Opening;
                Advice::Spread
            }
            Phase::Together { alone } if watched >= GAIN_LOOK => {
                self.phase = Phase::Decided;
                if self.speed(now) < alone * GAIN {
                    return Advice::Shrink;
                }
                Advice::Stay
            }
            _ => Advice::Stay,
        }
    }

    fn start(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.bytes = 0;
    }

    /// Bytes a second.
    fn speed(&self, now: Instant) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let bytes = self.bytes as f64;
        bytes / now.duration_since(self.since).as_secs_f64().max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    /// Feeds `speed` bytes a second for `time`, and gives the first advice that is not to stay.
    fn run(meter: &mut Meter, now: &mut Instant, speed: f64, flowing: usize, time: Duration) -> Advice {
        let end = *now + time;
        while *now < end {
            *now += TICK;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "small and positive"
            )]
            let mut advice = meter.note((speed * TICK.as_secs_f64()) as usize, flowing, *now);
            if meter.look_at().is_some_and(|at| at <= *now) {
                advice = meter.look(*now);
            }
            if advice != Advice::Stay {
                return advice;
            }
        }
        Advice::Stay
    }

    #[test]
    fn a_fast_connection_is_left_alone() {
        // One GET a blob is what a registry expects, and on a good line there is nothing to gain.
        let (mut now, second) = (Instant::now(), Duration::from_secs(1));
        let mut meter = Meter::new(now, Duration::ZERO);
        assert_eq!(run(&mut meter, &mut now, 50e6, 1, second * 10), Advice::Stay);
        // Until it gets slow.
        assert_eq!(run(&mut meter, &mut now, 4e6, 1, second), Advice::Spread);
    }

    #[test]
    fn a_stalled_connection_is_noticed_without_bytes() {
        // The slowest line is the one that needs help most.
        let mut now = Instant::now();
        let mut meter = Meter::new(now, Duration::ZERO);
        assert_eq!((meter.look_at(), meter.look(now + LOOK)), (None, Advice::Stay));
        meter.note(1, 1, now);
        now = meter.look_at().unwrap();
        assert_eq!(meter.look(now), Advice::Spread);
        assert_eq!(meter.look_at(), None);
    }

    #[test]
    fn a_busy_machine_is_not_taken_for_a_slow_line() {
        // Five hundred clients at once must not make docxy ask the registry for more connections.
        let mut now = Instant::now();
        let mut meter = Meter::new(now, Duration::ZERO);
        for late in [LOOK, LOOK / 3, LOOK * 10] {
            meter.note(1, 1, now);
            now = meter.look_at().unwrap() + late;
            assert_eq!(meter.note(1, 1, now), Advice::Stay);
            assert_eq!(meter.look(now), Advice::Stay, "{late:?} late");
        }
        now = meter.look_at().unwrap() + LOOK / 10;
        assert_eq!(meter.look(now), Advice::Spread);
    }

    #[test]
    fn connections_that_bring_nothing_go() {
        // Where all connections share one thin line, more of them only take it from others.
        let second = Duration::from_secs(1);
        for (together, advice) in [(16e6, Advice::Stay), (6e6, Advice::Stay), (4.8e6, Advice::Shrink)] {
            let mut now = Instant::now();
            let mut meter = Meter::new(now, Duration::ZERO);
            assert_eq!(run(&mut meter, &mut now, 4e6, 1, second), Advice::Spread);
            assert_eq!(run(&mut meter, &mut now, 4e6, 1, second), Advice::Stay);
            assert_eq!(run(&mut meter, &mut now, together, 4, second * 10), advice);
        }
    }
}
