//! `docxy token list`

use std::time::{SystemTime, UNIX_EPOCH};

use super::place::Place;
use crate::access::issued::About;
use crate::cli::output::{Form, write_json, write_text};
use crate::cli::table::{Align, age, ago, ends_in, table};
use crate::cli::to_stderr;

pub(super) fn run(place: &Place, form: Form) -> anyhow::Result<()> {
    let tokens = place.list()?;
    match form {
        Form::Json => write_json(&tokens)?,
        Form::Text if tokens.is_empty() => to_stderr("there are no access tokens"),
        Form::Text => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            write_text(&text(&tokens, now))?;
        }
    }
    Ok(())
}

fn text(tokens: &[About], now: u64) -> String {
    let rows: Vec<_> = tokens
        .iter()
        .map(|token| {
            let scopes: Vec<_> = token.scopes.iter().map(ToString::to_string).collect();
            [
                token.id.clone(),
                token.name.clone(),
                token.user.clone().unwrap_or_default(),
                for_what(&scopes, token.push),
                age(now.saturating_sub(token.created)),
                ends_in(token.expires, now),
                ago(token.last_used, now),
            ]
        })
        .collect();
    let columns = [
        ("ID", Align::Left),
        ("NAME", Align::Left),
        ("USER", Align::Left),
        ("FOR", Align::Left),
        ("MADE", Align::Right),
        ("ENDS IN", Align::Right),
        ("USED", Align::Right),
    ];
    table(columns, &rows)
}

fn for_what(scopes: &[String], push: bool) -> String {
    let what = if scopes.is_empty() {
        "everything".to_owned()
    } else {
        scopes.join(", ")
    };
    if push { format!("{what}, and push") } else { what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::issued::Scope;

    #[test]
    fn a_line_says_whose_what_for_and_until_when() {
        // Which of them can go is decided from this list.
        let token = |name: &str, user: Option<&str>, scopes: &[&str]| About {
            id: "0123456789ab".to_owned(),
            name: name.to_owned(),
            user: user.map(str::to_owned),
            scopes: scopes
                .iter()
                .map(|text| Scope::parse(text).expect("a scope"))
                .collect(),
            push: false,
            created: 1_000_000,
            expires: None,
            last_used: None,
        };
        let tokens = [
            token("ci", None, &["ghcr.io/team/*", "docker.io/**"]),
            About {
                expires: Some(1_000_000 + 90 * 86_400),
                last_used: Some(1_086_300),
                ..token("laptop", Some("ann"), &[])
            },
            About {
                expires: Some(1_086_400),
                ..token("old", Some("bob"), &[])
            },
        ];
        insta::assert_snapshot!(text(&tokens, 1_086_400));
    }
}
