//! What the script does.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use docxy::tls::authority::{May, Origin};

use super::machine::{Family, Machine};
use crate::cli;
use crate::support::{
    app::{Builder, TestApp},
    client::Request,
};

/// docxy as a proxy, that machines reach under this URL, its own address behind.
pub async fn intercepting(config: &str) -> TestApp {
    builder().config(config).start().await
}

fn builder() -> Builder {
    TestApp::builder().config("[intercept]\nenabled = true")
}

/// The script of a docxy that clients know by its address on loopback.
pub async fn script(app: &TestApp) -> String {
    let answer = Request::get("/setup/systemd")
        .header("Host", app.addr().to_string())
        .send(app.addr())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.everything());
    assert_eq!(
        answer.header("content-type"),
        Some("text/x-shellscript; charset=utf-8")
    );
    answer.text()
}

const SHELLS: [&str; 3] = ["dash", "busybox sh", "bash --posix"];

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

const DROP_INS: [&str; 2] = [
    "etc/systemd/system/docker.service.d/http-proxy.conf",
    "etc/systemd/system/containerd.service.d/http-proxy.conf",
];

const ENVIRONMENT: &str = "etc/systemd/system/docker.service.d/http-proxy.env";

#[tokio::test]
async fn a_machine_is_set_up_once_and_taken_back_to_the_byte() {
    // An operator runs it on a hundred machines, from a cron job perhaps, and wants to be rid of it one day.
    let app = intercepting("").await;
    let (script, address) = (script(&app).await, app.addr());
    blocking(move || {
        // Debian's own program takes its seconds.
        let pairs = [(Family::Debian, "dash"), (Family::Suse, "busybox sh")];
        for (family, shell) in pairs.into_iter().chain(SHELLS.map(|shell| (Family::Rhel, shell))) {
            round(family, shell, &script, address);
        }
    })
    .await;
}

