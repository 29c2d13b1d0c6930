//! A disk that fails, or stands, when it is told to.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use super::{Disk, Real, Space};

/// The calls of [`Disk`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Call {
    Create,
    Open,
    Reopen,
    Write,
    Read,
    Truncate,
    Sync,
    SyncFolder,
    Rename,
    Remove,
    MakeFolder,
}

impl Call {
    pub const ALL: [Self; 11] = [
        Self::Create,
        Self::Open,
        Self::Reopen,
        Self::Write,
        Self::Read,
        Self::Truncate,
        Self::Sync,
        Self::SyncFolder,
        Self::Rename,
        Self::Remove,
        Self::MakeFolder,
    ];
}

/// Fails from the n-th call of a kind on, as a broken disk does; the rest goes to the real one.
#[derive(Debug, Default)]
pub(crate) struct Failing(Mutex<Plan>, Condvar);

#[derive(Debug, Default)]
struct Plan {
    /// First failing call (from 1 on) and errno.
    from: HashMap<Call, (u64, i32)>,
    seen: HashMap<Call, u64>,
    /// Writes and fsyncs that go on now, and the most there were.
    busy: usize,
    busiest: usize,
    /// Who reads waits.
    stands: bool,
}

impl Failing {
    /// From its `nth` call on, counted from now, this kind fails with this errno.
    pub fn break_at(&self, call: Call, nth: u64, errno: i32) {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = plan.seen.get(&call).copied().unwrap_or(0);
        plan.from.insert(call, (seen + nth, errno));
    }

    /// Until it is told otherwise no read comes back.
    pub fn stand(&self, stands: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stands = stands;
        self.1.notify_all();
    }

    pub fn mend(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).from.clear();
    }

    /// Calls of this kind so far.
    pub fn seen(&self, call: Call) -> u64 {
        let plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plan.seen.get(&call).copied().unwrap_or(0)
    }

    /// The most threads that wrote or synced at the same moment.
    pub fn busiest(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).busiest
    }

    fn while_busy<T>(&self, work: impl FnOnce() -> T) -> T {
        let count = |by: isize| {
            let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            plan.busy = plan.busy.saturating_add_signed(by);
            plan.busiest = plan.busiest.max(plan.busy);
        };
        count(1);
        let done = work();
        count(-1);
        done
    }

    fn now(&self, call: Call) -> io::Result<()> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = plan.seen.entry(call).or_default();
        *seen += 1;
        let seen = *seen;
        match plan.from.get(&call) {
            Some((first, errno)) if seen >= *first => Err(io::Error::from_raw_os_error(*errno)),
            _ => Ok(()),
        }
    }
}

impl Disk for Failing {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.now(Call::Create)?;
        Real.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.now(Call::Open)?;
        Real.open(path)
    }

    fn reopen(&self, path: &Path) -> io::Result<File> {
        self.now(Call::Reopen)?;
        Real.reopen(path)
    }

    fn write_at(&self, file: &File, data: &[u8], at: u64) -> io::Result<()> {
        if let Err(error) = self.now(Call::Write) {
            // A disk that fills up takes a part before it fails.
            Real.write_at(file, data.get(..data.len() / 2).unwrap_or_default(), at)?;
            return Err(error);
        }
        self.while_busy(|| Real.write_at(file, data, at))
    }

    fn read_at(&self, file: &File, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.now(Call::Read)?;
        let plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.1.wait_while(plan, |plan| plan.stands));
        Real.read_at(file, into, at)
    }

    fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.now(Call::Truncate)?;
        Real.truncate(file, length)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.now(Call::Sync)?;
        self.while_busy(|| Real.sync(file))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.now(Call::SyncFolder)?;
        Real.sync_folder(folder)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.now(Call::Rename)?;
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.now(Call::Remove)?;
        Real.remove(path)
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.now(Call::MakeFolder)?;
        Real.make_folder(folder)
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        Real.space(folder)
    }
}
