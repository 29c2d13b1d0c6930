//! The `Authorization` header, parsed.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, HeaderName, header};

use crate::config::values::{Credential, Secret, TokenText};

/// What a request presented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// No `Authorization`.
    Nobody,
    Token(TokenText),
    Password(Credential),
}

/// `Authorization` is there, but nothing docxy can read; the header's value is never shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the request has more than one Authorization header")]
    Several,
    #[error("the Authorization header is neither Basic nor Bearer")]
    Scheme,
    #[error("the Basic credentials are not base64 of user:password")]
    Basic,
    #[error("the Bearer token is empty or has characters that no token has")]
    Bearer,
}

impl Identity {
    /// Reads RFC 7617 Basic and RFC 6750 Bearer; a password may hold any byte.
    pub fn of(headers: &HeaderMap) -> Result<Self, IdentityError> {
        Self::within(headers, &header::AUTHORIZATION)
    }

    /// What was presented to docxy as a proxy (RFC 9110 section 11.7.1).
    pub fn of_proxy(headers: &HeaderMap) -> Result<Self, IdentityError> {
        Self::within(headers, &header::PROXY_AUTHORIZATION)
    }

    fn within(headers: &HeaderMap, name: &HeaderName) -> Result<Self, IdentityError> {
        let mut lines = headers.get_all(name).iter();
        let Some(line) = lines.next() else {
            return Ok(Self::Nobody);
        };
        if lines.next().is_some() {
            return Err(IdentityError::Several);
        }
        let line = line.as_bytes();
        let space = line
            .iter()
            .position(|b| *b == b' ')
            .ok_or(IdentityError::Scheme)?;
        let (scheme, value) = (&line[..space], line[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            token(value).map(Self::Token)
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            password(value).map(Self::Password)
        } else {
            Err(IdentityError::Scheme)
        }
    }
}

fn token(value: &[u8]) -> Result<TokenText, IdentityError> {
    // To its end whatever comes: without a way out the loop is done sixteen bytes at a time, and tokens are long.
    let graphic = value.iter().fold(true, |so_far, b| so_far & b.is_ascii_graphic());
    let printable = !value.is_empty() && graphic;
    let text = printable.then(|| std::str::from_utf8(value).ok()).flatten();
    text.map(|text| Secret::new(text.into()))
        .ok_or(IdentityError::Bearer)
}

fn password(value: &[u8]) -> Result<Credential, IdentityError> {
    let bytes = STANDARD
        .decode(value)
        .or_else(|_| STANDARD_NO_PAD.decode(value))
        .map_err(|_| IdentityError::Basic)?;
    let colon = bytes
        .iter()
        .position(|b| *b == b':')
        .ok_or(IdentityError::Basic)?;
    let username = String::from_utf8(bytes[..colon].to_vec()).map_err(|_| IdentityError::Basic)?;
    Ok(Credential {
        username,
        password: Secret::new(bytes[colon + 1..].to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Result<Identity, IdentityError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::AUTHORIZATION, line.parse().expect("a header value"));
        }
        Identity::of(&headers)
    }

    #[test]
    fn reads_what_clients_send() {
        // JSON keys (`_json_key`) hold colons and spaces: only the first colon separates.
        let basic = format!("Basic {}", STANDARD.encode("_json_key:{\"a\": \"b:c\"}"));
        let expected = Credential {
            username: "_json_key".into(),
            password: Secret::new(b"{\"a\": \"b:c\"}".to_vec()),
        };
        assert_eq!(of(&[&basic]), Ok(Identity::Password(expected)));
        assert_eq!(
            of(&["bearer  abc.def"]),
            Ok(Identity::Token(Secret::new("abc.def".into())))
        );
        assert_eq!(of(&[]), Ok(Identity::Nobody));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        // A credential docxy can't read must not turn into an anonymous request: the client would not learn why.
        assert_eq!(of(&["Basic YTpi", "Basic YTpi"]), Err(IdentityError::Several));
        assert_eq!(of(&["Negotiate abc"]), Err(IdentityError::Scheme));
        assert_eq!(of(&["Basic"]), Err(IdentityError::Scheme));
        assert_eq!(of(&["Basic !!!"]), Err(IdentityError::Basic));
        assert_eq!(of(&["Basic YWI="]), Err(IdentityError::Basic));
        assert_eq!(of(&["Bearer a b"]), Err(IdentityError::Bearer));
        assert_eq!(of(&["Bearer "]), Err(IdentityError::Bearer));
    }
}
