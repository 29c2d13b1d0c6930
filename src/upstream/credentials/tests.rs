use super::*;

fn of(source: CredentialSource) -> Credentials {
    Credentials::new(RegistryName::parse("r.test").unwrap(), source)
}

fn shell(script: String) -> CredentialSource {
    shell_for(script, None)
}

fn shell_for(script: String, lifetime: Option<Duration>) -> CredentialSource {
    CredentialSource::Exec {
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script],
        lifetime,
    }
}

#[track_caller]
fn password(proof: Proof) -> (String, Vec<u8>) {
    match proof {
        Proof::Password(credential) => (credential.username, credential.password.expose().clone()),
        Proof::IdentityToken(_) => panic!("an identity token"),
    }
}

#[tokio::test]
async fn a_rotated_password_file_is_read_again_after_a_refusal() {
    // An operator who rotates a password must not have to restart docxy.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    write(&path, "one\n");
    let credentials = of(CredentialSource::PasswordFile {
        username: "robot".to_owned(),
        path: path.clone(),
    });
    let one = credentials.current().await.unwrap();
    assert_eq!(password(one.clone()).1, b"one");
    assert_eq!(credentials.after_refusal(&one).await.unwrap(), None);
    assert!(!credentials.has_changed().await);
    std::fs::write(&path, b"tw:\xff \n").unwrap();
    assert!(credentials.has_changed().await);
    assert_eq!(
        credentials.current().await.unwrap(),
        one,
        "only a refusal makes it read again"
    );
    let two = credentials.after_refusal(&one).await.unwrap().unwrap();
    assert_eq!(password(two.clone()).1, b"tw:\xff ");
    assert!(!credentials.has_changed().await);
    std::fs::remove_file(&path).unwrap();
    let missing = credentials.after_refusal(&two).await.unwrap_err();
    assert!(missing.contains(&path.display().to_string()), "{missing}");
    assert!(!credentials.has_changed().await, "it is still missing");
    std::fs::write(&path, "three").unwrap();
    assert!(credentials.has_changed().await);
    let exposed = credentials.current().await.unwrap_err();
    assert!(exposed.contains("chmod 600"), "{exposed}");
    write(&path, "three");
    assert!(credentials.has_changed().await, "chmod is enough");
    assert_eq!(password(credentials.current().await.unwrap()).1, b"three");
}

/// For its owner alone.
fn write(path: &std::path::Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_helper_prints_json_or_two_lines() {
    // Cloud registries hand out passwords for some hours through a program; both customs of printing must work.
    let lines = of(shell("printf 'AWS\\nsecret\\n'".to_owned())).current().await;
    assert_eq!(password(lines.unwrap()), ("AWS".to_owned(), b"secret".to_vec()));
    let json = r#"echo '{"username":"u","password":"p:\"x","expires_in":43200}'"#.to_owned();
    let json = of(shell(json)).current().await;
    assert_eq!(password(json.unwrap()).1, b"p:\"x");
}

/// A program that counts its runs, in a file, and prints that number as the password.
fn counting(dir: &tempfile::TempDir, says: &str) -> String {
    let count = dir.path().join("count");
    format!(
        r#"echo x >> {0}; n=$(wc -l < {0}); test -e {1} && exit 1; echo "{{\"username\":\"u\",\"password\":\"p$n\"{says}}}""#,
        count.display(),
        dir.path().join("broken").display(),
    )
}

#[tokio::test]
async fn a_helper_runs_again_before_its_credential_ends() {
    // A 12-hour password must be renewed before it fails a pull, whoever says that it has 12 hours.
    for (says, lifetime) in [
        (r#",\"expires_in\":100"#, None),
        ("", Some(Duration::from_secs(100))),
        (r#",\"expires_in\":100"#, Some(Duration::from_hours(9))),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let credentials = of(shell_for(counting(&dir, says), lifetime));
        let now = async || password(credentials.current().await.unwrap()).1;
        assert_eq!(now().await, b"p1");
        assert_eq!(now().await, b"p1");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(81)).await;
        tokio::time::resume();
        assert_eq!(now().await, b"p2");
    }
}

#[tokio::test]
async fn a_credential_that_can_not_be_renewed_is_used_to_its_end() {
    // The cloud's login service is down for ten minutes; the password that docxy has is good for two hours more.
    let dir = tempfile::tempdir().unwrap();
    let credentials = of(shell(counting(&dir, r#",\"expires_in\":1000"#)));
    let advance = async |seconds| {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    };
    let first = credentials.current().await.unwrap();
    std::fs::write(dir.path().join("broken"), "").unwrap();
    advance(801).await;
    assert_eq!(credentials.current().await.unwrap(), first);
    let runs = || {
        std::fs::read_to_string(dir.path().join("count"))
            .unwrap()
            .lines()
            .count()
    };
    assert_eq!(credentials.current().await.unwrap(), first);
    assert_eq!(runs(), 2, "it is not run for every pull");
    advance(61).await;
    assert_eq!(credentials.current().await.unwrap(), first);
    assert_eq!(runs(), 3);
    advance(200).await;
    assert!(credentials.current().await.is_err(), "it has ended");
    std::fs::remove_file(dir.path().join("broken")).unwrap();
    assert_ne!(credentials.current().await.unwrap(), first);
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
        assert!(error.contains("exec /bin/sh"), "{error}");
        assert!(!error.contains("CANARY"), "{error}");
    }
    let missing = of(CredentialSource::Exec {
        command: vec!["/nonexistent/helper".to_owned()],
        lifetime: None,
    });
    let error = missing.current().await.unwrap_err();
    assert!(error.contains("/nonexistent/helper"), "{error}");
}

#[tokio::test]
async fn a_helper_that_hangs_is_stopped_for_all_who_wait() {
    // One hanging program must not hold a hundred pulls one after the other, nor live on beside docxy.
    let dir = tempfile::tempdir().unwrap();
    let child = dir.path().join("child");
    let script = format!("sleep 1000 & echo $! > {}; wait", child.display());
    let credentials = Arc::new(of(shell(script)));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let credentials = credentials.clone();
            tokio::spawn(async move { credentials.current().await })
        })
        .collect();
    let number = async {
        loop {
            let written = std::fs::read_to_string(&child).unwrap_or_default();
            if let Ok(number) = written.trim().parse::<i32>() {
                return number;
            }
            tokio::task::yield_now().await;
        }
    }
    .await;
    tokio::time::pause();
    let begun = Instant::now();
    for one in futures_util::future::join_all(waiting).await {
        let error = one.unwrap().unwrap_err();
        assert!(error.contains("was stopped after 20s"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    let lives =
        || rustix::process::test_kill_process(rustix::process::Pid::from_raw(number).unwrap()).is_ok();
    let state = || std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    // Whoever adopts it may not have looked at it yet.
    for _ in 0..10_000 {
        if !lives() || state().contains(") Z ") {
            return;
        }
        std::thread::yield_now();
    }
    panic!("the helper's child lives on: {}", state());
}
