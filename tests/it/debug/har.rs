//! A recording as its viewers read it: each field that HAR 1.2 demands, of its type, and no other but those that begin with
//! an underscore.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    log: Log,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Log {
    version: String,
    creator: Creator,
    entries: Vec<Entry>,
    comment: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Creator {
    name: String,
    version: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub started_date_time: String,
    pub time: f64,
    pub request: Request,
    pub response: Response,
    cache: Empty,
    timings: Timings,
    #[serde(flatten)]
    own: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Empty {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub http_version: String,
    cookies: Vec<Value>,
    pub headers: Vec<Pair>,
    pub query_string: Vec<Pair>,
    pub post_data: Option<PostData>,
    headers_size: i64,
    pub body_size: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Response {
    pub status: u16,
    status_text: String,
    http_version: String,
    cookies: Vec<Value>,
    pub headers: Vec<Pair>,
    pub content: Content,
    #[serde(rename = "redirectURL")]
    pub redirect_url: String,
    headers_size: i64,
    pub body_size: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PostData {
    pub mime_type: String,
    pub params: Vec<Pair>,
    pub text: String,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Content {
    pub size: u64,
    pub mime_type: String,
    pub text: Option<String>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timings {
    send: f64,
    wait: f64,
    receive: f64,
}

/// A recording, read strictly.
pub struct Har {
    pub text: String,
    log: Log,
}

impl Har {
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        Self::parse(std::fs::read_to_string(path).unwrap())
    }

    #[track_caller]
    pub fn parse(text: String) -> Self {
        let file: File = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
        assert_eq!(file.log.version, "1.2");
        assert_eq!(
            (file.log.creator.name.as_str(), file.log.creator.version.as_str()),
            ("docxy", env!("CARGO_PKG_VERSION"))
        );
        file.log.entries.iter().for_each(Entry::check);
        Self { text, log: file.log }
    }

    pub fn comment(&self) -> &str {
        &self.log.comment
    }

    pub fn entries(&self) -> &[Entry] {
        &self.log.entries
    }

    /// Those of this side whose URL contains this.
    pub fn of(&self, side: &str, url: &str) -> Vec<&Entry> {
        let entries = self.log.entries.iter();
        entries
            .filter(|entry| entry.side() == side && entry.request.url.contains(url))
            .collect()
    }

    /// Method, URL and status of all, for messages.
    pub fn story(&self) -> String {
        let lines = self.log.entries.iter().map(|entry| {
            format!(
                "{} {} {} {}\n",
                entry.side(),
                entry.request.method,
                entry.request.url,
                entry.response.status
            )
        });
        lines.collect()
    }
}

impl Entry {
    pub fn own(&self, name: &str) -> &str {
        self.own.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn side(&self) -> &str {
        self.own("_side")
    }

    fn check(&self) {
        let Self {
            request,
            response,
            timings,
            ..
        } = self;
        assert!(self.own.keys().all(|name| name.starts_with('_')), "{self:?}");
        let Empty {} = self.cache;
        // ISO 8601 with a zone.
        let time = &self.started_date_time;
        assert!(
            time.len() == 27 && time.ends_with('Z') && &time[10..11] == "T",
            "{time}"
        );
        assert!(
            (self.time - timings.send - timings.wait - timings.receive).abs() < 0.001,
            "{self:?}"
        );
        assert!(
            timings.send >= 0.0 && timings.wait >= 0.0 && timings.receive >= 0.0,
            "{self:?}"
        );
        url::Url::parse(&request.url).unwrap_or_else(|error| panic!("{error}: {}", request.url));
        assert!(request.http_version.starts_with("HTTP/"), "{self:?}");
        assert!(
            request.cookies.is_empty() && response.cookies.is_empty(),
            "{self:?}"
        );
        assert!(
            request.headers_size == -1 && response.headers_size == -1,
            "{self:?}"
        );
        assert!(request.body_size >= 0 && response.body_size >= -1, "{self:?}");
        assert!(
            request.query_string.is_empty() != request.url.contains('?') || request.url.ends_with("?***"),
            "{self:?}"
        );
        if response.status == 0 {
            assert!(
                response.http_version.is_empty() && response.status_text.is_empty(),
                "{self:?}"
            );
        } else {
            assert!(response.http_version.starts_with("HTTP/"), "{self:?}");
            assert_eq!(
                u64::try_from(response.body_size).unwrap(),
                response.content.size,
                "{self:?}"
            );
        }
    }
}

/// The value of the first header of this name.
pub fn header<'h>(headers: &'h [Pair], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|pair| pair.name == name);
    found.map(|pair| pair.value.as_str())
}
