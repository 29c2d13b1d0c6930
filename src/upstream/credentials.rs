//! docxy's own credential for a registry: fixed, from a file, or from a helper program; read again when its life ends or
//! when the registry refuses it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::CredentialSource;
use super::failure::Failure;
use crate::config::values::{Credential, Secret};
use crate::oci::RegistryName;

/// A helper program that takes longer is killed: pulls wait for it.
const HELPER_LIMIT: Duration = Duration::from_secs(20);

/// Most that is read of a file or of a helper's output. A JSON key of Google Cloud has 2.4 KB.
const MAX_SECRET: u64 = 64 * 1024;

#[derive(Debug)]
pub(super) struct Credentials {
    registry: RegistryName,
    source: CredentialSource,
    /// Held while a file or helper is read: one reading serves all who wait.
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    credential: Credential,
    until: Option<Instant>,
}

impl Credentials {
    pub fn new(registry: RegistryName, source: CredentialSource) -> Self {
        Self {
            registry,
            source,
            known: Mutex::new(None),
        }
    }

    pub async fn current(&self) -> Result<Credential, Failure> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref()
            && known.until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(known.credential.clone());
        }
        let fresh = self
            .read()
            .await
            .map_err(|reason| Failure::CredentialUnavailable {
                registry: self.registry.clone(),
                reason,
            })?;
        let credential = fresh.credential.clone();
        *known = Some(fresh);
        Ok(credential)
    }

    /// The registry refused `refused`: returns another one if the source has one by now, else None.
    pub async fn after_refusal(&self, refused: &Credential) -> Result<Option<Credential>, Failure> {
        {
            let mut known = self.known.lock().await;
            if known.as_ref().is_some_and(|known| known.credential == *refused) {
                *known = None;
            }
        }
        let current = self.current().await?;
        Ok((current != *refused).then_some(current))
    }

    async fn read(&self) -> Result<Known, String> {
        match &self.source {
            CredentialSource::Fixed(credential) => Ok(Known {
                credential: credential.clone(),
                until: None,
            }),
            CredentialSource::PasswordFile { username, path } => Ok(Known {
                credential: Credential {
                    username: username.clone(),
                    password: Secret::new(password_of(path).await?),
                },
                until: None,
            }),
            CredentialSource::Exec { command } => helper(command).await,
        }
    }
}

async fn password_of(path: &Path) -> Result<Vec<u8>, String> {
    let owned: PathBuf = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        use std::io::Read;
        let mut content = Vec::new();
        std::fs::File::open(owned)?
            .take(MAX_SECRET + 1)
            .read_to_end(&mut content)?;
        Ok::<_, std::io::Error>(content)
    });
    let mut content = match read.await {
        Ok(Ok(content)) => content,
        Ok(Err(error)) => return Err(format!("password_file {} can't be read: {error}", path.display())),
        Err(error) => return Err(format!("password_file {} was not read: {error}", path.display())),
    };
    if content.len() as u64 > MAX_SECRET {
        return Err(format!(
            "password_file {} has more than {MAX_SECRET} bytes",
            path.display()
        ));
    }
    // Editors end a file with a newline that nobody means to be part of the password.
    if content.ends_with(b"\n") {
        content.pop();
        if content.ends_with(b"\r") {
            content.pop();
        }
    }
    if content.is_empty() {
        return Err(format!("password_file {} is empty", path.display()));
    }
    Ok(content)
}

/// Messages name the program but never what it printed.
async fn helper(command: &[String]) -> Result<Known, String> {
    let Some((program, arguments)) = command.split_first() else {
        return Err("exec names no program".to_owned());
    };
    let started = Instant::now();
    let run = async {
        let mut child = tokio::process::Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("exec {program} can't be started: {error}"))?;
        let mut printed = Vec::new();
        if let Some(output) = child.stdout.take() {
            output
                .take(MAX_SECRET + 1)
                .read_to_end(&mut printed)
                .await
                .map_err(|error| format!("exec {program}: its output can't be read: {error}"))?;
        }
        if printed.len() as u64 > MAX_SECRET {
            return Err(format!("exec {program} printed more than {MAX_SECRET} bytes"));
        }
        let status = child
            .wait()
            .await
            .map_err(|error| format!("exec {program}: {error}"))?;
        if !status.success() {
            return Err(format!(
                "exec {program} failed ({status}); run it by hand to see why"
            ));
        }
        Ok(printed)
    };
    let printed = tokio::time::timeout(HELPER_LIMIT, run)
        .await
        .map_err(|_| format!("exec {program} was stopped after {HELPER_LIMIT:?}"))??;
    let printed = parse(&printed).ok_or_else(|| {
        format!(r#"exec {program} printed neither {{"username": ..., "password": ...}} nor a user name and a password on two lines"#)
    })?;
    Ok(Known {
        credential: printed.credential,
        // A little early, as with tokens: it must not expire on its way.
        until: printed.life.map(|life| started + life.mul_f64(0.8)),
    })
}

