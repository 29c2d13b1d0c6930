//! `docxy cache`, beside the running docxy and without it: the same answers.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{docxy, file, story};
use crate::cache::support::{Cached, TAG, image_of};

/// The configuration of a test's docxy, which stays when that has ended.
fn config(docxy: &Cached) -> PathBuf {
    docxy.app.dir().join("docxy.toml")
}

/// What `docxy cache` said, with this test's folder as `/FOLDER` and the free space as `FREE`.
async fn cache(config: &Path, arguments: &[&str]) -> String {
    let (config, arguments) = (config.to_owned(), arguments.join(" "));
    let said = tokio::task::spawn_blocking(move || {
        let folder = config.parent().unwrap().to_str().unwrap().to_owned();
        story(docxy(&config).arg("cache").args(arguments.split(' '))).replace(&folder, "/FOLDER")
    });
    let said = said.await.unwrap();
    let lines = said
        .lines()
        .map(|line| match line.split_once(" on the same filesystem") {
            Some(_) => "free:       FREE on the same filesystem",
            None => line,
        });
    lines.collect::<Vec<_>>().join("\n")
}

/// The JSON of it, without the figures that differ from one second to the next.
async fn json(config: &Path, arguments: &[&str]) -> Vec<Value> {
    let said = cache(config, arguments).await;
    let text = said
        .split_once("--- stdout\n")
        .unwrap()
        .1
        .split_once("--- stderr")
        .unwrap()
        .0;
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut values: Vec<Value> = values
        .map(|value| value.unwrap_or_else(|error| panic!("{error}:\n{said}")))
        .collect();
    for value in &mut values {
        for moving in ["free", "free_inodes", "unused", "verified"] {
            value.as_object_mut().unwrap().remove(moving);
        }
    }
    values.sort_by_key(|value| value["digest"].to_string());
    values
}

#[tokio::test]
async fn the_same_answers_with_docxy_running_and_without() {
    // An operator must not have to know which of the two he asks.
    let docxy = Cached::of(image_of(730, &[5_000, 300_000, 2_000_000]), "").await;
    docxy.warm().await;
    let config = config(&docxy);
    let texts = [
        ["ls", "--sort", "size"].as_slice(),
        &["ls", "--tag", "7"],
        &["ls", "--repository", "quay.io/**"],
        &["du"],
        &["verify"],
        &["gc"],
    ];
    let mut running = Vec::new();
    for arguments in texts {
        running.push(format!(
            "<<< {} >>>\n{}\n",
            arguments.join(" "),
            cache(&config, arguments).await
        ));
    }
    let (listed, summed) = (
        json(&config, &["ls", "--json"]).await,
        json(&config, &["du", "--json"]).await,
    );
    assert_eq!(listed.len(), 5);
    assert_eq!(
        summed[0]["repositories"]["docker.io/library/redis"]["blobs"], 5,
        "{summed:?}"
    );
    let ended = docxy.stop().await;
    for (arguments, before) in texts.iter().zip(&running) {
        let now = format!(
            "<<< {} >>>\n{}\n",
            arguments.join(" "),
            cache(&config, arguments).await
        );
        assert_eq!(now, *before);
    }
    assert_eq!(json(&config, &["ls", "--json"]).await, listed);
    assert_eq!(json(&config, &["du", "--json"]).await, summed);
    insta::assert_snapshot!(running.join("\n"));
    // Nothing was disturbed by looking.
    ended.stub.down().await;
    ended.start().await.pull_all().await;
}

#[tokio::test]
async fn removing_with_docxy_running_and_without() {
    // What was removed is not served any more; what another image holds is.
    let mut said = Vec::new();
    for state in ["running", "stopped"] {
        let docxy = Cached::of(image_of(731, &[5_000, 300_000]), "").await;
        docxy.warm().await;
        let config = config(&docxy);
        let layer = docxy.layer().0.digest;
        // The other half of the test: the same commands on the folder alone.
        let (running, _ended) = if state == "running" {
            (Some(docxy), None)
        } else {
            (None, Some(docxy.stop().await))
        };
        let mut text = String::new();
        for arguments in [
            vec!["rm", "redis:8"],
            vec!["rm", &layer],
            vec!["rm", &layer],
            vec!["rm", "redis:7"],
            vec!["rm", "ghcr.io/o/i"],
            vec!["rm", "redis"],
            vec!["rm", "--all", "--json"],
            vec!["du"],
        ] {
            let answer = cache(&config, &arguments).await;
            let _ = writeln!(
                text,
                "<<< {} >>>
{answer}
",
                arguments.join(" ")
            );
        }
        said.push(text.replace(&layer, "LAYER"));
        if let Some(docxy) = running {
            assert!(docxy.folder().blobs().is_empty());
            docxy.stub.down().await;
            assert_ne!(docxy.get(TAG).await.status, 200);
        }
    }
    insta::assert_snapshot!(said[0]);
    assert_eq!(said[1], said[0]);
}

