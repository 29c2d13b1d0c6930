//! What one place does not bring, the next does: the client sees one clean answer.

use super::support::{Places, holder, manifest_path};
use crate::cache::support::{REPOSITORY, blob_path, image_of};
use crate::support::{
    image::sha256,
    stub::{Door, Fault, Gate, Line, On, StubRegistry},
};

/// What may be fetched twice for each cut.
const CHUNK: usize = 64 * 1024;

#[tokio::test]
async fn whatever_a_mirror_answers_the_next_is_asked() {
    // An operator names two mirrors because mirrors fail: no failure of one may reach a client.
    let faults = [
        Fault::Status(401),
        Fault::Status(403),
        Fault::Status(404),
        Fault::Status(429),
        Fault::Status(500),
        Fault::Status(503),
        Fault::Close,
        Fault::CutAt(40),
        Fault::WrongByteAt(20),
        Fault::Truncated(30),
        Fault::Longer(10),
        Fault::Chunked,
        Fault::redirect(307, "http://127.0.0.1:1/nowhere"),
    ];
    let mut clean = 0;
    for fault in &faults {
        let places = Places::of(image_of(1, &[100_000]), 2, "").await;
        places.public().await;
        places.own_fails(&Fault::Status(503));
        places.mirror().fault(On::path("*"), fault.clone());
        let other = places.own.image(REPOSITORY, "8").root;
        places.assert_is(&places.get(&manifest_path(&other)).await, &other);
        places.assert_is(&places.get(&blob_path(&places.layer())).await, &places.layer());
        clean += 1;
    }
    println!(
        "S16 {} ways in which a mirror fails: {clean} clean pulls of a manifest and a blob",
        faults.len()
    );
}

#[tokio::test]
async fn a_blob_that_breaks_at_one_place_goes_on_at_the_next() {
    // A layer of gigabytes over a line that breaks: what came is not fetched again, wherever it came from.
    for at in [0, 1, 65_536, 700_000, 1_999_999] {
        let places = Places::of(image_of(2, &[2_000_000]), 1, "").await;
        places.public().await;
        let layer = places.layer();
        places.own.fault(On::get("*/blobs/*").nth(1), Fault::CutAt(at));
        places.assert_is(&places.get(&blob_path(&layer)).await, &layer);
        let (own, mirror) = (places.own.sent("*/blobs/*"), places.mirror().sent("*/blobs/*"));
        println!("S16 cut at {at} of 2,000,000: {own} bytes of the registry, {mirror} of its mirror");
        assert!(own + mirror <= layer.bytes.len() + CHUNK, "{}", places.story());
        let asked = places.mirror().gets("*/blobs/*");
        assert_eq!(asked.len(), 1, "{}", places.story());
        if at > CHUNK {
            assert_eq!(
                asked[0].header("range"),
                Some(&*format!("bytes={at}-")),
                "{}",
                places.story()
            );
        }
    }
}

#[tokio::test]
async fn a_blob_goes_to_and_fro_between_two_places_that_break() {
    // Both lines are bad: each brings what it can, and the client sees one 200.
    let places = Places::of(image_of(3, &[1_000_000]), 1, "").await;
    places.public().await;
    let layer = places.layer();
    places
        .own
        .fault(On::get("*/blobs/*").first(3), Fault::CutAt(150_000));
    places
        .mirror()
        .fault(On::get("*/blobs/*").first(3), Fault::CutAt(150_000));
    places.assert_is(&places.get(&blob_path(&layer)).await, &layer);
    let (own, mirror) = (
        places.own.gets("*/blobs/*").len(),
        places.mirror().gets("*/blobs/*").len(),
    );
    println!("S16 six cuts at two places: {own} and {mirror} requests");
    assert!(own >= 2 && mirror >= 2, "{}", places.story());
}

#[tokio::test]
async fn a_mirror_that_stands_still_is_left() {
    // A mirror that goes silent in the middle must not hold a pull for a minute while the registry is well.
    let places = Places::of(
        image_of(4, &[1_000_000]),
        1,
        "[registries.\"docker.io\"]\nmirrors_first = true\n[timeouts]\nidle = \"500ms\"",
    )
    .await;
    places.public().await;
    let layer = places.layer();
    let gate = Gate::after(300_000);
    places
        .mirror()
        .fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    places.assert_is(&places.get(&blob_path(&layer)).await, &layer);
    let sent = places.own.sent("*/blobs/*");
    println!("S16 a mirror silent after 300,000 bytes: the registry sent {sent}");
    assert!(sent <= 700_000 + CHUNK, "{}", places.story());
    gate.open();
}

