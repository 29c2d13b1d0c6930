//! What must be right in an answer before any of it is used.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::{Error, Missing};
use crate::oci::digest::Algorithm;
use crate::oci::manifest::check;
use crate::oci::{Digest, Reference, RegistryName, media};
use crate::serve::headers::DOCKER_CONTENT_DIGEST;
use crate::upstream::Answer;

pub(super) fn digest_header(digest: &Digest) -> HeaderValue {
    let text = [digest.algorithm().as_str(), ":", digest.hex()].concat();
    // A digest is ASCII by its type.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// An upstream that names another digest than the one in the URL is answering another question.
pub(super) fn check_digest(registry: &RegistryName, asked: &Digest, answer: &Answer) -> Result<(), Error> {
    match answer.headers.get(DOCKER_CONTENT_DIGEST) {
        Some(said) if said.as_bytes() != asked.to_string().as_bytes() => Err(Error::OtherDigest {
            registry: registry.clone(),
            what: Missing::Blob,
            said: String::from_utf8_lossy(said.as_bytes())
                .chars()
                .take(140)
                .collect(),
        }),
        _ => Ok(()),
    }
}

/// The digest of a manifest that is what was asked for and unambiguous (CVE-2021-41190). Its Content-Type is set right
/// where the registry serves plain files and does not know it.
pub(super) fn verified(
    registry: &RegistryName,
    reference: &Reference,
    headers: &mut HeaderMap,
    bytes: &Bytes,
) -> Result<Digest, Error> {
    let content_type = content_type(registry, headers, bytes)?;
    let said = headers
        .get(DOCKER_CONTENT_DIGEST)
        .and_then(|said| Digest::parse(said.to_str().ok()?).ok());
    let asked = match reference {
        Reference::Digest(asked) => Some(asked.clone()),
        // A signed schema 1 manifest hashes without its signatures; nobody asks for one by digest any more.
        Reference::Tag(_) if media::essence(&content_type) == media::DOCKER_SCHEMA1_SIGNED => None,
        Reference::Tag(_) => said,
    };
    let digest = match asked {
        Some(asked) => {
            let got = Digest::of(asked.algorithm(), bytes);
            if got != asked {
                return Err(Error::WrongDigest {
                    registry: registry.clone(),
                    asked,
                    got,
                });
            }
            asked
        }
        None => Digest::of(Algorithm::Sha256, bytes),
    };
    check(&content_type, bytes).map_err(|reason| Error::BadManifest {
        registry: registry.clone(),
        reason,
    })?;
    Ok(digest)
}

/// The Content-Type may be a manifest's: not a page's, and not that of a file server which knows no better.
pub(super) fn is_typed(headers: &HeaderMap) -> bool {
    let said = headers
        .get(header::CONTENT_TYPE)
        .and_then(|said| said.to_str().ok());
    let essence = said.map(media::essence).unwrap_or_default();
    essence.starts_with("application/") && essence != "application/octet-stream"
}

/// The media type a manifest came with; else the one it names itself; else it is none. A type of an artifact that
/// docxy does not know passes, as long as it is no page (threat S11).
fn content_type(registry: &RegistryName, headers: &mut HeaderMap, bytes: &Bytes) -> Result<String, Error> {
    #[derive(serde::Deserialize)]
    struct Named {
        #[serde(rename = "mediaType")]
        media_type: String,
    }
    let said = headers
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    let said = String::from_utf8_lossy(said).into_owned();
    if is_typed(headers) {
        return Ok(said);
    }
    let named = serde_json::from_slice::<Named>(bytes)
        .ok()
        .map(|named| named.media_type);
    match named.filter(|named| media::is_index(named) || media::is_manifest(named)) {
        Some(named) => {
            if let Ok(value) = HeaderValue::from_str(&named) {
                headers.insert(header::CONTENT_TYPE, value);
            }
            Ok(named)
        }
        None => Err(Error::NoManifest {
            registry: registry.clone(),
            said: said.chars().take(80).collect(),
        }),
    }
}
