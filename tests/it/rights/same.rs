//! Missing and forbidden look the same to whoever may not know that a repository is there: status, body, headers, and what
//! the registry is asked. Whoever may know gets the registry's own answer.

use std::collections::BTreeMap;

use crate::cache::{
    rights::pull,
    support::{Cached, image_of},
};
use crate::support::{
    client::Response,
    image::{Image, sha256},
    puller::Puller,
    stub::{Auth, Builder as StubBuilder, Quirk, StubRegistry},
};

const PRIVATE: &str = "acme/app";
const MISSING: &str = "acme/not";
const PUBLIC: &str = "library/redis";

fn registry(auth: Auth) -> StubBuilder {
    StubRegistry::builder()
        .auth(auth)
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .private(PRIVATE, &["alice"])
        .private("bob/own", &["bob"])
        .image(PRIVATE, "1", image_of(900, &[3000, 4000]))
        .image("bob/own", "1", image_of(901, &[3000]))
        .image(PUBLIC, "7", image_of(902, &[3000]))
}

/// A registry of its own for each trial.
type Kind = fn() -> StubBuilder;

fn alice(docxy: &Cached) -> Puller {
    docxy.client().login("alice", "alice-password")
}

/// What there is to ask for in a repository: of the warm image, of another one, and lists.
fn paths(repository: &str, image: &Image) -> Vec<String> {
    let strange = sha256(b"nobody has this");
    let (root, blob) = (&image.root.digest, &image.blobs[1].digest);
    let of = |rest: &str| format!("/v2/{repository}/{rest}");
    vec![
        of("manifests/1"),
        of("manifests/none"),
        of(&format!("manifests/{root}")),
        of(&format!("manifests/{strange}")),
        of(&format!("blobs/{blob}")),
        of(&format!("blobs/{strange}")),
        of("tags/list"),
        of(&format!("referrers/{root}")),
    ]
}

/// Everything a client sees of an answer but its time and number.
fn seen(answer: &Response, repository: &str) -> String {
    let headers: BTreeMap<&str, String> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date" && *name != "x-request-id")
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap().to_owned()))
        .collect();
    format!("{} {headers:?} {}", answer.status, answer.text()).replace(repository, "REPOSITORY")
}

/// What the registry and its token service were asked since they forgot.
fn asked(stub: &StubRegistry, repository: &str) -> Vec<String> {
    let asked = stub.requests().into_iter().map(|seen| {
        let scopes = seen.params("scope").join(" ");
        format!("{} {} {scopes}", seen.method, seen.path).replace(repository, "REPOSITORY")
    });
    asked.collect()
}

