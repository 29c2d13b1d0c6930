//! Does the registry give this to this right? Asked without taking any of it.

use http::{HeaderMap, StatusCode};

use super::fetch::Question;
use super::{Ask, Failure, Method, Right, Upstream, place};

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

impl Upstream {
    /// The registry's own word about `ask`, stopped at the last status: nothing of the body is read.
    pub async fn confirm(&self, ask: &Ask, right: &Right) -> Result<Word, Failure> {
        let config = &self.config;
        let base = place::base(config)?;
        let endpoint = place::endpoint(config, &ask.endpoint)?;
        let question = Question {
            registry: &config.name,
            method: match ask.method {
                Method::Get => http::Method::GET,
                Method::Head => http::Method::HEAD,
            },
            url: place::url(base, &endpoint, ask.query.as_deref()),
            headers: &ask.headers,
            authorization: None,
            max_redirects: config.max_redirects,
        };
        let asked = self
            .auth
            .ask(&question, right, &place::scopes(base, &endpoint))
            .await;
        self.health.note(&asked);
        let (landed, anonymous) = asked?;
        let status = landed.answer.status();
        if landed.at_registry && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Failure::Denied {
                registry: config.name.clone(),
                status,
            });
        }
        Ok(Word {
            status,
            headers: landed.answer.headers().clone(),
            anonymous,
        })
    }
}
