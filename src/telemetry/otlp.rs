//! Spans on their way to a collector (OTLP over HTTP, in protobuf): in batches, in the background, and never in anybody's
//! way. A collector that is away costs the spans of its absence, a counter and one line of the log.

mod message;

use std::time::Duration;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::Metrics;
use super::metrics::Span as Counted;
use super::traces::{Finished, Traces};

/// Spans in one request.
const BATCH: usize = 512;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// For one batch, from the connection to the answer's head.
const PATIENCE: Duration = Duration::from_secs(10);
/// For all that is left when docxy ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Values only; `app` fills it from the configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Of the collector, with or without `/v1/traces`.
    pub endpoint: Url,
    /// Sent with every batch; their values are sensitive.
    pub headers: HeaderMap,
    pub service_name: String,
    /// Requests of a million that are traced.
    pub share: u32,
    /// Whom to trust.
    pub tls: rustls::ClientConfig,
}

#[derive(Debug, thiserror::Error)]
#[error("the client for otlp.endpoint can't be built: {0}")]
pub struct BuildError(String);

/// Sends until it is told to finish.
#[derive(Debug)]
pub struct Exporter {
    end: CancellationToken,
    task: JoinHandle<()>,
}

impl Config {
    /// To be called within the runtime.
    ///
    /// # Errors
    /// The HTTP client can't be built.
    pub fn start(self, metrics: Metrics) -> Result<(Traces, Exporter), BuildError> {
        let mut tls = self.tls;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| BuildError(error.without_url().to_string()))?;
        let (traces, from) = Traces::of(self.share, metrics.clone());
        let end = CancellationToken::new();
        let sender = Sender {
            client,
            url: place(&self.endpoint),
            headers: self.headers,
            service_name: self.service_name,
            metrics,
            is_away: false,
        };
        let task = tokio::spawn(sender.run(from, end.clone()));
        Ok((traces, Exporter { end, task }))
    }
}

impl Exporter {
    /// Sends what waits, for three seconds at most.
    pub async fn finish(self) {
        self.end.cancel();
        let mut task = self.task;
        if timeout(LAST_WORDS, &mut task).await.is_err() {
            task.abort();
        }
    }
}

struct Sender {
    client: reqwest::Client,
    url: Url,
    headers: HeaderMap,
    service_name: String,
    metrics: Metrics,
    /// The last batch was not taken, and the log knows.
    is_away: bool,
}

impl Sender {
    async fn run(mut self, mut from: mpsc::Receiver<Finished>, end: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_over = tokio::select! {
                count = from.recv_many(&mut batch, BATCH) => count == 0,
                () = end.cancelled() => true,
            };
            if is_over {
                break;
            }
            let until = Instant::now() + GATHER;
            while batch.len() < BATCH && !end.is_cancelled() {
                let room = BATCH - batch.len();
                let more = async {
                    tokio::select! {
                        count = from.recv_many(&mut batch, room) => count,
                        () = end.cancelled() => 0,
                    }
                };
                match timeout_at(until, more).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
            self.send(&mut batch).await;
        }
        from.close();
        while let Ok(span) = from.try_recv() {
            batch.push(span);
            if batch.len() == BATCH {
                self.send(&mut batch).await;
            }
        }
        self.send(&mut batch).await;
    }

    async fn send(&mut self, batch: &mut Vec<Finished>) {
        let count = batch.len() as u64;
        if count == 0 {
            return;
        }
        let body = message::request(&self.service_name, batch.drain(..)).encode_to_vec();
        let sending = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))
            .header(
                USER_AGENT,
                HeaderValue::from_static(concat!("docxy/", env!("CARGO_PKG_VERSION"))),
            )
            .body(body)
            .send();
        let failed = match sending.await {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered {}", answer.status())),
            Err(error) => Some(reason(&error)),
        };
        let Some(reason) = failed else {
            self.metrics.spans.add(Counted::Exported, count);
            if std::mem::take(&mut self.is_away) {
                tracing::info!(collector = %self.name(), "the collector takes traces again");
            }
            return;
        };
        self.metrics.spans.add(Counted::Failed, count);
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(
                collector = %self.name(),
                "the collector of otlp.endpoint does not take traces ({reason}); they are dropped until it does. Requests \
                 are served as ever"
            );
        }
    }

    /// For the log: its URL may hold a password.
    fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }
}

fn place(endpoint: &Url) -> Url {
    const PATH: &str = "/v1/traces";
    let mut url = endpoint.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(PATH) {
        url.set_path(&format!("{path}{PATH}"));
    }
    url
}

/// The innermost cause; an error of this library names the URL.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", PATIENCE.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::ptr::addr_eq(cause, error) {
        return "the request failed".to_owned();
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_may_be_written_both_ways() {
        // Collectors' manuals name the base, others the whole path; either must arrive.
        for (written, asked) in [
            ("http://c:4318", "http://c:4318/v1/traces"),
            ("http://c:4318/", "http://c:4318/v1/traces"),
            ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
            ("https://c/otlp/", "https://c/otlp/v1/traces"),
        ] {
            let url = Url::parse(written).unwrap();
            assert_eq!(place(&url).as_str(), asked, "{written}");
        }
    }
}
