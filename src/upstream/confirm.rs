//! Does the registry give this to this right? Asked without taking any of it.

use http::{HeaderMap, StatusCode, header};

use super::{Ask, Failure, Right, Site};
use crate::oci::ContentRange;

/// What the registry said, or the storage that it sent us to. A redirect alone is no word: a gateway that wants people to
/// log in redirects every request, and a captive portal does too.
#[derive(Clone, Debug)]
pub struct Word {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// It would say so to everyone.
    pub anonymous: bool,
    /// As [`Answer::unheard`](super::Answer::unheard).
    pub unheard: bool,
}

impl Word {
    /// Something is there, and this right gets it: all of it, the part that was asked for, or nothing because it is empty.
    /// What it is, the headers must show.
    pub fn is_yes(&self) -> bool {
        match self.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => true,
            StatusCode::RANGE_NOT_SATISFIABLE => self.length() == Some(0),
            _ => false,
        }
    }

    /// Of the whole thing, as far as it is told.
    pub fn length(&self) -> Option<u64> {
        if self.status == StatusCode::OK {
            let said = self.headers.get(header::CONTENT_LENGTH)?;
            return said.to_str().ok()?.parse().ok();
        }
        match ContentRange::parse(self.headers.get(header::CONTENT_RANGE)?).ok()? {
            ContentRange::Part { length, .. } => length,
            ContentRange::Unsatisfied { length } => Some(length),
        }
    }
}

impl Site {
    /// The registry's own word about `ask`, stopped at the last status: nothing of the body is read.
    pub(super) async fn confirm(&self, ask: &Ask, right: &Right) -> Result<Word, Failure> {
        let answer = self.send(ask, right).await?;
        Ok(Word {
            status: answer.status,
            headers: answer.headers,
            anonymous: answer.anonymous,
            unheard: answer.unheard,
        })
    }
}
