//! Every way of asking for something private: door, method, name, thing, wish.

use crate::cache::support::Cached;
use crate::support::{
    client::{Request, Response},
    image::{Content, Image},
    puller::{Puller, challenge},
    through::Proxy,
};

/// Only alice (or whom docxy's rules let) may read it.
pub const PRIVATE: &str = "team/app";
/// Only bob.
pub const BOBS: &str = "bob/own";
/// Everybody.
pub const PUBLIC: &str = "library/redis";
/// There is none.
pub const MADE_UP: &str = "team/not";

/// The virtual host of docker.io.
const HOST: &str = "hub.test";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    Default,
    Prefix,
    Namespace,
    Host,
    Tunnel,
}

impl Door {
    pub const ALL: [Self; 5] = [
        Self::Default,
        Self::Prefix,
        Self::Namespace,
        Self::Host,
        Self::Tunnel,
    ];

    /// What docxy must be told for it.
    pub const CONFIG: &str =
        "[registries.\"docker.io\"]\nhosts = [\"hub.test\"]\n[intercept]\nenabled = true\n";

    pub fn puller(self, docxy: &Cached) -> Puller {
        match self {
            Self::Namespace => docxy.client().ns("docker.io"),
            Self::Host => docxy.client().host(HOST),
            Self::Tunnel => Puller::through(&Proxy::known(&docxy.app), "docker.io:443"),
            Self::Default | Self::Prefix => docxy.client(),
        }
    }
}

/// What a client shows with a request.
#[derive(Clone, Debug)]
pub enum Shown {
    Nothing,
    Basic(&'static str, &'static str),
    Bearer(String),
}

/// What docxy's realm gives to a login at this door, or its refusal.
pub async fn token(
    docxy: &Cached,
    door: Door,
    login: Option<(&'static str, &'static str)>,
    scopes: &[&str],
) -> Result<Shown, Response> {
    // Without `public_url` docxy names no realm to a host that the client made up; a token is for the registry, not for the door.
    let client = match door {
        Door::Host => Door::Namespace.puller(docxy),
        _ => door.puller(docxy),
    };
    let client = match login {
        Some((user, password)) => client.login(user, password),
        None => client,
    };
    let base = client.once("GET", "/v2/").await;
    if base.status != 401 {
        return Err(base);
    }
    let realm = challenge(&base).realm;
    let scopes: Vec<String> = scopes
        .iter()
        .map(|name| format!("repository:{name}:pull"))
        .collect();
    let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
    let answer = client.token(&realm, &scopes).await;
    let token = serde_json::from_slice::<serde_json::Value>(&answer.body)
        .ok()
        .and_then(|json| {
            Some(
                json.get("token")
                    .or(json.get("access_token"))?
                    .as_str()?
                    .to_owned(),
            )
        });
    match token {
        Some(token) if answer.status == 200 => Ok(Shown::Bearer(token)),
        _ => Err(answer),
    }
}

/// A thing of the private image, or a list.
#[derive(Clone, Debug)]
pub struct Thing {
    pub rest: String,
    pub content: Option<Content>,
}

impl Thing {
    fn of(rest: String, content: Option<&Content>) -> Self {
        Self {
            rest,
            content: content.cloned(),
        }
    }

