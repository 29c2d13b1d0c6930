//! The API on its own listener: a running docxy, and a token for it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::cache::support::{Cached, image_of};
use crate::support::app::TestApp;
use crate::support::client::{Request, Response};

pub const LISTEN: &str = "[admin]\nlisten = [\"127.0.0.1:0\"]\n";

/// Where the API listens.
pub async fn address(app: &TestApp) -> SocketAddr {
    let line = app
        .logged("a line about the admin API", |line| {
            line["fields"]["message"] == "admin API at /api/v1"
        })
        .await;
    line["fields"]["address"].as_str().unwrap().parse().unwrap()
}

/// The text that a docxy without admin tokens prints.
pub async fn one_time(app: &TestApp) -> String {
    let line = app
        .logged("a one-time token", |line| {
            line.as_str().is_some_and(|text| text.contains("docxy_once_"))
        })
        .await;
    line.as_str().unwrap().trim().to_owned()
}

pub async fn sign_in(to: SocketAddr, one_time: &str, wanted: Value) -> Response {
    Request::new("POST", "/api/v1/session")
        .bearer(one_time)
        .body(wanted.to_string())
        .send(to)
        .await
}

/// A docxy with something in its cache, asked over TCP.
pub struct Administered {
    pub docxy: Cached,
    pub to: SocketAddr,
    pub token: String,
}

impl Administered {
    pub async fn start(seed: u64, config: &str) -> Self {
        let docxy = Cached::of(image_of(seed, &[1000, 2000]), &format!("{LISTEN}{config}")).await;
        Self::of(docxy).await
    }

    pub async fn of(docxy: Cached) -> Self {
        docxy.warm().await;
        let to = address(&docxy.app).await;
        let once = one_time(&docxy.app).await;
        let answer = sign_in(to, &once, json!({ "name": "test" })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        Self { docxy, to, token }
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(method, target).bearer(&self.token)
    }

    pub async fn get(&self, target: &str) -> Value {
        let answer = self.request("GET", target).send(self.to).await;
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    /// The API's description.
    pub async fn description(&self) -> Value {
        self.get("/api/v1/openapi.json").await
    }
}

/// Every path and method of a description.
pub fn operations(description: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for method in ["get", "post", "put", "patch", "delete"] {
            if item.get(method).is_some() {
                all.push((path.clone(), method.to_uppercase()));
            }
        }
    }
    all
}

/// With something in the place of each parameter.
pub fn filled(path: &str) -> String {
    path.replace("{token}", "nobody")
        .replace("{digest}", &format!("sha256:{}", "0".repeat(64)))
}
