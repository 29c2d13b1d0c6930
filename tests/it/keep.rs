//! What operators keep and fetch ahead: pins, prefetches, quotas of registries.

mod pins;
mod prefetch;

use std::process::Output;

use serde_json::Value;

use crate::admin::{ask, json, socket};
use crate::cli::docxy;
use crate::support::app::TestApp;

/// What a command said, run beside this docxy or after it.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub async fn run(app: &TestApp, arguments: &[&str]) -> Said {
    run_in(app.dir(), arguments).await
}

async fn run_in(folder: &std::path::Path, arguments: &[&str]) -> Said {
    let config = folder.join("docxy.toml");
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let ended = tokio::task::spawn_blocking(move || docxy(&config).args(arguments).output().unwrap());
    let Output {
        status,
        stdout,
        stderr,
    } = ended.await.unwrap();
    Said {
        code: status.code(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

impl Said {
    #[track_caller]
    pub fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }
}

/// `GET /api/v1/...`
pub async fn get(app: &TestApp, path: &str) -> Value {
    let answer = ask(&socket(app), "GET", &format!("/api/v1{path}"), "").await;
    assert_eq!(answer.status(), 200, "{path}: {answer:?}");
    json(&answer)
}
