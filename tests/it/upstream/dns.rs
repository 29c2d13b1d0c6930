//! Who is asked for addresses (T6): every configured server, in order; lies are not dialled, and nobody waits for the dead.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use docxy::upstream::failure::Cause;
use docxy::upstream::{Failure, Right, Timeouts};
use tokio::net::TcpListener;

use super::stub::{Setup, Stub, TAGS, answer, get};
use super::tls::{self, Authority, trusting};
use crate::support::dns::{A, AAAA, DnsServer, Manner};

/// What the liar says: also this machine, but another one to TCP.
const LIE: &str = "127.0.0.9";
const TRUTH: &str = "127.0.0.1";
const NAME: &str = "registry.example";

async fn registry() -> Stub {
    Stub::start(|_| answer(200, &[("Connection", "close")], "ok")).await
}

/// Listens where the lie leads, and counts who comes.
async fn canary(port: u16) -> Arc<AtomicUsize> {
    let address = SocketAddr::new(LIE.parse::<IpAddr>().unwrap(), port);
    let listener = TcpListener::bind(address).await.unwrap();
    let dials = Arc::new(AtomicUsize::new(0));
    let counted = dials.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    dials
}

/// Asks for NAME at the stub's port.
fn setup(registry: &Stub, servers: &[&str], trusted: rustls::ClientConfig) -> Setup {
    Setup::at(&registry.url_at(NAME, "")).dns(servers, trusted)
}

async fn status(setup: Setup) -> Result<u16, Failure> {
    let answer = setup.build().send(&get(TAGS), &Right::Anonymous).await?;
    Ok(answer.status.as_u16())
}

