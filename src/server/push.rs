//! The write side of the distribution API, where a registry's `push.enabled` opens it: uploads, manifests, deletions.

mod mount;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body::Body as _;

use self::mount::Mount;
use super::error::Problem;
use super::v2::{Admitted, Asker, Stop, refused};
use crate::access::limits::Pass;
use crate::access::uploads::Uploader;
use crate::access::{Identity, Permit, Refusal, Subject};
use crate::oci::{Action, Code, Digest, Endpoint, Reference, Session};
use crate::pull::{Error, Outcome, Pulled, without_namespace};
use crate::push::{Errand, MOST_TAGS, Pushed};
use crate::route::{Registry, Target};
use crate::serve::CachePolicy;
use crate::serve::headers::DOCKER_CONTENT_DIGEST;
use crate::telemetry::Record;
use crate::upstream::{Outgoing, UploadUrl};

/// What of a client's header goes up with a push.
const PUSHED_ON: [HeaderName; 2] = [header::CONTENT_TYPE, header::CONTENT_RANGE];

/// What a request would change; `None` is none of the write side.
pub(super) fn action(method: &Method, endpoint: &Endpoint) -> Option<Action> {
    match (endpoint, method.as_str()) {
        (Endpoint::Upload(_), "POST")
        | (Endpoint::Session(..), "GET" | "HEAD" | "PATCH" | "PUT")
        | (Endpoint::Manifest(..), "PUT") => Some(Action::Push),
        (Endpoint::Session(..) | Endpoint::Manifest(..) | Endpoint::Blob(..), "DELETE") => {
            Some(Action::Delete)
        }
        _ => None,
    }
}

/// What may be asked of an endpoint.
pub(super) fn allow(endpoint: &Endpoint, registry: Option<&Registry>) -> HeaderValue {
    HeaderValue::from_static(match endpoint {
        _ if !registry.is_some_and(|registry| registry.push) => "GET, HEAD",
        Endpoint::Upload(_) => "POST",
        Endpoint::Session(..) => "GET, HEAD, PATCH, PUT, DELETE",
        Endpoint::Manifest(..) => "GET, HEAD, PUT, DELETE",
        Endpoint::Blob(..) => "GET, HEAD, DELETE",
        Endpoint::Base | Endpoint::Catalog | Endpoint::Tags(_) | Endpoint::Referrers(..) => "GET, HEAD",
    })
}

/// 405 where pushing is off, with the key that turns it on.
pub(super) fn is_off(registry: &Registry) -> Problem {
    let name = &registry.name;
    let message = format!(
        "docxy only pulls from {name}: push to the registry itself, or set registries.\"{name}\".push.enabled = true in \
         docxy.toml"
    );
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message)
}