#[tokio::test]
async fn a_registry_that_is_down_is_not_waited_for() {
    // Docker Hub is unreachable: what is not cached comes from the mirror, the first time too, and its breaker is its own.
    let places = Places::of(image_of(5, &[100_000, 100_001, 100_002]), 1, "").await;
    places.public().await;
    places.own.down().await;
    let image = places.image();
    for blob in &image.blobs {
        places.assert_is(&places.get(&blob_path(blob)).await, blob);
    }
    let other = places.own.image(REPOSITORY, "8").root;
    places.assert_is(&places.get(&manifest_path(&other)).await, &other);
    let log = places.app.log_text();
    assert_eq!(log.matches("the upstream is suspect").count(), 1, "{log}");
    assert!(
        log.contains(&places.own.addr().to_string()),
        "which place is suspect: {log}"
    );

    // Back again, it is asked again.
    places.own.up().await;
    places
        .app
        .logged("the registry to answer again", |line| {
            line["fields"]["message"]
                .as_str()
                .is_some_and(|text| text.contains("answers again"))
        })
        .await;
    places.forget();
    let config = places.own.image(REPOSITORY, "8").blobs[0].clone();
    places.assert_is(&places.get(&blob_path(&config)).await, &config);
    assert_eq!(places.mirror().at(Door::Registry).len(), 0, "{}", places.story());
}

#[tokio::test]
async fn a_dead_mirror_costs_nothing_once_it_is_known() {
    // A mirror in the next room is switched off: pulls go on as if it were not there, its breaker alone knows.
    let config = "[registries.\"docker.io\"]\nmirrors_first = true";
    let places = Places::of(image_of(6, &[1_000, 1_001, 1_002, 1_003]), 2, config).await;
    places.public().await;
    places.mirrors[0].turn(Line::Refusing).await;
    let image = places.image();
    for blob in &image.blobs {
        places.assert_is(&places.get(&blob_path(blob)).await, blob);
    }
    assert_eq!(
        places.mirrors[1].gets("*/blobs/*").len(),
        image.blobs.len(),
        "{}",
        places.story()
    );
    assert_eq!(places.own.gets("*/blobs/*").len(), 0, "{}", places.story());
}

#[tokio::test]
async fn when_all_are_dead_one_error_names_each() {
    // Whoever reads the log must see what each place said; whoever pulls must not learn where they are.
    let places = Places::of(image_of(7, &[100_000]), 2, "").await;
    places.public().await;
    places.own_fails(&Fault::Status(503));
    places.mirrors[0].fault(On::path("*"), Fault::Status(404));
    places.mirrors[1].down().await;
    let other = places.own.image(REPOSITORY, "8").root;
    for path in [blob_path(&places.layer()), manifest_path(&other)] {
        let answer = places.get(&path).await;
        assert!(
            [502, 504].contains(&answer.status),
            "{}: {}",
            answer.status,
            answer.text()
        );
        let (_, told) = answer.oci_error();
        println!("S16 all dead: {told}");
        assert!(told.contains("docker.io") && told.contains("404"), "{told}");
        assert!(!told.contains("127.0.0.1"), "{told}");
        let mirrors = [&places.mirrors[0], &places.mirrors[1]].map(|mirror| mirror.addr().to_string());
        places
            .app
            .logged("the error with every place", |line| {
                let error = line["fields"]["error"].as_str().unwrap_or_default();
                mirrors.iter().all(|mirror| error.contains(mirror))
            })
            .await;
    }
}

#[tokio::test]
async fn a_registry_that_counts_pulls_is_relieved() {
    // R2: 429 for a manifest by digest; the mirror has it, so nobody is told of a limit.
    let places = Places::of(image_of(8, &[1_000]), 1, "").await;
    places.public().await;
    places.own_fails(&Fault::Status(429));
    let other = places.own.image(REPOSITORY, "8").root;
    let head = places
        .client()
        .request("HEAD", &manifest_path(&other))
        .send(places.app.addr())
        .await;
    assert_eq!(head.status, 200, "{}", places.story());
    assert_eq!(head.header("docker-content-digest"), Some(&*other.digest));
    places.assert_is(&places.get(&manifest_path(&other)).await, &other);
    assert_eq!(
        places.mirror().gets("*/manifests/*").len(),
        1,
        "{}",
        places.story()
    );
}