/// Set up, again, and undone.
fn round(family: Family, shell: &str, script: &str, address: SocketAddr) {
    let machine = Machine::new(family);
    let what = format!("{family:?} with {shell}");
    // What update-ca-certificates does by itself is not the script's.
    machine.run(shell, "update-ca-certificates >/dev/null 2>&1 || :", &[]);
    let before = machine.everything();

    let dry = machine.run(shell, script, &["--dry-run"]);
    assert_eq!(
        (dry.status, dry.systemctl.len(), dry.refreshed),
        (0, 0, 0),
        "{what}: {dry:?}"
    );
    assert!(dry.said.contains("would restart docker"), "{what}: {dry:?}");
    machine.assert_is(&before, &format!("{what}: a dry run"));

    let first = machine.run(shell, script, &[]);
    assert_eq!((first.status, first.refreshed), (0, 1), "{what}: {first:?}");
    // containerd is there, but does not run.
    assert_eq!(
        first.systemctl,
        ["daemon-reload", "restart docker.service"],
        "{what}"
    );
    for drop_in in DROP_INS {
        let text = machine.read(drop_in);
        for line in [
            "[Service]".to_owned(),
            format!("Environment=\"HTTP_PROXY=http://{address}\""),
            format!("Environment=\"HTTPS_PROXY=http://{address}\""),
            "Environment=\"NO_PROXY=localhost,127.0.0.0/8,::1,127.0.0.1\"".to_owned(),
        ] {
            assert!(text.lines().any(|own| own == line), "{what}: {line}\n{text}");
        }
        let mode = fs::metadata(machine.path(drop_in)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{what}");
    }
    let certificate = machine.read(&format!("{}/docxy-proxy-1.crt", machine.anchors()));
    assert!(
        certificate.starts_with("-----BEGIN CERTIFICATE-----"),
        "{certificate}"
    );
    if family == Family::Debian {
        let bundle = machine.read("etc/ssl/certs/ca-certificates.crt");
        assert!(bundle.contains(certificate.trim()), "{what}: it does not count");
    }

    let after = machine.everything();
    let second = machine.run(shell, script, &[]);
    assert_eq!(
        (second.status, second.systemctl.len(), second.refreshed),
        (0, 0, 0),
        "{what}: {second:?}"
    );
    assert!(second.said.starts_with("nothing to change"), "{what}: {second:?}");
    machine.assert_is(&after, &format!("{what}: the second run"));

    let dry = machine.run(shell, script, &["--undo", "--dry-run"]);
    assert_eq!((dry.status, dry.systemctl.len()), (0, 0), "{what}: {dry:?}");
    machine.assert_is(&after, &format!("{what}: a dry undo"));
    let undone = machine.run(shell, script, &["--undo"]);
    assert_eq!((undone.status, undone.refreshed), (0, 1), "{what}: {undone:?}");
    assert_eq!(
        undone.systemctl,
        ["daemon-reload", "restart docker.service"],
        "{what}"
    );
    machine.assert_is(&before, &format!("{what}: not as it was"));
    let again = machine.run(shell, script, &["--undo"]);
    assert!(
        again.status == 0 && again.said.starts_with("nothing to undo"),
        "{what}: {again:?}"
    );
}

#[tokio::test]
async fn what_is_anothers_is_left_alone() {
    // http-proxy.conf is the name that docker's manual gives: there may be one, with a proxy that is needed.
    let app = intercepting("").await;
    let script = script(&app).await;
    blocking(move || {
        let machine = Machine::new(Family::Rhel);
        let theirs = machine.path(DROP_INS[1]);
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(&theirs, "[Service]\nEnvironment=HTTPS_PROXY=http://other:8080\n").unwrap();
        let before = machine.everything();
        let refused = machine.run("dash", &script, &[]);
        assert_eq!((refused.status, refused.systemctl.len()), (1, 0), "{refused:?}");
        assert!(
            refused
                .said
                .contains("is there already, and not from this script. Nothing was changed"),
            "{refused:?}"
        );
        machine.assert_is(&before, "");
        fs::remove_file(&theirs).unwrap();
        // Their empty folder, and another file in docker's: both outlive the undoing.
        let other = machine.path("etc/systemd/system/docker.service.d/other.conf");
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::write(&other, "x").unwrap();
        let before = machine.everything();
        assert_eq!(machine.run("dash", &script, &[]).status, 0);
        assert_eq!(machine.run("dash", &script, &["--undo"]).status, 0);
        machine.assert_is(&before, "");
    })
    .await;
}

#[tokio::test]
async fn services_that_are_not_there_get_nothing() {
    // A machine with containerd alone, one with docker alone, one with neither.
    let app = intercepting("").await;
    let script = script(&app).await;
    blocking(move || {
        let machine = Machine::new(Family::Rhel);
        machine.units(&["cat containerd.service", "is-active containerd.service"]);
        let run = machine.run("dash", &script, &[]);
        assert_eq!(
            run.systemctl,
            ["daemon-reload", "restart containerd.service"],
            "{run:?}"
        );
        assert!(!machine.path(DROP_INS[0]).exists() && machine.path(DROP_INS[1]).exists());
        let machine = Machine::new(Family::Rhel);
        machine.units(&["nothing"]);
        let before = machine.everything();
        let run = machine.run("dash", &script, &[]);
        assert!(
            run.status == 1
                && run
                    .said
                    .contains("there is no docker.service and no containerd.service"),
            "{run:?}"
        );
        machine.assert_is(&before, "");
        let machine = Machine::new(Family::Rhel);
        let run = machine.run("dash", &script, &["--no-restart"]);
        assert_eq!(run.systemctl, ["daemon-reload"], "{run:?}");
        assert!(
            run.said.contains("left to you: systemctl restart docker"),
            "{run:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn another_certificate_is_not_installed() {
    // Whoever sits between would be trusted for every registry; and an authority that has changed must be noticed.
    let app = intercepting("").await;
    let (other, own) = (intercepting("").await, script(&app).await);
    let crt = |addr| async move {
        Request::get("/ca.crt")
            .header("Host", "127.0.0.1")
            .send(addr)
            .await
            .text()
    };
    let (one, two) = (crt(app.addr()).await, crt(other.addr()).await);
    let stopped = app.addr().to_string();
    app.stop().await;
    blocking(move || {
        for (what, served) in [
            ("another", two.clone()),
            ("one more", format!("{one}{two}")),
            ("another first", format!("{two}{one}")),
            ("no certificate", "<html>".to_owned()),
            ("one cut short", one[..one.len() / 2].to_owned()),
            ("nothing", String::new()),
        ] {
            let machine = Machine::new(Family::Debian);
            fs::write(machine.path("served"), served).unwrap();
            machine.program(
                "curl",
                "while [ $# -gt 1 ]; do [ \"$1\" != --output ] || out=$2; shift; done; cat \"$DOCXY_TEST/served\" >\"$out\"",
            );
            let before = machine.everything();
            let run = machine.run("dash", &own, &[]);
            assert_eq!((run.status, run.systemctl.len(), run.refreshed), (1, 0, 0), "{what}: {run:?}");
            assert!(run.said.contains("Nothing was changed") || run.said.contains("does not know: fetch it again"), "{what}: {run:?}");
            machine.assert_is(&before, what);
        }
        // Nobody there.
        let machine = Machine::new(Family::Debian);
        let before = machine.everything();
        let run = machine.run("dash", &own, &[]);
        assert!(run.status == 1 && run.said.contains(&format!("http://{stopped}/ca.crt can't be fetched")), "{run:?}");
        machine.assert_is(&before, "");
    })
    .await;
}

#[tokio::test]
async fn a_password_for_the_proxy_is_roots_alone_and_means_nothing_to_anybody() {
    // A password may hold what shells, URLs and systemd give a meaning to.
    let users = format!("ann:{}\n", bcrypt::hash("x", 4).unwrap());
    let app = builder()
        .config("[intercept]\nauth = \"users\"\n[access]\nuser_files = [\"users\"]")
        .file("users", users)
        .start()
        .await;
    let script = script(&app).await;
    let address = app.addr();
    blocking(move || {
        let machine = Machine::new(Family::Rhel);
        let before = machine.everything();
        let run = machine.run("dash", &script, &[]);
        assert!(run.status == 1 && run.said.contains("--user NAME"), "{run:?}");
        let run = machine.run("dash", &script, &["--user", "ann"]);
        assert!(run.status == 1 && run.said.contains("DOCXY_PASSWORD"), "{run:?}");
        machine.assert_is(&before, "");
        for shell in SHELLS {
            let password = "a b$(touch x)`id`'\"%s\\@:/ü";
            let run = machine.run_with(
                shell,
                &script,
                &["--user", "ann"],
                &[("DOCXY_PASSWORD", password)],
            );
            assert_eq!(run.status, 0, "{shell}: {run:?}");
            assert!(!run.said.contains("touch"), "{shell}: {run:?}");
            // What systemd shows to everybody (`systemctl show -p Environment docker`) has nothing of it.
            let shown = machine.read(DROP_INS[0]);
            assert!(
                shown.contains("\nEnvironmentFile=")
                    && !shown.contains('@')
                    && !shown.contains("HTTPS_PROXY"),
                "{shell}: {shown}"
            );
            assert!(shown.contains(&format!("/{ENVIRONMENT}\n")), "{shell}: {shown}");
            let text = machine.read(ENVIRONMENT);
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("HTTPS_PROXY="))
                .unwrap();
            let url = url::Url::parse(line).unwrap();
            let decoded = percent_encoding::percent_decode_str(url.password().unwrap())
                .decode_utf8()
                .unwrap()
                .into_owned();
            assert_eq!(
                (decoded.as_str(), url.port()),
                (password, Some(address.port())),
                "{shell}: {text}"
            );
            let mode = fs::metadata(machine.path(ENVIRONMENT))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            let given: [(&str, &str); 1] = [("DOCXY_PASSWORD", password)];
            let after = machine.everything();
            let again = machine.run_with(shell, &script, &["--user", "ann"], &given);
            assert!(
                again.status == 0 && again.said.starts_with("nothing to change"),
                "{shell}: {again:?}"
            );
            machine.assert_is(&after, shell);
            let dry = machine.run_with(shell, &script, &["--user", "bob", "--dry-run"], &given);
            // The first letters of the password, as they are encoded.
            assert!(
                dry.status == 0 && dry.said.contains("would write") && !dry.said.contains("%61%20"),
                "{shell}: {dry:?}"
            );
            assert_eq!(machine.run(shell, &script, &["--undo"]).status, 0);
            machine.assert_is(&before, shell);
        }
    })
    .await;
}

#[tokio::test]
async fn a_new_authority_takes_the_place_of_the_old_one() {
    // After a rotation machines trust both, then the new one alone; each time by running the script again.
    let app = intercepting("").await;
    let origin = Origin::State(app.dir().join("state"));
    let machine = Machine::new(Family::Debian);
    let first = script(&app).await;
    assert_eq!(machine.run("dash", &first, &[]).status, 0);
    let one = machine.read("usr/local/share/ca-certificates/docxy-proxy-1.crt");
    origin.rotate(May::SignEverything).unwrap();
    let both = changed(&app, &first).await;
    let run = machine.run("dash", &both, &[]);
    assert_eq!((run.status, run.refreshed), (0, 1), "{run:?}");
    assert!(
        machine
            .path("usr/local/share/ca-certificates/docxy-proxy-2.crt")
            .exists()
    );
    let stale = machine.run("dash", &first, &[]);
    assert!(
        stale.status == 1 && stale.said.contains("fetch it again"),
        "{stale:?}"
    );
    origin.activate().unwrap();
    let last = changed(&app, &both).await;
    assert_eq!(machine.run("dash", &last, &[]).status, 0);
    assert_ne!(
        machine.read("usr/local/share/ca-certificates/docxy-proxy-1.crt"),
        one
    );
    assert!(
        !machine
            .path("usr/local/share/ca-certificates/docxy-proxy-2.crt")
            .exists()
    );
    assert!(!machine.read("var/lib/docxy-setup/made").contains("proxy-2"));
}

/// The script once it is another than this one.
async fn changed(app: &TestApp, old: &str) -> String {
    crate::support::within("another script", async {
        loop {
            let new = script(app).await;
            if new != old {
                return new;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await
}

#[tokio::test]
async fn shellcheck_has_nothing_to_say() {
    // Whoever reads a script before running it as root.
    let app = intercepting("").await;
    let script = script(&app).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &script).unwrap();
    let output = Command::new("shellcheck")
        .args(["--shell", "sh", "--norc"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    // What the command line prints is the same, but for the address, of which it knows no port.
    let config = app.dir().join("docxy.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(
        &config,
        format!(
            "public_url = \"http://{}\"\n{}",
            app.addr(),
            text.replace("127.0.0.1:0", &app.addr().to_string())
        ),
    )
    .unwrap();
    let printed = blocking(move || {
        cli::docxy(&config)
            .args(["client-config", "systemd"])
            .output()
            .unwrap()
    })
    .await;
    assert_eq!(String::from_utf8_lossy(&printed.stdout), script, "{printed:?}");
}
