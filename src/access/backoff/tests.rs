use std::net::IpAddr;

use tokio::time::advance;

use super::*;

fn network(address: &str) -> Network {
    Network::of(address.parse().expect("an address"))
}

/// Seconds to wait, or `None`.
fn wait(all: &BackOff, from: Network) -> Option<u64> {
    match all.judge(from) {
        Ok(()) => None,
        Err(Held::Waits { retry_after }) => Some(retry_after.as_secs()),
        Err(other @ Held::Busy { .. }) => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_wrong_password_after_the_fourth_makes_the_next_try_wait_longer() {
    // Threat S7: a guesser gets 60 tries an hour and not a million; a person who mistypes thrice notices nothing.
    let all = BackOff::default();
    let from = network("192.0.2.1");
    let mut waits = Vec::new();
    for _ in 0..14 {
        all.wrong(from);
        let wait = wait(&all, from);
        waits.push(wait.unwrap_or(0));
        advance(Duration::from_secs(wait.unwrap_or(0))).await;
        assert_eq!(all.judge(from), Ok(()), "after it has waited it may try");
    }
    assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
    assert_eq!(wait(&all, network("192.0.2.2")), None);
}

#[tokio::test(start_paused = true)]
async fn a_row_ends_with_a_right_password_or_a_quarter_of_an_hour() {
    // Somebody who found his password in the end starts anew.
    let all = Arc::new(BackOff::default());
    let from = network("192.0.2.1");
    let fail = || (0..5).for_each(|_| all.wrong(from));
    fail();
    advance(Duration::from_secs(1)).await;
    all.begin(from).expect("a try").right();
    assert_eq!(all.count(), 0, "nothing is left to remember");
    all.wrong(from);
    assert_eq!(wait(&all, from), None);
    fail();
    assert_eq!(wait(&all, from), Some(2));
    advance(REMEMBERED).await;
    all.wrong(from);
    assert_eq!(wait(&all, from), None);
}

#[tokio::test(start_paused = true)]
async fn one_address_has_few_tries_at_once_and_after_a_wait_one() {
    // Whoever asks a thousand times before the first answer must not have a thousand tries.
    let all = Arc::new(BackOff::default());
    let from = network("192.0.2.1");
    let tries: Vec<_> = (0..1000).filter_map(|_| all.begin(from).ok()).collect();
    assert_eq!(tries.len(), 16);
    assert!(all.begin(network("192.0.2.2")).is_ok());
    tries.iter().for_each(Attempt::wrong);
    drop(tries);
    assert_eq!(wait(&all, from), Some(60));
    advance(LONGEST_WAIT).await;
    let tries: Vec<_> = (0..1000).filter_map(|_| all.begin(from).ok()).collect();
    assert_eq!(tries.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_customer_is_one_address_and_a_mapped_one_is_its_ipv4() {
    // A /64 has more addresses than there are passwords.
    let all = BackOff::default();
    for host in 0..5 {
        all.wrong(network(&format!("2001:db8:1:2:{host}::1")));
        all.wrong(network("192.0.2.1"));
    }
    assert_eq!(all.count(), 2);
    assert_eq!(wait(&all, network("2001:db8:1:2:ffff::")), Some(1));
    assert_eq!(wait(&all, network("2001:db8:1:3::1")), None);
    assert_eq!(wait(&all, network("::ffff:192.0.2.1")), Some(1));
    assert_eq!(wait(&all, network("::ffff:192.0.2.2")), None);
}

#[tokio::test(start_paused = true)]
async fn a_site_with_many_networks_is_no_way_to_guess_for_ever() {
    // A customer has a /48, which is 65,536 networks with five free guesses each; his provider's others are not he.
    let all = Arc::new(BackOff::default());
    let mut guesses = 0;
    for number in 0..1000 {
        let from = network(&format!("2001:db8:1:{number:x}::1"));
        while let Ok(attempt) = all.begin(from) {
            attempt.wrong();
            guesses += 1;
        }
    }
    assert_eq!(guesses, FREE_OF_SITE);
    assert_eq!(wait(&all, network("2001:db8:1:ffff::1")), Some(1));
    assert_eq!(wait(&all, network("2001:db8:2::1")), None);
    // The site's first network is not the site.
    assert_eq!(wait(&all, network("2001:db8:3::1")), None);
    for _ in 0..FREE {
        all.wrong(network("2001:db8:3::1"));
    }
    assert_eq!(wait(&all, network("2001:db8:3:1::1")), None);
    advance(Duration::from_secs(1)).await;
    all.begin(network("2001:db8:1:ffff::1")).expect("a try").right();
    let colleague = network("2001:db8:1:fffe::1");
    for _ in 1..FREE {
        assert_eq!(
            wait(&all, colleague),
            None,
            "one who is right forgives five of the site's"
        );
        all.begin(colleague).expect("a try").wrong();
    }
    all.begin(network("2001:db8:1:fffd::1")).expect("a try").wrong();
    assert!(wait(&all, colleague).is_some());
    println!("{guesses} guesses at once from a /48");
}

#[tokio::test(start_paused = true)]
async fn the_table_is_bounded_and_forgets_the_oldest_first() {
    // A flood from made-up addresses must not fill the memory, nor wash out who is guessing now.
    let all = Arc::new(BackOff::default());
    let guesser = network("192.0.2.1");
    let trying = all.begin(network("192.0.2.2")).expect("a try");
    let mut most = 0;
    for number in 0..11_000_u32 {
        if number % 1000 == 0 {
            all.wrong(guesser);
            advance(Duration::from_millis(10)).await;
        }
        all.wrong(Network::of(IpAddr::from((0x0a00_0000 + number).to_be_bytes())));
        most = most.max(all.count());
    }
    assert_eq!(most, ADDRESSES);
    assert!(wait(&all, guesser).is_some());
    trying.wrong();
    assert!(all.tables().networks.contains_key(&network("192.0.2.2")));
}
