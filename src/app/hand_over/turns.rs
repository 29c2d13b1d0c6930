//! Reloads and hand-overs take turns: a configuration that is read in between would be that of a process which no one asks any
//! more.

use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Clones are of the same process.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<Option<Pid>>>);

/// Nobody else's, until it is dropped. It knows the process that serves in this one's place, if there is one.
pub type Turn = OwnedMutexGuard<Option<Pid>>;

impl Turns {
    pub async fn take(&self) -> Turn {
        Arc::clone(&self.0).lock_owned().await
    }
}

/// What may be done with a [`Turn`].
pub trait Held {
    fn serves(&mut self, process: u32);

    /// Passes a reload on to the process that serves instead; `None`: this one does.
    fn pass_on(&self) -> Option<String>;
}

impl Held for Turn {
    fn serves(&mut self, process: u32) {
        **self = i32::try_from(process).ok().and_then(Pid::from_raw);
    }

    fn pass_on(&self) -> Option<String> {
        let process = (**self)?;
        let number = process.as_raw_nonzero();
        Some(match kill_process(process, Signal::HUP) {
            Ok(()) => format!("this process has handed over to process {number}, which was told to reload"),
            Err(error) => format!(
                "this process has handed over to process {number}, which can't be told to reload: {error}"
            ),
        })
    }
}
