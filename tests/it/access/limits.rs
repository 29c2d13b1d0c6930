//! How much one client gets: requests a minute, requests under way, and whose they are (S8).

use std::time::Instant;

use super::addresses::figures;
use crate::signin::users::{ANN, BOB, until, with_users};
use crate::support::{
    app::TestApp,
    client::{Request, Response},
    image::Image,
    pair::{Pair, ghcr, hub},
    single::{MANIFEST, Single},
    stub::{Auth, Fault, Gate, On, StubRegistry},
};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\"]\n";

fn from(client: &str, request: Request) -> Request {
    request.header("X-Forwarded-For", client)
}

#[track_caller]
fn assert_not_now(answer: &Response) {
    assert_eq!(answer.status, 429, "{}", answer.everything());
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    if !answer.body.is_empty() {
        assert_eq!(answer.oci_error().0, "TOOMANYREQUESTS");
    }
}

#[tokio::test]
async fn every_request_counts_but_those_of_probes() {
    // Whatever a client asks costs something: who has used up his minute has used it up for every path and method.
    let config = format!("{TRUSTED}[access]\nrequests_per_minute = 1\nburst = 7\n");
    let pair = Pair::open(&config).await;
    let blob = format!(
        "/v2/library/redis/blobs/{}",
        pair.hub.image("library/redis", "7").blobs[0].digest
    );
    let all = [
        ("GET", MANIFEST, 200),
        ("HEAD", MANIFEST, 200),
        ("GET", &*blob, 200),
        ("GET", "/auth/token", 200),
        ("GET", "/v2/none.example/a/manifests/1", 404),
        ("PUT", MANIFEST, 405),
        ("GET", "/nowhere", 404),
    ];
    for (method, path, status) in all {
        let answer = from("192.0.2.1", Request::new(method, path))
            .send(pair.app.addr())
            .await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.everything());
    }
    let upstream = pair.hub.requests().len() + pair.ghcr.requests().len();
    let mut refused = 0;
    for _ in 0..5 {
        for (method, path) in all
            .map(|(method, path, _)| (method, path))
            .into_iter()
            .chain([("GET", "/v2/")])
        {
            let answer = from("192.0.2.1", Request::new(method, path))
                .send(pair.app.addr())
                .await;
            assert_not_now(&answer);
            refused += 1;
        }
    }
    assert_eq!(
        pair.hub.requests().len() + pair.ghcr.requests().len(),
        upstream,
        "nothing of it went on"
    );
    for path in ["/livez", "/readyz", "/health", "/generate_204"] {
        for _ in 0..20 {
            let answer = from("192.0.2.1", Request::get(path)).send(pair.app.addr()).await;
            assert!((200..=204).contains(&answer.status), "{path}");
        }
    }
    let other = from("192.0.2.2", Request::get(MANIFEST))
        .send(pair.app.addr())
        .await;
    assert_eq!(other.status, 200, "everybody else goes on");
    let line = pair
        .app
        .logged("the refusal", |line| line["fields"]["status"] == 429)
        .await;
    assert_eq!(line["fields"]["outcome"], "denied", "{line}");
    assert!(line.to_string().contains("requests_per_minute"), "{line}");
    let counted = figures(&pair.app)
        .await
        .sum("docxy_refused_total", &[("reason", "requests")]);
    assert_eq!(counted, refused);
    println!("{refused} requests over the limit, {refused} refused");
}

