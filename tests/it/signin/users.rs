//! docxy's own users: every way of signing in, and nothing of it upstream (A6, S1, S7).

mod access_tokens;
mod canaries;
mod logins;

use std::{fmt::Write as _, fs, future::Future, time::Duration};

use crate::support::{
    app::{Builder, TestApp},
    pair::{Pair, ghcr, hub},
    stub::Auth,
    within,
};

pub const ANN: (&str, &str) = ("ann", "canary-ann-password");
pub const BOB: (&str, &str) = ("bob", "canary-bob-password");

/// Everybody, each behind the cheapest hash there is.
pub fn user_file(people: &[(&str, &str)]) -> String {
    people.iter().fold(String::new(), |mut file, (name, password)| {
        let hash = bcrypt::hash(password, 4).expect("a hash");
        let _ = writeln!(file, "{name}:{hash}");
        file
    })
}

/// Ann and bob are docxy's users. docker.io is for them, and ghcr.io for whom ghcr.io lets in.
pub async fn world(config: &str) -> Pair {
    let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
    let app = with_users(Pair::app(&hub, &ghcr))
        .config("[registries.\"docker.io\"]\nclients = \"users\"\n")
        .config(config)
        .start()
        .await;
    Pair { app, hub, ghcr }
}

pub fn with_users(app: Builder) -> Builder {
    app.config("[access]\nuser_files = [\"users\"]\n")
        .file("users", user_file(&[ANN, BOB]))
}

/// Puts other users in the place of those there are, as a deployment does: whole, by a rename.
pub fn replace_users(app: &TestApp, people: &[(&str, &str)]) {
    let next = app.dir().join("users.next");
    fs::write(&next, user_file(people)).unwrap();
    fs::set_permissions(&next, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::rename(next, app.dir().join("users")).unwrap();
}

/// Asks again and again until the answer is this: files are looked at every second.
pub async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    within(what, async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// `docxy token` for this docxy; its standard output.
pub async fn token_command(app: &TestApp, arguments: &[&str]) -> String {
    let output = run_token_command(app, arguments).await;
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub async fn run_token_command(app: &TestApp, arguments: &[&str]) -> std::process::Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_docxy"))
        .env_clear()
        .arg("--config")
        .arg(app.dir().join("docxy.toml"))
        .arg("token")
        .args(arguments)
        .output()
        .await
        .unwrap()
}

/// Nothing that was typed for docxy, or made by it, was shown to a registry.
#[track_caller]
pub fn assert_nothing_of_docxys_crossed(pair: &Pair) {
    for stub in [&pair.hub, &pair.ghcr] {
        for seen in stub.secrets_seen() {
            for canary in [ANN.1, BOB.1, "docxy_", "docxy."] {
                assert!(!seen.contains(canary), "{seen} was shown: {}", stub.story());
            }
        }
    }
}
