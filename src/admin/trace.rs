//! Recordings by hand. Their files are made and closed, so none of it runs on the runtime's own threads.

use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::Parts;
use super::api::trace::{LARGEST_FILE, LONGEST, Recording, SMALLEST_FILE, Start, Trace, USUAL};
use super::api::{Failure, full_name};
use super::refusal::{Refusal, json};
use super::request::{Json, NoBody, NoQuery};
use crate::access::private;
use crate::telemetry::har::{self, Filter, StartError, Wanted};

/// Characters of a file's name.
const LONGEST_NAME: usize = 100;

/// The recording that runs, or ran last
#[utoipa::path(get, path = "/trace", tag = "trace", responses((status = 200, body = Trace)))]
pub(super) async fn standing(State(parts): State<Parts>, _: NoQuery) -> Result<Response, Refusal> {
    Ok(told(parts.tracer.standing()))
}

/// Record requests and answers of both sides
///
/// As a HAR file in the folder `traces` of the state folder, secrets hidden.
#[utoipa::path(post, path = "/trace", tag = "trace", request_body = Start,
    responses((status = 200, body = Trace), (status = 409, body = Failure, description = "one runs already")))]
pub(super) async fn start(
    State(parts): State<Parts>,
    _: NoQuery,
    Json(start): Json<Start>,
) -> Result<Response, Refusal> {
    let wanted = wanted(&parts, start)?;
    let started = tokio::task::spawn_blocking(move || {
        let failed = |error| StartError::File {
            file: wanted.file.clone(),
            error,
        };
        private::make_folder(&wanted.file).map_err(failed)?;
        parts.tracer.start(wanted)?;
        Ok(parts.tracer.standing())
    });
    match started.await.map_err(Refusal::broken)? {
        Ok(standing) => Ok(told(standing)),
        Err(error) => Err(Refusal::new(StatusCode::CONFLICT, StartError::to_string(&error))),
    }
}

/// End the recording
#[utoipa::path(delete, path = "/trace", tag = "trace", responses((status = 200, body = Trace)))]
pub(super) async fn stop(State(parts): State<Parts>, _: NoQuery, _: NoBody) -> Result<Response, Refusal> {
    let stopped = tokio::task::spawn_blocking(move || parts.tracer.stop("an operator stopped it"));
    Ok(told(stopped.await.map_err(Refusal::broken)?))
}

fn told(standing: Option<har::Standing>) -> Response {
    json(&Trace {
        recording: standing.map(|standing| Recording::of(standing, SystemTime::now())),
    })
}

fn wanted(parts: &Parts, start: Start) -> Result<Wanted, Refusal> {
    let name = match &start.name {
        Some(name) => file_name(name)?,
        None => har::name_by_time(),
    };
    Ok(Wanted {
        file: parts.traces.join(name),
        filter: Filter {
            client: start.client.map(|address| address.to_canonical()),
            repository: start
                .repository
                .map(full_name)
                .transpose()
                .map_err(|error| Refusal::malformed(error.to_string()))?,
        },
        life: Some(Duration::from_secs(within(
            "seconds",
            start.seconds.unwrap_or(USUAL),
            (1, LONGEST),
        )?)),
        size: within(
            "max_bytes",
            start.max_bytes.unwrap_or(har::DEFAULT_SIZE),
            (SMALLEST_FILE, LARGEST_FILE),
        )?,
    })
}

fn within(key: &str, number: u64, (least, most): (u64, u64)) -> Result<u64, Refusal> {
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(Refusal::malformed(format!(
        "{key}: {number}: write a number from {least} to {most}"
    )))
}

/// Of a file in the folder and nowhere else.
fn file_name(name: &str) -> Result<String, Refusal> {
    let is_good = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    if !is_good {
        return Err(Refusal::malformed(format!(
            "name: {name:?}: write letters, digits, dots, - and _, {LONGEST_NAME} at most and no folder: the file is made in \
             the folder traces of the state folder"
        )));
    }
    Ok(match name.strip_suffix(".har") {
        Some(_) => name.to_owned(),
        None => format!("{name}.har"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        // Whoever may use the socket through some tool must not write files anywhere.
        assert_eq!(file_name("slow-pull").unwrap(), "slow-pull.har");
        assert_eq!(file_name("a.har").unwrap(), "a.har");
        for bad in [
            "",
            ".",
            "..",
            "../a",
            "/etc/x",
            "a/b",
            "a\0b",
            ".hidden",
            "a b",
            &"x".repeat(101),
        ] {
            assert!(file_name(bad).is_err(), "{bad:?}");
        }
    }
}
