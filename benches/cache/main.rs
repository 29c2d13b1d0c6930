//! What the cache is worth: docxy, nginx with `proxy_cache` and Debian's docker-registry in front of the same upstream, in
//! one run, in turn, so that ratios hold although the machine's speed drifts. Prints medians as tables in Markdown.
//!
//!     cargo bench --bench cache                             # everything, 5 rounds
//!     cargo bench --bench cache -- warm requests            # these cases alone
//!     cargo bench --bench cache -- --quick                  # 1 round, small sizes: does it run?
//!     cargo bench --bench cache -- --mode off               # docxy without its cache
//!     cargo bench --bench cache -- herd --clients 500
//!
//! Needs Debian's `nginx` and `docker-registry` (`ci/packages.txt`), and up to 6 GiB in the folder for temporary files. The
//! upstream and all clients are threads of this process; everything listens on loopback.

#![expect(clippy::print_stdout, reason = "a benchmark's output is its result")]

mod cold;
mod far;
mod field;
mod header;
mod herd;
mod memory;
mod requests;
mod start;
mod table;
mod telling;
mod tiers;
mod tls;
mod tunnel;
mod warm;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/crowd.rs"]
mod crowd;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/generator.rs"]
mod generator;
#[path = "../support/library.rs"]
mod library;
#[path = "../support/line.rs"]
mod line;
#[path = "../support/noise.rs"]
mod noise;
#[path = "../support/origin.rs"]
mod origin;
#[path = "../support/process.rs"]
mod process;
#[expect(dead_code, reason = "the tests' line also breaks")]
#[path = "../../tests/it/support/relay.rs"]
mod relay;
#[path = "../support/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{self, Runtime};

use library::Library;
use table::Report;
use tls::Tls;

/// Compares docxy, nginx and docker-registry as caches.
#[derive(Parser)]
struct Arguments {
    /// All of them if none is named.
    cases: Vec<Case>,
    /// One round of small sizes.
    #[arg(long)]
    quick: bool,
    #[arg(long)]
    rounds: Option<usize>,
    /// docxy's `cache.mode`.
    #[arg(long, default_value = "disk")]
    mode: String,
    /// How many want one cold blob in `herd`.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    Warm,
    Requests,
    Cold,
    Herd,
    Far,
    Memory,
    Tiers,
    Tunnel,
    Telling,
    Start,
}

/// Everything a case needs.
struct Bench {
    plan: Plan,
    runtime: Runtime,
    library: Arc<Library>,
    tls: Tls,
}

/// What a run measures, sizes in bytes.
struct Plan {
    mode: String,
    rounds: usize,
    blob: u64,
    /// Of a warm blob, at once.
    clients: usize,
    /// Of a cold blob.
    herd: usize,
    /// How long many connections ask for, and the longest that one does.
    load: Duration,
    /// The most requests on one connection.
    single: usize,
    /// Blob of the far upstream, and layers of its image.
    far: u64,
    layers: usize,
    readers: usize,
    /// How long slow readers are watched.
    watch: Duration,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let full = Self {
            mode: arguments.mode.clone(),
            rounds: arguments.rounds.unwrap_or(5),
            blob: 256 << 20,
            clients: 8,
            herd: arguments.clients,
            load: Duration::from_secs(2),
            single: 2000,
            far: 64 << 20,
            layers: 40,
            readers: 1000,
            watch: Duration::from_secs(5),
        };
        if !arguments.quick {
            return full;
        }
        Self {
            rounds: arguments.rounds.unwrap_or(1),
            blob: 64 << 20,
            load: Duration::from_millis(500),
            single: 300,
            far: 16 << 20,
            layers: 10,
            readers: 200,
            watch: Duration::from_secs(3),
            ..full
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    allow_many_files()?;
    let plan = Plan::of(&arguments);
    let bench = Bench {
        runtime: runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?,
        library: Arc::new(Library::new(plan.blob)?),
        tls: Tls::new()?,
        plan,
    };
    print!("{}", header::header(&bench.plan)?);
    let mut report = Report::default();
    for case in Case::value_variants() {
        if !arguments.cases.is_empty() && !arguments.cases.contains(case) {
            continue;
        }
        let run = match case {
            Case::Warm => warm::run,
            Case::Requests => requests::run,
            Case::Cold => cold::run,
            Case::Herd => herd::run,
            Case::Far => far::run,
            Case::Memory => memory::run,
            Case::Tiers => tiers::run,
            Case::Tunnel => tunnel::run,
            Case::Telling => telling::run,
            Case::Start => start::run,
        };
        let name = case.to_possible_value();
        let text = run(&bench, &mut report)
            .with_context(|| name.map_or_else(String::new, |name| name.get_name().to_owned()))?;
        print!("{text}");
    }
    println!(
        "\n{} targets held, {} missed.",
        report.score.kept, report.score.missed
    );
    Ok(())
}

/// A thousand readers need as many descriptors, here and in the servers, which inherit the limit.
fn allow_many_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    Ok(setrlimit(Resource::Nofile, raised)?)
}
