//! What docxy makes itself, or what looks so: it is nobody's password, here or elsewhere, and no registry ever sees it.

use super::issued::text;
use super::tokens::ANONYMOUS;
use crate::config::values::Credential;

/// Access tokens begin with the second, everything else with the first.
const PREFIXES: [&str; 2] = ["docxy.", text::PREFIX];
/// Some people's names begin so too; none is as long as the shortest of docxy's tokens.
const LONGEST_NAME: usize = 40;

/// A token of docxy's, whole, changed or cut off.
pub fn is_token(text: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| text.starts_with(prefix.as_bytes()))
}

/// Is one of them where the name or the password should be? Some clients send tokens so.
pub fn is_in(credential: &Credential) -> bool {
    let Credential { username, password } = credential;
    let is_name = username.len() <= LONGEST_NAME && username != ANONYMOUS;
    is_token(password.expose()) || (!is_name && is_token(username.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::Secret;

    #[test]
    fn a_token_of_docxys_is_known_wherever_it_stands() {
        // Threat S1: `docker login -u x -p docxy.refresh....` must not hand ann's sign-in to a registry.
        let sealed = format!("docxy.refresh.{}", "x".repeat(80));
        let access = format!("docxy_{}", "x".repeat(49));
        for (username, password, expected) in [
            ("ann", "secret", false),
            ("ann", sealed.as_str(), true),
            ("ann", &access, true),
            ("ann", "docxy.", true),
            (&sealed, "", true),
            (&access, "x-oauth-basic", true),
            ("docxy.anonymous", "", true),
            // A robot's name at a registry.
            ("docxy_robot", "secret", false),
            ("docxy.robot", "secret", false),
            ("ann", "my docxy.refresh.", false),
        ] {
            let credential = Credential {
                username: username.to_owned(),
                password: Secret::new(password.as_bytes().to_vec()),
            };
            assert_eq!(is_in(&credential), expected, "{username}:{password}");
        }
    }
}
