//! S4: a repository that is forbidden and one that is not there are the same to whoever has proved no right: status, headers,
//! body, and what the registry is asked. Whoever has the right is told the truth.

use std::collections::BTreeMap;

use super::ab_vectors::{BOBS, Door, MADE_UP, PRIVATE, PUBLIC, Shown, token};
use crate::cache::support::{Cached, image_of};
use crate::support::{
    client::{Request, Response},
    image::{Image, sha256},
    stub::{Auth, Builder, Fault, On, Quirk, StubRegistry},
};

const ALICE: (&str, &str) = ("alice", "alice-password");
const BOB: (&str, &str) = ("bob", "bob-password");

fn registry(auth: Auth) -> Builder {
    StubRegistry::builder()
        .auth(auth)
        .token_life(24 * 3600)
        .user(ALICE.0, ALICE.1)
        .user(BOB.0, BOB.1)
        .private(PRIVATE, &["alice"])
        .private(BOBS, &["bob"])
        .image(PRIVATE, "1", image_of(980, &[3000, 4000]))
        .image(BOBS, "1", image_of(981, &[3000]))
        .image(PUBLIC, "7", image_of(982, &[3000]))
}

async fn docxy(stub: Builder) -> Cached {
    let config = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"\n";
    Cached::built(stub.start().await, move |app| {
        app.config(config).config(Door::CONFIG)
    })
    .await
}

/// What there is to ask for: what is there, what is not, and what is malformed but for the repository.
fn endpoints(image: &Image) -> Vec<String> {
    let strange = sha256(b"nobody has this");
    let (root, config, layer) = (&image.root.digest, &image.blobs[0].digest, &image.blobs[1].digest);
    vec![
        "manifests/1".to_owned(),
        "manifests/none".to_owned(),
        format!("manifests/{root}"),
        format!("manifests/{strange}"),
        format!("manifests/sha256-{}", &root[7..]),
        format!("blobs/{config}"),
        format!("blobs/{layer}"),
        format!("blobs/{strange}"),
        "tags/list".to_owned(),
        "tags/list?n=1".to_owned(),
        format!("referrers/{root}"),
        format!("referrers/{strange}?artifactType=a%2Fb"),
    ]
}

fn request(docxy: &Cached, door: Door, method: &str, repository: &str, rest: &str, shown: &Shown) -> Request {
    let prefix = if door == Door::Prefix { "docker.io/" } else { "" };
    let path = format!("/v2/{prefix}{repository}/{rest}");
    let request = door.puller(docxy).request(method, &path);
    match shown {
        Shown::Nothing => request,
        Shown::Basic(user, password) => request.basic(user, password),
        Shown::Bearer(token) => request.bearer(token),
    }
}

/// All that a client sees of an answer but its time and number.
fn seen(answer: &Response, repository: &str) -> String {
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in &answer.headers {
        if name != "date" && name != "x-request-id" {
            headers
                .entry(name.as_str())
                .or_default()
                .push(value.to_str().unwrap());
        }
    }
    format!("{} {headers:?} {}", answer.status, answer.text()).replace(repository, "REPOSITORY")
}

/// What the registry and its token service were asked, in no order: some of it is asked beside the request.
fn asked(docxy: &Cached, repository: &str) -> BTreeMap<String, usize> {
    let mut asked = BTreeMap::new();
    for seen in docxy.stub.requests() {
        let scopes = seen.params("scope").join(" ");
        let shown = seen
            .authorization()
            .map(|text| text.split(' ').next().unwrap_or_default());
        let line = format!("{:?} {} {} {scopes} {shown:?}", seen.door, seen.method, seen.path);
        *asked.entry(line.replace(repository, "REPOSITORY")).or_default() += 1;
    }
    asked
}

