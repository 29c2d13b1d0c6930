//! R1: registries that are down in every way there is. What was pulled before is served at once; what was not is refused in
//! reasonable time; docxy starts whatever the registry does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, stream};

use super::support::{Cached, REPOSITORY, TAG, blob_path, image_of, p99};
use crate::support::{
    app::Builder as AppBuilder,
    ca::TestCa,
    client::Response,
    stub::{Auth, Fault, Gate, Line, On, StubRegistry},
};

/// What is wrong with the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Refuses,
    BlackHole,
    Babbles,
    ForeignCertificate,
    NoSuchHost,
    ClosesBeforeAnswering,
    NeverAnswers,
    StopsInTheBody,
    CutsEveryBody,
    InternalError,
    Unavailable,
    UnavailableRetryAfter,
    TooManyRequests,
    TokensFail,
    TokensNeverCome,
    SendsNonsense,
}

const ALL: [Trouble; 16] = [
    Trouble::Refuses,
    Trouble::BlackHole,
    Trouble::Babbles,
    Trouble::ForeignCertificate,
    Trouble::NoSuchHost,
    Trouble::ClosesBeforeAnswering,
    Trouble::NeverAnswers,
    Trouble::StopsInTheBody,
    Trouble::CutsEveryBody,
    Trouble::InternalError,
    Trouble::Unavailable,
    Trouble::UnavailableRetryAfter,
    Trouble::TooManyRequests,
    Trouble::TokensFail,
    Trouble::TokensNeverCome,
    Trouble::SendsNonsense,
];

/// In no DNS.
const NAME: &str = "no-such-host.invalid";

/// How long things may take, and what docxy is told about it.
struct Patience {
    config: &'static str,
    first: Duration,
    miss: Duration,
    asks: usize,
}

#[tokio::test]
async fn what_was_pulled_before_survives_every_outage() {
    // Shorter limits than the defaults, of which `make soak` takes the time.
    outages(&Patience {
        config: "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"\nheaders = \"1s\"\nidle = \"1s\"",
        first: Duration::from_millis(1500),
        miss: Duration::from_secs(10),
        asks: 15,
    })
    .await;
}

#[tokio::test]
#[ignore = "default time limits; `make soak`"]
async fn soak_what_was_pulled_before_survives_every_outage() {
    outages(&Patience {
        config: "",
        first: Duration::from_millis(3500),
        miss: Duration::from_secs(20),
        asks: 200,
    })
    .await;
}

#[derive(Default)]
struct Counts {
    tried: usize,
    served: usize,
    late: usize,
    missed_late: usize,
    starts: usize,
}

async fn outages(patience: &Patience) {
    let begin = Instant::now();
    let counts: Vec<Counts> = stream::iter(ALL)
        .map(|trouble| outage(trouble, patience))
        .buffer_unordered(4)
        .collect()
        .await;
    let sum = |of: fn(&Counts) -> usize| counts.iter().map(of).sum::<usize>();
    let (tried, served, late) = (sum(|c| c.tried), sum(|c| c.served), sum(|c| c.late));
    println!(
        "R1 {} kinds of outage x {{tag, manifest, blob, miss}}, running and at start: {served} of {tried} cached requests \
         served, {late} too slow, {} misses too slow, {} of {} starts; {:.1?} in all",
        ALL.len(),
        sum(|c| c.missed_late),
        sum(|c| c.starts),
        ALL.len(),
        begin.elapsed()
    );
    assert_eq!(
        (served, late, sum(|c| c.missed_late), sum(|c| c.starts)),
        (tried, 0, 0, ALL.len())
    );
}

