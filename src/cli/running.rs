//! Asking the docxy that runs, over its socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use crate::access::issued::{self, Wanted};
use crate::admin::Reloaded;
use crate::admin::api::admins::{AdminToken, AdminTokens, NewAdminToken, WantedAdminToken};
use crate::admin::api::explain::Explained;
use crate::admin::api::trace::{Start, Trace};
use crate::admin::api::upstreams::Upstreams;
use crate::admin::api::{
    self, About, AccessTokens, Failure, Line, NewToken, Problem, Removal, pins, prefetch,
};
use crate::cache::{Cleared, Collected, Next, Page, PinList, Progress, Usage, Verified};
use crate::oci::{Digest, RegistryName};

/// For the first answer. Later ones may take what the disk takes.
const TIME_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Running {
    runtime: Runtime,
    socket: PathBuf,
}

impl Running {
    /// The docxy that answers at this socket, if one does.
    pub fn find(socket: &Path) -> anyhow::Result<Option<(Self, About)>> {
        match std::os::unix::net::UnixStream::connect(socket) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => bail!(
                "{} may not be opened; run this as the user that docxy runs as",
                socket.display()
            ),
            // Nobody, a file that a killed docxy left, or a path that no socket can have.
            Err(_) => return Ok(None),
        }
        let running = Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            socket: socket.to_owned(),
        };
        let asked = async {
            tokio::time::timeout(TIME_LIMIT, running.whole(Method::GET, "/about", Bytes::new())).await
        };
        let about = running.runtime.block_on(asked).map_err(|_| {
            anyhow!(
                "docxy does not answer at {} within {} s: is it stopped, or very busy?",
                socket.display(),
                TIME_LIMIT.as_secs()
            )
        })?;
        match about {
            Ok(about) => {
                let about: About = about;
                if about.api != api::VERSION {
                    bail!(other_version(&format!("is docxy {}", about.version), socket));
                }
                Ok(Some((running, about)))
            }
            // An older one does not know the question, another may answer it otherwise.
            Err(Failed::Refused(status, _)) if status == StatusCode::NOT_FOUND => {
                bail!(other_version("is an older docxy", socket))
            }
            Err(Failed::NotUnderstood) => bail!(other_version("answers what is not understood", socket)),
            Err(error) => Err(error.into()),
        }
    }

    /// Tells it to read its configuration again. The problem is the configuration's, and nothing was taken.
    pub fn reload(&self) -> anyhow::Result<Result<Reloaded, Problem>> {
        let asked = self.whole(Method::POST, "/config/reload", Bytes::new());
        match self.runtime.block_on(asked) {
            Ok(reloaded) => Ok(Ok(reloaded)),
            Err(Failed::Refused(StatusCode::UNPROCESSABLE_ENTITY, Some(problem))) => Ok(Err(*problem)),
            Err(error) => Err(error.into()),
        }
    }

    pub fn list(&self, after: Option<&Digest>, most: usize) -> anyhow::Result<Page> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &most.to_string());
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
        }
        self.ask(
            Method::GET,
            &format!("/cache/blobs?{}", query.finish()),
            Bytes::new(),
        )
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        self.ask(Method::GET, "/cache", Bytes::new())
    }

    pub fn remove(&self, removal: &Removal) -> anyhow::Result<Cleared> {
        self.ask(Method::POST, "/cache/remove", json(removal)?)
    }

    pub fn collect(&self) -> anyhow::Result<Collected> {
        self.ask(Method::POST, "/cache/gc", Bytes::new())
    }

    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> anyhow::Result<Verified> {
        self.lines("/cache/verify", Bytes::new(), |line| {
            Ok(match line {
                Line::Progress(at) => {
                    progress(at);
                    None
                }
                Line::Done(verified) => Some(verified),
                Line::Error(error) => bail!("docxy says: {error}"),
            })
        })
    }

    /// Until the line that says that it is done.
    pub fn prefetch(
        &self,
        wanted: &prefetch::Wanted,
        told: &mut dyn FnMut(prefetch::Line) -> anyhow::Result<()>,
    ) -> anyhow::Result<prefetch::Done> {
        self.lines("/cache/prefetch", json(wanted)?, |line| match line {
            prefetch::Line::Done(done) => Ok(Some(done)),
            line => told(line).map(|()| None),
        })
    }

    pub fn pins(&self) -> anyhow::Result<PinList> {
        self.ask(Method::GET, "/pins", Bytes::new())
    }

    pub fn pin(&self, wanted: &pins::Wanted) -> anyhow::Result<pins::Done> {
        self.ask(Method::POST, "/pins", json(wanted)?)
    }

    pub fn unpin(&self, wanted: &pins::Unpin) -> anyhow::Result<pins::Done> {
        self.ask(Method::POST, "/pins/remove", json(wanted)?)
    }

    pub fn next(&self, registry: Option<&RegistryName>, most: usize) -> anyhow::Result<Next> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("limit", &most.to_string());
        if let Some(registry) = registry {
            query.append_pair("registry", registry.as_str());
        }
        self.ask(
            Method::GET,
            &format!("/cache/next?{}", query.finish()),
            Bytes::new(),
        )
    }

    /// Answers that come line by line, until `read` has what it waits for.
    fn lines<L: DeserializeOwned, T>(
        &self,
        target: &str,
        body: Bytes,
        mut read: impl FnMut(L) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        self.runtime.block_on(async {
            let answer = self.send(Method::POST, target, body).await?;
            let mut body = answer.into_body();
            let mut left = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.context("docxy broke off")?;
                left.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
                while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = left.drain(..=end).collect();
                    let line = serde_json::from_slice(&line).context("docxy's answer is not understood")?;
                    if let Some(answer) = read(line)? {
                        return Ok(answer);
                    }
                }
            }
            bail!("docxy broke off: it has ended, perhaps")
        })
    }

    /// What it would do about an image, and why; `query` beside the image: for whom.
    pub fn explain(&self, image: &str, query: &[(&str, &str)]) -> anyhow::Result<Explained> {
        let mut whole = form_urlencoded::Serializer::new(String::new());
        whole.append_pair("image", image);
        whole.extend_pairs(query);
        self.ask(Method::GET, &format!("/explain?{}", whole.finish()), Bytes::new())
    }

    /// How it stands with its registries.
    pub fn upstreams(&self) -> anyhow::Result<Upstreams> {
        self.ask(Method::GET, "/upstreams", Bytes::new())
    }

    /// The recording that runs, or ran last.
    pub fn trace(&self) -> anyhow::Result<Trace> {
        self.ask(Method::GET, "/trace", Bytes::new())
    }

    pub fn start_trace(&self, wanted: &Start) -> anyhow::Result<Trace> {
        self.ask(Method::POST, "/trace", json(wanted)?)
    }

    pub fn stop_trace(&self) -> anyhow::Result<Trace> {
        self.ask(Method::DELETE, "/trace", Bytes::new())
    }

    pub fn access_tokens(&self) -> anyhow::Result<AccessTokens> {
        self.ask(Method::GET, "/tokens", Bytes::new())
    }

    pub fn create_token(&self, wanted: &Wanted) -> anyhow::Result<NewToken> {
        self.ask(Method::POST, "/tokens", json(wanted)?)
    }

    pub fn revoke_token(&self, which: &str) -> anyhow::Result<issued::About> {
        self.ask(
            Method::DELETE,
            &format!("/tokens/{}", segment(which)),
            Bytes::new(),
        )
    }

    pub fn admin_tokens(&self) -> anyhow::Result<AdminTokens> {
        self.ask(Method::GET, "/admin/tokens", Bytes::new())
    }

    pub fn create_admin_token(&self, wanted: &WantedAdminToken) -> anyhow::Result<NewAdminToken> {
        self.ask(Method::POST, "/admin/tokens", json(wanted)?)
    }

    pub fn revoke_admin_token(&self, which: &str) -> anyhow::Result<AdminToken> {
        self.ask(
            Method::DELETE,
            &format!("/admin/tokens/{}", segment(which)),
            Bytes::new(),
        )
    }

    fn ask<T: DeserializeOwned>(&self, method: Method, target: &str, body: Bytes) -> anyhow::Result<T> {
        Ok(self.runtime.block_on(self.whole(method, target, body))?)
    }

    async fn whole<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<T, Failed> {
        let answer = self.send(method, target, body).await?;
        let text = answer
            .into_body()
            .collect()
            .await
            .context("docxy broke off")?
            .to_bytes();
        serde_json::from_slice(&text).map_err(|_| Failed::NotUnderstood)
    }

    /// An answer of 200; others are errors in docxy's own words.
    async fn send(&self, method: Method, target: &str, body: Bytes) -> Result<Response<Incoming>, Failed> {
        let what = || format!("docxy at {} can't be asked", self.socket.display());
        let stream = UnixStream::connect(&self.socket).await.with_context(what)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.with_context(what)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", api::PREFIX))
            .header(header::HOST, "docxy")
            .body(Full::new(body))
            .with_context(what)?;
        let answer = sender.send_request(request).await.with_context(what)?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let text = answer.into_body().collect().await.with_context(what)?.to_bytes();
        let problem = serde_json::from_slice::<Failure>(&text).ok();
        Err(Failed::Refused(
            status,
            problem.map(|failure| Box::new(failure.error)),
        ))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{}", refusal(*.0, .1.as_deref()))]
    Refused(StatusCode, Option<Box<Problem>>),
    #[error("docxy's answer is not understood: the docxy that runs is of another version than this command")]
    NotUnderstood,
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

fn refusal(status: StatusCode, problem: Option<&Problem>) -> String {
    match problem {
        Some(problem) => format!("docxy says: {problem}"),
        None => format!("docxy answered {status}"),
    }
}

fn other_version(what: &str, socket: &Path) -> String {
    format!(
        "the docxy that runs at {} {what}, and this command is of docxy {}, which speaks to it in another way: use the docxy \
         command of the version that runs, or restart docxy",
        socket.display(),
        env!("CARGO_PKG_VERSION")
    )
}

/// Of a path, whatever is in it.
fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn json(value: &impl Serialize) -> anyhow::Result<Bytes> {
    Ok(serde_json::to_vec(value)?.into())
}
