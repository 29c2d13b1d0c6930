//! Two docxys with the ocean between them: 4 MiB/s a connection, 100 ms there and back, TLS.

use std::time::Instant;

use anyhow::Result;

use super::Bench;
use super::client::Connection;
use super::field::Party;
use super::figures::mebibytes;
use super::line::Line;
use super::origin::Origin;
use super::process::{free_address, pause};
use super::relay::{OCEAN, Relay};
use super::server;
use super::table::{Figures, Report, Row, Target};
use super::tls::NAME;

/// A warm tag is asked for so often.
const TAGS: usize = 20;

/// The first fetch alone takes a minute over one connection.
const ROUNDS: usize = 3;

pub fn run(bench: &Bench, report: &mut Report) -> Result<String> {
    let origin = Origin::start(&bench.runtime, bench.library.clone(), Line::default())?;
    let folder = tempfile::tempdir()?;
    let (certificate, key) = bench.tls.write(folder.path())?;
    let encrypted = free_address()?;
    let cache = |name: &str| format!("[cache]\npath = \"{}\"\n", folder.path().join(name).display());
    let far = server::docxy(
        folder.path(),
        "far",
        origin.address,
        &format!(
            "{}[tls]\nlisten = [\"{encrypted}\"]\ncertificates = [{{ cert = \"{}\", key = \"{}\" }}]\nredirect_http = false\n",
            cache("far-cache"),
            certificate.display(),
            key.display()
        ),
    )?;
    let ocean = |to| bench.runtime.block_on(Relay::to(to, OCEAN));
    let (between, direct) = (ocean(encrypted)?, ocean(origin.address)?);
    let near = server::docxy_of(
        folder.path(),
        "near",
        &format!(
            "{}[network.hosts]\n\"{NAME}\" = [\"127.0.0.1\"]\n[parent]\nurl = \"https://{NAME}:{}\"\nca_file = \"{}\"\n\
             allow_private_addresses = true\n",
            cache("near-cache"),
            between.address.port(),
            certificate.display()
        ),
    )?;
    let mut speed = Figures::default();
    for round in 0..bench.plan.rounds.min(ROUNDS) {
        let mut fetch = |party, address| -> Result<()> {
            let blob = bench.library.blob(bench.plan.blob)?;
            let timing = Connection::open(address)?.fetch(&blob.path, blob.size)?;
            speed.push(party, mebibytes(blob.size) / timing.whole.as_secs_f64());
            Ok(())
        };
        if round == 0 {
            fetch(Party::Direct, direct.address)?;
        }
        fetch(Party::Docxy, near.address)?;
    }
    let tag = bench.library.image(1, 4096)?.by_tag;
    let mut client = Connection::open(near.address)?;
    client.fetch(&tag.path, tag.size)?;
    let mut wait = Figures::default();
    for _ in 0..TAGS {
        // As a client that comes now and then, not as one that hammers.
        pause(std::time::Duration::from_millis(30));
        let asked = Instant::now();
        client.fetch(&tag.path, tag.size)?;
        wait.push(Party::Docxy, asked.elapsed().as_secs_f64() * 1000.0);
    }
    drop((near, far));
    let rows = [
        Row::new(
            format!("cold blob of {} MiB: MiB/s", bench.plan.blob >> 20),
            speed,
            &[Target::AtLeast(3.5, Party::Direct)],
        ),
        Row::new("warm tag, revalidated: ms", wait, &[Target::Limit(120.0)]),
    ];
    let remark = "Neither docxy has the blob. Direct is one connection to the upstream over the same kind of line, without TLS.";
    Ok(report.table(
        "Two tiers, 4 MiB/s a connection and 100 ms between them",
        &rows,
        &[remark.to_owned()],
    ))
}
