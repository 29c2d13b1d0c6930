//! U3: another configuration while docxy serves: taken whole or not at all, and nothing under way is touched.

mod keys;
mod moved;
mod pulls;
mod refused;

use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;

use crate::cache::support::eventually;
use crate::support::app::{TestApp, merge};

/// The configuration's file of a test's docxy.
fn file(app: &TestApp) -> PathBuf {
    app.dir().join("docxy.toml")
}

/// As an editor does it: whoever looks sees the old one or the new one.
fn write(app: &TestApp, text: &str) {
    let new = file(app).with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(&new, file(app)).unwrap();
}

fn text(app: &TestApp) -> String {
    std::fs::read_to_string(file(app)).unwrap()
}

/// Puts these keys into the file.
pub fn set(app: &TestApp, keys: &str) {
    let mut table: toml::Table = toml::from_str(&text(app)).unwrap();
    merge(&mut table, toml::from_str(keys).unwrap());
    write(app, &toml::to_string(&table).unwrap());
}

pub fn says(line: &Value, text: &str) -> bool {
    line["fields"]["message"]
        .as_str()
        .is_some_and(|message| message.contains(text))
}

pub const TAKEN: &str = "the configuration was reloaded";
const REFUSED: &str = "the configuration was not reloaded";

/// SIGHUP, and the line that says what came of it.
pub async fn reload(app: &TestApp) -> Value {
    next(app, || app.signal(Signal::HUP)).await
}

/// The line about the reload that this brings about.
async fn next(app: &TestApp, begin: impl FnOnce()) -> Value {
    let about = || {
        let lines = app.log().into_iter();
        lines
            .filter(|line| says(line, TAKEN) || says(line, REFUSED))
            .collect::<Vec<_>>()
    };
    let seen = about().len();
    begin();
    eventually("what came of the reload", || about().len() > seen).await;
    about().remove(seen)
}
