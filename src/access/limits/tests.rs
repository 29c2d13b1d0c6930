use tokio::time::advance;

use super::*;
use crate::access::User;

fn at(address: &str) -> Who<'static> {
    Who::at(address.parse().expect("an address"))
}

fn a_minute(requests_per_minute: u32, burst: u32) -> Limits {
    Limits::new(Config {
        requests_per_minute,
        burst,
        concurrent: 0,
    })
}

fn at_a_time(concurrent: u32) -> Limits {
    Limits::new(Config {
        concurrent,
        ..Config::default()
    })
}

/// How many of so many requests are let in, one after the other.
fn let_in(limits: &Limits, who: Who<'_>, requests: u32) -> u32 {
    (0..requests).map(|_| u32::from(limits.enter(who).is_ok())).sum()
}

fn wait(limits: &Limits, who: Who<'_>) -> Duration {
    limits.enter(who).expect_err("refused").retry_after()
}

#[tokio::test(start_paused = true)]
async fn a_minute_has_as_many_requests_as_are_written_and_a_burst_of_them_at_once() {
    // What an operator writes is what a client gets, whenever it asks; what it is told to wait is what it must wait.
    let limits = a_minute(60, 5);
    let who = at("192.0.2.1");
    assert_eq!(let_in(&limits, who, 100), 5);
    assert_eq!(wait(&limits, who), Duration::from_secs(1));
    advance(Duration::from_millis(400)).await;
    assert_eq!(wait(&limits, who), Duration::from_millis(600));
    advance(Duration::from_millis(600)).await;
    assert_eq!(let_in(&limits, who, 100), 1);
    let mut hour = 0;
    for _ in 0..3600 {
        advance(Duration::from_secs(1)).await;
        hour += let_in(&limits, who, 10);
    }
    assert_eq!(hour, 3600);
    advance(Duration::from_hours(1)).await;
    assert_eq!(let_in(&limits, who, 100), 5, "a rest saves no more than a burst");

    let limits = a_minute(600, 0);
    assert_eq!(
        let_in(&limits, who, 10_000),
        600,
        "without a burst a minute's may come at once"
    );
    let limits = a_minute(1, 1);
    assert_eq!(let_in(&limits, who, 10), 1);
    assert_eq!(wait(&limits, who), Duration::from_mins(1));
}

#[tokio::test(start_paused = true)]
async fn everybody_has_an_allowance_of_his_own() {
    // One busy machine must not stop the others; and a /64 is one customer, who could else have as many as he likes.
    let limits = a_minute(60, 3);
    let user = |name: &str| User {
        name: name.into(),
        groups: Vec::new(),
    };
    let subject = |name: Option<&str>, address: &str| Subject {
        user: name.map(|name| Arc::new(user(name))),
        address: address.parse().expect("an address"),
    };
    let table = [
        (None, "192.0.2.1", 3),
        (None, "192.0.2.2", 3),
        (None, "::ffff:192.0.2.2", 0),
        (None, "2001:db8:1:2::1", 3),
        (None, "2001:db8:1:2:ffff:ffff:ffff:ffff", 0),
        (None, "2001:db8:1:3::1", 3),
        (Some("ann"), "192.0.2.1", 3),
        (Some("ann"), "192.0.2.99", 0),
        (Some("bob"), "192.0.2.1", 3),
        // A name that looks like an address is none.
        (Some("192.0.2.1"), "192.0.2.3", 3),
        (None, "192.0.2.3", 3),
    ];
    for (name, address, expected) in table {
        let subject = subject(name, address);
        assert_eq!(
            let_in(&limits, Who::of(&subject), 10),
            expected,
            "{name:?} at {address}"
        );
    }
    println!("{} clients", table.len());
}

#[tokio::test(start_paused = true)]
async fn made_up_addresses_do_not_fill_the_memory() {
    // Whoever has an IPv6 /32 has four thousand million /64s to ask from.
    let limits = a_minute(1, 1);
    let len = || limits.requests.as_ref().expect("on").table.load().len();
    let mut most = 0;
    let asked = 3 * u128::try_from(CLIENTS).expect("a number");
    for number in 0..asked {
        let address = IpAddr::V6((0x2001_0db8_u128 << 96 | number << 64).into());
        assert!(limits.enter(Who::at(address)).is_ok());
        if number % 1000 == 0 {
            most = most.max(len());
        }
    }
    let bound = CLIENTS + LOOK as usize;
    assert!(most <= bound, "{most} remembered, {bound} at most");
    println!("{asked} addresses asked, {most} were remembered at most");

    // Once their minute is over they are forgotten, and nobody else is.
    let mut number = 0_u128;
    while len() <= CLIENTS {
        number += 1;
        let _ = limits.enter(Who::at(IpAddr::V6(
            (0x2001_0db9_u128 << 96 | number << 64).into(),
        )));
    }
    advance(Duration::from_mins(2)).await;
    let who = at("192.0.2.1");
    assert_eq!(let_in(&limits, who, 2 * LOOK), 1);
    assert_eq!(len(), 1);
}

#[test]
fn requests_under_way_are_counted_until_they_end() {
    // Whoever holds many slow downloads leaves room for others; what has ended, however it did, is free again.
    let limits = at_a_time(2);
    let who = at("192.0.2.1");
    let first = limits.enter(who).expect("a place");
    let second = limits.enter(who).expect("a place");
    for _ in 0..100 {
        let refused = limits.enter(who).expect_err("full");
        assert_eq!(refused, Exceeded::Concurrent);
        assert_eq!(refused.retry_after(), SOON);
    }
    assert!(limits.enter(at("192.0.2.2")).is_ok());
    drop(first);
    let third = limits.enter(who).expect("the place of the first");
    assert!(limits.enter(who).is_err());
    drop((second, third));
    let all = limits.under_way.as_ref().expect("on");
    assert!(all.lock().is_empty(), "nothing is left to remember");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_costs_nothing_and_holds_nothing() {
    // containerd tries a refused request five times at once: it must not be locked out by that.
    let limits = Limits::new(Config {
        requests_per_minute: 60,
        burst: 2,
        concurrent: 1,
    });
    let who = at("192.0.2.1");
    let pass = limits.enter(who).expect("let in");
    for _ in 0..50 {
        assert_eq!(limits.enter(who).err(), Some(Exceeded::Concurrent));
    }
    drop(pass);
    assert_eq!(let_in(&limits, who, 50), 1, "none of the fifty was counted");
    let all = limits.under_way.as_ref().expect("on");
    assert!(
        all.lock().is_empty(),
        "those refused for their number hold no place"
    );
    advance(Duration::from_secs(1)).await;
    assert_eq!(let_in(&limits, who, 50), 1);
}

#[test]
fn off_means_off() {
    // Most run without limits: those have no table, and no body is wrapped.
    let limits = Limits::new(Config::default());
    for _ in 0..10_000 {
        assert!(limits.enter(at("192.0.2.1")).expect("let in").is_free());
    }
    assert!(limits.requests.is_none() && limits.under_way.is_none());
    assert!(a_minute(10, 0).enter(at("192.0.2.1")).expect("let in").is_free());
}