#[tokio::test]
async fn rot_is_found_and_the_exit_code_says_so() {
    // A monthly job calls it, and mails somebody when it fails.
    let docxy = Cached::of(image_of(732, &[100_000, 200_000]), "[cache]\nscrub_rate = \"0B\"").await;
    docxy.warm().await;
    let config = config(&docxy);
    let layers: Vec<String> = docxy
        .image()
        .layer_blobs()
        .iter()
        .map(|layer| layer.digest.clone())
        .collect();
    let rot = |digest: &str| {
        let path = docxy.folder().blob(digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[77_777] ^= 1;
        fs::write(&path, bytes).unwrap();
    };
    rot(&layers[0]);
    let running = cache(&config, &["verify"]).await;
    assert!(
        running.starts_with("exit code Some(1)") && running.contains(&layers[0]),
        "{running}"
    );
    assert!(
        running.contains("4 blobs, ") && running.contains(": 1 rotten"),
        "{running}"
    );
    assert!(cache(&config, &["verify"]).await.starts_with("exit code Some(0)"));
    rot(&layers[1]);
    let folder = docxy.folder();
    let ended = docxy.stop().await;
    let offline = json(&config, &["verify", "--json"]).await;
    assert_eq!(offline[0]["rotten"], serde_json::json!([layers[1]]));
    assert_eq!(folder.quarantined().len(), 2);
    // Fetched again when asked for.
    ended.start().await.pull_all().await;
}

#[tokio::test]
async fn a_collection_says_what_it_took() {
    // Blobs without links can be served to nobody: their space comes back, and is accounted for.
    let docxy = Cached::of(image_of(733, &[5_000, 300_000]), "[cache]\nscrub_rate = \"0B\"").await;
    docxy.warm().await;
    let config = config(&docxy);
    let ended = docxy.stop().await;
    let folder = ended.folder();
    fs::remove_dir_all(folder.path().join("repositories")).unwrap();
    let long_ago = SystemTime::now() - Duration::from_hours(72);
    let age = |path: &Path| {
        fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    };
    folder.blobs().iter().for_each(|blob| age(blob));
    let docxy = ended.start().await;
    insta::assert_snapshot!(cache(&config, &["gc"]).await);
    assert!(folder.blobs().is_empty());
    docxy.pull_all().await;
}

#[tokio::test]
async fn a_closed_pipe_is_no_panic() {
    // `docxy cache ls | head -1`
    let docxy = Cached::of(image_of(734, &[1_000; 50]), "").await;
    docxy.warm().await;
    let config = config(&docxy);
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_docxy"))
            .env_clear()
            .arg("--config")
            .arg(config)
            .args(["cache", "ls", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        child.wait_with_output().unwrap()
    });
    let ended = ended.await.unwrap();
    assert_eq!(
        (ended.status.code(), ended.stderr.as_slice()),
        (Some(0), b"".as_slice())
    );
}

#[tokio::test]
async fn errors_say_what_to_do() {
    // Nobody should have to read the manual to learn why there is nothing to see.
    let mut said = Vec::new();
    for text in [
        "state_path = \"state\"\n[cache]\nmode = \"off\"\n",
        "state_path = \"state\"\n[cache]\nmode = \"memory\"\n",
        "state_path = \"state\"\n[cache]\npath = \"none\"\n",
        "state_path = \"state\"\n[cache]\npath = \"taken\"\n",
    ] {
        let (folder, path) = file(text);
        fs::create_dir(folder.path().join("taken")).unwrap();
        let lock = fs::File::create(folder.path().join("taken/lock")).unwrap();
        lock.lock().unwrap();
        said.push(format!("{text}\n{}\n", cache(&path, &["ls"]).await));
        assert!(!folder.path().join("none").exists(), "looking makes nothing");
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn another_docxys_cache_is_left_alone() {
    // Two with one state folder: `rm --all` for the one must not empty the other.
    let docxy = Cached::of(image_of(735, &[1_000]), "").await;
    docxy.warm().await;
    let state = docxy.app.dir().join("state");
    let state = state.to_str().unwrap();
    let (folder, path) = file(&format!("state_path = {state:?}\n[cache]\npath = \"own\"\n"));
    let said = cache(&path, &["rm", "--all"]).await;
    assert!(
        said.starts_with("exit code Some(1)") && said.contains("there is no cache in /FOLDER/own"),
        "{said}"
    );
    fs::create_dir(folder.path().join("own")).unwrap();
    let lock = fs::File::create(folder.path().join("own/lock")).unwrap();
    lock.lock().unwrap();
    let said = cache(&path, &["rm", "--all"]).await;
    assert!(said.contains("give each docxy its own state_path"), "{said}");
    drop(lock);
    let said = cache(&path, &["rm", "--all"]).await;
    assert!(said.contains("nothing is stored"), "{said}");
    assert_eq!(docxy.folder().blobs().len(), 3);
}

#[test]
fn help() {
    // The command that people use once a year is read about each time.
    let (_folder, path) = file("");
    let said: Vec<_> = [
        ["cache", "--help"].as_slice(),
        &["cache", "ls", "--help"],
        &["cache", "rm", "--help"],
    ]
    .into_iter()
    .map(|arguments| story(docxy(&path).args(arguments)))
    .collect();
    insta::assert_snapshot!(said.join("\n\n"));
    assert!(story(docxy(&path).args(["cache", "rm"])).starts_with("exit code Some(2)"));
    assert!(story(docxy(&path).args(["cache", "rm", "redis", "--all"])).starts_with("exit code Some(2)"));
}
