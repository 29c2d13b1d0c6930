//! The grammar of `WWW-Authenticate` (RFC 9110 section 11).

use super::excerpt::excerpt;
use http::{HeaderMap, HeaderValue, header};

/// One challenge of a `WWW-Authenticate` header (RFC 9110 section 11.6.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Challenge {
    /// Lower-case scheme: `bearer`, `basic`, ...
    pub scheme: String,
    /// Parameters with lower-case names, quoted strings unescaped, in the order they came. A challenge that carries a
    /// token68 instead (`Negotiate YWJj==`) has one parameter, with an empty name.
    pub params: Vec<(String, String)>,
}

impl Challenge {
    /// Most challenges in all.
    pub const MAX_CHALLENGES: usize = 16;
    /// Most parameters of one challenge.
    pub const MAX_PARAMS: usize = 32;
    /// Most bytes of all lines together.
    pub const MAX_BYTES: usize = 8 * 1024;

    /// Every challenge of every `WWW-Authenticate` line, in order. Limits: 16 challenges, 32 parameters each, 8 KiB in
    /// all. One bad line spoils all: what is only half understood must not decide where a password goes (threat S1).
    pub fn parse_all(headers: &HeaderMap) -> Result<Vec<Self>, ChallengeError> {
        let lines = headers.get_all(header::WWW_AUTHENTICATE);
        if lines.iter().map(HeaderValue::len).sum::<usize>() > Self::MAX_BYTES {
            return Err(ChallengeError::TooLong);
        }
        let mut challenges = Vec::new();
        for (value, line) in lines.iter().zip(1..) {
            let reader = Reader {
                line,
                bytes: value.as_bytes(),
                at: 0,
            };
            reader.challenges(&mut challenges)?;
        }
        Ok(challenges)
    }

    pub fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The header value; values are quoted and escaped. Fails when scheme or names are no tokens, a name comes twice, or
    /// a value holds a control character.
    pub fn header(&self) -> Result<HeaderValue, ChallengeError> {
        let mut text = match self.scheme.as_str() {
            "bearer" => "Bearer".to_owned(),
            "basic" => "Basic".to_owned(),
            other if is_token(other) => other.to_owned(),
            other => return Err(ChallengeError::Unwritable(excerpt(other))),
        };
        if let [(name, token)] = self.params.as_slice()
            && name.is_empty()
        {
            if !is_token68(token) {
                return Err(ChallengeError::Unwritable(excerpt(token)));
            }
            text.push(' ');
            text.push_str(token);
        } else {
            for (index, (name, value)) in self.params.iter().enumerate() {
                if !is_token(name) {
                    return Err(ChallengeError::Unwritable(excerpt(name)));
                }
                if self.params[..index].iter().any(|(n, _)| n == name) {
                    return Err(self.repeated(name));
                }
                text.push_str(if index == 0 { " " } else { "," });
                text.push_str(name);
                text.push_str("=\"");
                for c in value.chars() {
                    if matches!(c, '"' | '\\') {
                        text.push('\\');
                    }
                    text.push(c);
                }
                text.push('"');
            }
        }
        HeaderValue::from_bytes(text.as_bytes()).map_err(|_| ChallengeError::Unwritable(excerpt(&text)))
    }

    fn push_param(&mut self, name: String, value: String) -> Result<(), ChallengeError> {
        if self.params.len() == Self::MAX_PARAMS {
            return Err(ChallengeError::TooManyParams {
                scheme: excerpt(&self.scheme),
            });
        }
        if self.param(&name).is_some() {
            return Err(self.repeated(&name));
        }
        self.params.push((name, value));
        Ok(())
    }

    fn repeated(&self, name: &str) -> ChallengeError {
        ChallengeError::Repeated {
            scheme: excerpt(&self.scheme),
            name: excerpt(name),
        }
    }
}

/// Why a `WWW-Authenticate` header can't be read or written. Texts inside are excerpts.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChallengeError {
    #[error("the WWW-Authenticate header has more than {max} bytes", max = Challenge::MAX_BYTES)]
    TooLong,
    #[error("the WWW-Authenticate header has more than {max} challenges", max = Challenge::MAX_CHALLENGES)]
    TooManyChallenges,
    #[error("the {scheme} challenge has more than {max} parameters", max = Challenge::MAX_PARAMS)]
    TooManyParams { scheme: String },
    /// RFC 9110 section 11.2: a parameter occurs only once in a challenge.
    #[error("the {scheme} challenge has the parameter \"{name}\" twice")]
    Repeated { scheme: String, name: String },
    /// `line` and `at` (bytes) count from 1.
    #[error("the WWW-Authenticate header is malformed: line {line}, byte {at}: expected {expected}")]
    Syntax {
        line: usize,
        at: usize,
        expected: &'static str,
    },
    #[error("\"{0}\" can't be written into a WWW-Authenticate header")]
    Unwritable(String),
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// RFC 9110 section 11.2, without the equals signs at the end.
fn is_token68_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte)
}

