//! A pool of accounts: the one with the most left pays, and when it is empty the next one does.

use docxy::config::values::{Credential, Secret};
use docxy::oci::{Endpoint, Reference, Repository, Tag};
use docxy::upstream::{Account, Answer, Ask, CredentialSource, Failure, Method, Right, Upstream};
use http::HeaderMap;

use super::{hub, name};
use crate::support::{
    image::Image,
    stub::{Fault, On, Quota, StubRegistry},
};
use crate::upstream::stub::Setup;

const THIRTY_EACH: Quota = Quota {
    anonymous: 0,
    signed_in: 30,
    retry_after: None,
};

/// docxy's client of this registry, with these accounts.
fn with_accounts(stub: &StubRegistry, names: &[&str]) -> Upstream {
    let mut setup = Setup::at(&stub.url());
    setup.config.realms = vec![stub.token_addr().to_string()];
    let account = |name: &&str| Account {
        name: (*name).to_owned(),
        key: format!("key of {name}"),
        source: CredentialSource::Fixed(Credential {
            username: (*name).to_owned(),
            password: Secret::new(format!("{name}-password").into_bytes()),
        }),
    };
    setup.config.credentials = names.iter().map(account).collect();
    setup.build()
}

fn ask(method: Method, name: &str) -> Ask {
    let (name, tag) = (Repository::parse(name).unwrap(), Tag::parse("1").unwrap());
    Ask {
        method,
        endpoint: Endpoint::Manifest(name, Reference::Tag(tag)),
        query: None,
        headers: HeaderMap::new(),
    }
}

async fn get(upstream: &Upstream, name: &str) -> Result<Answer, Failure> {
    upstream.send(&ask(Method::Get, name), &Right::Configured).await
}

async fn pull(upstream: &Upstream, n: usize) -> u16 {
    get(upstream, &name(n)).await.unwrap().status.as_u16()
}

fn refused(stub: &StubRegistry) -> usize {
    let gets = stub.gets("*/manifests/*");
    gets.iter().filter(|seen| seen.status == Some(429)).count()
}

#[tokio::test]
async fn two_accounts_of_thirty_make_fifty_pulls() {
    // The morning's deployment goes through, and none of its machines sees a 429.
    let stub = hub(THIRTY_EACH, 50).await;
    let upstream = with_accounts(&stub, &["alice", "bob"]);
    let mut pulled = 0;
    for n in 0..50 {
        pulled += usize::from(pull(&upstream, n).await == 200);
    }
    let (counted, refused) = (stub.counted(), refused(&stub));
    println!(
        "R2 two accounts of 30, one after the other: {pulled} of 50 pulled, {refused} refused, {counted:?}"
    );
    assert_eq!((pulled, refused), (50, 0), "{}", stub.story());
    // Neither was emptied before the other was used.
    assert!(counted["alice"].abs_diff(counted["bob"]) <= 6, "{counted:?}");
}

#[tokio::test]
async fn and_so_they_do_all_at_once() {
    // A cluster that starts asks before anything is known of either account.
    let stub = hub(THIRTY_EACH, 50).await;
    let upstream = with_accounts(&stub, &["alice", "bob"]);
    let pulls = (0..50).map(|n| pull(&upstream, n));
    let statuses = futures_util::future::join_all(pulls).await;
    let pulled = statuses.iter().filter(|status| **status == 200).count();
    println!(
        "R2 two accounts of 30, all at once: {pulled} of 50 pulled, {} refused first, {:?}",
        refused(&stub),
        stub.counted()
    );
    assert_eq!(pulled, 50, "{}", stub.story());
}

#[tokio::test]
async fn an_empty_account_is_passed_over_without_being_asked() {
    // One request finds out; the next fifty pulls must not pay a round trip each for it.
    let quota = Quota {
        signed_in: 100,
        ..THIRTY_EACH
    };
    let stub = hub(quota, 20).await;
    stub.has_pulled("alice", 100);
    let upstream = with_accounts(&stub, &["alice", "bob"]);
    for n in 0..20 {
        assert_eq!(pull(&upstream, n).await, 200);
    }
    assert_eq!(refused(&stub), 1, "{}", stub.story());
    assert_eq!(stub.counted()["bob"], 20);
}

#[tokio::test]
async fn what_only_an_empty_account_may_have_is_limited_and_not_denied() {
    // "Denied" would close the repository, and a person would look for the mistake in the wrong place.
    let stub = hub(THIRTY_EACH, 1).await;
    stub.put("team/private", "1", Image::layers(1).seed(3970));
    stub.close("team/private", &["alice"]);
    stub.has_pulled("alice", 30);
    let upstream = with_accounts(&stub, &["alice", "bob"]);
    let answer = get(&upstream, "team/private").await.unwrap();
    assert_eq!(answer.status, 429, "{}", stub.story());
    for _ in 0..3 {
        let failure = get(&upstream, "team/private").await.unwrap_err();
        assert!(matches!(failure, Failure::Spent { .. }), "{failure}");
    }
    // It may be read again as soon as something is left.
    stub.has_pulled("alice", 0);
    let head = ask(Method::Head, "team/private");
    let answer = upstream.send(&head, &Right::Configured).await;
    assert_eq!(answer.unwrap().status, 200);
    assert_eq!(get(&upstream, "team/private").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_limiter_at_the_token_service_moves_on_to_the_next_account() {
    // auth.docker.io has a limiter of its own, which knows accounts by name.
    let stub = hub(THIRTY_EACH, 2).await;
    let upstream = with_accounts(&stub, &["alice", "bob"]);
    stub.fault(On::token().first(1), Fault::Status(429));
    assert_eq!(pull(&upstream, 0).await, 200, "{}", stub.story());
    assert_eq!(stub.counted().get("alice"), None);
    assert_eq!(stub.counted()["bob"], 1);
}

#[tokio::test]
async fn when_all_are_empty_it_is_said_once_and_then_known() {
    // Fifty machines that ask together must not be fifty refusals at the registry.
    let quota = Quota {
        anonymous: 30,
        ..THIRTY_EACH
    };
    let stub = hub(quota, 1).await;
    for source in ["alice", "bob", "127.0.0.1"] {
        stub.has_pulled(source, 30);
    }
    let upstream = with_accounts(&stub, &["alice", "bob"]);
    assert_eq!(pull(&upstream, 0).await, 429);
    for _ in 0..50 {
        let failure = get(&upstream, &name(0)).await.unwrap_err();
        let Failure::Spent { retry_after, .. } = failure else {
            panic!("{failure}")
        };
        assert!((1..=60).contains(&retry_after.as_secs()), "{retry_after:?}");
    }
    // Each account once, and nobody once.
    assert_eq!(refused(&stub), 3, "{}", stub.story());
}
