//! `TestApp`: the real docxy as a child process, with a configuration of the test's own, its log kept line by line.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::{stub::StubRegistry, within};

/// A running docxy. It is killed when this is dropped.
pub struct TestApp {
    child: Child,
    log: Arc<Log>,
    plain: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    dir: Arc<TempDir>,
}

impl TestApp {
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The first plain listener.
    pub fn addr(&self) -> SocketAddr {
        *self
            .plain
            .first()
            .unwrap_or_else(|| panic!("no plain listener:\n{}", self.log_text()))
    }

    /// The last plain listener: of `intercept.listen`, where there is one.
    pub fn proxy_addr(&self) -> SocketAddr {
        *self
            .plain
            .last()
            .unwrap_or_else(|| panic!("no plain listener:\n{}", self.log_text()))
    }

    /// The first TLS listener.
    pub fn tls_addr(&self) -> SocketAddr {
        *self
            .tls
            .first()
            .unwrap_or_else(|| panic!("no TLS listener:\n{}", self.log_text()))
    }

    /// `http://127.0.0.1:PORT`: where realms point when the address is all docxy knows of itself.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its folder, to be given to the next docxy with `Builder::home`.
    pub fn home(&self) -> Arc<TempDir> {
        Arc::clone(&self.dir)
    }

    /// Every line of the log until now, as JSON; a line that is none is a string.
    pub fn log(&self) -> Vec<Value> {
        self.log.lines.lock().unwrap().clone()
    }

    pub fn log_text(&self) -> String {
        self.log.text()
    }

    /// Waits for a log line with these fields.
    pub async fn logged(&self, what: &str, test: impl Fn(&Value) -> bool) -> Value {
        within(what, self.log.until(test)).await
    }

    /// Waits for the access log line of a request whose field has this value.
    pub async fn accessed(&self, field: &str, value: &str) -> Value {
        let what = format!("an access log line with {field} = {value}");
        let line = self.logged(&what, |line| {
            message(line) == Some("request") && line["fields"][field].as_str() == Some(value)
        });
        line.await["fields"].clone()
    }

