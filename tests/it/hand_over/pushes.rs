//! What was pushed through the old process is what the new one serves, at once.

use tokio::sync::watch;

use super::line::Line;
use crate::push::{
    recorder::{Reading, Recorder, Script},
    uploads::{MANIFEST, put_manifest},
};
use crate::support::{client::Request, image::sha256, stub::StubRegistry};

const OLD: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#;
const NEW: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"annotations":{"new":"yes"}}"#;
const PATH: &str = "/v2/r.test/team/app/manifests/1";

#[tokio::test]
async fn a_push_through_the_old_process_is_what_the_new_one_serves() {
    // CI pushes while docxy is upgraded and rolls out when the push is answered: an hour of the old image is an outage.
    let (moves, meaning) = watch::channel(OLD);
    let (reads, may_read) = watch::channel(false);
    let registry = Recorder::start(move |head| {
        if head.method == "PUT" {
            return Script::status(201).reading(Reading::After(may_read.clone()));
        }
        let text = *meaning.borrow();
        Script::status(200)
            .header("Content-Type", MANIFEST)
            .header("Docker-Content-Digest", sha256(text.as_bytes()))
            .text(text)
    })
    .await;
    let table = registry.table("r.test", "");
    let config = format!("{table}\n[[cache.tags]]\nfresh = \"30d\"\n");
    let mut line = Line::before(StubRegistry::builder().start().await, &config).await;
    let to = line.app().addr();
    let pull = || Request::get(PATH).header("Accept", MANIFEST).send(to);
    assert_eq!(pull().await.body, OLD.as_bytes());
    assert_eq!(pull().await.header("x-cache"), Some("hit"));

    let push = tokio::spawn(async move { put_manifest(to, PATH, NEW.as_bytes()).await });
    registry
        .until("the push", |seen| seen.iter().any(|seen| seen.method == "PUT"))
        .await;
    line.hand_over().await;
    assert_eq!(
        pull().await.header("x-cache"),
        Some("hit"),
        "the new one knows the old tag"
    );
    moves.send_replace(NEW);
    reads.send_replace(true);
    let pushed = push.await.unwrap();
    assert_eq!(pushed.status, 201, "{}", pushed.everything());
    assert_eq!(pull().await.body, NEW.as_bytes());
    line.others_end().await;
    line.ends().await;
}

#[tokio::test]
async fn a_tag_in_doubt_is_in_doubt_for_the_new_process_too() {
    // A push whose answer was lost just before the upgrade: the registry may have taken it.
    let (moves, meaning) = watch::channel(OLD);
    let registry = Recorder::start(move |head| {
        if head.method == "PUT" {
            return Script::status(201).reading(Reading::Forever);
        }
        let text = *meaning.borrow();
        Script::status(200)
            .header("Content-Type", MANIFEST)
            .header("Docker-Content-Digest", sha256(text.as_bytes()))
            .text(text)
    })
    .await;
    let table = registry.table("r.test", "");
    let config =
        format!("{table}\n[timeouts]\nidle = \"1s\"\nheaders = \"1s\"\n[[cache.tags]]\nfresh = \"30d\"\n");
    let mut line = Line::before(StubRegistry::builder().start().await, &config).await;
    let to = line.app().addr();
    let pull = || Request::get(PATH).header("Accept", MANIFEST).send(to);
    assert_eq!(pull().await.body, OLD.as_bytes());
    let lost = put_manifest(to, PATH, NEW.as_bytes()).await;
    assert_eq!(lost.status, 504, "{}", lost.everything());
    moves.send_replace(NEW);
    line.hand_over().await;
    assert_eq!(pull().await.body, NEW.as_bytes());
    line.others_end().await;
    line.ends().await;
}

#[tokio::test]
async fn any_number_of_tags_in_doubt() {
    // A registry that has answered pushes with errors for an hour: all of that must be told, and no hand-over may stick at it.
    const TAGS: usize = 1500;
    let registry = Recorder::start(move |head| match head.method.as_str() {
        "PUT" => Script::status(500),
        _ => Script::status(404),
    })
    .await;
    let config = registry.table("r.test", "");
    let mut line = Line::before(StubRegistry::builder().start().await, &config).await;
    let to = line.app().addr();
    for first in (0..TAGS).step_by(50) {
        let pushes = (first..first + 50).map(|number| {
            let path = format!("/v2/r.test/team/app/manifests/{number}-{}", "long".repeat(25));
            async move { put_manifest(to, &path, NEW.as_bytes()).await }
        });
        for pushed in futures_util::future::join_all(pushes).await {
            assert_eq!(pushed.status, 502, "{}", pushed.everything());
        }
    }
    line.hand_over().await;
    line.others_end().await;
    line.ends().await;
}
