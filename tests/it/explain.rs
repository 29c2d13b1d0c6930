//! `docxy explain` and `/api/v1/explain`: an operator asks what would happen to one pull, and is told why, while nothing happens.

mod asked;
mod comes;
mod rights;
mod stored;

use std::fmt::Write as _;

use serde_json::Value;

use crate::admin::{ask, json, socket};
use crate::cache::support::word;
use crate::support::{app::TestApp, client::Response, puller::Puller, stub::StubRegistry, within};

/// What docxy tells. Asked twice: no request may reach the registry for it, and the second answer is that of the first.
async fn explained(app: &TestApp, stub: &StubRegistry, question: &[(&str, &str)]) -> Value {
    let mut target = "/api/v1/explain".to_owned();
    for (n, (key, value)) in question.iter().enumerate() {
        let _ = write!(target, "{}{key}={value}", if n == 0 { '?' } else { '&' });
    }
    let before = stub.requests().len();
    let answer = ask(&socket(app), "GET", &target, "").await;
    let told = json(&answer);
    assert_eq!(answer.status(), 200, "{told}");
    let again = json(&ask(&socket(app), "GET", &target, "").await);
    assert_eq!(
        timeless(&told),
        timeless(&again),
        "a second look tells something else"
    );
    assert_eq!(stub.requests().len(), before, "{}", stub.story());
    let text = told.to_string();
    assert!(!text.contains("canary"), "{text}");
    told
}

/// Without spans of time, which go on.
fn timeless(value: &Value) -> Value {
    const SPANS: [&str; 14] = [
        "confirmed",
        "known",
        "public_since",
        "fresh_for",
        "stale_for",
        "unused",
        "ago",
        "asked",
        "since",
        "seen",
        "full_in",
        "empty_in",
        "asked_again_in",
        "because",
    ];
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, value)| !SPANS.contains(&key.as_str()) || value.is_boolean())
            .map(|(key, value)| (key.clone(), timeless(value)))
            .collect(),
        Value::Array(list) => list.iter().map(timeless).collect(),
        other => other.clone(),
    }
}

#[track_caller]
fn says(told: &Value, key: &str, part: &str) {
    let text = told.pointer(key).and_then(Value::as_str).unwrap_or_default();
    assert!(text.contains(part), "{key} is {text:?}, not {part:?}: {told:#}");
}

/// One pull: what is told of it, and what really comes.
struct Trial<'a> {
    app: &'a TestApp,
    stub: &'a StubRegistry,
    question: Vec<(&'a str, &'a str)>,
    puller: Puller,
    path: &'a str,
}

/// By somebody on this machine who has not signed in.
fn trial<'a>(app: &'a TestApp, stub: &'a StubRegistry, image: &'a str, path: &'a str) -> Trial<'a> {
    Trial {
        app,
        stub,
        question: vec![("image", image), ("client", "127.0.0.1")],
        puller: Puller::of(app),
        path,
    }
}

impl<'a> Trial<'a> {
    /// By this user, who shows this.
    fn by(mut self, user: &'a str, password: &str) -> Self {
        self.question.push(("user", user));
        let name = user.strip_prefix("token:").unwrap_or(user);
        self.puller = self.puller.login(name, password);
        self
    }

    /// What was told of a pull that then came so.
    async fn comes(&self, outcome: &str, because: &str) -> Value {
        let told = explained(self.app, self.stub, &self.question).await;
        assert_eq!(told["expected"]["outcome"], outcome, "told: {told:#}");
        says(&told, "/expected/because", because);
        let before = requests(self.app).len();
        let answer = self.puller.get(self.path).await;
        let came = outcome_of(self.app, &answer, before).await;
        assert_eq!(
            came,
            outcome,
            "came: {}\n{}",
            answer.everything(),
            self.stub.story()
        );
        told
    }
}

/// The word that the client read, or that the log has of its refusal.
async fn outcome_of(app: &TestApp, answer: &Response, before: usize) -> String {
    if answer.status == 200 {
        return word(answer);
    }
    within("the refusal in the access log", async {
        loop {
            let lines = requests(app).into_iter().skip(before);
            let mut own = lines.filter(|fields| fields["status"] == answer.status);
            if let Some(fields) = own.next_back() {
                return fields["outcome"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
}

/// The access log's lines.
fn requests(app: &TestApp) -> Vec<Value> {
    let lines = app.log().into_iter();
    let requests = lines.filter(|line| line["fields"]["message"] == "request");
    requests.map(|line| line["fields"].clone()).collect()
}
