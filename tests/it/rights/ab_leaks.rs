//! What counts as a leak: any 16 bytes of private content in a body, and whatever of an answer's head only those can say who
//! have the content.

use std::collections::HashSet;

use crate::support::{
    client::Response,
    image::{Content, Image},
};

const WINDOW: usize = 16;

/// What must reach nobody without the right.
pub struct Secrets {
    windows: HashSet<[u8; WINDOW]>,
    digests: Vec<String>,
}

impl Secrets {
    /// Everything of the private images and these words, but what the public ones have too: every manifest begins alike.
    pub fn of(private: &[&Image], words: &[&str], public: &[&Image]) -> Self {
        let mut windows = HashSet::new();
        for image in private {
            for content in contents(image) {
                windows.extend(windows_of(&content.bytes));
            }
        }
        for word in words {
            windows.extend(windows_of(word.as_bytes()));
        }
        for image in public {
            for content in contents(image) {
                for window in windows_of(&content.bytes) {
                    windows.remove(&window);
                }
            }
        }
        // An empty configuration is everybody's.
        let digests = private.iter().flat_map(|image| contents(image));
        let digests = digests
            .filter(|content| content.bytes.len() >= WINDOW)
            .map(|content| content.digest)
            .collect();
        Self { windows, digests }
    }

    /// How many bytes of a body are private; what the client itself had said of it does not count.
    pub fn bytes_in(&self, body: &[u8], said: &[&str]) -> usize {
        let body = without(body, said);
        let mut counted = 0;
        let mut shown = 0;
        for at in 0..(body.len() + 1).saturating_sub(WINDOW) {
            let window: [u8; WINDOW] = body[at..at + WINDOW].try_into().unwrap();
            if self.windows.contains(&window) {
                let from = at.max(counted);
                shown += at + WINDOW - from;
                counted = at + WINDOW;
            }
        }
        shown
    }

    /// What of an answer to somebody without the right tells of the content that was asked for.
    pub fn told(&self, answer: &Response, method: &str, asked: Option<&Content>) -> Option<String> {
        for (name, value) in &answer.headers {
            let value = value.to_str().unwrap_or_default();
            if self.digests.iter().any(|digest| value.contains(&digest[7..])) {
                return Some(format!("{name}: {value}"));
            }
        }
        let length = asked?.bytes.len().to_string();
        let of_content = method == "HEAD" || answer.status < 400;
        if of_content && answer.header("content-length") == Some(&*length) {
            return Some(format!("content-length: {length}"));
        }
        let range = answer.header("content-range")?;
        (range.ends_with(&format!("/{length}"))).then(|| format!("content-range: {range}"))
    }
}

/// Every manifest and blob of an image.
pub fn contents(image: &Image) -> Vec<Content> {
    let manifests = image.children.iter().chain([&image.root]);
    manifests.chain(&image.blobs).cloned().collect()
}

fn windows_of(bytes: &[u8]) -> impl Iterator<Item = [u8; WINDOW]> {
    bytes.windows(WINDOW).map(|window| window.try_into().unwrap())
}

/// The bytes with these words blanked out.
fn without(bytes: &[u8], words: &[&str]) -> Vec<u8> {
    let mut left = bytes.to_vec();
    for word in words.iter().filter(|word| !word.is_empty()) {
        let mut at = 0;
        while let Some(found) = left[at..]
            .windows(word.len())
            .position(|part| part == word.as_bytes())
        {
            left[at + found..at + found + word.len()].fill(0);
            at += found + word.len();
        }
    }
    left
}

#[test]
fn a_leak_is_seen_wherever_it_is() {
    // A searcher that finds nothing makes every matrix green.
    let secret = Image::layers(2).seed(1).oci().platforms(&["amd64"]).build();
    let public = Image::layers(2).seed(2).oci().platforms(&["amd64"]).build();
    let secrets = Secrets::of(&[&secret], &["canary-secret-tag"], &[&public]);
    for content in contents(&secret) {
        assert!(secrets.bytes_in(&content.bytes, &[]) > 16, "{content:?}");
    }
    let part = &secret.blobs[1].bytes[5000..5016];
    assert_eq!(secrets.bytes_in(part, &[]), 16);
    for content in contents(&public) {
        assert_eq!(secrets.bytes_in(&content.bytes, &[]), 0, "{content:?}");
    }
    let digest = &*secret.blobs[1].digest;
    let error = format!("no blob {digest} here");
    assert!(secrets.bytes_in(error.as_bytes(), &[]) >= 64);
    assert_eq!(secrets.bytes_in(error.as_bytes(), &[digest]), 0);
    assert_eq!(secrets.bytes_in(b"[\"canary-secret-tag\"]", &[]), 17);
}