#[tokio::test]
async fn servers_over_tls_and_https_tell_the_truth_where_plain_dns_lies() {
    // Where answers are forged on the way, DoT and DoH are what brings a pull to the registry, and to nobody else.
    let registry = registry().await;
    let dials = canary(registry.port()).await;
    let ours = Authority::new("ours");
    let truth = [(NAME, TRUTH)];
    let dot = DnsServer::over_tls(&truth, Arc::new(ours.server("dns.test"))).await;
    let doh = DnsServer::over_https(&truth, &ours.server("dns.test")).await;
    let doh_by_address = DnsServer::over_https(&truth, &ours.server("127.0.0.1")).await;
    let liar = DnsServer::plain(&[(NAME, LIE)], Manner::Answers, 60).await;
    let lies = liar.address().to_string();
    let servers = [
        format!("tls://127.0.0.1:{}#dns.test", dot.port()),
        format!("tls://dns.test:{}", dot.port()),
        format!("tls://dns.test:{}#127.0.0.1", dot.port()),
        format!("https://127.0.0.1:{}/dns-query#dns.test", doh.port()),
        format!("https://dns.test:{}", doh.port()),
        format!("https://127.0.0.1:{}", doh_by_address.port()),
    ];
    for server in &servers {
        for _ in 0..3 {
            let setup = setup(&registry, &[server, &lies], trusting(&[&ours]));
            assert_eq!(status(setup).await.unwrap(), 200, "{server}");
        }
    }
    println!(
        "{} pulls over {} kinds of server: {} dials at the lie",
        3 * servers.len(),
        servers.len(),
        dials.load(Ordering::SeqCst)
    );
    assert_eq!(dials.load(Ordering::SeqCst), 0);
    assert_eq!(liar.asked_at_all(A), 0);
    assert!(dot.asked(NAME, A) > 0 && doh.asked(NAME, A) > 0);

    // And the lie would have been believed.
    let believed = setup(&registry, &[&lies], trusting(&[])).timeouts(Timeouts {
        connect: Duration::from_secs(5),
        headers: Duration::from_millis(100),
        idle: Duration::from_secs(5),
    });
    assert!(status(believed).await.is_err());
    assert_eq!(dials.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_impostor_with_a_wrong_certificate_is_not_believed() {
    // Whoever can forge plain answers can answer at the address of a DoH server, too.
    let registry = registry().await;
    let dials = canary(registry.port()).await;
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let lie = [(NAME, LIE)];
    let impostors = [
        DnsServer::over_https(&lie, &theirs.server("dns.test")).await,
        DnsServer::over_https(&lie, &ours.server("other.test")).await,
    ];
    for impostor in impostors {
        let server = format!("https://dns.test:{}", impostor.port());
        let failure = status(setup(&registry, &[&server], trusting(&[&ours])))
            .await
            .unwrap_err();
        assert!(
            matches!(
                &failure,
                Failure::Unreachable {
                    cause: Cause::Dns(_),
                    ..
                }
            ),
            "{failure:?}"
        );
        assert!(failure.to_string().contains(&server), "{failure}");
        assert_eq!(impostor.asked_at_all(A), 0);

        let honest = DnsServer::over_tls(&[(NAME, TRUTH)], Arc::new(ours.server("dns.test"))).await;
        let honest = format!("tls://dns.test:{}", honest.port());
        let setup = setup(&registry, &[&server, &honest], trusting(&[&ours]));
        assert_eq!(status(setup).await.unwrap(), 200);
    }
    assert_eq!(dials.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_dead_server_is_passed_over_and_asked_last_for_a_while() {
    // Two resolvers are configured so that one may die: nobody waits for it more than once.
    let registry = registry().await;
    let dead = DnsServer::plain(&[], Manner::Silent, 60).await;
    let good = DnsServer::plain(&[(NAME, TRUTH), ("second.example", TRUTH)], Manner::Answers, 60).await;
    let mut setup = setup(&registry, &[], trusting(&[]));
    setup.transport.timeouts.connect = Duration::from_secs(2);
    let servers = [dead.address().to_string(), good.address().to_string()];
    let setup = setup.dns(&[&servers[0], &servers[1]], trusting(&[]));
    let names = setup.transport.names.clone();
    assert_eq!(status(setup).await.unwrap(), 200);
    assert!(dead.asked(NAME, A) > 0);

    let mut second = Setup::at(&registry.url_at("second.example", ""));
    second.transport.names = names;
    assert_eq!(status(second).await.unwrap(), 200);
    assert_eq!(dead.asked("second.example", A), 0, "it rests");
}

#[tokio::test]
async fn servfail_leads_to_the_next_server_and_no_such_name_does_not() {
    // The order is what the operator trusts most first: what the first server knows, also that there is no such name, holds.
    let registry = registry().await;
    let failing = DnsServer::plain(&[(NAME, LIE)], Manner::Fails, 60).await;
    let good = DnsServer::plain(&[(NAME, TRUTH)], Manner::Answers, 60).await;
    let servers = [failing.address().to_string(), good.address().to_string()];
    let from = setup(&registry, &[&servers[0], &servers[1]], trusting(&[]));
    assert_eq!(status(from).await.unwrap(), 200);
    assert!(failing.asked(NAME, A) > 0);

    let knows_nothing = DnsServer::plain(&[], Manner::Answers, 60).await;
    let before = good.asked(NAME, A);
    let servers = [knows_nothing.address().to_string(), good.address().to_string()];
    let failure = status(setup(&registry, &[&servers[0], &servers[1]], trusting(&[])))
        .await
        .unwrap_err();
    assert!(failure.to_string().contains("knows no address"), "{failure}");
    assert!(failure.to_string().contains(&servers[0]), "{failure}");
    assert_eq!(good.asked(NAME, A), before);
}

#[tokio::test]
async fn one_name_that_can_not_be_answered_is_not_everybodys_trouble() {
    // A registry whose zone is broken makes every resolver say SERVFAIL: the preferred server stays the first for all others,
    // or one typing mistake sends a whole company's questions to the server that was meant for emergencies.
    const BROKEN: &str = "broken.example";
    let registry = registry().await;
    let names = [(NAME, TRUTH), ("second.example", TRUTH), (BROKEN, TRUTH)];
    let first = DnsServer::plain(&names, Manner::FailsFor(BROKEN), 60).await;
    let last = DnsServer::plain(&names, Manner::Answers, 60).await;
    let servers = [first.address().to_string(), last.address().to_string()];
    let from = setup(&registry, &[&servers[0], &servers[1]], trusting(&[]));
    let names = from.transport.names.clone();
    let pull = async |name: &str| {
        let mut setup = Setup::at(&registry.url_at(name, ""));
        setup.transport.names = names.clone();
        status(setup).await.unwrap()
    };
    assert_eq!(pull(NAME).await, 200);
    let kept = first.asked(NAME, A);
    assert_eq!(pull(BROKEN).await, 200);
    assert!(first.asked(BROKEN, A) > 0 && last.asked(BROKEN, A) > 0);
    assert_eq!(pull(NAME).await, 200);
    assert_eq!(pull("second.example").await, 200);
    assert_eq!(first.asked(NAME, A), kept, "its answers are kept");
    assert!(first.asked("second.example", A) > 0, "it does not rest");
    assert_eq!(last.asked("second.example", A) + last.asked(NAME, A), 0);
}

#[tokio::test]
async fn with_ipv6_off_nobody_is_asked_for_ipv6_addresses() {
    // On networks where questions for AAAA are never answered, switching IPv6 off must end the wait (T6).
    let registry = registry().await;
    let server = DnsServer::plain(
        &[(NAME, TRUTH), (NAME, "2606:4700::1")],
        Manner::SilentForIpv6,
        60,
    )
    .await;
    let address = server.address().to_string();
    let mut off = setup(&registry, &[], trusting(&[]));
    off.transport.ipv6 = false;
    assert_eq!(status(off.dns(&[&address], trusting(&[]))).await.unwrap(), 200);
    assert_eq!(server.asked_at_all(AAAA), 0);
    assert!(server.asked(NAME, A) > 0);

    // And with it on, those who never answer for IPv6 cost a moment only.
    let began = std::time::Instant::now();
    assert_eq!(
        status(setup(&registry, &[&address], trusting(&[])))
            .await
            .unwrap(),
        200
    );
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(server.asked(NAME, AAAA) > 0);
}

#[tokio::test]
async fn an_ipv6_address_that_leads_nowhere_is_followed_by_ipv4() {
    // Half-working IPv6 is the commonest fault of home networks: a pull must come through over IPv4.
    let registry = registry().await;
    // Nobody listens at ::1 on the stub's port.
    let server = DnsServer::plain(&[(NAME, "::1"), (NAME, TRUTH)], Manner::Answers, 60).await;
    let address = server.address().to_string();
    assert_eq!(
        status(setup(&registry, &[&address], trusting(&[])))
            .await
            .unwrap(),
        200
    );
    assert!(server.asked(NAME, AAAA) > 0);
}

#[tokio::test]
async fn answers_are_kept_for_as_long_as_they_say() {
    // Many small requests must not mean as many questions; and what says "do not keep me" is asked for anew.
    let registry = registry().await;
    // A question may be repeated when its answer is late.
    for (ttl, expected) in [(60, 1..=2), (0, 5..=10)] {
        let server = DnsServer::plain(&[(NAME, TRUTH)], Manner::Answers, ttl).await;
        let upstream = setup(&registry, &[&server.address().to_string()], trusting(&[])).build();
        for _ in 0..5 {
            // The stub closes each connection, so that each request needs an address.
            upstream.send(&get(TAGS), &Right::Anonymous).await.unwrap();
        }
        let asked = server.asked(NAME, A);
        assert!(expected.contains(&asked), "TTL {ttl}: {asked}");
    }
}

#[tokio::test]
async fn an_answer_too_long_for_udp_is_fetched_over_tcp() {
    // Names with many addresses are the large CDNs'.
    let registry = registry().await;
    let server = DnsServer::plain(&[(NAME, TRUTH)], Manner::Truncates, 60).await;
    let address = server.address().to_string();
    assert_eq!(
        status(setup(&registry, &[&address], trusting(&[])))
            .await
            .unwrap(),
        200
    );
    assert!(server.asked(NAME, A) >= 2);
}

#[tokio::test]
async fn what_servers_say_is_judged_like_everything_else() {
    // DNS rebinding: a name that anybody may register must not lead inside, whoever resolved it (S2).
    let registry = registry().await;
    let ours = Authority::new("ours");
    let mut tried = 0;
    for inside in [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
    ] {
        let names = [(NAME, inside)];
        let plain = DnsServer::plain(&names, Manner::Answers, 0).await;
        let doh = DnsServer::over_https(&names, &ours.server("dns.test")).await;
        for server in [
            plain.address().to_string(),
            format!("https://dns.test:{}", doh.port()),
        ] {
            let mut guarded = setup(&registry, &[&server], trusting(&[&ours]));
            guarded.transport.allow_private = false;
            let failure = status(guarded).await.unwrap_err();
            assert!(
                matches!(failure, Failure::AddressRefused { .. }),
                "{inside}: {failure:?}"
            );
            tried += 1;
        }
    }
    println!(
        "{} dials in {tried} answers that lead inside",
        registry.seen().len()
    );
    assert_eq!(registry.seen().len(), 0);
}

#[tokio::test]
async fn static_hosts_stand_in_front_of_every_server() {
    // `network.hosts` is the operator's own word: no server is asked about it.
    let registry = registry().await;
    let liar = DnsServer::plain(&[(NAME, LIE)], Manner::Answers, 60).await;
    let mut fixed = setup(&registry, &[&liar.address().to_string()], tls::trusting(&[]));
    fixed
        .transport
        .static_hosts
        .insert(NAME.to_owned(), vec![TRUTH.parse().unwrap()]);
    assert_eq!(status(fixed).await.unwrap(), 200);
    assert_eq!(liar.asked_at_all(A), 0);
}
