//! A token service as registries have one: Basic credentials or none in, a signed token out.
//!
//! docker-registry checks the signature against our certificate, so a token that docxy mixed up, altered or made
//! itself opens nothing. The format is distribution's "Token Authentication Specification"; the key is named by
//! `x5c`, because a `kid` would have to be a fingerprint of libtrust's own making.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

use super::sandbox::Sandbox;

pub const SERVICE: &str = "docxy-test-registry";
pub const ISSUER: &str = "docxy-test-issuer";
/// Repositories below this need [`USER`], who alone may push; all others are anybody's to pull.
pub const PRIVATE: &str = "private/";

/// The one account of these tests.
pub const USER: &str = "alice";
/// Its password, with characters that careless encoding would change.
pub const PASSWORD: &str = "s3cret:pa%ss w+rd";

/// A token that somebody got: who, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub user: Option<String>,
    pub scopes: Vec<String>,
}

pub struct TokenServer {
    pub realm: String,
    /// The certificate registries trust tokens by.
    pub certificate: PathBuf,
    service: Arc<Service>,
    accepting: AbortHandle,
}

impl TokenServer {
    pub async fn start(sandbox: &Sandbox) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, ISSUER);
        let certificate = params.self_signed(&key).expect("a certificate");

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket");
        let service = Arc::new(Service {
            key: EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).expect("a key for ES256"),
            certificate: STANDARD.encode(certificate.der()),
            grants: Mutex::new(Vec::new()),
            bytes: Mutex::new(Vec::new()),
        });
        let accepting = tokio::spawn(serve(listener, Arc::clone(&service))).abort_handle();
        Self {
            realm: format!("http://{address}/token"),
            certificate: sandbox.file(&format!("token-{}.pem", address.port()), certificate.pem()),
            service,
            accepting,
        }
    }

    /// Whether [`USER`] got a token for exactly this scope.
    pub fn granted(&self, scope: &str) -> bool {
        let wanted = Grant {
            user: Some(USER.to_owned()),
            scopes: vec![scope.to_owned()],
        };
        self.service
            .grants
            .lock()
            .expect("no writer panics")
            .contains(&wanted)
    }

    /// How often the password of [`USER`] came here, in any request.
    pub fn secrets(&self) -> usize {
        let basic = STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let form: String = form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
        let bytes = self.service.bytes.lock().expect("no writer panics");
        let text = String::from_utf8_lossy(&bytes);
        [PASSWORD, &basic, &form]
            .iter()
            .map(|secret| text.matches(*secret).count())
            .sum()
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(listener: TcpListener, service: Arc<Service>) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let service = Arc::clone(&service);
                async move { Ok::<_, Infallible>(service.answer(request).await) }
            });
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await,
            );
        });
    }
}

struct Service {
    key: EncodingKey,
    certificate: String,
    grants: Mutex<Vec<Grant>>,
    /// Everything of every request that could hold a secret.
    bytes: Mutex<Vec<u8>>,
}

impl Service {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let body = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .unwrap_or_default();
        self.keep(&head, &body);

        let mut parameters: Vec<(String, String)> = Vec::new();
        let query = head.uri.query().unwrap_or_default();
        for source in [query.as_bytes(), &body] {
            parameters.extend(form_urlencoded::parse(source).into_owned());
        }
        let one = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        let scopes: Vec<String> = parameters
            .iter()
            .filter(|(key, _)| key == "scope")
            .flat_map(|(_, value)| value.split(' ').map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let given = match head.method {
            Method::POST => one("username").zip(one("password")),
            _ => basic(&head),
        };

        let known = given
            .as_ref()
            .map(|(user, password)| user == USER && password == PASSWORD);
        let status = match known {
            Some(false) => StatusCode::UNAUTHORIZED,
            None if head.method == Method::POST => StatusCode::UNAUTHORIZED,
            _ => StatusCode::OK,
        };
        let user = given.map(|(user, _)| user);
        let answer = if status == StatusCode::OK {
            let token = self.token(user.as_deref(), &scopes);
            self.grants
                .lock()
                .expect("no writer panics")
                .push(Grant { user, scopes });
            json!({ "token": token, "access_token": token, "expires_in": 300 })
        } else {
            json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "incorrect username or password" }] })
        };
        Response::builder()
            .status(status)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(answer.to_string())))
            .expect("a response")
    }

    /// A token for what this user may do of what was asked.
    fn token(&self, user: Option<&str>, scopes: &[String]) -> String {
        let access: Vec<Value> = scopes
            .iter()
            .filter_map(|scope| {
                let mut parts = scope.splitn(3, ':');
                let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
                let may = |action: &str| match action {
                    "pull" => user.is_some() || !name.starts_with(PRIVATE),
                    "push" | "delete" => user.is_some(),
                    _ => false,
                };
                let given: Vec<&str> = actions.split(',').filter(|action| may(action)).collect();
                let some = kind == "repository" && !given.is_empty();
                some.then(|| json!({ "type": kind, "name": name, "actions": given }))
            })
            .collect();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let mut header = Header::new(Algorithm::ES256);
        header.x5c = Some(vec![self.certificate.clone()]);
        let claims = json!({
            "iss": ISSUER,
            "sub": user.unwrap_or_default(),
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": format!("{now}-{}", self.grants.lock().expect("no writer panics").len()),
            "access": access,
        });
        encode(&header, &claims, &self.key).expect("a signed token")
    }

    fn keep(&self, head: &http::request::Parts, body: &[u8]) {
        let mut bytes = self.bytes.lock().expect("no writer panics");
        bytes.extend_from_slice(format!("{} {}\n", head.method, head.uri).as_bytes());
        let headers: BTreeMap<_, _> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        for value in headers.values() {
            bytes.extend_from_slice(value);
            bytes.push(b'\n');
        }
        bytes.extend_from_slice(body);
        bytes.push(b'\n');
    }
}

fn basic(head: &http::request::Parts) -> Option<(String, String)> {
    let value = head.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let (user, password) = str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
