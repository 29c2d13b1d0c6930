//! tags/list: all pages, through links that lead back to docxy by the door the client came through.

use serde_json::json;

use crate::support::{
    client::Response,
    image::Image,
    pair::{Pair, ghcr, hub},
    puller::Puller,
    single::Single,
    stub::{Auth, Builder, LinkForm, Quirk, StubRegistry},
};

const TAGS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

fn tagged(mut stub: Builder, repository: &str) -> Builder {
    for tag in TAGS {
        stub = stub.image(repository, tag, Image::layers(1));
    }
    stub
}

/// Follows `Link` as clients do, to the end; gives the tags and how many pages there were.
async fn walk(client: &Puller, path: &str) -> (Vec<String>, usize) {
    let (mut path, mut tags, mut pages) = (path.to_owned(), Vec::new(), 0);
    loop {
        // The link carries what the door needs (`ns` too), so it is followed without adding anything.
        let page = client.ask(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.everything());
        let names = page.json()["tags"].as_array().cloned().unwrap_or_default();
        tags.extend(names.iter().map(|tag| tag.as_str().unwrap().to_owned()));
        pages += 1;
        assert!(pages < 20, "the pages of {path} never end");
        let Some(target) = next(&page) else {
            return (tags, pages);
        };
        assert!(target.starts_with("/v2/"), "a link that leaves docxy: {target}");
        path = target;
    }
}

fn next(page: &Response) -> Option<String> {
    let link = page.header("link")?;
    assert!(link.contains("rel=\"next\""), "{link}");
    Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned())
}

#[tokio::test]
async fn pages_of_every_form_can_be_walked_by_every_door() {
    // A Link that leads to the upstream's host takes the client around docxy; one without the prefix, to another registry.
    for form in [LinkForm::Relative, LinkForm::Absolute, LinkForm::Opaque] {
        let hub = tagged(hub(Auth::Open), "library/paged").pages(3, form);
        let ghcr = tagged(ghcr(Auth::Open), "owner/paged").pages(2, form);
        let pair = Pair::start(
            hub,
            ghcr,
            "[registries.\"ghcr.io\"]\nhosts = [\"ghcr.example.com\"]",
        )
        .await;
        let doors = [
            (pair.client(), "/v2/library/paged/tags/list", 3),
            (pair.client(), "/v2/paged/tags/list", 3),
            (pair.client(), "/v2/docker.io/paged/tags/list", 3),
            (pair.client(), "/v2/ghcr.io/owner/paged/tags/list", 4),
            (
                pair.client().host("ghcr.example.com"),
                "/v2/owner/paged/tags/list",
                4,
            ),
            (pair.client(), "/v2/owner/paged/tags/list?ns=ghcr.io", 4),
        ];
        for (client, path, expected) in doors {
            let (tags, pages) = walk(&client, path).await;
            assert_eq!(
                (tags, pages),
                (TAGS.map(str::to_owned).to_vec(), expected),
                "{form:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn n_and_last_are_kept() {
    // Clients page by themselves too.
    let one = Single::start(tagged(StubRegistry::builder(), "library/paged"), "").await;
    let answer = one.get("/v2/library/paged/tags/list?n=2&last=b").await;
    assert_eq!(answer.json()["tags"], json!(["c", "d"]), "{}", one.stub.story());
    assert!(
        next(&answer).is_some_and(|link| link.contains("last=d")),
        "{:?}",
        answer.headers
    );
    let answer = one.get("/v2/library/paged/tags/list?last=f").await;
    assert_eq!(answer.json()["tags"], json!(["g"]));
    assert_eq!(next(&answer), None);
}

#[tokio::test]
async fn docxy_pages_where_the_upstream_does_not() {
    // Where an upstream is sloppy docxy is not: n is a limit that the client relies on.
    let one = Single::start(
        tagged(StubRegistry::builder().quirk(Quirk::TagsUnpaged), "library/paged"),
        "",
    )
    .await;
    let answer = one.get("/v2/library/paged/tags/list?n=2").await;
    assert_eq!(answer.json()["tags"], json!(["a", "b"]), "{}", one.stub.story());
    let (tags, pages) = walk(&one.client(), "/v2/library/paged/tags/list?n=3").await;
    assert_eq!((tags, pages), (TAGS.map(str::to_owned).to_vec(), 3));
    let answer = one.get("/v2/library/paged/tags/list?n=2&last=e").await;
    assert_eq!(answer.json()["tags"], json!(["f", "g"]));
    let all = one.get("/v2/library/paged/tags/list").await;
    assert_eq!(all.json()["tags"], json!(TAGS));
}

#[tokio::test]
async fn the_name_is_the_one_the_client_used() {
    // skopeo and the UI compare it; upstream's `library/` is not what the client asked for on the prefix door.
    let pair = Pair::open("").await;
    for (path, expected) in [
        ("/v2/library/redis/tags/list", vec!["library/redis"]),
        // The literal reading of "the bytes are the upstream's" and "as the client wrote it" differ: both are accepted here.
        (
            "/v2/ghcr.io/owner/image/tags/list",
            vec!["owner/image", "ghcr.io/owner/image"],
        ),
    ] {
        let answer = pair.client().ask(path).await;
        let name = answer.json()["name"].as_str().unwrap().to_owned();
        assert!(expected.contains(&&*name), "{path}: {name}");
    }
}

#[tokio::test]
async fn a_bad_page_size_is_refused_or_clamped() {
    // `n=-1`, `n=x` and `n=0` mean nothing; an endless n must not be passed on as it is.
    let one = Single::start(tagged(StubRegistry::builder(), "library/paged"), "").await;
    for n in ["-1", "x", "1e3", "%00", "99999999999999999999999"] {
        let answer = one.get(&format!("/v2/library/paged/tags/list?n={n}")).await;
        answer.assert_status(&[400, 200], &one.stub);
        if answer.status == 400 {
            assert_eq!(answer.oci_error().0, "PAGINATION_NUMBER_INVALID");
        }
    }
    let answer = one.get("/v2/library/paged/tags/list?n=1000000000").await;
    answer.assert_status(&[200, 400], &one.stub);
}

#[tokio::test]
async fn tags_of_what_is_missing_are_404() {
    // NAME_UNKNOWN is how clients tell "no such repository" from "no tags".
    let one = Single::sound().await;
    let answer = one.get("/v2/library/none/tags/list").await;
    answer.assert_refused(404, &["NAME_UNKNOWN"], "docker.io", &one.stub);
}
