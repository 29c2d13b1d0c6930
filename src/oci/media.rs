//! Media types of manifests.

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Withdrawn before image-spec 1.1 was final, still held by registries; its children are `blobs`.
pub const OCI_ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Schema 1, plain. Its digest is over its bytes, unlike that of the signed form.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Schema 1, signed: its digest is over the payload without the signatures.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// What dockerd and podman accept beside manifests, and old registries call a schema 1 manifest.
pub const JSON: &str = "application/json";

/// The media type without parameters and blanks around it: `a/b` of `a/b; charset=utf-8`. Case stays as it is.
pub fn essence(content_type: &str) -> &str {
    let end = content_type.find(';').unwrap_or(content_type.len());
    content_type[..end].trim_matches([' ', '\t'])
}

/// Is this a list of manifests? Takes a Content-Type too; case does not matter.
pub fn is_index(media_type: &str) -> bool {
    is_one_of(media_type, &[OCI_INDEX, DOCKER_LIST])
}

/// Is this a manifest of one image or artifact (schema 1 excepted)? Takes a Content-Type too; case does not matter.
pub fn is_manifest(media_type: &str) -> bool {
    is_one_of(media_type, &[OCI_MANIFEST, DOCKER_MANIFEST, OCI_ARTIFACT])
}

/// Is this a schema 1 manifest, by its own names? Takes a Content-Type too; case does not matter.
pub fn is_schema1(media_type: &str) -> bool {
    is_one_of(media_type, &[DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED])
}

fn is_one_of(media_type: &str, known: &[&str]) -> bool {
    let essence = essence(media_type);
    known.iter().any(|k| k.eq_ignore_ascii_case(essence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_matter() {
        // Some registries add a charset: their images must be recognised all the same.
        assert_eq!(essence(" a/b ;charset=utf-8"), "a/b");
        assert_eq!(essence(""), "");
        assert!(is_index("application/vnd.oci.image.index.v1+json; charset=utf-8"));
        assert!(is_index(
            "Application/vnd.docker.distribution.manifest.list.v2+JSON"
        ));
        assert!(is_manifest(DOCKER_MANIFEST) && is_manifest(OCI_MANIFEST));
        assert!(is_schema1(DOCKER_SCHEMA1_SIGNED));
        for other in [JSON, "", "text/html", DOCKER_SCHEMA1] {
            assert!(!is_index(other) && !is_manifest(other), "{other}");
        }
    }
}