    /// Tag, index, child manifest, configuration, layer, list of tags, referrers.
    pub fn all(image: &Image) -> Vec<Self> {
        let (root, child) = (&image.root, &image.children[0]);
        let (config, layer) = (&image.blobs[0], &image.blobs[1]);
        let at = |kind: &str, of: &Content| format!("{kind}/{}", of.digest);
        vec![
            Self::of("manifests/1".to_owned(), Some(root)),
            Self::of(at("manifests", root), Some(root)),
            Self::of(at("manifests", child), Some(child)),
            Self::of(at("blobs", config), Some(config)),
            Self::of(at("blobs", layer), Some(layer)),
            Self::of("tags/list".to_owned(), None),
            Self::of(at("referrers", root), None),
        ]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Whole,
    Part,
    OpenPart,
    IfNoneMatch,
    IfNoneMatchAny,
}

impl Wish {
    pub const ALL: [Self; 5] = [
        Self::Whole,
        Self::Part,
        Self::OpenPart,
        Self::IfNoneMatch,
        Self::IfNoneMatchAny,
    ];
}

#[derive(Clone, Debug)]
pub struct Vector {
    pub door: Door,
    pub method: &'static str,
    pub repository: &'static str,
    pub thing: Thing,
    pub wish: Wish,
}

impl Vector {
    /// All combinations through these repositories, in a steady order.
    pub fn all(image: &Image, repositories: &[&'static str]) -> Vec<Self> {
        let mut all = Vec::new();
        for &repository in repositories {
            for thing in Thing::all(image) {
                let wishes = if thing.content.is_some() {
                    Wish::ALL.len()
                } else {
                    1
                };
                for &wish in &Wish::ALL[..wishes] {
                    for door in Door::ALL {
                        for method in ["GET", "HEAD"] {
                            all.push(Self {
                                door,
                                method,
                                repository,
                                thing: thing.clone(),
                                wish,
                            });
                        }
                    }
                }
            }
        }
        all
    }

    /// The same of another repository.
    pub fn of(&self, repository: &'static str) -> Self {
        Self {
            repository,
            ..self.clone()
        }
    }

    pub fn request(&self, docxy: &Cached, shown: &Shown) -> Request {
        let prefix = if self.door == Door::Prefix {
            "docker.io/"
        } else {
            ""
        };
        let path = format!("/v2/{prefix}{}/{}", self.repository, self.thing.rest);
        let request = self.door.puller(docxy).request(self.method, &path);
        let request = match self.wish {
            Wish::Whole => request,
            Wish::Part => request.header("Range", "bytes=0-99"),
            Wish::OpenPart => request.header("Range", "bytes=100-"),
            Wish::IfNoneMatch => request.header("If-None-Match", format!("\"{}\"", self.digest())),
            Wish::IfNoneMatchAny => request.header("If-None-Match", "*"),
        };
        match shown {
            Shown::Nothing => request,
            Shown::Basic(user, password) => request.basic(user, password),
            Shown::Bearer(token) => request.bearer(token),
        }
    }

    pub async fn send(&self, docxy: &Cached, shown: &Shown) -> Response {
        self.request(docxy, shown).send(docxy.app.addr()).await
    }

    pub fn digest(&self) -> &str {
        self.thing
            .content
            .as_ref()
            .map_or("", |content| content.digest.as_str())
    }

    /// What an answer may repeat because the client said it: the digest, unless only the tag was asked for.
    pub fn said(&self) -> Vec<&str> {
        let (_, hex) = self.thing.rest.split_once("sha256:").unwrap_or_default();
        let (_, matched) = self.digest().split_once(':').unwrap_or_default();
        let matched = if self.wish == Wish::IfNoneMatch {
            matched
        } else {
            ""
        };
        vec![hex, matched]
    }

    /// Is this the whole, or the part, or the confirmation that was asked for? What is wrong with it otherwise.
    pub fn wrong(&self, answer: &Response) -> Option<String> {
        let Some(content) = &self.thing.content else {
            return (answer.status != 200).then(|| format!("status {}", answer.status));
        };
        let whole = &content.bytes[..];
        let (expected, status): (&[u8], &[u16]) = match (self.wish, answer.status) {
            // A manifest may be sent whole whatever part was asked for.
            (Wish::Part, 206) => (&whole[..100], &[206]),
            (Wish::OpenPart, 206) => (&whole[100..], &[206]),
            (Wish::IfNoneMatch | Wish::IfNoneMatchAny, 304) => (&[], &[304]),
            _ => (whole, &[200]),
        };
        let expected = if self.method == "HEAD" { &[] } else { expected };
        if !status.contains(&answer.status) {
            return Some(format!("status {}", answer.status));
        }
        if answer.body != expected || !answer.complete {
            return Some(format!("{} other bytes", answer.body.len()));
        }
        let told = answer.header("docker-content-digest");
        (answer.status == 200 && told != Some(&*content.digest)).then(|| format!("digest {told:?}"))
    }
}
