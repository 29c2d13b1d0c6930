//! What telling about a request costs: figures, the access log, traces. Instructions of the whole process for one warm
//! manifest, counted by callgrind, which what else the machine does can't change. The same program tells nothing where
//! `DOCXY_BENCH_UNTOLD` is set: no record is made of a request then at all.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::Bench;
use super::client::Connection;
use super::library::Blob;
use super::line::Line;
use super::origin::Origin;
use super::process::{Process, free_address};
use super::table::Report;

/// What the three may cost together.
const PROMISED: u64 = 25_000;
/// Requests of the short run, and how many more the long one has: the difference knows nothing of start and end.
const SHORT: u64 = 500;
const MORE: u64 = 4_000;

struct Telling {
    name: &'static str,
    untold: bool,
    log: bool,
    /// Part of the requests that are traced.
    traced: Option<&'static str>,
}

const RUNS: [Telling; 5] = [
    Telling {
        name: "nothing",
        untold: true,
        log: false,
        traced: None,
    },
    Telling {
        name: "figures",
        untold: false,
        log: false,
        traced: None,
    },
    Telling {
        name: "figures, log",
        untold: false,
        log: true,
        traced: None,
    },
    Telling {
        name: "figures, log, traces of 1 %",
        untold: false,
        log: true,
        traced: Some("0.01"),
    },
    Telling {
        name: "figures, log, traces of all",
        untold: false,
        log: true,
        traced: Some("1"),
    },
];

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let origin = Origin::start(&bench.runtime, Arc::clone(&bench.library), Line::default())?;
    let image = bench.library.image(2, 64 << 10)?;
    let collector = bench.runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let endpoint = format!("http://{}", collector.local_addr()?);
    bench.runtime.spawn(collect(collector));
    let mut text =
        String::from("\n## Telling about a request\n\nInstructions for one warm manifest by digest:\n\n");
    let _ = writeln!(text, "| told | instructions | against nothing |\n|---|---|---|");
    let mut nothing = 0;
    for telling in &RUNS {
        let folder = tempfile::tempdir()?;
        let count = |requests| counted(telling, &folder, &origin, &endpoint, &image.by_digest, requests);
        // The first start makes keys, and the first request fetches.
        count(1)?;
        let few = count(SHORT)?;
        let each = count(SHORT + MORE)?.saturating_sub(few) / MORE;
        if telling.untold {
            nothing = each;
        }
        let more = each.saturating_sub(nothing);
        let _ = writeln!(text, "| {} | {each} | {more} |", telling.name);
        if telling.traced == Some("0.01") {
            if more <= PROMISED {
                report.score.kept += 1;
            } else {
                report.score.missed += 1;
            }
            let _ = writeln!(text, "| promised | | {PROMISED} |");
        }
    }
    Ok(text)
}

/// Takes every batch of spans.
async fn collect(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
            TokioIo::new(stream),
            service_fn(async |request: Request<Incoming>| {
                request.into_body().collect().await?;
                Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
            }),
        ));
    }
}

/// Of the whole process, with so many warm requests over one connection.
fn counted(
    telling: &Telling,
    folder: &TempDir,
    origin: &Origin,
    endpoint: &str,
    blob: &Blob,
    requests: u64,
) -> Result<u64> {
    let folder = folder.path();
    let (address, counts) = (free_address()?, folder.join("counts"));
    let traces = telling.traced.map_or_else(String::new, |share| {
        format!("[otlp]\nendpoint = \"{endpoint}\"\nsample = {share}\n")
    });
    let configuration = format!(
        "listen = [\"{address}\"]\nstate_path = \"{state}\"\n[admin]\nlisten = []\n[log]\naccess = {log}\nformat = \"json\"\n\
         [cache]\npath = \"{cache}\"\n[registries.\"docker.io\"]\nurls = [\"http://{origin}\"]\n\
         allow_private_addresses = true\n{traces}",
        state = folder.join("state").display(),
        cache = folder.join("cache").display(),
        log = telling.log,
        origin = origin.address,
    );
    let file = folder.join("docxy.toml");
    fs::write(&file, configuration)?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(env!("CARGO_BIN_EXE_docxy"))
        .arg("--config")
        .arg(&file)
        .env("TOKIO_WORKER_THREADS", "1");
    if telling.untold {
        command.env("DOCXY_BENCH_UNTOLD", "1");
    }
    let docxy = Process::start(&mut command, &folder.join("log"), address)?;
    let mut connection = Connection::open(address)?;
    for _ in 0..requests {
        connection.fetch(&blob.path, blob.size)?;
    }
    drop(connection);
    // It writes its counts when it ends.
    drop(docxy);
    summary(&counts)
}

fn summary(counts: &Path) -> Result<u64> {
    let text = fs::read_to_string(counts).with_context(|| format!("{}", counts.display()))?;
    let line = text
        .lines()
        .find_map(|line| {
            line.strip_prefix("totals: ")
                .or_else(|| line.strip_prefix("summary: "))
        })
        .context("callgrind wrote no total")?;
    Ok(line.trim().parse()?)
}