#[tokio::test]
async fn missing_and_forbidden_are_told_apart_by_nothing() {
    // S4: bob must not learn from docxy that acme has an app, however the registry words its refusals.
    let kinds: [(&str, Kind); 4] = [
        ("token", || registry(Auth::Token)),
        ("token service denies", || {
            registry(Auth::Token).quirk(Quirk::TokenDenies)
        }),
        ("token for private", || registry(Auth::TokenForPrivate)),
        ("basic", || registry(Auth::Basic)),
    ];
    let (mut tried, mut different, mut other_calls, mut shown) = (0, 0, 0, 0);
    for (kind, stub) in kinds {
        for warm in [false, true] {
            let mut docxy = Cached::built(stub().start().await, |app| app).await;
            let image = docxy.stub.image(PRIVATE, "1");
            if warm {
                pull(&docxy, &alice(&docxy), PRIVATE, "1").await;
                // Nothing is under way any more, and nothing is proved.
                docxy = docxy.again().await;
            }
            // How this registry wants to be asked is learnt once.
            docxy.client().once("GET", "/v2/any/thing/manifests/1").await;
            let bob = docxy.client().login("bob", "bob-password");
            for who in [docxy.client(), bob] {
                let (mut answers, mut calls) = (Vec::new(), Vec::new());
                for repository in [PRIVATE, MISSING] {
                    let scope = format!("repository:{repository}:pull");
                    docxy.stub.forget();
                    let who = match who.try_signed_in(&scope).await {
                        Ok(who) => who,
                        Err(refusal) => {
                            answers.push(vec![seen(&refusal, repository)]);
                            calls.push(vec![asked(&docxy.stub, repository)]);
                            continue;
                        }
                    };
                    let (mut of_repository, mut to_registry) = (Vec::new(), Vec::new());
                    for path in paths(repository, &image) {
                        for method in ["GET", "HEAD"] {
                            docxy.stub.forget();
                            let answer = who.once(method, &path).await;
                            tried += 1;
                            shown += usize::from(answer.status < 400 || answer.status == 404);
                            let request = format!("{method} {path}").replace(repository, "REPOSITORY");
                            of_repository.push(format!("{request}: {}", seen(&answer, repository)));
                            let mut to_it = asked(&docxy.stub, repository);
                            to_it.insert(0, request);
                            to_registry.push(to_it);
                        }
                    }
                    answers.push(of_repository);
                    calls.push(to_registry);
                }
                for (forbidden, missing) in answers[0].iter().zip(&answers[1]) {
                    different += usize::from(forbidden != missing);
                    if forbidden != missing {
                        println!("{kind}, warm {warm}:\n  forbidden {forbidden}\n  missing   {missing}");
                    }
                }
                for (forbidden, missing) in calls[0].iter().zip(&calls[1]) {
                    other_calls += usize::from(forbidden != missing);
                    if forbidden != missing {
                        println!("{kind}, warm {warm}:\n  forbidden {forbidden:?}\n  missing   {missing:?}");
                    }
                }
            }
        }
    }
    println!(
        "S4 forbidden and missing, 4 kinds of registry, cold and warm, nobody and bob: {different} of {tried} answers \
         differ, {other_calls} differ in what the registry was asked, {shown} shown"
    );
    assert_eq!((different, other_calls, shown), (0, 0, 0));
    assert!(tried > 400, "{tried}");
}

#[tokio::test]
async fn who_has_the_right_is_told_what_is_missing() {
    // Existence checks before a push, cache imports and the referrers fallback need 404, also as the very first request.
    let (mut tried, mut told) = (0, 0);
    for auth in [Auth::Token, Auth::TokenForPrivate, Auth::Basic] {
        let strange = sha256(b"nobody has this");
        for rest in [
            "manifests/none".to_owned(),
            format!("manifests/{strange}"),
            format!("blobs/{strange}"),
            format!("referrers/{strange}"),
        ] {
            for method in ["GET", "HEAD"] {
                // Nothing is proved: each is the first.
                let stub = registry(auth).quirk(Quirk::NoReferrers).start().await;
                let docxy = Cached::built(stub, |app| app).await;
                let scope = format!("repository:{PRIVATE}:pull");
                let who = alice(&docxy).try_signed_in(&scope).await.unwrap();
                let answer = who.once(method, &format!("/v2/{PRIVATE}/{rest}")).await;
                tried += 1;
                told += usize::from(answer.status == 404);
                if answer.status != 404 {
                    println!(
                        "{auth:?} {method} {rest}: {}\n{}",
                        answer.everything(),
                        docxy.stub.story()
                    );
                }
            }
        }
    }
    println!("S4 alice's first request is for what is missing: {told} of {tried} get 404");
    assert_eq!(told, tried);
}

#[tokio::test]
async fn what_is_missing_in_public_is_told_to_everyone() {
    // A typing mistake in a tag must not look like a login that is needed: known to be public or not.
    let docxy = Cached::built(registry(Auth::Token).start().await, |app| app).await;
    let nobody = docxy.client();
    let missing = format!("/v2/{PUBLIC}/manifests/none");
    assert_eq!(nobody.once("GET", &missing).await.status, 404);
    let first = docxy.stub.count("/v2/library/*");
    docxy.stub.forget();
    for _ in 0..5 {
        assert_eq!(nobody.once("GET", &missing).await.status, 404);
    }
    let later = docxy.stub.count("/v2/library/*");
    pull(&docxy, &nobody, PUBLIC, "7").await;
    assert_eq!(nobody.once("HEAD", &missing).await.status, 404);
    println!(
        "S4 a missing tag of a public repository: {first} upstream requests for the first 404, {later} for five more"
    );
    // The first is challenged once, and asks for the list of tags besides.
    assert!(first <= 3 && later == 5, "{}", docxy.stub.story());
}