async fn outage(trouble: Trouble, patience: &Patience) -> Counts {
    let ca = Arc::new(TestCa::new());
    let stub = StubRegistry::builder().image(REPOSITORY, "7", image_of(120, &[20_000]));
    let stub = match trouble {
        Trouble::ForeignCertificate => stub.tls(&ca),
        Trouble::TokensFail | Trouble::TokensNeverCome => stub.auth(Auth::Token).token_life(1),
        _ => stub,
    };
    let stub = stub.start().await;
    let (pem, config) = (ca.pem(), patience.config);
    let by_name = format!(
        "[registries.\"docker.io\"]\nurls = [\"http://{NAME}:{}\"]\n",
        stub.addr().port()
    );
    let is_known = Arc::new(AtomicBool::new(true));
    let known = Arc::clone(&is_known);
    let how = move |app: AppBuilder| {
        let app = app.config(config);
        if trouble == Trouble::NoSuchHost {
            let app = app.config(&by_name);
            return if known.load(Relaxed) {
                app.config(&format!("[network.hosts]\n{NAME:?} = [\"127.0.0.1\"]\n"))
            } else {
                app
            };
        }
        if trouble == Trouble::ForeignCertificate {
            let keys = "[registries.\"docker.io\"]\nca_file = \"ca.pem\"";
            return app.file("ca.pem", pem.clone()).config(keys);
        }
        app
    };
    let docxy = Cached::built(stub, how).await;
    let image = docxy.image();
    for (path, content) in cached_paths(&docxy) {
        docxy.client().get(&path).await.assert_is(&content, &docxy.stub);
        docxy.stored(&content).await;
    }
    docxy.stub.advance(Duration::from_mins(10));
    let mut counts = Counts::default();
    let gate = Gate::closed();
    let mut docxy = docxy;
    if trouble == Trouble::NoSuchHost {
        // Names are looked up when they are needed: the same cache, behind a registry whose name is gone.
        is_known.store(false, Relaxed);
        docxy = docxy.again().await;
    } else {
        begin(trouble, &docxy.stub, &gate).await;
    }
    ask_all(trouble, &docxy, patience, &mut counts).await;
    // And at start.
    docxy = docxy.again().await;
    counts.starts += 1;
    ask_all(trouble, &docxy, patience, &mut counts).await;
    gate.open();
    drop(image);
    counts
}

fn cached_paths(docxy: &Cached) -> Vec<(String, crate::support::image::Content)> {
    let image = docxy.image();
    let layer = docxy.layer().0;
    vec![
        (TAG.to_owned(), image.root.clone()),
        (
            format!("/v2/{REPOSITORY}/manifests/{}", image.root.digest),
            image.root.clone(),
        ),
        (blob_path(&layer), layer),
    ]
}

async fn begin(trouble: Trouble, stub: &StubRegistry, gate: &Gate) {
    let fault = |fault: Fault| stub.fault(On::path("/v2/*"), fault);
    let answer = |status: u16, headers: Vec<(&'static str, String)>, body: &str| Fault::Answer {
        status,
        headers,
        body: body.to_owned(),
    };
    match trouble {
        Trouble::Refuses => stub.down().await,
        Trouble::BlackHole => stub.turn(Line::BlackHole).await,
        Trouble::Babbles => stub.turn(Line::Babbling).await,
        Trouble::ForeignCertificate => stub.turn(Line::OtherCertificate(Arc::new(TestCa::new()))).await,
        Trouble::NoSuchHost => {}
        Trouble::ClosesBeforeAnswering => fault(Fault::Close),
        Trouble::NeverAnswers => fault(Fault::Head(gate.clone())),
        Trouble::StopsInTheBody => {
            // HEAD has no body to stop in: it is refused, so that docxy must GET.
            fault(Fault::Body(gate.clone()));
            stub.fault(On::head("/v2/*"), Fault::Status(500));
        }
        Trouble::CutsEveryBody => {
            fault(Fault::CutAt(10));
            stub.fault(On::head("/v2/*"), Fault::Status(502));
        }
        Trouble::InternalError => fault(Fault::Status(500)),
        Trouble::Unavailable => fault(Fault::Status(503)),
        Trouble::UnavailableRetryAfter => fault(answer(503, vec![("retry-after", "120".into())], "")),
        Trouble::TooManyRequests => fault(answer(429, vec![("retry-after", "3600".into())], "")),
        Trouble::TokensFail => stub.fault(On::token(), Fault::Status(500)),
        Trouble::TokensNeverCome => stub.fault(On::token(), Fault::Head(gate.clone())),
        Trouble::SendsNonsense => {
            let kind = vec![("content-type", "text/html".to_owned())];
            fault(answer(
                200,
                kind,
                "<html>Please sign in to the hotel's network</html>",
            ));
        }
    }
}

