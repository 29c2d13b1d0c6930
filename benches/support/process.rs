//! A child process and what the kernel says it used.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(20);

/// Stopped when dropped.
pub struct Process(Child);

impl Process {
    /// Starts a server and waits until something accepts connections at `address`. What it writes goes to `log`, whose
    /// end is in the error when the server stops at once.
    pub fn start(command: &mut Command, log: &Path, address: SocketAddr) -> Result<Self> {
        let output = fs::File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn();
        let mut process = Self(child.with_context(|| format!("{command:?}"))?);
        let until = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = process.0.try_wait()? {
                let said = fs::read_to_string(log).unwrap_or_default();
                bail!("{command:?} ended with {status}:\n{said}");
            }
            if Instant::now() > until {
                bail!("{command:?} does not listen on {address}");
            }
            pause(Duration::from_millis(5));
        }
        Ok(process)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's master ends its workers on SIGTERM; on SIGKILL it could not.
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::TERM,
        );
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Blocks this thread; never called on a runtime's.
#[expect(clippy::disallowed_methods, reason = "these threads are no runtime's")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// User and system time of a process and of its children that live.
pub fn cpu(id: u32) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for member in family(id)? {
        total += own_cpu(member)?;
    }
    Ok(total)
}

/// A figure of `/proc/ID/status` in bytes, such as `VmHWM` (the most memory that was ever resident), summed up over a
/// process and its children; pages that they share count for each.
pub fn memory(id: u32, field: &str) -> Result<u64> {
    let mut total = 0;
    for member in family(id)? {
        let status = fs::read_to_string(format!("/proc/{member}/status"))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .with_context(|| format!("no {field}"))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        total += kib * 1024;
    }
    Ok(total)
}

/// The process itself and all that descend from its first thread.
fn family(id: u32) -> Result<Vec<u32>> {
    let mut members = vec![id];
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    for child in children.split_whitespace() {
        members.extend(family(child.parse()?)?);
    }
    Ok(members)
}

/// User and system time of a process without its children.
pub fn own_cpu(id: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // Behind the name, which may hold spaces: state is field 3, utime 14, stime 15 (proc(5)), in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}
