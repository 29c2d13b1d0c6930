//! An outage of a month: what is public stays everyone's, what is private stays closed, and who had a right a moment before
//! keeps it for an hour.

use std::{fs, path::PathBuf};

use futures_util::future::join_all;

use super::{
    ab_leaks::{Secrets, contents},
    time::Time,
};
use crate::cache::support::{Cached, Ended, image_of};
use crate::support::{
    client::Response,
    image::{Content, Image},
    puller::Puller,
    stub::{Auth, Builder, Line, StubRegistry},
};

const PRIVATE: &str = "team/app";
const PUBLIC: &str = "library/redis";
const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

fn stub() -> Builder {
    StubRegistry::builder()
        .auth(Auth::Token)
        .token_life(60 * DAY)
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .private(PRIVATE, &["alice"])
        .image(PRIVATE, "1", image_of(960, &[3000, 70_000]))
        .image(PUBLIC, "7", image_of(961, &[3000, 70_000]))
}

async fn warm(time: &Time) -> Cached {
    let config = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"\n";
    let docxy = time
        .docxy(stub().start().await, move |app| app.config(config))
        .await;
    let alice = signed_in(&docxy, "alice", PRIVATE).await;
    for (who, repository, tag) in [(&alice, PRIVATE, "1"), (&docxy.client(), PUBLIC, "7")] {
        let image = docxy.stub.image(repository, tag);
        for (path, content) in paths(repository, tag, &image) {
            who.once("GET", &path).await.assert_is(&content, &docxy.stub);
            docxy.stored(&content).await;
        }
    }
    docxy
}

async fn signed_in(docxy: &Cached, user: &str, repository: &str) -> Puller {
    let client = docxy.client().login(user, &format!("{user}-password"));
    client.signed_in(&format!("repository:{repository}:pull")).await
}

/// The tag, and everything by its digest.
fn paths(repository: &str, tag: &str, image: &Image) -> Vec<(String, Content)> {
    let mut paths = vec![(format!("/v2/{repository}/manifests/{tag}"), image.root.clone())];
    for content in contents(image) {
        let kind = if content == image.root {
            "manifests"
        } else {
            "blobs"
        };
        paths.push((format!("/v2/{repository}/{kind}/{}", content.digest), content));
    }
    paths
}

/// How many of the answers are whole and right.
fn right(answers: &[(Response, Content)]) -> usize {
    let right = |(answer, content): &&(Response, Content)| {
        answer.status == 200 && answer.complete && answer.body == content.bytes
    };
    answers.iter().filter(right).count()
}

/// What this client gets of a repository: everything by GET.
async fn ask(docxy: &Cached, who: &Puller, repository: &str, tag: &str) -> Vec<(Response, Content)> {
    let image = docxy.stub.image(repository, tag);
    let mut answers = Vec::new();
    for (path, content) in paths(repository, tag, &image) {
        answers.push((who.once("GET", &path).await, content));
    }
    answers
}

/// Everything of the private image, asked for by those without the right and, after a restart, by alice too: nothing comes.
async fn nothing_comes(docxy: &Cached, people: &[Puller], secrets: &Secrets) -> (usize, usize) {
    let image = docxy.stub.image(PRIVATE, "1");
    let mut asked = Vec::new();
    for who in people {
        for (path, content) in paths(PRIVATE, "1", &image) {
            for method in ["GET", "HEAD"] {
                for header in [None, Some(("Range", "bytes=0-99")), Some(("If-None-Match", "*"))] {
                    let mut request = who.request(method, &path);
                    if let Some((name, value)) = header {
                        request = request.header(name, value);
                    }
                    asked.push((method, content.clone(), request));
                }
            }
        }
    }
    let tried = asked.len();
    // All at once: into a black hole each may take its whole time.
    let leaked = asked.into_iter().map(|(method, content, request)| async move {
        let answer = request.send(docxy.app.addr()).await;
        let told = secrets.told(&answer, method, Some(&content));
        let bytes = secrets.bytes_in(&answer.body, &[&content.digest[7..]]);
        let leaks = answer.status < 400 || bytes > 0 || told.is_some();
        if leaks {
            println!("{method} {}: {told:?} {}", content.digest, answer.everything());
        }
        usize::from(leaks)
    });
    (tried, join_all(leaked).await.into_iter().sum())
}

/// Everything that could be called a database: the state folder, and each record of the cache that is no blob, link, tag or
/// mark of what is public.
fn lose_databases(docxy: &Ended) -> usize {
    let folder = docxy.folder();
    let records: Vec<PathBuf> = folder
        .records()
        .into_iter()
        .filter(|file| !file.starts_with(folder.path().join("repositories")))
        .collect();
    for file in &records {
        fs::remove_file(file).unwrap();
    }
    let state = folder.path().parent().unwrap().join("state");
    let _ = fs::remove_dir_all(state);
    records.len()
}