struct Printed {
    credential: Credential,
    life: Option<Duration>,
}

#[derive(Deserialize)]
struct Json {
    username: String,
    password: String,
    expires_in: Option<u64>,
}

fn parse(printed: &[u8]) -> Option<Printed> {
    if printed.trim_ascii_start().starts_with(b"{") {
        let json: Json = serde_json::from_slice(printed).ok()?;
        return Some(Printed {
            credential: Credential {
                username: json.username,
                password: Secret::new(json.password.into_bytes()),
            },
            // A century at most, so that no sum of times overflows.
            life: json
                .expires_in
                .map(|seconds| Duration::from_secs(seconds.min(3_000_000_000))),
        });
    }
    let mut lines = printed
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let username = std::str::from_utf8(lines.next()?).ok()?;
    let password = lines.next()?;
    (!username.is_empty() && !password.is_empty()).then(|| Printed {
        credential: Credential {
            username: username.to_owned(),
            password: Secret::new(password.to_vec()),
        },
        life: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: CredentialSource) -> Credentials {
        Credentials::new(RegistryName::parse("r.test").unwrap(), source)
    }

    fn shell(script: String) -> CredentialSource {
        CredentialSource::Exec {
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
        }
    }

    #[tokio::test]
    async fn a_rotated_password_file_is_read_again_after_a_refusal() {
        // An operator who rotates a password must not have to restart docxy.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "one\n").unwrap();
        let credentials = of(CredentialSource::PasswordFile {
            username: "robot".to_owned(),
            path: path.clone(),
        });
        let one = credentials.current().await.unwrap();
        assert_eq!(one.password.expose(), b"one");
        assert_eq!(credentials.after_refusal(&one).await.unwrap(), None);
        std::fs::write(&path, b"tw:\xff \n").unwrap();
        assert_eq!(
            credentials.current().await.unwrap(),
            one,
            "only a refusal makes it read again"
        );
        let two = credentials.after_refusal(&one).await.unwrap().unwrap();
        assert_eq!(two.password.expose(), b"tw:\xff ");
        std::fs::remove_file(&path).unwrap();
        let missing = credentials.after_refusal(&two).await.unwrap_err().to_string();
        assert!(missing.contains(&path.display().to_string()), "{missing}");
    }

    #[tokio::test]
    async fn a_helper_prints_json_or_two_lines() {
        // Cloud registries hand out passwords for some hours through a program; both customs of printing must work.
        let lines = of(shell("printf 'AWS\\nsecret\\n'".to_owned()))
            .current()
            .await
            .unwrap();
        assert_eq!(
            (lines.username.as_str(), lines.password.expose().as_slice()),
            ("AWS", &b"secret"[..])
        );
        let json = r#"echo '{"username":"u","password":"p:\"x","expires_in":43200}'"#.to_owned();
        assert_eq!(
            of(shell(json)).current().await.unwrap().password.expose(),
            b"p:\"x"
        );
    }

    #[tokio::test]
    async fn a_helper_runs_again_when_its_credential_ends() {
        // A 12-hour password must be renewed before it fails a pull.
        let dir = tempfile::tempdir().unwrap();
        let count = dir.path().join("count");
        let script = format!(
            r#"echo x >> {0}; n=$(wc -l < {0}); echo "{{\"username\":\"u\",\"password\":\"p$n\",\"expires_in\":100}}""#,
            count.display()
        );
        let credentials = of(shell(script));
        let password = async || credentials.current().await.unwrap().password.expose().clone();
        assert_eq!(password().await, b"p1");
        assert_eq!(password().await, b"p1");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(81)).await;
        tokio::time::resume();
        assert_eq!(password().await, b"p2");
    }

    #[tokio::test]
    async fn a_broken_helper_is_named_and_its_output_is_not_shown() {
        // An operator must learn which program failed, and a half-printed secret must not land in the log (S12).
        for script in [
            "echo CANARY; exit 3",
            "echo CANARY",
            "head -c 70000 /dev/zero",
            "echo '{\"password\":\"CANARY\"'",
        ] {
            let error = of(shell(script.to_owned())).current().await.unwrap_err();
            assert!(error.to_string().contains("exec /bin/sh"), "{error}");
            assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
        }
        let missing = of(CredentialSource::Exec {
            command: vec!["/nonexistent/helper".to_owned()],
        });
        assert!(
            missing
                .current()
                .await
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/helper")
        );
    }
}
