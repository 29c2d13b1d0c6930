//! The process that is to take over, and the one that has.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;

use super::words::FromNew;

/// A process that is not the successor yet: killed if it is dropped.
#[derive(Debug)]
pub struct Candidate(Option<Child>);

/// The process that serves.
#[derive(Debug)]
pub struct Successor(Child);

/// Why nothing was heard of it.
#[derive(Debug)]
pub enum Silence {
    Gone,
    Late(Duration),
    Stopping,
    /// It is gone after its last word.
    AtTheEnd,
}

impl Candidate {
    pub fn new(child: Child) -> Self {
        Self(Some(child))
    }

    pub fn process(&self) -> u32 {
        self.0.as_ref().and_then(Child::id).unwrap_or_default()
    }

    /// It serves from now on.
    pub fn release(mut self) -> Option<Successor> {
        self.0.take().map(Successor)
    }

    /// Makes sure that it is gone, and tells why it must be.
    pub async fn reject(mut self, heard: Result<FromNew, Silence>) -> String {
        let process = self.process();
        let Some(mut child) = self.0.take() else {
            return "it is gone".to_owned();
        };
        if matches!(heard, Err(Silence::Gone | Silence::AtTheEnd))
            && let Ok(Ok(status)) = timeout(Duration::from_secs(1), child.wait()).await
        {
            return format!("the new process {process} ended with {status}; what it said stands above");
        }
        if let Err(error) = child.kill().await {
            tracing::warn!(process, %error, "the new process can't be killed");
        }
        match heard {
            Ok(_) => format!("the new process {process} spoke out of turn"),
            Err(Silence::Gone) => format!("the new process {process} does not answer"),
            Err(Silence::Late(limit)) => format!("the new process {process} was not ready within {limit:?}"),
            Err(Silence::AtTheEnd) => {
                format!("the new process {process} does not listen to the word to begin")
            }
            Err(Silence::Stopping) => "docxy is to end".to_owned(),
        }
    }
}

impl Successor {
    /// May be dropped at any time.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.start_kill();
        }
    }
}
