//! Several proxies in a list (T5): the first that works carries a request, and only those that the list names.

use std::time::Duration;

use docxy::upstream::failure::Cause;
use docxy::upstream::transport::Proxies;
use docxy::upstream::transport::proxy::{NoProxy, Proxy, ProxyConfig, Step};
use docxy::upstream::{Failure, Right, Upstream};
use http_body_util::BodyExt as _;

use super::stub::{self, Setup, Stub, TAGS, answer, get};
use crate::support::proxy::{Life, Outbound};

async fn registry() -> Stub {
    Stub::start(|_| answer(200, &[("Connection", "close")], "ok")).await
}

fn through(url: &str) -> Step {
    Step::Through {
        proxy: Proxy::parse(url).unwrap(),
        no_proxy: NoProxy::default(),
    }
}

fn upstream(registry: &Stub, steps: Vec<Step>) -> Upstream {
    within(registry, steps, Duration::from_secs(5))
}

/// `connect` is waited for where a proxy is mute.
fn within(registry: &Stub, steps: Vec<Step>, connect: Duration) -> Upstream {
    let mut setup = Setup::at(&registry.url_at("registry.test", ""));
    setup.transport.proxy = Some(ProxyConfig::List(steps));
    setup.transport.timeouts.connect = connect;
    setup.build()
}

async fn status(upstream: &Upstream) -> Result<u16, Failure> {
    let answer = upstream.send(&get(TAGS), &Right::Anonymous).await?;
    Ok(answer.status.as_u16())
}

/// An address where nobody listens.
async fn nobody() -> String {
    let relay = Outbound::start().await;
    relay.kill().await;
    relay.address().to_string()
}

#[tokio::test]
async fn each_way_a_proxy_fails_is_passed_over() {
    // Free and company proxies fail in many ways; a pull must not care as long as one of the list works.
    let registry = registry().await;
    let nobody = nobody().await;
    let mute = Outbound::living(Life::Mute).await;
    let refusing = Outbound::living(Life::Refuses(503)).await;
    let locked = Outbound::for_user("me", "right").await;
    let wrong = |scheme| locked.url(scheme, "me:wrong@");
    let failing = [
        format!("http://{nobody}"),
        format!("https://{nobody}"),
        format!("socks5://{nobody}"),
        format!("socks5h://{nobody}"),
        mute.url("socks5", ""),
        mute.url("socks5h", ""),
        refusing.url("socks5h", ""),
        wrong("http"),
        wrong("socks5"),
        locked.url("socks5h", ""),
        locked.url("http", ""),
    ];
    let mut tried = 0;
    for first in &failing {
        for scheme in ["http", "socks5", "socks5h"] {
            let good = Outbound::for_user("me", "right").await;
            let list = vec![through(first), through(&good.url(scheme, "me:right@"))];
            let is_mute = first.contains(&mute.address().to_string());
            let upstream = within(&registry, list, Duration::from_secs(if is_mute { 1 } else { 5 }));
            assert_eq!(status(&upstream).await.unwrap(), 200, "{first} then {scheme}");
            assert_eq!(good.asked().len(), 1, "{first} then {scheme}");
            tried += 1;
        }
    }
    println!("{tried} of {tried} pulls came through the second proxy");
}

#[tokio::test]
async fn https_is_tunnelled_by_the_next_when_connect_is_refused() {
    // 5xx and 407 to CONNECT are how a proxy says that it can't or won't.
    let authority = super::tls::Authority::new("ours");
    let registry = Stub::start_tls(authority.server("registry.test"), |_| answer(200, &[], "ok")).await;
    for life in [
        Life::Refuses(502),
        Life::Refuses(503),
        Life::Refuses(504),
        Life::Refuses(407),
    ] {
        let (first, second) = (Outbound::living(life).await, Outbound::start().await);
        let mut setup = Setup::at(&registry.url_at("registry.test", ""));
        setup.transport.tls = super::tls::trusting(&[&authority]);
        setup.transport.proxy = Some(ProxyConfig::List(vec![
            through(&first.url("http", "")),
            through(&second.url("socks5h", "")),
        ]));
        let upstream = setup.build();
        assert_eq!(status(&upstream).await.unwrap(), 200, "{life:?}");
        assert_eq!((first.asked().len(), second.asked().len()), (1, 1), "{life:?}");
    }
}

#[tokio::test]
async fn the_order_is_the_operators_and_direct_stands_where_it_is_written() {
    // The first is the fast or the cheap one. And who lists proxies alone must never be seen on the direct road.
    let registry = registry().await;
    let (first, second) = (Outbound::start().await, Outbound::start().await);
    let two = vec![through(&first.url("http", "")), through(&second.url("http", ""))];
    let one = upstream(&registry, two.clone());
    for _ in 0..5 {
        assert_eq!(status(&one).await.unwrap(), 200);
    }
    assert_eq!((first.asked().len(), second.asked().len()), (5, 0));

    first.kill().await;
    second.kill().await;
    let seen = registry.seen().len();
    for list in [two.clone(), two[..1].to_vec()] {
        let failure = status(&upstream(&registry, list.clone())).await.unwrap_err();
        let Failure::Unreachable { cause, .. } = &failure else {
            panic!("{failure:?}");
        };
        match list.len() {
            1 => assert!(matches!(cause, Cause::Proxy { .. }), "{failure:?}"),
            _ => assert!(matches!(cause, Cause::NoRoad(_)), "{failure:?}"),
        }
        assert!(
            failure.to_string().contains(&first.address().to_string()),
            "{failure}"
        );
        let short = failure.for_client();
        assert!(!short.contains("127.0.0.1") && short.contains("prox"), "{short}");
    }
    assert_eq!(registry.seen().len(), seen, "dials past the proxies");

    let mut direct = two;
    direct.push(Step::Direct);
    assert_eq!(status(&upstream(&registry, direct)).await.unwrap(), 200);
    assert_eq!(registry.seen().len(), seen + 1);
    let only = upstream(&registry, vec![Step::Direct]);
    assert_eq!(status(&only).await.unwrap(), 200);
}

