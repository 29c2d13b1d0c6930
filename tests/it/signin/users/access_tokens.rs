//! Access tokens: what they open, and everything that ends them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{ANN, BOB, replace_users, run_token_command, token_command, until, with_users, world};
use crate::support::{
    app::TestApp,
    client::Request,
    pair::{Pair, ghcr, hub},
    puller::token_in,
    stub::Auth,
};

const IMAGE: &str = "/v2/library/redis/manifests/7";

fn file(app: &TestApp) -> PathBuf {
    app.dir().join("state/keys/tokens.json")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

async fn listed(app: &TestApp) -> Vec<Value> {
    serde_json::from_str(&token_command(app, &["list", "--json"]).await).unwrap()
}

async fn status(pair: &Pair, path: &str, token: &str) -> u16 {
    pair.client().ask_with(path, token).await.status
}

#[tokio::test]
async fn what_is_kept_is_of_no_use_to_a_thief() {
    // Backups and disks get lost.
    let pair = world("").await;
    let token = token_command(
        &pair.app,
        &["create", "--name", "ci", "--scope", "docker.io/redis"],
    )
    .await;
    assert!(token.starts_with("docxy_") && token.len() == 55, "{token}");
    let file = file(&pair.app);
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(status(&pair, IMAGE, &token).await, 200);
    let (kept, log) = (fs::read_to_string(&file).unwrap(), pair.app.log_text());
    for text in [&kept, &log, &token_command(&pair.app, &["list"]).await] {
        assert!(!text.contains(&token[6..]), "{text}");
    }
    let all = listed(&pair.app).await;
    assert_eq!(all[0]["name"], "ci");
    assert_eq!(all[0]["scopes"], serde_json::json!(["docker.io/library/redis"]));
    assert!(all[0]["last_used"].is_u64(), "{all:?}");
    // The first digits of its hash: whoever finds a leaked one can tell which it is.
    let hash = crate::support::image::sha256(token.as_bytes());
    let hash = hash.trim_start_matches("sha256:");
    assert_eq!(all[0]["id"], hash[..12]);
    assert!(kept.contains(hash), "{kept}");
    let line = pair.app.accessed("repository", "library/redis").await;
    assert_eq!(line["user"], "token:ci", "{line}");
}

#[tokio::test]
async fn a_scope_holds_whatever_the_token_is_turned_into() {
    // The token of one CI job must not open the other teams' images.
    let pair = world("[registries.\"ghcr.io\"]\nclients = \"users\"\n").await;
    let scopes = ["--scope", "docker.io/redis", "--scope", "ghcr.io/owner/*"];
    let arguments = [&["create", "--name", "ci", "--user", "ann"], &scopes[..]].concat();
    let token = token_command(&pair.app, &arguments).await;
    let mut asked = 0;
    for (path, allowed) in [
        (IMAGE, true),
        ("/v2/redis/manifests/7", true),
        ("/v2/docker.io/library/redis/tags/list", true),
        ("/v2/ghcr.io/owner/image/manifests/1", true),
        ("/v2/owner/image/manifests/1", false),
        ("/v2/ghcr.io/library/redis/manifests/7", false),
        ("/v2/ghcr.io/library/redis/tags/list", false),
        ("/v2/_catalog", false),
    ] {
        let client = pair.client().login("x", &token);
        let by_basic = Request::get(path).basic("x", &token).send(pair.app.addr());
        let answers = [
            client.get(path).await,
            client.ask_with(path, &token).await,
            by_basic.await,
        ];
        for answer in answers {
            let wanted = if allowed { 200 } else { 403 };
            answer.assert_status(&[wanted], &pair.hub);
            if !allowed {
                answer.assert_refused(403, &["DENIED"], "access token", &pair.hub);
            }
            asked += 1;
        }
    }
    assert_eq!(status(&pair, "/v2/", &token).await, 200);
    println!("{asked} requests within and beyond a scope");
}

#[tokio::test]
async fn revoking_it_ends_what_was_signed_in_with_it() {
    // Found in a public repository: from this moment on it must open nothing, nor anything that was had for it.
    let pair = world("").await;
    let create = async |name: &str| {
        let token = token_command(&pair.app, &["create", "--name", name, "--expires", "never"]).await;
        let fields = [
            ("grant_type", "password"),
            ("access_type", "offline"),
            ("username", "x"),
            ("password", &*token),
            ("scope", "repository:library/redis:pull"),
        ];
        let answer = pair.client().post_token(&pair.realm(), &fields).await;
        let refresh = answer.json()["refresh_token"].as_str().unwrap().to_owned();
        let bearer = token_in(&answer);
        assert_eq!(status(&pair, IMAGE, &token).await, 200);
        assert_eq!(status(&pair, IMAGE, &bearer).await, 200);
        (token, bearer, refresh)
    };
    let refused = async |(token, bearer, refresh): (String, String, String)| {
        assert_eq!(status(&pair, IMAGE, &token).await, 401);
        assert_eq!(status(&pair, IMAGE, &bearer).await, 401);
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        assert_eq!(pair.client().post_token(&pair.realm(), &fields).await.status, 401);
    };
    let (first, second, third) = (
        create("first").await,
        create("second").await,
        create("third").await,
    );
    token_command(&pair.app, &["revoke", "first"]).await;
    refused(first).await;
    let id = listed(&pair.app).await[0]["id"].as_str().unwrap().to_owned();
    token_command(&pair.app, &["revoke", &id]).await;
    refused(second).await;
    // By another process, without the socket: seen within a second.
    let path = file(&pair.app);
    let mut kept: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(kept["tokens"].as_array().unwrap().len(), 1);
    kept["tokens"] = serde_json::json!([]);
    let next = path.with_extension("next");
    fs::write(&next, kept.to_string()).unwrap();
    fs::set_permissions(&next, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(next, path).unwrap();
    until("the third to end", || async {
        status(&pair, IMAGE, &third.0).await == 401
    })
    .await;
    refused(third).await;
}

#[tokio::test]
async fn it_ends_with_its_time_and_with_its_user() {
    // Nobody remembers which tokens somebody had when he left.
    let pair = world("").await;
    let short = token_command(&pair.app, &["create", "--name", "short", "--expires", "2s"]).await;
    let anns = token_command(&pair.app, &["create", "--name", "anns", "--user", "ann"]).await;
    let own = token_command(&pair.app, &["create", "--name", "own"]).await;
    for token in [&anns, &own] {
        assert_eq!(status(&pair, IMAGE, token).await, 200);
    }
    until("the short one to end", || async {
        status(&pair, IMAGE, &short).await == 401
    })
    .await;
    replace_users(&pair.app, &[BOB]);
    until("ann's to end", || async {
        status(&pair, IMAGE, &anns).await == 401
    })
    .await;
    assert_eq!(status(&pair, IMAGE, &own).await, 200);
    let output = run_token_command(&pair.app, &["create", "--name", "next", "--user", "ann"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("no user ann"), "{said}");
}

#[tokio::test]
async fn a_damaged_file_opens_nothing_and_stops_the_next_start() {
    // A disk that loses the end of the list of revoked and living ones must not bring a revoked one back, and "no tokens"
    // must not be told to those who have one.
    let pair = world("").await;
    let token = token_command(&pair.app, &["create", "--name", "ci"]).await;
    assert_eq!(status(&pair, IMAGE, &token).await, 200);
    let path = file(&pair.app);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    until("the damage to be seen", || async {
        status(&pair, IMAGE, &token).await != 200
    })
    .await;
    let answer = pair.client().ask_with(IMAGE, &token).await;
    answer.assert_refused(503, &["UNAVAILABLE"], "access tokens", &pair.hub);
    let is_told =
        |line: &Value| line["level"] == "ERROR" && line.to_string().contains("put a good copy back");
    pair.app.logged("the damage", is_told).await;
    // Users sign in as ever.
    let client = pair.client().login(ANN.0, ANN.1);
    pair.assert_from_hub(&client.get(IMAGE).await, "library/redis", "7");
    for arguments in [&["list"][..], &["create", "--name", "x"], &["revoke", "ci"]] {
        let output = run_token_command(&pair.app, arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("put a good copy back"),
            "{said}"
        );
    }
    // Repaired, it works again without a restart.
    fs::write(&path, &whole).unwrap();
    until("the repair to be seen", || async {
        status(&pair, IMAGE, &token).await == 200
    })
    .await;
    fs::write(&path, b"{}").unwrap();
    let Pair { app, hub, ghcr } = pair;
    let home = app.home();
    app.stop().await;
    let stopped = with_users(Pair::app(&hub, &ghcr)).home(&home).fails().await;
    assert_eq!(stopped.status.code(), Some(1));
    assert!(
        stopped.log.contains("tokens.json") && stopped.log.contains("put a good copy back"),
        "{}",
        stopped.log
    );
}

#[tokio::test]
async fn uses_are_remembered_and_made_ones_are_found_after_a_restart() {
    // Tokens that nobody uses are revoked once a year, by this column.
    let (hub, ghcr) = (hub(Auth::Token).start().await, ghcr(Auth::Token).start().await);
    let start = |home: Option<_>| {
        let app = with_users(Pair::app(&hub, &ghcr)).config("[access]\nclients = \"users\"\n");
        match home {
            Some(home) => app.home(&home),
            None => app,
        }
    };
    let app = start(None).start().await;
    let home = app.home();
    let used = token_command(&app, &["create", "--name", "used"]).await;
    let answer = Request::get(IMAGE).bearer(&used).send(app.addr()).await;
    assert_eq!(answer.status, 200);
    app.stop().await;
    let text = fs::read_to_string(home.path().join("state/keys/tokens.json")).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert!(kept["tokens"][0]["last_used"].is_u64(), "{text}");
    // Made while nothing runs.
    let offline = tokio::process::Command::new(env!("CARGO_BIN_EXE_docxy"))
        .env_clear()
        .arg("--config")
        .arg(home.path().join("docxy.toml"))
        .args(["token", "create", "--name", "made-offline"])
        .output()
        .await
        .unwrap();
    assert!(offline.status.success());
    let offline = String::from_utf8(offline.stdout).unwrap();
    let app = start(Some(home)).start().await;
    for token in [used.as_str(), offline.trim_end()] {
        let answer = Request::get(IMAGE).bearer(token).send(app.addr()).await;
        assert_eq!(answer.status, 200, "{}", answer.everything());
    }
}

#[tokio::test]
async fn a_token_made_for_somebody_ends_with_him_for_good() {
    // Bob leaves, and another bob comes: what the first one's robot kept must not open what the second may have.
    let pair = world("").await;
    let create = async |name: &str, user: &str| {
        token_command(&pair.app, &["create", "--name", name, "--user", user]).await
    };
    let (of_ann, of_bob) = (create("a", "ann").await, create("b", "bob").await);
    assert_eq!(status(&pair, IMAGE, &of_bob).await, 200);
    replace_users(&pair.app, &[ANN]);
    until("bob's token to be gone", async || {
        listed(&pair.app).await.len() == 1
    })
    .await;
    assert_eq!(status(&pair, IMAGE, &of_bob).await, 401);
    replace_users(&pair.app, &[ANN, BOB]);
    until("bob to be back", async || {
        let basic = Request::get(IMAGE).basic(BOB.0, BOB.1).send(pair.app.addr());
        basic.await.status == 200
    })
    .await;
    assert_eq!(status(&pair, IMAGE, &of_bob).await, 401, "it does not wake up");
    assert_eq!(status(&pair, IMAGE, &of_ann).await, 200);
    // While docxy was not there, too.
    let home = pair.app.home();
    pair.app.stop().await;
    fs::write(home.path().join("users"), super::user_file(&[BOB])).unwrap();
    let app = with_users(Pair::app(&pair.hub, &pair.ghcr))
        .config("[registries.\"docker.io\"]\nclients = \"users\"\n")
        .file("users", super::user_file(&[BOB]))
        .home(&home)
        .start()
        .await;
    let line = app.logged("the end of ann's token", |line| {
        line.to_string().contains("ended with its user")
    });
    assert!(line.await.to_string().contains("\"ann\""));
    assert!(listed(&app).await.is_empty());
}
