//! The time in the log's form. Its calendar is asked once a second: with every line it would take as long as the line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Makes the times of many lines.
#[derive(Debug, Default)]
pub(super) struct Timestamps {
    /// The last one made.
    text: String,
    /// The Unix second for which `text` is right up to its fraction; none: for no other time.
    second: Option<u64>,
}

impl Timestamps {
    /// As the general logger writes it: `2026-11-22T09:16:53.123456Z`.
    pub fn now(&mut self) -> &str {
        let now = since_epoch();
        match self.text.rfind('.') {
            Some(point) if self.second == Some(now.as_secs()) => {
                self.text.truncate(point + 1);
                let digits =
                    [100_000, 10_000, 1000, 100, 10, 1].map(|place| now.subsec_micros() / place % 10);
                let digits = digits.into_iter().filter_map(|digit| char::from_digit(digit, 10));
                self.text.extend(digits);
                self.text.push('Z');
            }
            _ => self.look_up(now.as_secs()),
        }
        &self.text
    }

    fn look_up(&mut self, second: u64) {
        self.text.clear();
        // Neither can fail: the clock, nor the string.
        let _ = tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut self.text));
        // It read the clock itself, in this second or in the next.
        self.second = (since_epoch().as_secs() == second).then_some(second);
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_time_in_every_second() {
        // Whoever orders lines of several machines by their time: the remembered part must not outlive its second.
        let mut times = Timestamps::default();
        let mut before = String::new();
        let started = SystemTime::now();
        let mut made = 0_u32;
        while started
            .elapsed()
            .is_ok_and(|time| time < Duration::from_millis(1100))
        {
            let mut least = Timestamps::default();
            let least = least.now().to_owned();
            let now = times.now().to_owned();
            let mut most = Timestamps::default();
            assert!(*least <= *now && *now <= *most.now(), "{least} {now}");
            assert!(before <= now && now.len() == 27, "{before} {now}");
            before = now;
            made += 1;
        }
        assert!(made > 1000, "{made}");
    }
}
