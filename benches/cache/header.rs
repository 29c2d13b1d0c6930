//! On what and with what a run was made: figures without it are worth nothing.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::Plan;

pub fn header(plan: &Plan) -> Result<String> {
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next())
        .context("no MemTotal")?
        .parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    let docxy = said(Command::new(env!("CARGO_BIN_EXE_docxy")).arg("--version"))?;
    let commit = said(Command::new("git").args(["rev-parse", "--short", "HEAD"])).unwrap_or_default();
    let nginx = said(Command::new("nginx").arg("-v"))?;
    let registry = said(Command::new("docker-registry").arg("--version"))?;
    Ok(format!(
        "{model}, {cores} cores, {gib} GiB, Linux {kernel}; load {load} at start. {docxy} ({commit}, `cache.mode = \"{mode}\"`), \
         {nginx}, {registry}.\nMedians of {rounds} round(s); all on loopback, access logs on. \"docxy against\" and its target are \
         docxy's median against the other's.\n",
        gib = (kib + (1 << 19)) >> 20,
        kernel = kernel.trim(),
        mode = plan.mode,
        rounds = plan.rounds,
    ))
}

/// The first line that a program writes, wherever it does.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
