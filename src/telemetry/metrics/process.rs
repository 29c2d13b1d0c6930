//! What the kernel says of this process, at the moment of a scrape. Where it says nothing, there is no figure.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

/// A field for each figure that there is.
#[derive(Clone, Copy, Default, Debug)]
pub struct Process {
    pub cpu: Option<Duration>,
    pub resident: Option<u64>,
    pub virtual_memory: Option<u64>,
    pub open_files: Option<u64>,
    pub max_files: Option<u64>,
}

impl Process {
    /// Blocking: it reads files of the kernel's.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            cpu: cpu(),
            resident: kibibytes(&status, "VmRSS:"),
            virtual_memory: kibibytes(&status, "VmSize:"),
            // The one that reads the folder is not counted.
            open_files: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|files| (files.count() as u64).saturating_sub(1)),
            max_files: getrlimit(Resource::Nofile).current,
        }
    }
}

/// Seconds since 1970.
pub(super) fn since_1970(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Nanoseconds on a processor, of all threads that live; those that ended are the first thread's too.
fn cpu() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(
        u64::try_from(time.tv_sec).ok()?,
        u32::try_from(time.tv_nsec).ok()?,
    ))
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_figures_are_read() {
        // A graph of memory that stays at zero hides a leak.
        let seen = Process::now();
        assert!(seen.resident.is_some_and(|bytes| bytes > 1 << 20), "{seen:?}");
        assert!(seen.virtual_memory > seen.resident, "{seen:?}");
        assert!(seen.open_files.is_some_and(|files| files >= 3), "{seen:?}");
        assert!(seen.cpu.is_some_and(|time| time > Duration::ZERO), "{seen:?}");
    }
}