impl Asker<'_> {
    /// `target.action` says what is done.
    pub(super) async fn push(
        &self,
        request: &Parts,
        body: Option<Body>,
        record: &Record,
        identity: &Identity,
        pass: &mut Option<Pass>,
    ) -> Result<Pulled, Stop> {
        let Admitted { subject, permit } = self.admit(record, identity, pass).await?;
        let uploader = self.parts.access.uploader(&subject, identity, self.target);
        let (upload, mount) = match &self.target.endpoint {
            Endpoint::Session(_, session) => (Some(self.opened(&uploader, session)?), Mount::none(request)),
            Endpoint::Upload(_) => (None, self.mount(request, &subject, identity, &permit).await),
            _ => (None, Mount::none(request)),
        };
        let mut headers = HeaderMap::new();
        for name in PUSHED_ON {
            if let Some(value) = request.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        self.tags_of_query(request, &subject)?;
        let patience = self.parts.push.patience(self.target).map_err(refused)?;
        let body = body
            .filter(|body| request.method != Method::DELETE && !body.is_end_stream())
            .map(|body| Outgoing::new(record.receiving(body), patience));
        let named = named_digest(request);
        let errand = Errand {
            method: request.method.clone(),
            upload,
            query: mount.query,
            headers,
            body,
            from: mount.from,
        };
        match self.parts.push.carry_out(&permit, self.target, errand).await {
            Ok(pushed) => self.told(pushed, &uploader, named.as_ref()),
            Err(error) => Err(self.refuse(identity, &permit, error)),
        }
    }

    /// A manifest may be given tags by its query, by the specification where it is put by digest; the rules are about them,
    /// too, whatever a registry makes of them.
    fn tags_of_query(&self, request: &Parts, subject: &Subject) -> Result<(), Stop> {
        let Endpoint::Manifest(repository, _) = &self.target.endpoint else {
            return Ok(());
        };
        let query = request.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        for (count, (_, tag)) in pairs.filter(|(key, _)| key == "tag").enumerate() {
            if count >= MOST_TAGS {
                let message = format!("a manifest can be put under {MOST_TAGS} tags at a time");
                return Err(Problem::new(StatusCode::BAD_REQUEST, Code::TagInvalid, message).into());
            }
            let reference = Reference::parse(&tag).map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, Code::TagInvalid, error.to_string())
            })?;
            let there = Target {
                endpoint: Endpoint::Manifest(repository.clone(), reference),
                ..self.target.clone()
            };
            let decision = self.parts.access.policy().decide_target(subject, &there);
            if !decision.allowed {
                return Err(self.turn_away(Refusal::Forbidden { by: decision.by }));
            }
        }
        Ok(())
    }

    /// Where the registry takes the rest.
    fn opened(&self, uploader: &Uploader, session: &Session) -> Result<UploadUrl, Stop> {
        let opened = self.parts.access.tokens().open_upload(uploader, session);
        let url = opened.and_then(|text| UploadUrl::parse(&text));
        url.ok_or_else(|| {
            let message = "docxy knows no such upload of yours in this repository; begin it again";
            Problem::new(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, message).into()
        })
    }

    /// The registry's word for the client, with docxy's own paths in it.
    fn told(&self, pushed: Pushed, uploader: &Uploader, named: Option<&Digest>) -> Result<Pulled, Stop> {
        let Pushed {
            status,
            mut headers,
            onward,
            said,
        } = pushed;
        let location = self.location(status, &headers, onward, uploader, named)?;
        if let Some(location) = location {
            headers.insert(header::LOCATION, location);
        }
        if !status.is_success() {
            let error = Error::Rejected {
                registry: self.target.registry.name.clone(),
                status,
                said: None,
            };
            let (code, message) = match said {
                Some(said) => (said.code, said.message),
                None => (usual_code(status, &self.target.endpoint), error.to_string()),
            };
            let mut problem = Problem::new(status, code, message);
            problem
                .headers
                .extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
            let outcome = match status {
                StatusCode::FORBIDDEN => Outcome::Denied,
                _ => error.outcome(),
            };
            return Err(Stop::refused(problem, outcome, Some(status)));
        }
        if status != StatusCode::NO_CONTENT {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(Pulled {
            response,
            cache: CachePolicy::NoStore,
            outcome: Outcome::Bypass,
            upstream_status: Some(status),
        })
    }

    /// Relative, so that it holds for whatever door, port or tunnel the client came through.
    fn location(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        onward: Option<UploadUrl>,
        uploader: &Uploader,
        named: Option<&Digest>,
    ) -> Result<Option<HeaderValue>, Stop> {
        let said = headers
            .get(DOCKER_CONTENT_DIGEST)
            .and_then(|value| Digest::parse(value.to_str().ok()?).ok());
        let digest = said.as_ref().or(named);
        let endpoint = match (&self.target.endpoint, onward) {
            (Endpoint::Upload(repository) | Endpoint::Session(repository, _), _)
                if status == StatusCode::CREATED =>
            {
                digest.map(|digest| Endpoint::Blob(repository.clone(), digest.clone()))
            }
            (Endpoint::Upload(repository) | Endpoint::Session(repository, _), Some(onward))
                if self.target.action == Action::Push =>
            {
                let sealed = self
                    .parts
                    .access
                    .tokens()
                    .seal_upload(uploader, onward.to_text())
                    .map_err(|error| internal(error.to_string()))?;
                let session = Session::parse(&sealed).map_err(|error| internal(error.to_string()))?;
                Some(Endpoint::Session(repository.clone(), session))
            }
            (Endpoint::Manifest(repository, reference), _) if status == StatusCode::CREATED => {
                let reference =
                    digest.map_or_else(|| reference.clone(), |said| Reference::Digest(said.clone()));
                Some(Endpoint::Manifest(repository.clone(), reference))
            }
            _ => None,
        };
        Ok(endpoint.and_then(|endpoint| HeaderValue::from_str(&self.target.own_path(&endpoint)).ok()))
    }

    /// Whether a push from another repository of the same registry may take a blob over, and as what.
    async fn mount(&self, request: &Parts, subject: &Subject, identity: &Identity, permit: &Permit) -> Mount {
        let mount = Mount::read(request.uri.query());
        let Some(from) = mount.wanted() else {
            return Mount::plain(&mount);
        };
        let path = Endpoint::Blob(from.repository.clone(), from.digest.clone()).path();
        let there = self
            .parts
            .routes
            .resolve(self.visit, &path, request.uri.query())
            .ok()
            .filter(|there| there.registry.name == self.target.registry.name);
        let Some(there) = there else {
            return Mount::plain(&mount);
        };
        // Who may not read it there must not get it by the back door of docxy's own account.
        let access = &self.parts.access;
        let readable = access
            .identify(identity, &there, subject.address, self.by_proxy)
            .await
            .is_ok_and(|reader| {
                let authorised = access.authorise(&reader, identity, &there, &self.parts.routes, false);
                authorised.is_ok_and(|by| same_right(&by.permit, permit))
            });
        match there.endpoint.repository().filter(|_| readable) {
            Some(repository) => mount.over_from(there.registry.canonical(repository).into_owned()),
            None => Mount::plain(&mount),
        }
    }
}