/// How many of a thousand requests, each with another header, are let in.
async fn let_in(app: &TestApp, header: impl Fn(u32) -> (&'static str, String)) -> (u64, u64) {
    let begin = Instant::now();
    let mut let_in = 0;
    for number in 0..1000 {
        let (name, value) = header(number);
        let answer = Request::get("/v2/").header(name, value).send(app.addr()).await;
        if answer.status == 429 {
            assert_not_now(&answer);
        } else {
            let_in += 1;
        }
    }
    // What a minute gives, for each that has begun.
    (let_in, begin.elapsed().as_secs() / 60 + 1)
}

#[tokio::test]
async fn a_thousand_claims_of_where_one_comes_from_are_one_client() {
    // S8: a limit that believes its client's header is none.
    let limit = "[access]\nrequests_per_minute = 1\nburst = 20\n";
    for name in ["X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP"] {
        let pair = Pair::open(limit).await;
        let header = |number: u32| {
            let address = std::net::Ipv4Addr::from_bits((10 << 24) | number);
            let value = if name == "Forwarded" {
                format!("for={address}")
            } else {
                address.to_string()
            };
            (name, value)
        };
        let (let_in, minutes) = let_in(&pair.app, header).await;
        assert!((20..=20 + minutes).contains(&let_in), "{name}: {let_in}");
        println!("S8: 1000 requests with 1000 {name} of a stranger's: {let_in} let in, as without");
    }
    // Through a trusted hop: what the client wrote itself stands left of what the hop did; and a /64 is one customer.
    let pair = Pair::open(&format!("{TRUSTED}{limit}")).await;
    let own = |number: u32| {
        (
            "X-Forwarded-For",
            format!("10.0.{}.{}, 192.0.2.1", number / 256, number % 256),
        )
    };
    let (of_one, minutes) = let_in(&pair.app, own).await;
    assert!((20..=20 + minutes).contains(&of_one), "{of_one}");
    let (of_a_64, minutes) = let_in(&pair.app, |number| {
        ("X-Forwarded-For", format!("2001:db8::{number:x}"))
    })
    .await;
    assert!((20..=20 + minutes).contains(&of_a_64), "{of_a_64}");
    let (of_many, _) = let_in(&pair.app, |number| {
        ("X-Forwarded-For", format!("2001:db8:1:{number:x}::1"))
    })
    .await;
    assert_eq!(of_many, 1000, "a thousand customers are a thousand");
    println!(
        "S8: 1000 claims through a trusted hop: {of_one} let in; 1000 addresses of one /64: {of_a_64}; of 1000 /64s: {of_many}"
    );
}

/// docxy before one image, whose blobs stand still after their first bytes.
async fn slow(config: &str) -> (Single, Gate, String) {
    let image = Image::layers(1).layer_size(1 << 20);
    let one = Single::start(StubRegistry::builder().image("library/redis", "7", image), config).await;
    let gate = Gate::after(1000);
    one.stub.fault(On::get("*/blobs/*"), Fault::Body(gate.clone()));
    let (_, path) = one.layer();
    (one, gate, path)
}

#[tokio::test]
async fn a_slow_body_keeps_its_place_and_gives_it_back() {
    // One client's downloads leave room for others', for as long as they last and no longer; with and without a cache.
    for cache in ["", "[cache]\nmode = \"disk\"\n"] {
        let (one, gate, path) = slow(&format!("{TRUSTED}{cache}[access]\nconcurrent = 2\n")).await;
        let (layer, _) = one.layer();
        let open = || from("192.0.2.1", Request::get(&*path));
        let mut under_way = [
            open().open(one.app.addr()).await,
            open().open(one.app.addr()).await,
        ];
        for download in &mut under_way {
            assert_eq!((download.status, download.read(1000).await.len()), (200, 1000));
        }
        let mut refused = 0;
        for method in ["GET", "HEAD", "GET", "HEAD", "GET", "HEAD"] {
            for path in [MANIFEST, &*path, "/v2/", "/auth/token"] {
                let answer = from("192.0.2.1", Request::new(method, path))
                    .send(one.app.addr())
                    .await;
                assert_not_now(&answer);
                assert_eq!(answer.header("retry-after"), Some("1"));
                refused += 1;
            }
        }
        for client in ["192.0.2.2", "2001:db8::1"] {
            let answer = from(client, Request::get(MANIFEST)).send(one.app.addr()).await;
            assert_eq!(answer.status, 200, "{client}");
        }
        assert_eq!(
            from("192.0.2.1", Request::get("/readyz"))
                .send(one.app.addr())
                .await
                .status,
            200
        );
        gate.open();
        for download in &mut under_way {
            assert_eq!(download.rest().await.len(), layer.bytes.len() - 1000, "unharmed");
        }
        let again = async || {
            from("192.0.2.1", Request::get(MANIFEST))
                .send(one.app.addr())
                .await
                .status
                == 200
        };
        until("the places of what has ended", again).await;
        let counted = figures(&one.app)
            .await
            .sum("docxy_refused_total", &[("reason", "concurrent")]);
        assert!(counted >= refused, "{counted} of {refused}");
        println!("{cache:?}: {refused} requests beside two downloads refused, the downloads whole");
    }
}

#[tokio::test]
async fn whoever_hangs_up_gives_his_place_back() {
    // A client that is killed in the middle of a pull must not find itself locked out when it starts again.
    for cache in ["", "[cache]\nmode = \"disk\"\n"] {
        let (one, gate, path) = slow(&format!("{cache}[access]\nconcurrent = 1\n")).await;
        let mut rounds = 0;
        for _ in 0..20 {
            let mut download = Request::get(&*path).open(one.app.addr()).await;
            assert_eq!(download.status, 200);
            download.read(1000).await;
            assert_not_now(&one.get(MANIFEST).await);
            drop(download);
            until("the place of who hung up", async || {
                one.get(MANIFEST).await.status == 200
            })
            .await;
            rounds += 1;
        }
        gate.open();

        // And before the answer's head.
        let head = Gate::closed();
        one.stub
            .fault(On::path("*/manifests/*"), Fault::Head(head.clone()));
        let address = one.app.addr();
        let waiting = tokio::spawn(async move { Request::get(MANIFEST).try_open(address).await.is_ok() });
        head.held().await;
        assert_not_now(&one.get("/auth/token").await);
        waiting.abort();
        until("the place of who left early", async || {
            one.get("/auth/token").await.status == 200
        })
        .await;
        println!("{cache:?}: {rounds} hung up in the body and 1 before the head, every place given back");
    }
}

#[tokio::test]
async fn a_user_has_one_allowance_wherever_he_is() {
    // Two people behind one office's address do not share; one person with many machines has no more than one.
    let (hub, ghcr) = (hub(Auth::Open).start().await, ghcr(Auth::Open).start().await);
    let app = with_users(Pair::app(&hub, &ghcr))
        .config(TRUSTED)
        .config("[access]\nclients = \"users\"\nrequests_per_minute = 1\nburst = 3\n")
        .start()
        .await;
    let ask = async |who: (&str, &str), client: &str| {
        let request = from(client, Request::get(MANIFEST)).basic(who.0, who.1);
        request.send(app.addr()).await.status
    };
    let wrong = ("ann", "not-it");
    let table = [
        (ANN, "192.0.2.1", 200),
        (ANN, "192.0.2.2", 200),
        (ANN, "192.0.2.3", 200),
        (ANN, "192.0.2.1", 429),
        (ANN, "2001:db8::1", 429),
        (BOB, "192.0.2.1", 200),
        // A wrong password is nobody's: it counts for the address, and not for ann.
        (wrong, "192.0.2.9", 401),
        (wrong, "192.0.2.9", 401),
        (wrong, "192.0.2.9", 401),
        (wrong, "192.0.2.9", 429),
        (BOB, "192.0.2.9", 200),
        (BOB, "192.0.2.2", 200),
        (BOB, "192.0.2.2", 429),
    ];
    for (number, (who, client, expected)) in table.into_iter().enumerate() {
        assert_eq!(
            ask(who, client).await,
            expected,
            "step {}: {} at {client}",
            number + 1,
            who.0
        );
    }
}

#[tokio::test]
async fn sign_ins_that_are_not_checked_are_counted() {
    // Somebody who guesses shows in the operator's graphs.
    let (hub, ghcr) = (hub(Auth::Open).start().await, ghcr(Auth::Open).start().await);
    let app = with_users(Pair::app(&hub, &ghcr))
        .config("[access]\nclients = \"users\"\n")
        .start()
        .await;
    let mut refused = 0;
    for number in 0..30 {
        let path = [MANIFEST, "/v2/", "/auth/token"][number % 3];
        let answer = Request::get(path)
            .basic("ann", &format!("guess {number}"))
            .send(app.addr())
            .await;
        if answer.status == 429 {
            assert_not_now(&answer);
            refused += 1;
        } else {
            assert_eq!(answer.status, 401, "{path}");
        }
    }
    assert!(refused >= 10, "{refused} of 30 guesses");
    let counted = figures(&app)
        .await
        .sum("docxy_refused_total", &[("reason", "password")]);
    assert_eq!(counted, refused);
    println!("30 guesses, {refused} of them not checked, and counted");
}

#[tokio::test]
async fn a_password_that_is_being_checked_is_one_of_its_addresss_requests() {
    // Checking one keeps a processor busy: who may have two requests under way may not have sixteen checked at once.
    let (hub, ghcr) = (hub(Auth::Open).start().await, ghcr(Auth::Open).start().await);
    let slow = bcrypt::hash("right", 11).expect("a hash");
    let app = Pair::app(&hub, &ghcr)
        .config("[access]\nuser_files = [\"users\"]\nclients = \"users\"\nconcurrent = 2\n")
        .file("users", format!("ann:{slow}\n"))
        .start()
        .await;
    let ask = |number: usize| {
        Request::get(MANIFEST)
            .basic("ann", &format!("wrong-{number}"))
            .send(app.addr())
    };
    let answers = futures_util::future::join_all((0..12).map(ask)).await;
    let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    let counted = figures(&app)
        .await
        .sum("docxy_refused_total", &[("reason", "concurrent")]);
    println!(
        "12 passwords at once, 2 allowed: {} checked, {} refused",
        of(401),
        of(429)
    );
    assert_eq!(of(401) + of(429), 12);
    assert!((1..=4).contains(&of(401)), "{}", of(401));
    assert!(counted >= 8, "{counted}");
    let answer = Request::get(MANIFEST).basic("ann", "right").send(app.addr());
    assert_eq!(answer.await.status, 200);
}
