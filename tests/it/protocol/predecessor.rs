//! In docker-registry-proxy's place: the header lines and the page that its monitors look at.

use crate::support::{client::Request, image::Image, single::Single, stub::StubRegistry};

const STATUS: &str = "x-docker-registry-proxy-cache-upstream-status";
const TYPE: &str = "x-docker-registry-proxy-cache-type";

/// A docxy in its place, with these variables too, before a registry that has two tags.
async fn in_place(variables: &[(&str, &str)]) -> Single {
    let stub = StubRegistry::builder()
        .image("library/redis", "7", Image::layers(3))
        .image("library/redis", "stable", Image::layers(1))
        .image("library/redis", "1.2.3", Image::layers(2));
    let mut all = vec![("DOCXY_COMPAT", "docker-registry-proxy")];
    all.extend_from_slice(variables);
    Single::built(stub, |app| {
        let app = app.cache();
        all.iter().fold(app, |app, (name, value)| app.env(name, *value))
    })
    .await
}

async fn lines(docxy: &Single, path: &str) -> (Option<String>, Option<String>) {
    let answer = docxy.get(path).await;
    let line = |name| answer.header(name).map(str::to_owned);
    (line(STATUS), line(TYPE))
}

fn words(status: &str, kind: &str) -> (Option<String>, Option<String>) {
    (Some(status.to_owned()), Some(kind.to_owned()))
}

#[tokio::test]
async fn its_two_header_lines() {
    // Dashboards and scripts count HIT and MISS by them; they must go on counting after the change.
    let docxy = in_place(&[("ENABLE_MANIFEST_CACHE", "true")]).await;
    let tag = |tag: &str| format!("/v2/library/redis/manifests/{tag}");
    assert_eq!(
        lines(&docxy, &tag("stable")).await,
        words("MISS", "manifest-primary")
    );
    assert_eq!(
        lines(&docxy, &tag("stable")).await,
        words("HIT", "manifest-primary")
    );
    assert_eq!(
        lines(&docxy, &tag("1.2.3")).await,
        words("MISS", "manifest-secondary")
    );
    assert_eq!(lines(&docxy, &tag("7")).await, words("MISS", "manifest-default"));
    let image = docxy.image();
    let digest = tag(&image.digest().to_string());
    assert_eq!(lines(&docxy, &digest).await, words("HIT", "manifest-by-digest"));
    let blob = format!("/v2/library/redis/blobs/{}", image.blobs[0].digest);
    assert_eq!(lines(&docxy, &blob).await, words("MISS", "blob-by-digest"));
    assert_eq!(lines(&docxy, "/v2/library/redis/tags/list").await, (None, None));
    assert_eq!(
        lines(&docxy, "/v2/library/redis/manifests/none").await,
        (None, None)
    );
}

#[tokio::test]
async fn without_tiers_every_tag_is_asked_for() {
    // As there: the default asks the registry each time, and serves what it has when the registry fails.
    let docxy = in_place(&[]).await;
    let path = "/v2/library/redis/manifests/stable";
    assert_eq!(
        lines(&docxy, path).await,
        words("MISS", "manifest-default-disabled")
    );
    assert_eq!(
        lines(&docxy, path).await,
        words("REVALIDATED", "manifest-default-disabled")
    );
    docxy.stub.down().await;
    assert_eq!(
        lines(&docxy, path).await,
        words("STALE", "manifest-default-disabled")
    );
}

#[tokio::test]
async fn its_page() {
    // Load balancers ask for it, and take anything but 200 for a dead proxy.
    let docxy = in_place(&[]).await;
    let answer = docxy.send(Request::get("/")).await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.text().contains("in the place of docker-registry-proxy"),
        "{}",
        answer.text()
    );
}

/// `openssl` as that tool's script runs it.
fn openssl(folder: &std::path::Path, line: &str) {
    let mut command = std::process::Command::new("openssl");
    let output = command
        .current_dir(folder)
        .args(line.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "openssl {line}: {output:?}");
}

#[tokio::test]
async fn its_authority_goes_on() {
    // Every client trusts it, RSA and a key behind a passphrase as it is; `/ca.crt` must show the same one.
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        "genrsa -des3 -passout pass:foobar -out ca.key 2048",
    );
    openssl(
        folder.path(),
        "req -new -x509 -days 1300 -sha256 -key ca.key -out ca.crt -passin pass:foobar -subj /CN=Mirror",
    );
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("ca.crt"), path("ca.key"));
    let docxy = in_place(&[("CA_CRT_FILE", &cert), ("CA_KEY_FILE", &key)]).await;
    let answer = docxy.send(Request::get("/ca.crt")).await;
    assert_eq!(answer.status, 200, "{}", docxy.app.log_text());
    assert_eq!(
        answer.text().trim(),
        std::fs::read_to_string(&cert).unwrap().trim()
    );
}

#[tokio::test]
async fn nobody_else_is_given_them() {
    // They tell what is stored, in words that only those ask for who had them before.
    let docxy = Single::sound().await;
    assert_eq!(lines(&docxy, "/v2/library/redis/manifests/7").await, (None, None));
}
