//! What a mirror's answer opens (S4, S5): the bytes that it sends itself, in a repository that the registry gives to everyone.

use super::support::{Places, manifest_path, urls};
use crate::cache::{
    rights::leaked,
    support::{Over, REPOSITORY, blob_path, image_of},
};
use crate::support::{
    client::Request,
    stub::{Auth, Door, Fault, Gate, On, StubRegistry},
    within,
};

const PRIVATE: &str = "acme/app";

/// A registry with a private repository, and a mirror of what is public.
async fn private_and_public() -> (StubRegistry, StubRegistry) {
    let own = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .private(PRIVATE, &["alice"])
        .image(PRIVATE, "1", image_of(500, &[800_000]))
        .image(REPOSITORY, "7", image_of(501, &[1_000]))
        .image(REPOSITORY, "8", image_of(502, &[1_000]))
        .start()
        .await;
    let mirror = StubRegistry::builder()
        .image(REPOSITORY, "7", image_of(501, &[1_000]))
        .image(REPOSITORY, "8", image_of(502, &[1_000]))
        .start()
        .await;
    (own, mirror)
}

#[tokio::test]
async fn a_mirror_opens_no_part_that_was_fetched_with_a_right() {
    // Half a private layer lies in the cache. A mirror that says 206 to everything must not turn it into a public one.
    for down in [true, false] {
        let (own, mirror) = private_and_public().await;
        let places = Places::before(own, vec![mirror], "", |app| app).await;
        places.public().await;
        let layer = places.own.image(PRIVATE, "1").layer_blobs()[0].clone();
        // Alice gets half of it; then the registry has it no more.
        places
            .own
            .fault(On::get("*/acme/app/blobs/*"), Fault::Status(404));
        places
            .own
            .fault(On::get("*/acme/app/blobs/*").nth(2), Fault::CutAt(400_000));
        let alice = places.client().login("alice", "alice-password");
        let alice = alice.signed_in(&format!("repository:{PRIVATE}:pull")).await;
        let path = format!("/v2/{PRIVATE}/blobs/{}", layer.digest);
        places.own.clear_faults();
        places
            .own
            .fault(On::get("*/acme/app/blobs/*"), Fault::Status(404));
        places
            .own
            .fault(On::get("*/acme/app/blobs/*").nth(1), Fault::CutAt(400_000));
        let mut half = alice.request("GET", &path).open(places.app.addr()).await;
        within("the half that came", half.read(300_000)).await;
        places
            .own
            .until("the rest to be refused", |seen| {
                seen.iter()
                    .filter(|seen| seen.path == path && seen.status == Some(404))
                    .count()
                    > 0
            })
            .await;
        drop(half);
        places.forget();
        if down {
            places.own.down().await;
        } else {
            places.own.fault(On::path("/v2/library/*"), Fault::Status(503));
        }
        let length = layer.bytes.len();
        places.mirror().fault(
            On::get("*/blobs/*"),
            Fault::Answer {
                status: 206,
                headers: vec![("content-range", format!("bytes 400000-{}/{length}", length - 1))],
                body: "x".repeat(length - 400_000),
            },
        );
        let answer = Over::Http1.get(places.app.addr(), &blob_path(&layer), None).await;
        println!(
            "S5 half a private layer, the registry {}: {} bytes of it leaked",
            if down { "down" } else { "failing" },
            leaked(&answer, &layer)
        );
        assert_eq!(leaked(&answer, &layer), 0, "{}", places.story());
        for seen in places.mirror().gets("*/blobs/*") {
            assert_eq!(seen.header("range"), None, "{seen}");
        }
    }
}

#[tokio::test]
async fn a_stored_private_blob_is_not_opened_by_a_mirrors_yes() {
    // A mirror answers 200 to any digest: what is stored of another repository stays closed to those who ask by a public name.
    let (own, mirror) = private_and_public().await;
    let places = Places::before(own, vec![mirror], "", |app| app).await;
    places.public().await;
    let layer = places.own.image(PRIVATE, "1").layer_blobs()[0].clone();
    let alice = places.client().login("alice", "alice-password");
    alice.get(&format!("/v2/{PRIVATE}/manifests/1")).await;
    let got = alice.get(&format!("/v2/{PRIVATE}/blobs/{}", layer.digest)).await;
    got.assert_is(&layer, &places.own);
    places.own.down().await;
    places.mirror().fault(
        On::path("*/blobs/*"),
        Fault::Answer {
            status: 200,
            headers: vec![("docker-content-digest", layer.digest.clone())],
            body: "x".repeat(layer.bytes.len()),
        },
    );
    for range in [None, Some("bytes=0-99"), Some("bytes=-100")] {
        let answer = Over::Http1
            .get(places.app.addr(), &blob_path(&layer), range)
            .await;
        assert_eq!(leaked(&answer, &layer), 0, "{range:?}: {}", places.story());
    }
    let head = Request::head(blob_path(&layer)).send(places.app.addr()).await;
    assert!(head.status >= 400, "{}", head.status);
}

