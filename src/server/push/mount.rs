//! `POST ?mount=DIGEST&from=REPOSITORY`: a blob that the registry has already is taken over from another repository. docxy
//! reads the query anew, because `from` is a name as clients use it, prefix and all.

use http::request::Parts;

use crate::oci::{Digest, Repository};
use crate::pull::without_namespace;

/// The query of a push as it goes upstream.
pub(super) struct Mount {
    /// Without `from`, which whoever knows the registry's place adds.
    pub query: Option<String>,
    /// As the registry names it; a token must allow it to be read.
    pub from: Option<Repository>,
}

/// As the client wrote it.
pub(super) struct Asked {
    mount: Option<Wanted>,
    /// All but `mount`, `from` and `ns`.
    others: Vec<(String, String)>,
}

pub(super) struct Wanted {
    pub digest: Digest,
    pub repository: Repository,
}

impl Mount {
    /// A request that asks for nothing of the kind; its query is the registry's and the client's.
    pub fn none(request: &Parts) -> Self {
        Self {
            query: without_namespace(request.uri.query()),
            from: None,
        }
    }

    pub fn read(query: Option<&str>) -> Asked {
        let (mut digest, mut from, mut others) = (None, None, Vec::new());
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "ns" => {}
                "mount" => digest = Digest::parse(&value).ok(),
                "from" => from = Some(value.into_owned()),
                _ => others.push((key.into_owned(), value.into_owned())),
            }
        }
        let from = from.and_then(|from| Repository::parse(&from).ok());
        // Without a `from` some registries would look into all repositories, whoever may read them.
        let mount = digest
            .zip(from)
            .map(|(digest, repository)| Wanted { digest, repository });
        Asked { mount, others }
    }

    /// The beginning of an ordinary upload: the registry answers 202, and the client sends the blob.
    pub fn plain(asked: &Asked) -> Self {
        Self {
            query: joined(&asked.others, &[]),
            from: None,
        }
    }
}

impl Asked {
    pub fn wanted(&self) -> Option<&Wanted> {
        self.mount.as_ref()
    }

    /// From this repository of the registry's own naming.
    pub fn over_from(self, repository: Repository) -> Mount {
        let digest = self.mount.map(|wanted| wanted.digest.to_string());
        let Some(digest) = digest else {
            return Mount {
                query: joined(&self.others, &[]),
                from: None,
            };
        };
        Mount {
            query: joined(&self.others, &[("mount", digest.as_str())]),
            from: Some(repository),
        }
    }
}

fn joined(others: &[(String, String)], added: &[(&str, &str)]) -> Option<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(added).extend_pairs(others);
    Some(query.finish()).filter(|query| !query.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_asked_under_the_registrys_own_name() {
        // `from` with docxy's prefix would be no repository there, and every push would send every layer again.
        let digest = format!("sha256:{}", "a".repeat(64));
        let query = format!("mount={digest}&from=ghcr.io%2Fteam%2Fbase&ns=ghcr.io&x=1");
        let asked = Mount::read(Some(&query));
        let wanted = asked.wanted().expect("a mount");
        assert_eq!(wanted.repository.as_str(), "ghcr.io/team/base");
        let own = Repository::parse("team/base").expect("a name");
        let mount = asked.over_from(own.clone());
        let expected = format!("mount=sha256%3A{}&x=1", "a".repeat(64));
        assert_eq!(mount.query.as_deref(), Some(&*expected));
        assert_eq!(mount.from, Some(own));
    }

    #[test]
    fn what_is_no_mount_becomes_an_ordinary_upload() {
        // A client that asked for the impossible sends the blob: it is never refused.
        let digest = format!("sha256:{}", "a".repeat(64));
        for (query, left) in [
            (format!("mount={digest}"), None),
            (format!("mount={digest}&from=../x"), None),
            ("mount=nonsense&from=a/b".to_owned(), None),
            (
                "from=a/b&digest-algorithm=sha512".to_owned(),
                Some("digest-algorithm=sha512"),
            ),
            (String::new(), None),
        ] {
            let asked = Mount::read(Some(&query));
            assert!(asked.wanted().is_none(), "{query}");
            assert_eq!(Mount::plain(&asked).query.as_deref(), left, "{query}");
        }
    }
}