#[tokio::test]
async fn a_lie_about_a_large_blob_is_never_whole_and_is_not_met_twice() {
    // I1: bytes flow before their digest is known. A mirror with a bad disk breaks one pull, and is passed over then.
    let places = Places::of(
        image_of(10, &[2_000_000]),
        1,
        "[registries.\"docker.io\"]\nmirrors_first = true",
    )
    .await;
    places.public().await;
    let layer = places.layer();
    places
        .mirror()
        .fault(On::get("*/blobs/*"), Fault::WrongByteAt(1_000_000));
    let answer = crate::cache::support::Over::Http1
        .get(places.app.addr(), &blob_path(&layer), None)
        .await;
    assert!(!answer.complete, "a whole wrong body: {}", places.story());
    // Clients ask again at once: by the time a body breaks, the mirror is blamed.
    places.forget();
    let answer = places.get(&blob_path(&layer)).await;
    places.assert_is(&answer, &layer);
    assert_eq!(sha256(&answer.body), layer.digest);
    assert_eq!(places.mirror().gets("*/blobs/*").len(), 0, "{}", places.story());
    places
        .app
        .logged("a warning about the mirror", |line| {
            line["level"] == "WARN" && line.to_string().contains("this mirror sent wrong bytes")
        })
        .await;
}

#[tokio::test]
async fn a_url_may_carry_a_path() {
    // Harbor and docxy keep other registries below a path: a mirror is asked there, behind /v2/.
    let image = image_of(11, &[1_000]);
    let own = holder(&image).await;
    let mirror = StubRegistry::builder()
        .image("hub/library/redis", "7", image.clone())
        .start()
        .await;
    let config = format!(
        "[registries.\"docker.io\"]\nmirrors_first = true\nurls = [{:?}, {{ url = \"{}/hub\", role = \"mirror\", allow_private_addresses = true }}]",
        own.url(),
        mirror.url()
    );
    let places = Places::before(own, vec![mirror], "", |app| app.config(&config)).await;
    places.public().await;
    places.assert_is(&places.get(&blob_path(&places.layer())).await, &places.layer());
    assert_eq!(
        places.mirror().gets("/v2/hub/library/redis/blobs/*").len(),
        1,
        "{}",
        places.story()
    );
}

#[tokio::test]
async fn a_layer_of_several_segments_is_mended_from_two_places() {
    // Over the threshold of parallel connections, with cuts at both places: every byte once in the file, the digest right.
    let size = 24 << 20;
    let places = Places::of(image_of(12, &[size]), 1, "").await;
    places.public().await;
    let layer = places.layer();
    for n in 1..=6 {
        let fault = Fault::CutAt(size / 14 + n * 1001);
        places.own.fault(On::get("*/blobs/*").nth(n), fault.clone());
        places.mirror().fault(On::get("*/blobs/*").nth(n), fault);
    }
    let answer = crate::cache::support::Over::Http1
        .get(places.app.addr(), &blob_path(&layer), None)
        .await;
    assert!(answer.complete && answer.status == 200, "{}", places.story());
    assert_eq!(sha256(&answer.body), layer.digest);
    let (own, mirror) = (places.own.sent("*/blobs/*"), places.mirror().sent("*/blobs/*"));
    println!("S16 24 MiB with cuts at both places: {own} and {mirror} bytes");
    assert!(own > 0 && mirror > 0);
}

#[tokio::test]
async fn a_blob_that_the_cache_has_no_room_for_comes_from_a_mirror_too() {
    // A layer larger than the cache goes past it; an outage of the registry is no reason that it comes from nowhere.
    let config = "[cache]\nmax_size = \"8MiB\"\nmin_free = \"0B\"";
    let places = Places::of(image_of(13, &[12_000_000]), 1, config).await;
    places.public().await;
    places.own_fails(&Fault::Status(503));
    let layer = places.layer();
    places.assert_is(&places.get(&blob_path(&layer)).await, &layer);
    assert!(
        places.mirror().sent("*/blobs/*") >= layer.bytes.len(),
        "{}",
        places.story()
    );
}