/// Who has no right there, and what he shows; the realm's refusals are compared as well.
async fn unproved(
    docxy: &Cached,
    door: Door,
    repository: &'static str,
) -> Vec<(&'static str, Result<Shown, String>)> {
    let refused = |answer: Response| seen(&answer, repository);
    vec![
        ("nobody", Ok(Shown::Nothing)),
        (
            "anonymous",
            token(docxy, door, None, &[repository]).await.map_err(refused),
        ),
        (
            "bob",
            token(docxy, door, Some(BOB), &[repository])
                .await
                .map_err(refused),
        ),
        (
            "bob for his own",
            token(docxy, door, Some(BOB), &[BOBS]).await.map_err(refused),
        ),
        ("bob by password", Ok(Shown::Basic(BOB.0, BOB.1))),
        (
            "alice for another",
            token(docxy, door, Some(ALICE), &[PUBLIC]).await.map_err(refused),
        ),
        ("a wrong password", Ok(Shown::Basic(ALICE.0, "wrong"))),
        (
            "a wrong password at the realm",
            token(docxy, door, Some((ALICE.0, "no")), &[repository])
                .await
                .map_err(refused),
        ),
        ("forged", Ok(Shown::Bearer("eyJhbGciOiJub25lIn0.e30.".to_owned()))),
    ]
}

#[derive(Default)]
struct Counts {
    tried: usize,
    different: usize,
    asked_other: usize,
    shown: usize,
}

async fn compare(docxy: &Cached, image: &Image, what: &str, counts: &mut Counts) {
    for door in Door::ALL {
        // How the registry wants to be asked is learnt from a third one.
        request(docxy, door, "GET", "team/other", "manifests/1", &Shown::Nothing)
            .send(docxy.app.addr())
            .await;
        docxy.stub.forget();
        let mut people = Vec::new();
        let mut calls = Vec::new();
        for repository in [PRIVATE, MADE_UP] {
            people.push(unproved(docxy, door, repository).await);
            calls.push(asked(docxy, repository));
            docxy.stub.forget();
        }
        if calls[0] != calls[1] {
            counts.asked_other += 1;
            println!(
                "{what}, {door:?}, signing in: forbidden asks {:?}\nmissing {:?}",
                calls[0], calls[1]
            );
        }
        let missing = people.pop().unwrap();
        for ((name, forbidden), (_, missing)) in people.pop().unwrap().into_iter().zip(missing) {
            let (forbidden, missing) = match (forbidden, missing) {
                (Ok(forbidden), Ok(missing)) => (forbidden, missing),
                (Err(forbidden), Err(missing)) => {
                    counts.tried += 1;
                    if forbidden != missing {
                        counts.different += 1;
                        println!("{what}, {door:?}, {name} at the realm:\n  {forbidden}\n  {missing}");
                    }
                    continue;
                }
                (forbidden, missing) => {
                    counts.different += 1;
                    println!("{what}, {door:?}, {name} at the realm: {forbidden:?} {missing:?}");
                    continue;
                }
            };
            pair(
                docxy,
                image,
                &format!("{what}, {door:?}, {name}"),
                door,
                [&forbidden, &missing],
                counts,
            )
            .await;
        }
    }
}

/// One client's whole way through both repositories.
async fn pair(
    docxy: &Cached,
    image: &Image,
    what: &str,
    door: Door,
    shown: [&Shown; 2],
    counts: &mut Counts,
) {
    let (mut answers, mut calls) = (Vec::new(), Vec::new());
    for (repository, shown) in [PRIVATE, MADE_UP].into_iter().zip(shown) {
        docxy.stub.forget();
        let mut own = Vec::new();
        for rest in endpoints(image) {
            for method in ["GET", "HEAD"] {
                let request = request(docxy, door, method, repository, &rest, shown);
                let answer = request.send(docxy.app.addr()).await;
                counts.tried += 1;
                let open = answer.status < 400 || answer.status == 404;
                counts.shown += usize::from(open);
                if open {
                    println!("{what}: {method} {repository}/{rest}: {}", answer.everything());
                }
                own.push(format!("{method} {rest}: {}", seen(&answer, repository)));
            }
        }
        answers.push(own);
        calls.push(asked(docxy, repository));
    }
    for (forbidden, missing) in answers[0].iter().zip(&answers[1]) {
        if forbidden != missing {
            counts.different += 1;
            println!("{what}:\n  forbidden {forbidden}\n  missing   {missing}");
        }
    }
    if calls[0] != calls[1] {
        counts.asked_other += 1;
        println!(
            "{what}: forbidden asks {:#?}\nmissing asks {:#?}",
            calls[0], calls[1]
        );
    }
}

