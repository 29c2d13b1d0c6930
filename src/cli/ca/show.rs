//! `docxy ca show`

use std::fmt::Write as _;

use serde_json::json;

use crate::cli::output::{Form, write_json, write_text};
use crate::tls::authority::{About, Config, Signer, Signers};

pub(super) fn run(config: &Config, signers: &Signers, form: Form) -> anyhow::Result<()> {
    let (in_use, next) = (signers.in_use.about(), signers.next.as_ref().map(Signer::about));
    match form {
        Form::Json => write_json(&json!({
            "path": config.origin.path(),
            "in_use": as_json(&in_use),
            "next": next.as_ref().map(as_json),
        })),
        Form::Text => {
            let mut text = format!(
                "in use, from {}\n{}",
                config.origin.path().display(),
                lines(&in_use)
            );
            if let Some(next) = &next {
                let _ = write!(text, "\nwaits for docxy ca activate\n{}", lines(next));
            }
            write_text(&text)
        }
    }
}

fn as_json(about: &About) -> serde_json::Value {
    json!({
        "subject": about.subject,
        "sha256": about.fingerprint,
        "not_before": about.not_before,
        "not_after": about.not_after,
        "constrained": about.is_constrained,
        "permitted": about.permitted,
        "excluded": about.excluded,
    })
}

fn lines(about: &About) -> String {
    let may_sign = if !about.is_constrained {
        "every name".to_owned()
    } else if about.permitted.is_empty() {
        "every name but the excluded".to_owned()
    } else {
        about.permitted.join("\n               ")
    };
    let mut text = format!(
        "  subject      {}\n  SHA-256      {}\n  valid from   {}\n  valid until  {}\n  may sign     {may_sign}\n",
        about.subject, about.fingerprint, about.not_before, about.not_after
    );
    if !about.excluded.is_empty() {
        let _ = writeln!(
            text,
            "  but never    {}",
            about.excluded.join("\n               ")
        );
    }
    text
}
