//! What would become of a question before the registry has a say in it, for operators: nothing is asked, and no allowance is
//! touched.

use std::time::Duration;

use http::StatusCode;

use super::failure::Failure;
use super::quota::Cost;
use super::{Method, Right, Upstream};

/// As far as is known.
#[derive(Clone, Debug)]
pub enum Foresight {
    /// It is asked with what the right says.
    Asked,
    /// docxy's own accounts can't be asked with, for this reason: it is asked with none, and gives what is for everyone.
    WithoutAccount(Failure),
    /// It is not asked, or in vain.
    Fails(Failure),
}

impl Upstream {
    /// Of a question for a manifest.
    pub fn foresee(&self, right: &Right, method: Method) -> Foresight {
        let cost = match method {
            Method::Get => Cost::Counted,
            Method::Head => Cost::Shown,
        };
        let registry = self.name();
        let spent = |retry_after| Failure::Spent {
            registry: registry.clone(),
            retry_after,
        };
        let anonymous = self.authority.auth.anonymous().spent(cost);
        let pool = self.pool();
        let why = match right {
            // A client's own allowance is the client's business.
            Right::Bearer { .. } | Right::Basic { .. } => return Foresight::Asked,
            Right::Configured if !pool.is_empty() => {
                let waits = pool.usable().map(|member| member.quota().spent(cost));
                // One that has something left is enough.
                let waits: Option<Vec<Duration>> = waits.collect();
                match waits.map(|waits| waits.into_iter().min()) {
                    None => return Foresight::Asked,
                    Some(Some(wait)) => spent(wait),
                    Some(None) => pool.denial(StatusCode::UNAUTHORIZED),
                }
            }
            Right::Configured | Right::Anonymous => {
                return anonymous.map_or(Foresight::Asked, |wait| Foresight::Fails(spent(wait)));
            }
        };
        match anonymous {
            None => Foresight::WithoutAccount(why),
            Some(_) => Foresight::Fails(why),
        }
    }
}
