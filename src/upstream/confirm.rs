//! Does the registry give this to this right? Asked without taking any of it.

use http::{HeaderMap, StatusCode};

use super::{Ask, Failure, Right, Site};

/// What the registry said, or the storage that it sent us to. A redirect alone is no word: a gateway that wants people to
/// log in redirects every request, and a captive portal does too.
#[derive(Clone, Debug)]
pub struct Word {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// It would say so to everyone.
    pub anonymous: bool,
}

impl Word {
    /// 200: something is there, and this right gets it. What it is, the headers must show.
    pub fn is_yes(&self) -> bool {
        self.status == StatusCode::OK
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
        })
    }
}
