//! What a client is given instead of the URL where a registry takes the rest of its upload: that URL, sealed, so that
//! nobody can read or change it, and of use only to who began the upload, in its own repository, for a day (threats S1, S2).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::seal::NoRandom;
use super::tokens::{Tokens, now, still_lives};
use super::{Access, Identity, Subject};
use crate::oci::Session;
use crate::route::Target;

/// Registries forget uploads after a day to a week, and no client goes on with one after that.
const LIFE: Duration = Duration::from_hours(24);

/// Whose upload, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uploader(Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inside {
    at: String,
    /// Seconds since 1970.
    expires: u64,
}

impl Access {
    /// Whose upload this would be: of one of docxy's own users, else of a login at the registry, which outlives its tokens,
    /// else of an address, where nothing else is known of a client; what it may, the registry decides at each step.
    pub fn uploader(&self, subject: &Subject, identity: &Identity, target: &Target) -> Uploader {
        let registry = &target.registry.name;
        let repository = target
            .endpoint
            .repository()
            .map(|repository| target.registry.canonical(repository));
        let login = match identity {
            Identity::Token(token) => self.tokens().owner_of(token, registry),
            Identity::Password(credential) => Some(self.tokens().login_of(registry, credential.clone())),
            Identity::Nobody => None,
        };
        let who = match (&subject.user, login) {
            (Some(user), _) => format!("user {}", user.name).into_bytes(),
            (None, Some(login)) => [&b"login "[..], login.as_bytes()].concat(),
            (None, None) => format!("address {}", subject.address.to_canonical()).into_bytes(),
        };
        let repository = repository.as_deref().map_or("", |name| name.as_str());
        let mut context = format!("upload\0{registry}\0{repository}\0").into_bytes();
        context.extend_from_slice(&who);
        Uploader(context)
    }
}

impl Tokens {
    pub fn seal_upload(&self, uploader: &Uploader, at: String) -> Result<String, NoRandom> {
        let inside = Inside {
            at,
            expires: now() + LIFE.as_secs(),
        };
        let plain = serde_json::to_vec(&inside).map_err(|_| NoRandom)?;
        self.sealer().seal_in(&uploader.0, plain)
    }

    /// `None`: it was not made here for this client and repository, was changed, or its time is over.
    pub fn open_upload(&self, uploader: &Uploader, session: &Session) -> Option<String> {
        let plain = self.sealer().open_in(&uploader.0, session.as_str()).ok()?;
        let Inside { at, expires } = serde_json::from_slice(&plain).ok()?;
        still_lives(expires, LIFE).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::seal::Sealer;

    fn tokens() -> Tokens {
        Tokens::new(Sealer::new(&[7; 32]).expect("a sealer"))
    }

    #[test]
    fn only_its_own_client_opens_an_upload() {
        // Whoever could make or change one would have docxy send its credential to a URL of his own choice.
        let tokens = tokens();
        let of = |text: &[u8]| Uploader(text.to_vec());
        let sealed = tokens
            .seal_upload(&of(b"ann"), "https://r.test/u?_state=s".to_owned())
            .expect("sealed");
        let session = |text: &str| Session::parse(text).expect("a session");
        let opened = tokens.open_upload(&of(b"ann"), &session(&sealed));
        assert_eq!(opened.as_deref(), Some("https://r.test/u?_state=s"));
        assert_eq!(tokens.open_upload(&of(b"bob"), &session(&sealed)), None);
        for at in 0..sealed.len() {
            for other in ["A", "_"] {
                let mut changed = sealed.clone();
                changed.replace_range(at..=at, other);
                if changed == sealed {
                    continue;
                }
                let opened = tokens.open_upload(&of(b"ann"), &session(&changed));
                // The last character holds bits that count for nothing.
                assert!(opened.is_none() || at == sealed.len() - 1, "at {at}");
            }
            if at > 0 {
                assert_eq!(tokens.open_upload(&of(b"ann"), &session(&sealed[..at])), None);
            }
        }
        assert!(!sealed.contains("r.test"));
    }

    #[test]
    fn an_old_one_opens_nothing() {
        // What lies in a log or a shell's history of last week is of no use to who finds it.
        let tokens = tokens();
        let uploader = Uploader(b"ann".to_vec());
        let sealed = |expires| {
            let at = "https://r.test/u".to_owned();
            let plain = serde_json::to_vec(&Inside { at, expires }).expect("JSON");
            let text = tokens.sealer().seal_in(&uploader.0, plain).expect("sealed");
            tokens.open_upload(&uploader, &Session::parse(&text).expect("a session"))
        };
        assert!(sealed(now() + 60).is_some());
        assert!(sealed(now()).is_none() && sealed(now() - 1).is_none());
        assert!(
            sealed(now() + LIFE.as_secs() + 60).is_none(),
            "later than it can have been made"
        );
    }
}