async fn ask_all(trouble: Trouble, docxy: &Cached, patience: &Patience, counts: &mut Counts) {
    for (path, content) in cached_paths(docxy) {
        let mut times = Vec::new();
        for n in 0..=patience.asks {
            let begin = Instant::now();
            let answer = docxy.client().get(&path).await;
            let took = begin.elapsed();
            let right = answer.status == 200 && answer.complete && answer.body == content.bytes;
            counts.tried += 1;
            counts.served += usize::from(right);
            if !right && n < 2 {
                println!("{trouble:?} {path}: {}", summary(&answer));
            }
            if n == 0 && took > patience.first {
                println!("{trouble:?} {path}: the first ask took {took:?}");
                counts.late += 1;
            }
            if n > 0 {
                times.push(took);
            }
        }
        let p99 = p99(&mut times);
        if p99 > Duration::from_millis(250) {
            println!("{trouble:?} {path}: p99 {p99:?}");
            counts.late += 1;
        }
    }
    let missing = format!(
        "/v2/{REPOSITORY}/blobs/{}",
        crate::support::image::sha256(b"not there")
    );
    for path in [missing, format!("/v2/{REPOSITORY}/manifests/other")] {
        let begin = Instant::now();
        let request = docxy.client().request("GET", &path);
        let answer = async {
            let mut open = request.try_open(docxy.app.addr()).await.ok()?;
            let body = open.rest().await;
            Some(open.into_response(body))
        };
        // Longer than anybody's limit here: late is counted, not panicked about.
        let answer = tokio::time::timeout(3 * patience.miss, answer)
            .await
            .ok()
            .flatten();
        if let Some(answer) = &answer {
            assert!(
                answer.status >= 400 || !answer.complete,
                "{trouble:?} {path}: {}",
                summary(answer)
            );
        }
        if begin.elapsed() > patience.miss {
            let status = answer.map(|answer| answer.status);
            println!("{trouble:?} {path}: {status:?} after {:.1?}", begin.elapsed());
            counts.missed_late += 1;
        }
    }
}

fn summary(answer: &Response) -> String {
    answer.everything().chars().take(400).collect()
}

#[tokio::test]
async fn a_registry_that_comes_back_is_asked_again() {
    // A breaker that never closes would serve old tags for ever.
    let config = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"";
    let docxy = Cached::of(image_of(121, &[1000]), config).await;
    docxy.warm().await;
    let old = docxy.image();
    docxy.stub.down().await;
    for _ in 0..5 {
        docxy.get(TAG).await.assert_is(&old.root, &docxy.stub);
    }
    let new = docxy.stub.put(REPOSITORY, "7", image_of(122, &[1000]));
    docxy.stub.up().await;
    let begin = Instant::now();
    while docxy.get(TAG).await.body != new.root.bytes {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "still the old one: {}",
            docxy.stub.story()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("R1 back up: the new tag was served {:.1?} later", begin.elapsed());
}

#[tokio::test]
async fn one_probe_asks_a_suspect_registry() {
    // A registry that is going under must not be met by every pod of a cluster.
    let config = "[cache]\nrevalidate_timeout = \"300ms\"\n[timeouts]\nheaders = \"30s\"";
    let docxy = Cached::of(image_of(123, &[1000]), config).await;
    docxy.warm().await;
    let old = docxy.image();
    let gate = Gate::closed();
    docxy.stub.fault(On::path("/v2/*"), Fault::Head(gate.clone()));
    docxy.stub.forget();
    for _ in 0..50 {
        docxy.get(TAG).await.assert_is(&old.root, &docxy.stub);
    }
    let asked = docxy.stub.requests().len();
    println!("R1 50 pulls of a cached tag while the registry hangs: {asked} upstream requests");
    assert!(asked <= 4, "{}", docxy.stub.story());
    gate.open();
}

#[tokio::test]
async fn a_rule_for_timeouts_alone_waits_once() {
    // Whoever allows old answers after a timeout only: one pull finds out that the registry hangs, the others don't wait.
    let config = "[cache]\nrevalidate_timeout = \"500ms\"\n[[cache.tags]]\nstale = [\"timeout\"]\n[timeouts]\nheaders = \"30s\"";
    let docxy = Cached::of(image_of(124, &[1000]), config).await;
    docxy.warm().await;
    let old = docxy.image();
    let gate = Gate::closed();
    docxy.stub.fault(On::path("/v2/*"), Fault::Head(gate.clone()));
    let mut times = Vec::new();
    for _ in 0..20 {
        let begin = Instant::now();
        docxy.get(TAG).await.assert_is(&old.root, &docxy.stub);
        times.push(begin.elapsed());
    }
    let (first, slowest) = (times[0], p99(&mut times[1..]));
    println!(
        "R1 stale after timeouts only, the registry hangs: first {first:.1?}, then at most {slowest:.1?}"
    );
    assert!(first < Duration::from_millis(1500) && slowest < Duration::from_millis(250));
    gate.open();
}