fn is_token68(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(is_token68_byte)
}

/// One line of the header, and how far it has been read.
struct Reader<'a> {
    line: usize,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    /// A list of challenges whose parameters are separated by the same commas: a token that is followed by `=` is a
    /// parameter of the challenge before it, any other begins a new one.
    fn challenges(mut self, all: &mut Vec<Challenge>) -> Result<(), ChallengeError> {
        let mut current: Option<Challenge> = None;
        loop {
            self.skip_separators();
            if self.at == self.bytes.len() {
                break;
            }
            let start = self.at;
            let token = self.token("a scheme or a parameter")?;
            if self.assigns() {
                let open = current.as_mut().filter(|c| c.param("").is_none());
                let Some(challenge) = open else {
                    self.at = start;
                    return Err(self.expected("a scheme"));
                };
                let value = self.value()?;
                challenge.push_param(token, value)?;
            } else {
                if all.len() + usize::from(current.is_some()) == Challenge::MAX_CHALLENGES {
                    return Err(ChallengeError::TooManyChallenges);
                }
                all.extend(current.take());
                current = Some(self.begin(token)?);
            }
            self.end_of_element()?;
        }
        all.extend(current);
        Ok(())
    }

    /// The scheme has been read: a blank and a token68 or the first parameter may follow.
    fn begin(&mut self, scheme: String) -> Result<Challenge, ChallengeError> {
        let mut challenge = Challenge {
            scheme,
            params: Vec::new(),
        };
        let blank = self.skip_blanks();
        if blank == 0 || matches!(self.peek(), None | Some(b',')) {
            return Ok(challenge);
        }
        if let Some(token) = self.token68() {
            challenge.push_param(String::new(), token)?;
        } else {
            let name = self.token("a parameter")?;
            if !self.assigns() {
                return Err(self.expected("\"=\""));
            }
            let value = self.value()?;
            challenge.push_param(name, value)?;
        }
        Ok(challenge)
    }

    /// A token68 only if nothing but blanks stands between it and a comma or the end; else nothing has been read.
    fn token68(&mut self) -> Option<String> {
        let rest = &self.bytes[self.at..];
        let body = rest.iter().take_while(|b| is_token68_byte(**b)).count();
        let pad = rest[body..].iter().take_while(|b| **b == b'=').count();
        let next = rest[body + pad..].iter().find(|b| !matches!(b, b' ' | b'\t'));
        if body == 0 || !matches!(next, None | Some(b',')) {
            return None;
        }
        self.at += body + pad;
        std::str::from_utf8(&rest[..body + pad])
            .ok()
            .map(ToOwned::to_owned)
    }

    /// A token in lower case: schemes and parameter names are compared without case.
    fn token(&mut self, expected: &'static str) -> Result<String, ChallengeError> {
        let token = self.raw_token(expected)?;
        Ok(token.to_ascii_lowercase())
    }

    fn raw_token(&mut self, expected: &'static str) -> Result<String, ChallengeError> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take_while(|b| is_token_byte(**b)).count();
        if length == 0 {
            return Err(self.expected(expected));
        }
        self.at += length;
        Ok(rest[..length].iter().map(|b| char::from(*b)).collect())
    }

    /// Is there an equals sign, after blanks? It is read; the blanks only if it is there.
    fn assigns(&mut self) -> bool {
        let before = self.at;
        self.skip_blanks();
        if self.peek() == Some(b'=') {
            self.at += 1;
            self.skip_blanks();
            return true;
        }
        self.at = before;
        false
    }

    fn value(&mut self) -> Result<String, ChallengeError> {
        if self.peek() == Some(b'"') {
            self.quoted()
        } else {
            self.raw_token("a value")
        }
    }

    fn quoted(&mut self) -> Result<String, ChallengeError> {
        let start = self.at;
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let byte = match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    self.peek()
                }
                other => other,
            };
            text.push(byte.ok_or_else(|| self.expected("a closing quote"))?);
            self.at += 1;
        }
        self.at += 1;
        String::from_utf8(text).map_err(|_| {
            self.at = start;
            self.expected("a value in UTF-8")
        })
    }

    fn end_of_element(&mut self) -> Result<(), ChallengeError> {
        self.skip_blanks();
        match self.peek() {
            None | Some(b',') => Ok(()),
            Some(_) => Err(self.expected("a comma")),
        }
    }

    fn skip_separators(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b',')) {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) -> usize {
        let before = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        self.at - before
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expected(&self, expected: &'static str) -> ChallengeError {
        ChallengeError::Syntax {
            line: self.line,
            at: self.at + 1,
            expected,
        }
    }
}

#[cfg(test)]
mod tests;
