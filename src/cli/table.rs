//! Figures and columns for people.

use std::fmt::Write as _;

/// `1.5 GiB`: one decimal from a KiB on.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // In tenths, rounded; 1023.96 KiB is a MiB.
    let mut tenths = (u128::from(bytes) * 10 + 512) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths = (tenths + 512) / 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// The largest unit alone: `3d`. Half a minute ago is now.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => "now".to_owned(),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// What ends then.
pub(super) fn ends_in(end: Option<u64>, now: u64) -> String {
    match end {
        None => "never".to_owned(),
        Some(end) if end <= now => "over".to_owned(),
        Some(end) => left(end - now),
    }
}

/// What happened then, if it did.
pub(super) fn ago(time: Option<u64>, now: u64) -> String {
    time.map_or("never".to_owned(), |time| age(now.saturating_sub(time)))
}

/// Less than a minute is not "now": it still works. Who asked for 90 days sees 90, not 89 and a bit.
fn left(seconds: u64) -> String {
    if seconds < 60 {
        format!("{seconds}s")
    } else {
        age(seconds + 59)
    }
}

/// `1 blob`, `2 blobs`
pub(super) fn count(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

pub(super) fn blobs(number: u64) -> String {
    count(number, "blob", "blobs")
}

/// On which side the blanks are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// Rows under their headings, two blanks between columns, none at the end of a line.
pub(super) fn table<const N: usize>(columns: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let mut widths = columns.map(|(heading, _)| heading.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let headings = columns.map(|(heading, _)| heading.to_owned());
    for row in std::iter::once(&headings).chain(rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(widths).zip(columns) {
            let _ = match align {
                Align::Left => write!(line, "{cell:<width$}  "),
                Align::Right => write!(line, "{cell:>width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal() {
        // People compare them down a column, and with what `du -h` says.
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_048_576, "1.0 MiB"),
            (34_359_738_368, "32.0 GiB"),
            (1_100_000_000_000, "1.0 TiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), shown, "{bytes}");
        }
    }

    #[test]
    fn ages_are_short() {
        // A column of them shows at a glance what nobody uses.
        for (seconds, shown) in [
            (0, "now"),
            (59, "now"),
            (60, "1m"),
            (3599, "59m"),
            (86_399, "23h"),
            (86_400 * 45, "45d"),
        ] {
            assert_eq!(age(seconds), shown, "{seconds}");
        }
    }

    #[test]
    fn columns_are_aligned() {
        // Long names must not shift the figures of other lines.
        let rows = [
            ["a".to_owned(), "1".to_owned(), "x".to_owned()],
            ["longer".to_owned(), "100".to_owned(), String::new()],
        ];
        let columns = [("NAME", Align::Left), ("N", Align::Right), ("WHERE", Align::Left)];
        assert_eq!(
            table(columns, &rows),
            "NAME      N  WHERE\na         1  x\nlonger  100\n"
        );
    }
}
