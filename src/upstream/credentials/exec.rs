//! Programs that know a credential. What they print is never repeated in a message: it may be half a secret.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::{MAX_SECRET, Proof, Reading};
use crate::config::values::{Credential, Secret};

/// A program that takes longer is killed: pulls wait for it.
const LIMIT: Duration = Duration::from_secs(20);

/// `exec`: a program of docxy's own protocol.
pub(super) async fn credential(command: &[String], lifetime: Option<Duration>) -> Result<Reading, String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("exec names no program".to_owned());
    };
    let (ended, printed) = run("exec", program, arguments, &[]).await?;
    if !ended.success() {
        return Err(format!(
            "exec {program} failed ({ended}); run it by hand to see why"
        ));
    }
    let printed = parse(&printed).ok_or_else(|| {
        format!(
            r#"exec {program} printed neither {{"username": ..., "password": ...}} nor a user name and a password on two lines"#
        )
    })?;
    Ok(Reading {
        life: printed.life.or(lifetime),
        ..printed
    })
}

/// Runs a program to its end and returns how that was, with what it printed. `key` is the key that names it, for messages.
pub(super) async fn run(
    key: &str,
    program: &str,
    arguments: &[String],
    input: &[u8],
) -> Result<(std::process::ExitStatus, Vec<u8>), String> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        // With its children, so that none of them outlives the limit.
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{key} {program} can't be started: {error}"))?;
    let mut group = Group::of(child);
    let child = &mut group.child;
    let conversation = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read it may have closed it.
            let _ = stdin.write_all(input).await;
        }
        let mut printed = Vec::new();
        if let Some(output) = child.stdout.take() {
            output
                .take(MAX_SECRET + 1)
                .read_to_end(&mut printed)
                .await
                .map_err(|error| format!("{key} {program}: its output can't be read: {error}"))?;
        }
        if printed.len() as u64 > MAX_SECRET {
            return Err(format!("{key} {program} printed more than {MAX_SECRET} bytes"));
        }
        let ended = child
            .wait()
            .await
            .map_err(|error| format!("{key} {program}: {error}"))?;
        Ok((ended, printed))
    };
    let outcome = tokio::time::timeout(LIMIT, conversation)
        .await
        .map_err(|_| format!("{key} {program} was stopped after {LIMIT:?}"))?;
    if outcome.is_ok() {
        group.is_over = true;
    }
    outcome
}

/// A program and whatever it started: killed together if they are left before their end.
struct Group {
    child: Child,
    id: Option<Pid>,
    is_over: bool,
}

impl Group {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self {
            child,
            id,
            is_over: false,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id.filter(|_| !self.is_over) {
            // It may be gone already.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

#[derive(Deserialize)]
struct Json {
    username: String,
    password: String,
    expires_in: Option<u64>,
}

fn parse(printed: &[u8]) -> Option<Reading> {
    if printed.trim_ascii_start().starts_with(b"{") {
        let json: Json = serde_json::from_slice(printed).ok()?;
        return Some(Reading {
            proof: Proof::Password(Credential {
                username: json.username,
                password: Secret::new(json.password.into_bytes()),
            }),
            life: json.expires_in.map(Duration::from_secs),
        });
    }
    let mut lines = printed
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let username = std::str::from_utf8(lines.next()?).ok()?;
    let password = lines.next()?;
    (!username.is_empty() && !password.is_empty()).then(|| {
        Reading::lasting(Credential {
            username: username.to_owned(),
            password: Secret::new(password.to_vec()),
        })
    })
}