#[tokio::test]
async fn a_mirror_that_denies_takes_nothing_away() {
    // A mirror's 401, 403 and 404 are its own affair: the repository stays public, and what is cached of it is served.
    let (own, mirror) = private_and_public().await;
    let config = "[registries.\"docker.io\"]\nmirrors_first = true";
    let places = Places::before(own, vec![mirror], "", |app| app.config(config)).await;
    places.public().await;
    for status in [401, 403, 404] {
        places.mirror().clear_faults();
        places.mirror().fault(On::path("*"), Fault::Status(status));
        for blob in &places.image().blobs {
            places.assert_is(&places.get(&blob_path(blob)).await, blob);
        }
    }
    places.own.down().await;
    places.mirror().down().await;
    for blob in &places.image().blobs {
        places.assert_is(&places.get(&blob_path(blob)).await, blob);
    }
    assert!(
        !places.app.log_text().contains("no longer public"),
        "{}",
        places.app.log_text()
    );
}

#[tokio::test]
async fn what_only_a_mirror_has_makes_nothing_public() {
    // A repository that the registry never gave to everyone is not asked of the mirror, whatever fails.
    let (own, mirror) = private_and_public().await;
    mirror.put(PRIVATE, "1", image_of(500, &[800_000]));
    let config = "[registries.\"docker.io\"]\nmirrors_first = true";
    let places = Places::before(own, vec![mirror], "", |app| app.config(config)).await;
    let image = places.own.image(PRIVATE, "1");
    let alice = places.client().login("alice", "alice-password");
    alice.get(&format!("/v2/{PRIVATE}/manifests/1")).await;
    for fault in [None, Some(Fault::Status(503)), Some(Fault::Status(429))] {
        if let Some(fault) = fault {
            places.own.fault(On::path("*/blobs/*"), fault);
        }
        for client in [places.client(), alice.clone()] {
            for blob in &image.blobs {
                client.get(&format!("/v2/{PRIVATE}/blobs/{}", blob.digest)).await;
            }
            client
                .get(&format!("/v2/{PRIVATE}/manifests/{}", image.root.digest))
                .await;
        }
    }
    assert_eq!(places.mirror().connections(), 0, "{}", places.story());
}

#[tokio::test]
async fn what_one_right_began_no_mirror_opens_to_another() {
    // Half a layer came with alice's right, which then ends. That carol may have the rest, and so all of it, is the registry's
    // to say: a mirror says yes to whatever it is asked.
    const CUT: usize = 300_000;
    let own = StubRegistry::builder()
        .auth(Auth::Token)
        .user("alice", "alice-password")
        .user("carol", "carol-password")
        .image(REPOSITORY, "7", image_of(505, &[1_000_000]))
        .start()
        .await;
    let mirror = StubRegistry::builder()
        .image(REPOSITORY, "7", image_of(505, &[1_000_000]))
        .start()
        .await;
    let config = "[registries.\"docker.io\"]\nmirrors_first = true";
    let places = Places::before(own, vec![mirror], "", |app| app.config(config)).await;
    places.public().await;
    let layer = places.layer();
    // The mirror has not got it yet while alice asks.
    places
        .mirror()
        .fault(On::get("*/blobs/*").first(2), Fault::Status(404));
    let gate = Gate::after(CUT);
    let broken = Fault::All(vec![Fault::Body(gate.clone()), Fault::CutAt(CUT + 1000)]);
    places.own.fault(On::get("*/blobs/*").nth(1), broken);
    places.own.fault(On::get("*/blobs/*").nth(2), Fault::Status(403));
    let mut pulls = Vec::new();
    for (name, password) in [("alice", "alice-password"), ("carol", "carol-password")] {
        let who = places.client().login(name, password);
        let who = who.signed_in(&format!("repository:{REPOSITORY}:pull")).await;
        let mut open = who
            .request("GET", &blob_path(&layer))
            .open(places.app.addr())
            .await;
        assert_eq!(open.status, 200, "{name}");
        let bytes = within("a beginning", open.read(100_000)).await;
        pulls.push((open, bytes));
    }
    gate.held().await;
    gate.open();
    for (mut open, mut bytes) in pulls {
        bytes.extend(within("a body", open.rest()).await);
        assert!(bytes == layer.bytes, "{}", places.story());
    }
    let asked = places.own.gets("*/blobs/*");
    let answered: Vec<_> = asked
        .iter()
        .map(|seen| (seen.user.as_deref(), seen.status))
        .collect();
    // Who is refused is not looked at.
    let right = [
        (Some("alice"), Some(200)),
        (None, Some(403)),
        (Some("carol"), Some(206)),
    ];
    assert_eq!(answered, right, "{}", places.story());
    assert_eq!(places.mirror().gets("*/blobs/*").len(), 2, "{}", places.story());
}