/// Both are shown to the registry as the same client.
fn same_right(one: &Permit, other: &Permit) -> bool {
    std::mem::discriminant(one.right()) == std::mem::discriminant(other.right())
}

/// What a finished blob will be called.
fn named_digest(request: &Parts) -> Option<Digest> {
    let query = without_namespace(request.uri.query())?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (_, digest) = pairs.find(|(key, _)| matches!(&**key, "digest" | "mount"))?;
    Digest::parse(&digest).ok()
}

/// Of a refusal that says nothing else.
fn usual_code(status: StatusCode, endpoint: &Endpoint) -> Code {
    match (status, endpoint) {
        (StatusCode::NOT_FOUND, Endpoint::Session(..)) => Code::BlobUploadUnknown,
        (StatusCode::NOT_FOUND, Endpoint::Blob(..)) => Code::BlobUnknown,
        (StatusCode::NOT_FOUND, Endpoint::Manifest(..)) => Code::ManifestUnknown,
        (StatusCode::NOT_FOUND, _) => Code::NameUnknown,
        (StatusCode::FORBIDDEN, _) => Code::Denied,
        (StatusCode::METHOD_NOT_ALLOWED, _) => Code::Unsupported,
        (StatusCode::PAYLOAD_TOO_LARGE, _) => Code::SizeInvalid,
        (StatusCode::RANGE_NOT_SATISFIABLE, _) => Code::RangeInvalid,
        (_, Endpoint::Upload(_) | Endpoint::Session(..)) => Code::BlobUploadInvalid,
        (_, Endpoint::Manifest(..)) => Code::ManifestInvalid,
        _ => Code::Unknown,
    }
}

fn internal(message: String) -> Stop {
    let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Unknown, message);
    Stop::refused(problem, Outcome::Failed(crate::pull::Blame::Local), None)
}
