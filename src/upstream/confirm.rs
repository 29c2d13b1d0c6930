//! Does the registry give this to this right? Asked without taking any of it.

use http::{HeaderMap, StatusCode};

use super::fetch::Question;
use super::{Ask, Failure, Method, Right, Upstream, place};

/// What the registry itself said, before any redirect was followed.
#[derive(Clone, Debug)]
pub struct Word {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// It would say so to everyone.
    pub anonymous: bool,
}

impl Word {
    /// 200, 206 or a redirect: it has this, and gives it to this right.
    pub fn is_yes(&self) -> bool {
        matches!(self.status.as_u16(), 200 | 206 | 301 | 302 | 303 | 307 | 308)
    }
}

impl Upstream {
    /// The registry's own word about `ask`: stopped at the status, and no redirect is followed.
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
            max_redirects: 0,
        };
        let asked = self
            .auth
            .ask(&question, right, &place::scopes(base, &endpoint))
            .await;
        self.health.note(&asked);
        let (landed, anonymous) = asked?;
        let status = landed.answer.status();
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
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
