//! For which machines the manifests of an index are.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

use super::Digest;
use super::manifest::{Child, ManifestError, Role, check};

/// Longest word of a platform.
const LONGEST: usize = 64;

/// `linux/amd64`, `linux/arm/v7`, as people and clients write it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is no platform.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no platform: write it as in linux/amd64, linux/arm64 or linux/arm/v7")]
pub struct PlatformError(String);

impl Platform {
    /// # Errors
    /// It is not two or three words with slashes between them.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError(text.chars().take(LONGEST).collect());
        let words: Vec<String> = text.split('/').map(str::to_ascii_lowercase).collect();
        if !words.iter().all(|word| is_word(word)) {
            return Err(error());
        }
        let (os, architecture, variant) = match &words[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.clone())),
            _ => return Err(error()),
        };
        // What `uname -m` says.
        let architecture = match architecture.as_str() {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self {
            os: os.clone(),
            architecture: architecture.to_owned(),
            variant,
        })
    }

    /// Is what an index says good for this one? Without a variant any is; `arm64` alone is `v8`.
    pub fn takes(&self, said: &Self) -> bool {
        let is_v8 = |variant: &str| self.architecture == "arm64" && variant == "v8";
        self.os == said.os
            && self.architecture == said.architecture
            && match (&self.variant, &said.variant) {
                (None, _) => true,
                (Some(wanted), Some(said)) => wanted == said,
                (Some(wanted), None) => is_v8(wanted),
            }
    }

    /// `BuildKit`'s provenance and the like: no machine's.
    fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// What a manifest names, and for which platform, where it says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    pub child: Child,
    pub platform: Option<Platform>,
}

impl Named {
    /// Does whoever wants these platforms want this? All of them, where none are said; what has no platform is everybody's.
    pub fn is_wanted(&self, platforms: &[Platform]) -> bool {
        match &self.platform {
            _ if platforms.is_empty() => true,
            None => true,
            Some(said) if said.is_unknown() => false,
            Some(said) => platforms.iter().any(|wanted| wanted.takes(said)),
        }
    }

    /// A layer that a registry does not give: clients have it from elsewhere (Windows' base layers).
    pub fn is_elsewhere(&self) -> bool {
        let media_type = &self.child.media_type;
        self.child.role == Role::Layer
            && (media_type.contains(".nondistributable.") || media_type.contains(".foreign."))
    }
}

/// What a manifest is made of: all that it names, but for its subject.
///
/// # Errors
/// As [`check`].
pub fn named(content_type: &str, bytes: &[u8]) -> Result<Vec<Named>, ManifestError> {
    let children = check(content_type, bytes)?;
    let mut platforms = platforms(&children, bytes);
    let named = children.into_iter().filter(|child| child.role != Role::Subject);
    Ok(named
        .map(|child| Named {
            platform: platforms.remove(&child.digest),
            child,
        })
        .collect())
}

#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    digest: String,
    platform: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

/// What was checked is read again, for these words alone. One that nobody can read says nothing.
fn platforms(children: &[Child], bytes: &[u8]) -> HashMap<Digest, Platform> {
    if !children.iter().any(|child| child.role == Role::Manifest) {
        return HashMap::new();
    }
    let index: Option<Index> = serde_json::from_slice(bytes).ok();
    let entries = index.and_then(|index| index.manifests).unwrap_or_default();
    let read = |entry: Entry| {
        let said = entry.platform?;
        let variant = said.variant.filter(|variant| !variant.is_empty());
        let text = [Some(said.os), Some(said.architecture), variant];
        let text: Vec<String> = text.into_iter().flatten().collect();
        Some((
            Digest::parse(&entry.digest).ok()?,
            Platform::parse(&text.join("/")).ok()?,
        ))
    };
    entries.into_iter().filter_map(read).collect()
}

fn is_word(word: &str) -> bool {
    (1..=LONGEST).contains(&word.len())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::digest::Algorithm;
    use crate::oci::media::OCI_INDEX;

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap()
    }

    #[test]
    fn platforms_are_read_as_clients_write_them() {
        // A slip must not prefetch nothing, or everything, without a word.
        for (text, shown) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm/v7", "linux/arm/v7"),
        ] {
            assert_eq!(platform(text).to_string(), shown);
        }
        for text in [
            "",
            "amd64",
            "linux/",
            "/amd64",
            "linux/arm/v7/x",
            "linux amd64",
            "a/b c",
        ] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variant_matters_only_where_it_is_said() {
        // containerd on a Raspberry Pi asks for linux/arm64 and takes v8; whoever writes v8 means the same image.
        for (wanted, said, taken) in [
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/arm/v7", "linux/arm", false),
            ("linux/arm", "linux/arm/v6", true),
            ("linux/amd64", "windows/amd64", false),
        ] {
            assert_eq!(platform(wanted).takes(&platform(said)), taken, "{wanted} {said}");
        }
    }

    #[test]
    fn an_index_says_what_is_for_whom() {
        // Who runs amd64 alone must not download eight other machines' layers.
        let digest = |n: u8| Digest::of(Algorithm::Sha256, &[n]);
        let entry = |n: u8, platform: serde_json::Value| {
            serde_json::json!({"mediaType": crate::oci::media::OCI_MANIFEST, "digest": digest(n).to_string(), "size": 7,
                "platform": platform})
        };
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [
            entry(1, serde_json::json!({"os": "linux", "architecture": "amd64"})),
            entry(2, serde_json::json!({"os": "linux", "architecture": "arm64", "variant": "v8"})),
            entry(3, serde_json::json!({"os": "unknown", "architecture": "unknown"})),
            entry(4, serde_json::Value::Null),
        ]});
        let named = named(OCI_INDEX, index.to_string().as_bytes()).unwrap();
        let wanted = |platforms: &[&str]| -> Vec<Digest> {
            let platforms: Vec<Platform> = platforms.iter().map(|text| platform(text)).collect();
            let wanted = named.iter().filter(|named| named.is_wanted(&platforms));
            wanted.map(|named| named.child.digest.clone()).collect()
        };
        assert_eq!(wanted(&[]).len(), 4);
        assert_eq!(wanted(&["linux/amd64"]), [digest(1), digest(4)]);
        assert_eq!(wanted(&["linux/arm64"]), [digest(2), digest(4)]);
        assert_eq!(wanted(&["linux/s390x"]), [digest(4)]);
    }
}