#[tokio::test]
async fn forbidden_and_missing_are_one_to_whoever_has_proved_nothing() {
    // A rival's employee must not learn from docxy which repositories a company has.
    let mut counts = Counts::default();
    for (kind, stub) in [
        ("tokens", registry(Auth::Token)),
        ("tokens denied", registry(Auth::Token).quirk(Quirk::TokenDenies)),
        ("tokens for what is private", registry(Auth::TokenForPrivate)),
        ("passwords", registry(Auth::Basic)),
    ] {
        let docxy = docxy(stub).await;
        let image = docxy.stub.image(PRIVATE, "1");
        compare(&docxy, &image, &format!("{kind}, cold"), &mut counts).await;
        let alice = token(&docxy, Door::Default, Some(ALICE), &[PRIVATE]).await;
        let alice = alice.unwrap_or_else(|refusal| panic!("{}", refusal.everything()));
        for content in image.blobs.iter().chain([&image.root]) {
            let kind = if *content == image.root {
                "manifests"
            } else {
                "blobs"
            };
            let rest = format!("{kind}/{}", content.digest);
            let answer = request(&docxy, Door::Default, "GET", PRIVATE, &rest, &alice);
            answer
                .send(docxy.app.addr())
                .await
                .assert_is(content, &docxy.stub);
            docxy.stored(content).await;
        }
        let tag = request(&docxy, Door::Default, "GET", PRIVATE, "manifests/1", &alice);
        tag.send(docxy.app.addr())
            .await
            .assert_is(&image.root, &docxy.stub);
        compare(&docxy, &image, &format!("{kind}, warm"), &mut counts).await;
        docxy.stub.fault(On::path("*"), Fault::Status(503));
        // Nobody can sign in now; what is shown without asking is compared all the same.
        let without = [
            Shown::Nothing,
            Shown::Basic(BOB.0, BOB.1),
            Shown::Basic(ALICE.0, "wrong"),
        ];
        for shown in &without {
            let what = format!("{kind}, failing, {shown:?}");
            pair(&docxy, &image, &what, Door::Default, [shown, shown], &mut counts).await;
        }
        docxy.stub.clear_faults();
        docxy.stub.down().await;
        for shown in &without {
            let what = format!("{kind}, down, {shown:?}");
            pair(&docxy, &image, &what, Door::Default, [shown, shown], &mut counts).await;
        }
    }
    println!(
        "S4 forbidden and missing: {} of {} answers differ, {} series ask the registry something else, {} shown",
        counts.different, counts.tried, counts.asked_other, counts.shown
    );
    assert_eq!((counts.different, counts.asked_other, counts.shown), (0, 0, 0));
}

#[tokio::test]
async fn whoever_has_the_right_is_told_what_is_not_there() {
    // buildkit imports caches, clients look before they push, referrers fall back: all of them live by the 404.
    let (mut tried, mut told) = (0, 0);
    for auth in [Auth::Token, Auth::TokenForPrivate, Auth::Basic] {
        let docxy = docxy(registry(auth).quirk(Quirk::NoReferrers)).await;
        let strange = sha256(b"nobody has this");
        for proved in [false, true] {
            for door in Door::ALL {
                let alice = token(&docxy, door, Some(ALICE), &[PRIVATE]).await;
                let alice = alice.unwrap_or_else(|refusal| panic!("{}", refusal.everything()));
                for (repository, shown) in [(PRIVATE, &alice), (PUBLIC, &Shown::Nothing)] {
                    if repository == PUBLIC && auth == Auth::Basic {
                        continue;
                    }
                    for rest in [
                        "manifests/none".to_owned(),
                        format!("manifests/{strange}"),
                        format!("blobs/{strange}"),
                        format!("referrers/{strange}"),
                    ] {
                        for method in ["GET", "HEAD"] {
                            let request = request(&docxy, door, method, repository, &rest, shown);
                            let answer = request.send(docxy.app.addr()).await;
                            tried += 1;
                            told += usize::from(answer.status == 404);
                            if answer.status != 404 {
                                println!(
                                    "{auth:?}, {door:?} {method} {repository}/{rest}: {}",
                                    answer.everything()
                                );
                            }
                        }
                    }
                }
            }
            if !proved {
                let alice = token(&docxy, Door::Default, Some(ALICE), &[PRIVATE]).await;
                let alice = alice.unwrap_or_else(|refusal| panic!("{}", refusal.everything()));
                let pull = request(&docxy, Door::Default, "GET", PRIVATE, "manifests/1", &alice);
                assert_eq!(pull.send(docxy.app.addr()).await.status, 200);
            }
        }
    }
    println!("S4 what is missing, asked for by those with the right: {told} of {tried} are told 404");
    assert_eq!(told, tried);
}
