//! A container client as the real ones behave: it asks, is challenged, goes to the realm it was told, and asks again.

use std::net::SocketAddr;

use super::{
    app::TestApp,
    client::{Request, Response},
    image::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST},
    through::Proxy,
};

/// The Accept lines of dockerd 28, which sends several.
pub const ACCEPT: [&str; 6] = [
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/json",
    DOCKER_MANIFEST,
    DOCKER_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
];

#[derive(Clone, Debug)]
pub struct Puller {
    to: SocketAddr,
    host: Option<String>,
    ns: Option<String>,
    login: Option<(String, String)>,
    token: Option<String>,
    through: Option<(Proxy, String)>,
}

/// What a Bearer challenge said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub realm: String,
    pub service: String,
    pub scope: Option<String>,
    pub error: Option<String>,
}

impl Puller {
    pub fn of(app: &TestApp) -> Self {
        Self {
            to: app.addr(),
            host: None,
            ns: None,
            login: None,
            token: None,
            through: None,
        }
    }

    /// Straight to some other address (a stub), as if there were no proxy.
    pub fn at(to: SocketAddr) -> Self {
        Self {
            to,
            host: None,
            ns: None,
            login: None,
            token: None,
            through: None,
        }
    }

    /// With docxy as `HTTPS_PROXY`, to a registry under its own name (`HOST:PORT`).
    pub fn through(proxy: &Proxy, place: &str) -> Self {
        Self {
            through: Some((proxy.clone(), place.to_owned())),
            ..Self::at(proxy.address)
        }
    }

    pub fn host(self, host: &str) -> Self {
        Self {
            host: Some(host.to_owned()),
            ..self
        }
    }

    /// Adds `?ns=`, as containerd does.
    pub fn ns(self, ns: &str) -> Self {
        Self {
            ns: Some(ns.to_owned()),
            ..self
        }
    }

    pub fn login(self, user: &str, password: &str) -> Self {
        Self {
            login: Some((user.to_owned(), password.to_owned())),
            ..self
        }
    }

    /// As this client once it has a token, which it sends with every request; without a login it stays as it is.
    pub async fn signed_in(&self, scope: &str) -> Self {
        match self.try_signed_in(scope).await {
            Ok(signed_in) => signed_in,
            Err(refusal) => panic!("no token: {}", refusal.everything()),
        }
    }

    /// As `signed_in`, or the refusal of the realm.
    pub async fn try_signed_in(&self, scope: &str) -> Result<Self, Box<Response>> {
        if self.login.is_none() {
            return Ok(self.clone());
        }
        let realm = challenge(&self.once("GET", "/v2/").await).realm;
        let answer = self.token(&realm, &[scope]).await;
        if answer.status != 200 {
            return Err(Box::new(answer));
        }
        Ok(Self {
            token: Some(token_in(&answer)),
            ..self.clone()
        })
    }

    /// One request as this client is, whatever the answer.
    pub async fn once(&self, method: &str, path: &str) -> Response {
        self.request(method, path).send(self.to).await
    }

    /// A request to this client's door, without any credential but the token it may have.
    pub fn request(&self, method: &str, path: &str) -> Request {
        let mut target = path.to_owned();
        if let Some(ns) = &self.ns {
            target.push_str(if path.contains('?') { "&ns=" } else { "?ns=" });
            target.push_str(ns);
        }
        let mut request = Request::new(method, target);
        if let Some(host) = &self.host {
            request = request.header("Host", host);
        }
        if path.contains("/manifests/") {
            request = ACCEPT
                .iter()
                .fold(request, |request, line| request.header("Accept", *line));
        }
        if let Some(token) = &self.token {
            request = request.bearer(token);
        }
        match &self.through {
            Some((proxy, place)) => request.through(proxy, place),
            None => request,
        }
    }

    /// One request without credentials.
    pub async fn ask(&self, path: &str) -> Response {
        self.request("GET", path).send(self.to).await
    }

    /// One request with this token.
    pub async fn ask_with(&self, path: &str, token: &str) -> Response {
        self.request("GET", path).bearer(token).send(self.to).await
    }

    /// A request, and when it is challenged the token dance and the request again.
    pub async fn get(&self, path: &str) -> Response {
        self.send("GET", path).await
    }

