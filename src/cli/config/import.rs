//! `docxy config import`: other tools' files in, a `docxy.toml` out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};

use crate::cli::output::write_text;
use crate::cli::to_stderr;
use crate::config::import::{Imported, Input, MAX_BYTES, Tool, import};

#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Whose configuration it is
    #[arg(long, value_name = "TOOL")]
    from: From,
    /// Its file: the variables of docker-registry-proxy (--env-file, shell or compose), distribution's config.yml (one
    /// for each registry), Docxy's config/default.toml, Docker-Proxy's config.yaml or registry-NAME.yml files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write here instead of to stdout; nobody else may read it when it holds passwords
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file that is there
    #[arg(long, requires = "output")]
    force: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    DockerRegistryProxy,
    Distribution,
    Docxy,
    DockerProxy,
}

impl From {
    fn tool(self) -> Tool {
        match self {
            Self::DockerRegistryProxy => Tool::DockerRegistryProxy,
            Self::Distribution => Tool::Distribution,
            Self::Docxy => Tool::Docxy,
            Self::DockerProxy => Tool::DockerProxy,
        }
    }
}

pub(super) fn run(wanted: &Arguments) -> anyhow::Result<()> {
    let tool = wanted.from.tool();
    let several = matches!(tool, Tool::Distribution | Tool::DockerProxy);
    if wanted.files.len() > 1 && !several {
        bail!("{} has one file; {} were named", tool.name(), wanted.files.len());
    }
    let mut texts = Vec::new();
    for path in &wanted.files {
        let text = read(path).with_context(|| format!("{} can't be read", path.display()))?;
        texts.push((path, text));
    }
    let inputs: Vec<Input<'_>> = texts.iter().map(|(name, text)| Input { name, text }).collect();
    let imported = match import(tool, &inputs) {
        Ok(imported) => imported,
        Err(problems) => {
            bail!("nothing was made, because of what is in the old configuration:\n\n{problems}")
        }
    };
    match &wanted.output {
        Some(path) => save(path, &imported, wanted.force),
        None => write_text(&imported.text),
    }
}

/// A little more than is taken, so that a larger file is seen to be one.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut text)?;
    Ok(text)
}

fn save(path: &Path, imported: &Imported, force: bool) -> anyhow::Result<()> {
    let mode = if imported.holds_secret { 0o600 } else { 0o644 };
    let done = if force {
        replace(path, mode, &imported.text)
    } else {
        create(path, mode).and_then(|file| fill(file, mode, &imported.text))
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => bail!(
            "{} is there already: name another file, or add --force to replace it",
            path.display()
        ),
        done => done.with_context(|| format!("{} can't be written", path.display()))?,
    }
    to_stderr(format_args!(
        "{path} is written. Look through it, then: docxy --config {path} check-config",
        path = path.display()
    ));
    Ok(())
}

/// Whole or not at all: a file beside it takes its place.
fn replace(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let done = create(Path::new(&beside), mode)
        .and_then(|file| fill(file, mode, text))
        .and_then(|()| fs::rename(&beside, path));
    if done.is_err() {
        // What is left of it may hold passwords.
        let _ = fs::remove_file(&beside);
    }
    done
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

/// The mode again, whatever the umask took from it.
fn fill(mut file: File, mode: u32, text: &str) -> io::Result<()> {
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