#[tokio::test]
async fn after_a_month_in_the_dark_public_images_come_and_private_ones_do_not() {
    // The promise to whoever runs an air-gapped site: the line is down for 30 days, docxy was restarted, its indexes are lost.
    for line in [Line::BlackHole, Line::Refusing] {
        let mut time = Time::new();
        let docxy = warm(&time).await;
        let image = docxy.stub.image(PRIVATE, "1");
        let public = docxy.stub.image(PUBLIC, "7");
        let secrets = Secrets::of(&[&image], &[], &[&public]);
        docxy.stub.turn(line).await;
        let ended = docxy.stop().await;
        time.advance(30 * DAY).await;
        let lost = lose_databases(&ended);
        let docxy = ended.start().await;
        let answers = ask(&docxy, &docxy.client(), PUBLIC, "7").await;
        let served = right(&answers);
        let mut people = vec![docxy.client()];
        for (user, password) in [
            ("alice", "alice-password"),
            ("bob", "bob-password"),
            ("alice", "wrong"),
        ] {
            let who = docxy.client().login(user, password);
            if let Ok(who) = who.try_signed_in(&format!("repository:{PRIVATE}:pull")).await {
                people.push(who);
            }
        }
        let (tried, leaked) = nothing_comes(&docxy, &people, &secrets).await;
        println!(
            "S4 30 days in the dark, restarted, {lost} records and the state lost: {served} of {} public requests served; \
             {leaked} of {tried} private ones",
            answers.len()
        );
        for (answer, _) in &answers {
            assert_eq!(answer.status, 200, "{}", answer.everything());
        }
        assert_eq!((served, leaked), (answers.len(), 0));
    }
}

#[tokio::test]
async fn a_docxy_that_keeps_running_serves_public_tags_on_the_thirtieth_day() {
    // The same promise to whoever does not restart docxy: thirty days are thirty days, however long the question takes.
    for line in [Line::BlackHole, Line::Refusing] {
        let mut time = Time::new();
        let docxy = warm(&time).await;
        docxy.stub.turn(line).await;
        time.advance(30 * DAY).await;
        let answers = ask(&docxy, &docxy.client(), PUBLIC, "7").await;
        println!(
            "S4 30 days in the dark: {} of {} public requests served",
            right(&answers),
            answers.len()
        );
        assert_eq!(right(&answers), answers.len(), "{}", answers[0].0.everything());
        time.advance(2 * MINUTE).await;
        let late = docxy
            .client()
            .once("GET", &format!("/v2/{PUBLIC}/manifests/7"))
            .await;
        assert!(late.status >= 400, "max_stale is over: {}", late.everything());
    }
}

#[tokio::test]
async fn a_proved_right_lasts_an_hour_in_the_dark_and_no_longer() {
    // Alice goes on with her work while the line is mended; bob, who never had the right, finds nothing.
    for line in [Line::BlackHole, Line::Refusing] {
        let mut time = Time::new();
        let docxy = warm(&time).await;
        let secrets = Secrets::of(
            &[&docxy.stub.image(PRIVATE, "1")],
            &[],
            &[&docxy.stub.image(PUBLIC, "7")],
        );
        let alice = signed_in(&docxy, "alice", PRIVATE).await;
        let bob = signed_in(&docxy, "bob", PRIVATE).await;
        // Her right is proved now.
        let answers = ask(&docxy, &alice, PRIVATE, "1").await;
        assert_eq!(right(&answers), answers.len());
        let others = [docxy.client(), bob];
        docxy.stub.turn(line).await;
        let (mut tried, mut served, mut leaked) = (0, 0, 0);
        for minutes in [1, 10, 20, 27] {
            time.advance(minutes * MINUTE).await;
            let answers = ask(&docxy, &alice, PRIVATE, "1").await;
            for (answer, _) in answers.iter().filter(|(answer, _)| answer.status != 200) {
                println!("alice, {minutes} minutes on: {}", answer.everything());
            }
            tried += answers.len();
            served += right(&answers);
            leaked += nothing_comes(&docxy, &others, &secrets).await.1;
        }
        // 58 minutes are over; five more are too many.
        time.advance(5 * MINUTE).await;
        let (late, after) = nothing_comes(&docxy, &[alice], &secrets).await;
        leaked += nothing_comes(&docxy, &others, &secrets).await.1;
        println!(
            "S4 within an hour of an outage: {served} of {tried} of alice's requests served; {leaked} of others'; {after} of \
             {late} of hers after it"
        );
        assert_eq!((served, leaked, after), (tried, 0, 0));
        let answers = ask(&docxy, &docxy.client(), PUBLIC, "7").await;
        assert_eq!(right(&answers), answers.len());
    }
}