    pub async fn send(&self, method: &str, path: &str) -> Response {
        let first = self.request(method, path).send(self.to).await;
        match self.token_for(&first).await {
            Some(Ok(token)) => self.request(method, path).bearer(&token).send(self.to).await,
            Some(Err(refusal)) => *refusal,
            None => first,
        }
    }

    /// As `get`, for a part of a blob.
    pub async fn ranged(&self, path: &str, range: &str) -> Response {
        let request = || self.request("GET", path).header("Range", range);
        let first = request().send(self.to).await;
        match self.token_for(&first).await {
            Some(Ok(token)) => request().bearer(&token).send(self.to).await,
            Some(Err(refusal)) => *refusal,
            None => first,
        }
    }

    /// The token that a challenge wants, or the refusal of the realm; none where nobody was challenged.
    async fn token_for(&self, answer: &Response) -> Option<Result<String, Box<Response>>> {
        if answer.status != 401 {
            return None;
        }
        let challenge = challenge(answer);
        let scopes: Vec<&str> = challenge.scope.as_deref().into_iter().collect();
        let answer = self.token(&challenge.realm, &scopes).await;
        if answer.status == 200 {
            Some(Ok(token_in(&answer)))
        } else {
            Some(Err(Box::new(answer)))
        }
    }

    /// Asks a realm for a token by GET, with the password when there is one. The realm's host is sent as Host, to this client's address.
    pub async fn token(&self, realm: &str, scopes: &[&str]) -> Response {
        let scopes = scopes.iter().map(|scope| ("scope", *scope));
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("service", "docxy")
            .extend_pairs(scopes)
            .finish();
        let mut request = self.at_realm(realm, |path| Request::get(format!("{path}?{query}")));
        if let Some((user, password)) = &self.login {
            request = request.basic(user, password);
        }
        request.send(self.to).await
    }

    /// The same by POST, as containerd does first.
    pub async fn post_token(&self, realm: &str, fields: &[(&str, &str)]) -> Response {
        self.at_realm(realm, |path| Request::form(path, fields))
            .send(self.to)
            .await
    }

    /// To the host of a realm, in the way this client goes.
    fn at_realm(&self, realm: &str, request: impl FnOnce(&str) -> Request) -> Request {
        let (host, path) = split(realm);
        match &self.through {
            Some((proxy, _)) if realm.starts_with("https://") => {
                let place = if host.contains(':') {
                    host.to_owned()
                } else {
                    format!("{host}:443")
                };
                request(path).through(proxy, &place)
            }
            Some(_) => request(realm).header("Host", host),
            None => request(path).header("Host", host),
        }
    }
}

/// The one Bearer challenge of a 401.
#[track_caller]
pub fn challenge(response: &Response) -> Challenge {
    assert_eq!(response.status, 401, "not a challenge: {}", response.everything());
    let value = response
        .header("www-authenticate")
        .unwrap_or_else(|| panic!("a 401 without WWW-Authenticate: {}", response.everything()));
    let rest = value
        .strip_prefix("Bearer ")
        .unwrap_or_else(|| panic!("not a Bearer challenge: {value}"));
    let param = |name: &str| {
        let rest = rest.split_once(&format!("{name}=\""))?.1;
        Some(rest.split_once('"')?.0.to_owned())
    };
    Challenge {
        realm: param("realm").unwrap_or_else(|| panic!("no realm in {value}")),
        service: param("service").unwrap_or_else(|| panic!("no service in {value}")),
        scope: param("scope"),
        error: param("error"),
    }
}

/// The token of a token service's answer.
#[track_caller]
pub fn token_in(response: &Response) -> String {
    assert_eq!(response.status, 200, "no token: {}", response.everything());
    let json = response.json();
    let token = json["token"].as_str().or_else(|| json["access_token"].as_str());
    token.unwrap_or_else(|| panic!("no token in {json}")).to_owned()
}

/// Host and path of an absolute URL.
fn split(realm: &str) -> (&str, &str) {
    let rest = realm
        .split_once("://")
        .unwrap_or_else(|| panic!("the realm {realm:?} is not absolute"))
        .1;
    rest.split_at(
        rest.find('/')
            .unwrap_or_else(|| panic!("the realm {realm:?} has no path")),
    )
}