#[tokio::test]
async fn one_that_failed_rests_and_is_used_again_when_it_is_back() {
    // The preferred proxy comes back after a minute: pulls must go through it again, without anyone waiting to find out.
    let registry = registry().await;
    let second = Outbound::start().await;
    let first = Outbound::start().await;
    let address = first.address();
    let list = vec![through(&first.url("http", "")), through(&second.url("http", ""))];
    let upstream = upstream(&registry, list);
    first.kill().await;
    for _ in 0..3 {
        assert_eq!(status(&upstream).await.unwrap(), 200);
    }
    assert_eq!(second.asked().len(), 3);

    let first = Outbound::at(address, Life::Long, None).await;
    assert_eq!(status(&upstream).await.unwrap(), 200);
    assert_eq!(first.connections(), 0, "it rests");

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    // This request goes the way that works, and a probe goes the other.
    assert_eq!(status(&upstream).await.unwrap(), 200);
    let used_again = Box::pin(async {
        loop {
            let before = first.asked().len();
            assert_eq!(status(&upstream).await.unwrap(), 200);
            if first.asked().len() > before && first.asked().len() > 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
    });
    crate::support::within("the first proxy to be used again", used_again).await;
    let probes = registry
        .seen()
        .iter()
        .filter(|seen| seen.method == "HEAD")
        .count();
    assert_eq!(probes, 1);
}

#[tokio::test]
async fn a_dead_registry_does_not_spoil_the_order() {
    // When it is the registry that is away, every road fails: none may be blamed, or other registries take the slow one.
    let gone = Stub::start(|_| answer(200, &[], "")).await;
    let other = registry().await;
    let (first, second) = (Outbound::start().await, Outbound::start().await);
    let list = vec![
        through(&first.url("socks5h", "")),
        through(&second.url("socks5h", "")),
    ];
    let proxies = Proxies::default();
    let build = |port: u16| {
        let mut setup = Setup::at(&format!("http://registry.test:{port}"));
        setup.transport.proxy = Some(ProxyConfig::List(list.clone()));
        setup.transport.proxies = proxies.clone();
        setup.build()
    };
    // Nobody listens on port 1.
    drop(gone);
    assert!(status(&build(1)).await.is_err());
    let asked = (first.asked().len(), second.asked().len());
    assert_eq!(asked, (1, 1));
    assert_eq!(status(&build(other.port())).await.unwrap(), 200);
    assert_eq!((first.asked().len(), second.asked().len()), (2, 1));

    // What one registry learns of a proxy, all know.
    first.kill().await;
    assert_eq!(status(&build(other.port())).await.unwrap(), 200);
    let third = build(other.port());
    assert_eq!(status(&third).await.unwrap(), 200);
    assert_eq!(second.asked().len(), 3);
}

#[tokio::test]
async fn what_one_registry_breaks_is_not_the_proxys_fault_for_others() {
    // One registry that cuts its blobs, or says nothing, must not push every other registry onto the slow proxy.
    let good = registry().await;
    let cutting = Stub::start(|_| {
        let mut steps = answer(200, &[("Content-Length", "100")], "too short");
        steps.push(stub::Step::Close);
        steps
    })
    .await;
    let silent = Stub::start(|_| vec![stub::Step::Hang]).await;
    let (first, second) = (Outbound::start().await, Outbound::start().await);
    let list = vec![
        through(&first.url("socks5h", "")),
        through(&second.url("socks5h", "")),
    ];
    let proxies = Proxies::default();
    let at = |stub: &Stub| {
        let mut setup = Setup::at(&stub.url_at("registry.test", ""));
        setup.transport.proxy = Some(ProxyConfig::List(list.clone()));
        setup.transport.proxies = proxies.clone();
        setup.transport.timeouts.headers = Duration::from_millis(300);
        setup.build()
    };
    let cutting = at(&cutting);
    let answer = cutting.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    assert!(answer.body.collect().await.is_err());
    let failure = status(&at(&silent)).await.unwrap_err();
    assert!(matches!(failure, Failure::Timeout { .. }), "{failure:?}");
    assert_eq!((first.asked().len(), second.asked().len()), (2, 0));
    assert_eq!(status(&at(&good)).await.unwrap(), 200);
    assert_eq!(
        (first.asked().len(), second.asked().len()),
        (3, 0),
        "the first is still the first for others"
    );
    // The one whose body broke tries another road.
    cutting.send(&get(TAGS), &Right::Anonymous).await.unwrap();
    assert_eq!((first.asked().len(), second.asked().len()), (3, 1));
}