    pub fn pid(&self) -> Pid {
        let id = i32::try_from(self.child.id().expect("docxy still runs")).unwrap();
        Pid::from_raw(id).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// SIGTERM, and what came of it.
    pub async fn stop(self) -> Stopped {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// SIGKILL, and the end of the process.
    pub async fn kill(self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Waits for the end, which something else brings about.
    pub async fn ended(mut self) -> Stopped {
        let status = within("docxy to end", self.child.wait()).await.unwrap();
        within("the end of docxy's log", self.log.ended()).await;
        Stopped {
            status,
            log: self.log_text(),
        }
    }
}

/// A docxy that has ended.
pub struct Stopped {
    pub status: ExitStatus,
    pub log: String,
}

/// What docxy is told.
pub struct Builder {
    config: toml::Table,
    environment: Vec<(String, String)>,
    files: Vec<(String, String)>,
    prelude: String,
    arguments: Vec<String>,
    stdin: Stdio,
    home: Option<Arc<TempDir>>,
    program: PathBuf,
}

impl Builder {
    fn new() -> Self {
        let config = toml::from_str(
            r#"
            listen = ["127.0.0.1:0"]
            [cache]
            mode = "off"
            [admin]
            listen = []
            [log]
            format = "json"
            level = "info"
            "#,
        )
        .unwrap();
        Self {
            config,
            environment: Vec::new(),
            files: Vec::new(),
            prelude: String::new(),
            arguments: Vec::new(),
            stdin: Stdio::null(),
            home: None,
            program: PathBuf::from(env!("CARGO_BIN_EXE_docxy")),
        }
    }

    /// A cache on disk, in the folder `cache` beside the configuration. Without it docxy only forwards, so that every other
    /// test sees each request upstream.
    pub fn cache(self) -> Self {
        self.config("[cache]\nmode = \"disk\"\n")
    }

    /// The folder of a docxy that has ended: state and cache are found as it left them.
    pub fn home(mut self, home: &Arc<TempDir>) -> Self {
        self.home = Some(Arc::clone(home));
        self
    }

    /// Started under this name, which must lead to docxy.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Adds to the configuration; tables are merged, other values replaced.
    pub fn config(mut self, text: &str) -> Self {
        let table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        merge(&mut self.config, table);
        self
    }

    /// A registry of this name, which is this stub: its address is allowed, and its token service is a realm.
    pub fn registry(self, name: &str, stub: &StubRegistry) -> Self {
        let table = format!(
            "[registries.{name:?}]\nurls = [{:?}]\nallow_private_addresses = true\nrealms = [\"{}\"]\n",
            stub.url(),
            stub.token_host(),
        );
        let names = stub.names();
        let hosts = names.iter().fold(String::new(), |mut hosts, (host, address)| {
            let _ = writeln!(hosts, "{host:?} = [\"{address}\"]");
            hosts
        });
        let app = self.config(&table);
        if hosts.is_empty() {
            app
        } else {
            app.config(&format!("[network.hosts]\n{hosts}"))
        }
    }

    /// As `registry`, with more keys of that registry's table.
    pub fn registry_with(self, name: &str, stub: &StubRegistry, keys: &str) -> Self {
        self.registry(name, stub)
            .config(&format!("[registries.{name:?}]\n{keys}\n"))
    }

    /// docxy's own login at this registry, its password in a file.
    pub fn configured(self, name: &str, user: &str, password: &str) -> Self {
        let file = format!("{name}.password");
        let keys = format!("auth = \"configured\"\nusername = {user:?}\npassword_file = {file:?}");
        self.config(&format!("[registries.{name:?}]\n{keys}\n"))
            .file(&file, password)
    }

    /// A file beside the configuration; relative names in the configuration are resolved from there.
    pub fn file(mut self, name: &str, content: impl Into<String>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Shell commands that the process runs before it becomes docxy, for what must be set from inside: `ulimit -n 256`.
    pub fn prelude(mut self, commands: &str) -> Self {
        self.prelude.push_str(commands);
        self.prelude.push('\n');
        self
    }

    /// More arguments, as in `serve --trace-http FILE`; relative files are made in docxy's folder.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// What the prelude finds as descriptor 0.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Starts docxy and waits until it listens.
    pub async fn start(self) -> TestApp {
        let expected = self.listeners();
        let (mut child, log, dir) = self.spawn();
        let listening = within("docxy to say where it listens", log.listening(expected)).await;
        let Some(addresses) = listening else {
            let status = child.wait().await.unwrap();
            panic!("docxy ended before it listened ({status}):\n{}", log.text());
        };
        let of = |tls: bool| {
            addresses
                .iter()
                .filter(|(_, own)| *own == tls)
                .map(|(addr, _)| *addr)
                .collect()
        };
        TestApp {
            plain: of(false),
            tls: of(true),
            child,
            log,
            dir,
        }
    }

    /// Starts docxy where it must refuse to start.
    pub async fn fails(self) -> Stopped {
        let (mut child, log, _dir) = self.spawn();
        let status = within("docxy to refuse to start", child.wait()).await.unwrap();
        within("the end of docxy's log", log.ended()).await;
        Stopped {
            status,
            log: log.text(),
        }
    }

    fn listeners(&self) -> usize {
        let of = |value: Option<&toml::Value>| value.and_then(toml::Value::as_array).map_or(0, Vec::len);
        let tls = self.config.get("tls").and_then(|tls| tls.get("listen"));
        let intercept = self.config.get("intercept").and_then(|keys| keys.get("listen"));
        of(self.config.get("listen")) + of(tls) + of(intercept)
    }

    fn spawn(self) -> (Child, Arc<Log>, Arc<TempDir>) {
        let dir = self
            .home
            .unwrap_or_else(|| Arc::new(tempfile::tempdir().unwrap()));
        let file = dir.path().join("docxy.toml");
        let mut config = self.config;
        let state = dir.path().join("state").to_str().unwrap().to_owned();
        config.entry("state_path").or_insert(toml::Value::String(state));
        if let Some(toml::Value::Table(cache)) = config.get_mut("cache")
            && cache.get("mode").and_then(toml::Value::as_str) == Some("disk")
        {
            let path = dir.path().join("cache").to_str().unwrap().to_owned();
            cache.entry("path").or_insert(toml::Value::String(path));
        }
        write(&file, &toml::to_string(&config).unwrap());
        for (name, content) in &self.files {
            write(&dir.path().join(name), content);
        }
        let docxy = self.program;
        // Without a prelude no shell stands between: it would drop variables whose names it finds odd.
        let mut command = if self.prelude.is_empty() {
            Command::new(&docxy)
        } else {
            let mut shell = Command::new("/bin/sh");
            shell
                .arg("-c")
                .arg(format!("set -e\n{}exec \"$0\" \"$@\"", self.prelude))
                .arg(&docxy);
            shell
        };
        command
            .arg("--config")
            .arg(&file)
            .args(&self.arguments)
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir.path())
            .env("XDG_STATE_HOME", dir.path().join("xdg-state"))
            .env("XDG_CACHE_HOME", dir.path().join("xdg-cache"))
            .envs(self.environment)
            .stdin(self.stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Log {
            lines: Mutex::default(),
            state: watch::Sender::new(Phase::Running),
        });
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let writer = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                writer.lines.lock().unwrap().push(value);
                writer.state.send_replace(Phase::Running);
            }
            writer.state.send_replace(Phase::Ended);
        });
        (child, log, dir)
    }
}

