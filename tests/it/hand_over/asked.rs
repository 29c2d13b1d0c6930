//! A hand-over that is asked for by the admin API.

use super::line::Line;
use crate::admin::{ask, json, socket};
use crate::cache::support::{REPOSITORY, TAG, image_of};
use crate::support::stub::StubRegistry;

#[tokio::test]
async fn an_operator_without_a_shell_upgrades_docxy() {
    // A page with a button: what it starts is what SIGUSR2 does, and its answer comes before the listener goes.
    let stub = StubRegistry::builder()
        .image(REPOSITORY, "7", image_of(960, &[1000]))
        .start()
        .await;
    let mut line = Line::before(stub, "").await;
    line.docxy.warm().await;
    let old = line.serving();
    let answer = ask(&socket(line.app()), "POST", "/api/v1/handover", "").await;
    assert_eq!(
        (answer.status().as_u16(), &json(&answer)["begun"]),
        (202, &true.into())
    );
    let new = line.next().await;
    assert_ne!(old, new);
    assert_eq!(line.answers_operators().await, new);
    line.docxy
        .get(TAG)
        .await
        .assert_is(&line.docxy.image().root, &line.docxy.stub);
    line.ends().await;
}
