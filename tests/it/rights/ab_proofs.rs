//! What proving rights costs the registry: one request for each client, repository and five minutes, however many ask at once.

use futures_util::future::join_all;

use super::time::Time;
use crate::cache::support::{Cached, image_of};
use crate::support::{
    puller::Puller,
    stub::{Auth, Door, Seen, StubRegistry},
};

const REPOSITORIES: [&str; 2] = ["team/app", "team/web"];
const PEOPLE: [&str; 2] = ["alice", "carol"];

async fn warm(time: &Time) -> Cached {
    let stub = StubRegistry::builder()
        .auth(Auth::Token)
        .token_life(24 * 3600)
        .user("alice", "alice-password")
        .user("carol", "carol-password")
        .private(REPOSITORIES[0], &PEOPLE)
        .private(REPOSITORIES[1], &PEOPLE)
        .image(REPOSITORIES[0], "1", image_of(970, &[3000, 4000, 5000]))
        .image(REPOSITORIES[1], "1", image_of(971, &[3000, 4000, 5000]))
        .start()
        .await;
    let docxy = time.docxy(stub, |app| app).await;
    let all = signed_in(&docxy, "alice").await;
    for repository in REPOSITORIES {
        for path in paths(&docxy, repository) {
            let answer = all.once("GET", &path).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.everything());
        }
        let image = docxy.stub.image(repository, "1");
        for content in image.blobs.iter().chain([&image.root]) {
            docxy.stored(content).await;
        }
    }
    docxy
}

/// With one token for both repositories.
async fn signed_in(docxy: &Cached, user: &str) -> Puller {
    let scopes = REPOSITORIES.map(|name| format!("repository:{name}:pull"));
    let client = docxy.client().login(user, &format!("{user}-password"));
    client.signed_in(&scopes.join(" ")).await
}

/// Everything by digest: nothing of it needs the registry but a proof.
fn paths(docxy: &Cached, repository: &str) -> Vec<String> {
    let image = docxy.stub.image(repository, "1");
    let mut paths = vec![format!("/v2/{repository}/manifests/{}", image.root.digest)];
    let blobs = image.blobs.iter();
    paths.extend(blobs.map(|blob| format!("/v2/{repository}/blobs/{}", blob.digest)));
    paths
}

/// Requests at the registry in somebody's name, and all there were.
fn proofs(docxy: &Cached, user: &str, repository: &str) -> usize {
    let of = |seen: &&Seen| {
        seen.door == Door::Registry && seen.path.contains(repository) && seen.user.as_deref() == Some(user)
    };
    docxy.stub.requests().iter().filter(of).count()
}

#[tokio::test]
async fn fifty_questions_at_once_are_one_proof() {
    // A node pulls an image of many layers: its registry sees one question, not fifty.
    let mut time = Time::new();
    let docxy = warm(&time).await;
    // What warming proved is forgotten by then, in the outage's sense as in the other.
    time.advance(2 * 3600).await;
    let alice = signed_in(&docxy, "alice").await;
    docxy.stub.forget();
    let paths = paths(&docxy, REPOSITORIES[0]);
    let asked = paths.iter().cycle().take(50).map(|path| alice.once("GET", path));
    let answers = join_all(asked).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    let (proofs, all) = (
        proofs(&docxy, "alice", REPOSITORIES[0]),
        docxy.stub.at(Door::Registry).len(),
    );
    // A small blob is in the wire before anybody can hang up; more than one must not be.
    let sent = docxy.stub.sent("*/blobs/*");
    println!(
        "S4 50 requests at once of one client: {served} served, {proofs} proof(s), {all} upstream requests in all, {sent} \
         bytes of blobs sent"
    );
    assert_eq!((served, proofs), (50, 1), "{}", docxy.stub.story());
    assert!(sent <= 5000, "{}", docxy.stub.story());
    // Besides, everybody's right is asked about; that is challenged once.
    assert!(all <= 3, "{}", docxy.stub.story());
}

#[tokio::test]
async fn a_proof_serves_one_client_and_repository_for_five_minutes() {
    // Registries count requests: an hour's work of two people costs twelve questions for each of them and each repository.
    let mut time = Time::new();
    let docxy = warm(&time).await;
    time.advance(2 * 3600).await;
    docxy.stub.forget();
    let mut served = 0;
    for _ in 0..24 {
        for user in PEOPLE {
            // A new token each time, as clients have.
            let client = signed_in(&docxy, user).await;
            for repository in REPOSITORIES {
                for path in paths(&docxy, repository) {
                    for method in ["GET", "HEAD"] {
                        served += usize::from(client.once(method, &path).await.status == 200);
                    }
                }
            }
        }
        time.advance(151).await;
    }
    // 24 rounds, 151 s apart: each second one finds a proof that is 151 s old, the others one of 302 s.
    let mut counts = Vec::new();
    for user in PEOPLE {
        for repository in REPOSITORIES {
            counts.push(proofs(&docxy, user, repository));
        }
    }
    let tried = 24 * 2 * 2 * 5 * 2;
    println!("S4 an hour, 2 clients, 2 repositories, {served} of {tried} requests served: {counts:?} proofs");
    assert_eq!(served, tried);
    assert_eq!(
        counts,
        [12; 4],
        "{}",
        docxy.stub.story().chars().take(4000).collect::<String>()
    );
}

#[tokio::test]
async fn who_lost_the_right_keeps_it_five_minutes_at_most() {
    // Alice left the team: what her last proof opened is closed at the next one, at every door and by digest too.
    let mut time = Time::new();
    let docxy = warm(&time).await;
    time.advance(2 * 3600).await;
    let alice = signed_in(&docxy, "alice").await;
    let paths = paths(&docxy, REPOSITORIES[0]);
    for path in &paths {
        assert_eq!(alice.once("GET", path).await.status, 200);
    }
    docxy.stub.close(REPOSITORIES[0], &["carol"]);
    docxy.stub.advance(std::time::Duration::from_hours(24));
    time.advance(301).await;
    let mut refused = 0;
    for path in &paths {
        for method in ["GET", "HEAD"] {
            let answer = alice.once(method, path).await;
            refused += usize::from(matches!(answer.status, 401 | 403));
        }
    }
    println!(
        "S4 after five minutes: {refused} of {} requests refused",
        2 * paths.len()
    );
    assert_eq!(refused, 2 * paths.len());
    // A new token changes nothing, and carol's right is her own.
    let alice = signed_in(&docxy, "alice").await;
    let carol = signed_in(&docxy, "carol").await;
    for path in &paths {
        assert!(
            matches!(alice.once("GET", path).await.status, 401 | 403),
            "{path}"
        );
        assert_eq!(carol.once("GET", path).await.status, 200, "{path}");
    }
    // Nor do outages bring it back.
    docxy.stub.down().await;
    for path in &paths {
        assert!(alice.once("GET", path).await.status >= 400, "{path}");
        assert_eq!(carol.once("GET", path).await.status, 200, "{path}");
    }
}