fn write(path: &PathBuf, content: &str) {
    std::fs::write(path, content).unwrap();
    // Secret files must be private; the stricter mode suits the others too.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

pub fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(own)), toml::Value::Table(new)) => merge(own, new),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn message(line: &Value) -> Option<&str> {
    line["fields"]["message"].as_str()
}

/// The lines, and a bell that rings with each.
struct Log {
    lines: Mutex<Vec<Value>>,
    state: watch::Sender<Phase>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Ended,
}

impl Log {
    fn text(&self) -> String {
        let mut text = String::new();
        for line in self.lines.lock().unwrap().iter() {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    async fn until(&self, test: impl Fn(&Value) -> bool) -> Value {
        let mut changed = self.state.subscribe();
        loop {
            let ended = *changed.borrow_and_update() == Phase::Ended;
            if let Some(line) = self.lines.lock().unwrap().iter().find(|line| test(line)) {
                return line.clone();
            }
            assert!(!ended, "docxy ended without saying it:\n{}", self.text());
            changed.changed().await.unwrap();
        }
    }

    /// The addresses of `count` listeners, or none when docxy ended before.
    async fn listening(&self, count: usize) -> Option<Vec<(SocketAddr, bool)>> {
        let mut changed = self.state.subscribe();
        loop {
            let ended = *changed.borrow_and_update() == Phase::Ended;
            let found: Vec<_> = self.lines.lock().unwrap().iter().filter_map(listener).collect();
            if found.len() >= count {
                return Some(found);
            }
            if ended {
                return None;
            }
            changed.changed().await.unwrap();
        }
    }

    async fn ended(&self) {
        let mut changed = self.state.subscribe();
        changed.wait_for(|phase| *phase == Phase::Ended).await.unwrap();
    }
}

fn listener(line: &Value) -> Option<(SocketAddr, bool)> {
    if message(line) != Some("listening") {
        return None;
    }
    let address = line["fields"]["address"].as_str()?.parse().ok()?;
    // Logged as a boolean or as its word.
    let tls = line["fields"]["tls"]
        .as_bool()
        .unwrap_or_else(|| line["fields"]["tls"] == "true");
    Some((address, tls))
}