#[tokio::test]
async fn with_an_account_of_docxys_own_public_repositories_are_found_out() {
    // Whoever signs in to Docker Hub for its limits wants its mirror, too: one HEAD without the account tells what is public.
    let (own, mirror) = private_and_public().await;
    let places = Places::before(own, vec![mirror], "", |app| {
        app.configured("docker.io", "alice", "alice-password")
    })
    .await;
    places
        .get("/v2/library/redis/manifests/7")
        .await
        .assert_is(&places.image().root, &places.own);
    places.get(&format!("/v2/{PRIVATE}/manifests/1")).await;
    let asked = |seen: &[crate::support::stub::Seen]| {
        let anonymous = |path: &str| {
            seen.iter().any(|seen| {
                seen.method == "HEAD"
                    && seen.path.starts_with(path)
                    && seen.user.is_none()
                    && seen.status.is_some()
            })
        };
        anonymous("/v2/library/redis/manifests/") && anonymous("/v2/acme/app/manifests/")
    };
    places.own.until("both to be asked for anonymously", asked).await;
    places.until_public(REPOSITORY).await;
    places.forget();
    places.own_fails(&Fault::Status(503));
    let other = places.own.image(REPOSITORY, "8").root;
    places.assert_is(&places.get(&manifest_path(&other)).await, &other);
    assert_eq!(places.mirror().at(Door::Registry).len(), 1, "{}", places.story());
    let secret = places.own.image(PRIVATE, "1");
    for blob in &secret.blobs {
        places.get(&format!("/v2/{PRIVATE}/blobs/{}", blob.digest)).await;
    }
    assert_eq!(places.mirror().at(Door::Registry).len(), 1, "{}", places.story());
}

#[tokio::test]
async fn an_account_at_the_mirror_is_for_the_mirror() {
    // A mirror that wants a login gets the one of its own entry; the registry never sees it.
    let own = StubRegistry::builder()
        .image(REPOSITORY, "7", image_of(503, &[1_000]))
        .start()
        .await;
    for auth in [Auth::Basic, Auth::Token] {
        let mirror = StubRegistry::builder()
            .auth(auth)
            .user("mirrored", "mirror-password")
            .private(REPOSITORY, &["mirrored"])
            .image(REPOSITORY, "7", image_of(503, &[1_000]))
            .start()
            .await;
        let keys = ", username = \"mirrored\", password_file = \"mirror.password\"";
        let own = StubRegistry::builder()
            .image(REPOSITORY, "7", own.image(REPOSITORY, "7"))
            .image(REPOSITORY, "8", image_of(504, &[1]))
            .start()
            .await;
        let config = urls(&own, std::slice::from_ref(&mirror), keys);
        let places = Places::before(own, vec![mirror], keys, |app| {
            app.config(&config)
                .file("mirror.password", "mirror-password")
                .config("[registries.\"docker.io\"]\nmirrors_first = true")
        })
        .await;
        places.public().await;
        places.assert_is(&places.get(&blob_path(&places.layer())).await, &places.layer());
        assert_eq!(
            places.own.gets("*/blobs/*").len(),
            0,
            "{auth:?}: {}",
            places.story()
        );
        assert!(places.own.secrets_seen().is_empty(), "{}", places.story());
    }
}
