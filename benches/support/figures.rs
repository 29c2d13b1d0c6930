//! Turning measurements into figures for people.

use std::time::Duration;

pub fn median<T: PartialOrd + Copy>(mut figures: Vec<T>) -> T {
    figures.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    figures[figures.len() / 2]
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub fn mebibytes(bytes: u64) -> f64 {
    float(bytes) / f64::from(1u32 << 20)
}

pub fn gibibytes(bytes: u64) -> f64 {
    float(bytes) / f64::from(1u32 << 30)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn float(bytes: u64) -> f64 {
    bytes as f64
}
