//! A line of processes, each of which took over from the one before; the last is killed when this is dropped.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    sync::Arc,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::admin::{ask, json, scraped, socket};
use crate::cache::support::{Cached, REPOSITORY};
use crate::support::{
    app::{Builder as AppBuilder, TestApp},
    image::{Content, Image},
    stub::{Fault, Gate, On, StubRegistry},
    within,
};

pub struct Line {
    pub docxy: Cached,
    processes: Processes,
    program: PathBuf,
}

/// Those that have served, and the one that does.
struct Processes(Vec<Pid>);

impl Line {
    pub async fn before(stub: StubRegistry, config: &str) -> Self {
        let config = config.to_owned();
        Self::built(stub, move |app| app.config(&config)).await
    }

    /// Before a registry whose image's first layer stops at the gate, once.
    pub async fn stopping(image: Image, gate: &Gate, config: &str) -> (Self, Content) {
        let layer = image.layer_blobs()[0].clone();
        let stub = StubRegistry::builder()
            .image(REPOSITORY, "7", image)
            .start()
            .await;
        stub.fault(
            On::get(&format!("*/blobs/{}", layer.digest)).first(1),
            Fault::Body(gate.clone()),
        );
        (Self::before(stub, config).await, layer)
    }

    /// With whatever else the first is told. The program is a link, as in an installation of several versions.
    pub async fn built(stub: StubRegistry, how: impl Fn(AppBuilder) -> AppBuilder + 'static) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let program = home.path().join("docxy");
        symlink(env!("CARGO_BIN_EXE_docxy"), &program).unwrap();
        let (at, folder) = (program.clone(), Arc::clone(&home));
        let docxy = Cached::built(stub, move |app| how(app.home(&folder).program(&at))).await;
        Self {
            processes: Processes(vec![docxy.app.pid()]),
            docxy,
            program,
        }
    }

    pub fn app(&self) -> &TestApp {
        &self.docxy.app
    }

    /// The process that serves.
    pub fn serving(&self) -> Pid {
        *self.processes.0.last().unwrap()
    }

    pub fn first(&self) -> Pid {
        self.processes.0[0]
    }

    /// From the one that serves to the next, which is returned.
    pub async fn hand_over(&mut self) -> Pid {
        self.request();
        self.next().await
    }

    /// The one that takes over, which is returned.
    pub async fn next(&mut self) -> Pid {
        let known = self.processes.0.clone();
        let line = self.app().logged("a hand-over", |line| {
            says(line, "handed over: ") && !known.contains(&process(line))
        });
        let next = process(&line.await);
        self.processes.0.push(next);
        next
    }

    /// SIGUSR2 to the one that serves.
    pub fn request(&self) {
        kill_process(self.serving(), Signal::USR2).unwrap();
    }

    /// Waits for a message that begins so.
    pub async fn says(&self, words: &str) {
        let what = format!("a log line that begins with {words:?}");
        self.app().logged(&what, |line| says(line, words)).await;
    }

    /// The process that answers operators.
    pub async fn answers_operators(&self) -> Pid {
        let about = json(&ask(&socket(self.app()), "GET", "/api/v1/about", "").await);
        Pid::from_raw(i32::try_from(about["process"].as_i64().unwrap()).unwrap()).unwrap()
    }

    /// Of `docxy_hand_overs_total`, of the one that serves.
    pub async fn counted(&self, result: &str) -> u64 {
        let figures = scraped(&self.docxy).await;
        figures.sum("docxy_hand_overs_total", &[("result", result)])
    }

    /// What the next one is started from.
    pub fn install(&self, script: &str) {
        fs::remove_file(&self.program).unwrap();
        fs::write(&self.program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&self.program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// docxy again.
    pub fn install_docxy(&self) {
        fs::remove_file(&self.program).unwrap();
        symlink(env!("CARGO_BIN_EXE_docxy"), &self.program).unwrap();
    }

    /// Waits until all but the one that serves have ended.
    pub async fn others_end(&self) {
        let (_, others) = self.processes.0.split_last().unwrap();
        within("the other processes to end", async {
            for process in others {
                while is_alive(*process) {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
        })
        .await;
    }

    /// SIGTERM to the last, and the end of all.
    pub async fn ends(&self) {
        kill_process(self.serving(), Signal::TERM).unwrap();
        within("the last process to end", async {
            while is_alive(self.serving()) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        self.others_end().await;
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &self.0[1..] {
            if is_alive(*process) {
                let _ = kill_process(*process, Signal::KILL);
            }
        }
    }
}

/// It runs: a zombie, which only waits for its parent to look, does not.
pub fn is_alive(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let is_zombie = stat.is_ok_and(|stat| stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'));
    test_kill_process(process).is_ok() && !is_zombie
}

fn says(line: &Value, words: &str) -> bool {
    line["fields"]["message"]
        .as_str()
        .is_some_and(|message| message.starts_with(words))
}

fn process(line: &Value) -> Pid {
    Pid::from_raw(i32::try_from(line["fields"]["process"].as_i64().unwrap()).unwrap()).unwrap()
}
