//! Reading a file without making the runtime's thread wait for a disk.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::sync::Arc;

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::pool::Lent;

/// How one file is read; every body has its own.
#[derive(Debug)]
pub(super) struct Reads {
    file: Arc<File>,
    system: System,
    /// Up to here the kernel is kept reading ahead.
    cold_until: u64,
    /// Up to here it was told to.
    told_until: u64,
}

/// The calls a test puts others in the place of.
#[derive(Clone, Copy, Debug)]
pub(super) struct System {
    /// Reads what is in the page cache; `EAGAIN` when nothing is.
    pub(super) now: fn(&File, &mut [u8], u64) -> Result<usize, Errno>,
    /// Reads, and waits for the disk.
    pub(super) waiting: fn(&File, &mut [u8], u64) -> Result<usize, Errno>,
    /// Whether the file lies in memory, where nothing waits.
    pub(super) in_memory: fn(&File) -> bool,
}

/// What came of a try to read at once.
#[derive(Debug)]
pub(super) enum Now {
    /// As many bytes as were there; 0 at the file's end.
    Read(usize),
    /// The disk has to be waited for.
    Cold,
}

/// Where one page is not cached, usually its neighbours are not either.
const COLD_STRETCH: u64 = 16 << 20;
/// How far the disk is kept ahead of the socket. The bytes wait in the page cache, so that a slow reader of a cold file
/// holds no more than another.
const AHEAD: u64 = 1 << 20;
/// The kernel reads about so much at a time: it is all cached or not at all, as a rule.
const LOOK_EVERY: usize = 256 * 1024;

impl Reads {
    pub(super) fn new(file: Arc<File>, system: System) -> Self {
        Self {
            file,
            system,
            cold_until: 0,
            told_until: 0,
        }
    }

    /// Reads at `at` what needs no waiting.
    pub(super) fn now(&mut self, into: &mut [u8], at: u64) -> io::Result<Now> {
        if self.told_until == u64::MAX {
            return Ok(Now::Cold);
        }
        self.keep_ahead(at);
        self.read_now(into, at)
    }

    /// How many of the `count` bytes at `at` are in the page cache, or seem to be: a look here and there must do.
    pub(super) fn cached(&mut self, at: u64, count: usize) -> io::Result<usize> {
        if self.told_until == u64::MAX {
            return Ok(0);
        }
        self.keep_ahead(at);
        for seen in (0..count).step_by(LOOK_EVERY) {
            if !matches!(self.read_now(&mut [0], at + seen as u64)?, Now::Read(1)) {
                return Ok(seen);
            }
        }
        Ok(count)
    }

    fn keep_ahead(&mut self, at: u64) {
        if at < self.cold_until && at + AHEAD > self.told_until {
            let advice = self.advice(at);
            tokio::task::spawn_blocking(advice);
        }
    }

    fn read_now(&mut self, into: &mut [u8], at: u64) -> io::Result<Now> {
        loop {
            return match (self.system.now)(&self.file, into, at) {
                Ok(count) => Ok(Now::Read(count)),
                Err(Errno::INTR) => continue,
                // Also where the kernel would begin to read ahead, which it does not do in a call that must not wait.
                Err(Errno::AGAIN) => {
                    self.cold_until = at + COLD_STRETCH;
                    Ok(Now::Cold)
                }
                // Some filesystems can't tell what is cached, nor can kernels before 4.14.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) if (self.system.in_memory)(&self.file) => {
                    waiting(self.system, &self.file, into, at).map(Now::Read)
                }
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    self.told_until = u64::MAX;
                    Ok(Now::Cold)
                }
                Err(error) => Err(error.into()),
            };
        }
    }

    /// What a blocking thread does to read `count` bytes at `at`; fewer only at the file's end.
    pub(super) fn later(
        &mut self,
        mut lent: Lent,
        count: usize,
        at: u64,
    ) -> impl FnOnce() -> (Lent, io::Result<usize>) + Send + use<> {
        let advice = (self.told_until != u64::MAX).then(|| self.advice(at));
        let (file, system) = (Arc::clone(&self.file), self.system);
        move || {
            if let Some(advice) = advice {
                advice();
            }
            let mut filled = 0;
            while filled < count {
                let rest = &mut lent.bytes_mut()[filled..count];
                match waiting(system, &file, rest, at + filled as u64) {
                    Ok(0) => break,
                    Ok(more) => filled += more,
                    Err(error) => return (lent, Err(error)),
                }
            }
            (lent, Ok(filled))
        }
    }

    /// Has the kernel read on until it is a good bit ahead of `at`. Telling it can take a while, so it is not done here.
    fn advice(&mut self, at: u64) -> impl FnOnce() + Send + use<> {
        let from = self.told_until.max(at);
        self.told_until = at + 2 * AHEAD;
        let length = NonZeroU64::new(self.told_until - from);
        let file = Arc::clone(&self.file);
        move || {
            // What comes of it is seen in the reads.
            let _ = rustix::fs::fadvise(&*file, from, length, Advice::WillNeed);
        }
    }
}

fn waiting(system: System, file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| (system.waiting)(file, into, at))?)
}

impl Default for System {
    fn default() -> Self {
        Self {
            now: |file, into, at| {
                rustix::io::preadv2(file, &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT)
            },
            waiting: |file, into, at| rustix::io::pread(file, into, at),
            in_memory: |file| rustix::fs::fstatfs(file).is_ok_and(|filesystem| filesystem.f_type == TMPFS),
        }
    }
}

/// `TMPFS_MAGIC`, statfs(2).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
