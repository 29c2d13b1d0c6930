//! Where the cache is: with a running docxy, or in a folder that nobody uses.

use std::io;
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::admin::api::{About, LONGEST_PAGE, Removal, pins};
use crate::app::storage;
use crate::cache::{
    Cleared, Collected, Listing, NewPin, Next, OpenError, PinList, Pinned, Progress, Selector, Store, Usage,
    Verified,
};
use crate::cli::running::Running;
use crate::config::Schema;
use crate::config::schema::CacheMode;
use crate::oci::{Digest, RegistryName};
use crate::telemetry::Metrics;

/// The same answers either way.
pub(super) enum Place {
    Running(Running),
    Offline(Box<Store>),
}

impl Place {
    /// # Errors
    /// There is no cache, or it can't be had; the message says what to do.
    pub fn find(schema: &Schema) -> anyhow::Result<Self> {
        if schema.cache.mode == CacheMode::Off {
            bail!(
                "cache.mode is \"off\", so docxy stores nothing; with mode = \"disk\" under [cache] there is something to see"
            );
        }
        let socket = storage::socket(schema)?;
        let other = match Running::find(&socket)? {
            None => None,
            Some((running, about)) => match other_folder(schema, &about)? {
                None => return Ok(Self::Running(running)),
                other => other,
            },
        };
        if schema.cache.mode == CacheMode::Memory {
            bail!(
                "cache.mode is \"memory\", so the cache is gone when its docxy is, and none answers at {}: is it running \
                 with this configuration?",
                socket.display()
            );
        }
        offline(schema, &socket, other.as_deref())
    }

    /// All of them, in the order of their digests.
    pub fn blobs(&self) -> anyhow::Result<Vec<Listing>> {
        let mut blobs = Vec::new();
        let mut after: Option<Digest> = None;
        loop {
            let page = match self {
                Self::Running(running) => running.list(after.as_ref(), LONGEST_PAGE)?,
                Self::Offline(store) => store.list(after.as_ref(), LONGEST_PAGE),
            };
            blobs.extend(page.blobs);
            match page.next {
                Some(next) => after = Some(Digest::parse(&next)?),
                None => return Ok(blobs),
            }
        }
    }

    pub fn usage(&self) -> anyhow::Result<Usage> {
        match self {
            Self::Running(running) => running.usage(),
            Self::Offline(store) => Ok(store.usage()),
        }
    }

    pub fn pins(&self) -> anyhow::Result<PinList> {
        match self {
            Self::Running(running) => running.pins(),
            Self::Offline(store) => Ok(store.pins()),
        }
    }

    /// `at_digest`: what a tag means now, and nothing else later.
    pub fn pin(&self, new: Vec<NewPin>, at_digest: bool) -> anyhow::Result<pins::Done> {
        let mut done = pins::Done::default();
        match self {
            Self::Running(running) => {
                for new in new.chunks(pins::MOST_IMAGES) {
                    let first = new.first();
                    let answer = running.pin(&pins::Wanted {
                        images: new.iter().map(|new| new.what.to_string()).collect(),
                        platforms: first
                            .iter()
                            .flat_map(|new| &new.platforms)
                            .map(ToString::to_string)
                            .collect(),
                        digest: at_digest,
                        by: first.map(|new| new.by.clone()),
                    })?;
                    done.pinned.extend(answer.pinned);
                    done.refused.extend(answer.refused);
                }
            }
            Self::Offline(store) => {
                let images = new.into_iter().map(|new| (new.what.to_string(), Ok(new)));
                done.pin(store, images.collect(), at_digest);
            }
        }
        Ok(done)
    }

    pub fn unpin(&self, images: &[Pinned]) -> anyhow::Result<pins::Done> {
        let mut done = pins::Done::default();
        match self {
            Self::Running(running) => {
                for images in images.chunks(pins::MOST_IMAGES) {
                    let answer = running.unpin(&pins::Unpin {
                        images: images.iter().map(ToString::to_string).collect(),
                    })?;
                    done.unpinned.extend(answer.unpinned);
                    done.refused.extend(answer.refused);
                }
            }
            Self::Offline(store) => done.unpin(store, images),
        }
        Ok(done)
    }

    pub fn next(&self, registry: Option<&RegistryName>, most: usize) -> anyhow::Result<Next> {
        match self {
            Self::Running(running) => running.next(registry, most),
            Self::Offline(store) => Ok(store.next_to_go(registry, most)),
        }
    }

    pub fn remove(&self, selector: &Selector) -> anyhow::Result<Cleared> {
        match self {
            Self::Running(running) => running.remove(&Removal::from(selector)),
            Self::Offline(store) => Ok(store.remove(selector)),
        }
    }

    pub fn collect(&self) -> anyhow::Result<Collected> {
        match self {
            Self::Running(running) => running.collect(),
            Self::Offline(store) => Ok(store.collect()),
        }
    }

    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> anyhow::Result<Verified> {
        match self {
            Self::Running(running) => running.verify(progress),
            Self::Offline(store) => Ok(store.verify(progress)),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Offline(store) = self {
            store.flush();
        }
    }
}

/// The docxy that answers may be another one with the same state folder: its cache's folder, where it is not the one
/// that is written here. Where nothing is written the folder depends on the environment, which a service has its own of.
fn other_folder(schema: &Schema, about: &About) -> anyhow::Result<Option<String>> {
    let Some(theirs) = &about.cache else {
        bail!(
            "the docxy that runs here (process {}) was started with cache.mode = \"off\": restart it with this configuration",
            about.process
        );
    };
    let written = schema.cache.path.as_deref().filter(|_| schema.cache.is_on_disk());
    Ok(written
        .filter(|own| !same(own, Path::new(theirs)))
        .map(|_| theirs.clone()))
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

fn offline(schema: &Schema, socket: &Path, other: Option<&str>) -> anyhow::Result<Place> {
    let folder = storage::folder(schema)?;
    let shown = folder.display();
    // Opening would make one.
    match folder.join("lock").try_exists() {
        Ok(true) => {}
        Ok(false) => bail!(
            "there is no cache in {shown}, and no docxy answers at {}: is this the configuration, and the user, that docxy \
             runs with?",
            socket.display()
        ),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("{shown} may not be looked into; run this as the user that docxy runs as")
        }
        Err(error) => return Err(error).with_context(|| format!("{shown}")),
    }
    match storage::open(schema, &Metrics::default()) {
        Ok(Some(store)) => Ok(Place::Offline(Box::new(store))),
        Ok(None) => bail!("cache.mode is \"off\""),
        Err(error) => match error.downcast_ref::<OpenError>() {
            Some(OpenError::Taken { owner, .. }) => match other {
                None => bail!(
                    "the cache in {shown} is in use{owner}, but no docxy answers at {}: if that is a docxy with another \
                     state_path, give its configuration with --config; if it is another `docxy cache`, wait until it is done",
                    socket.display()
                ),
                Some(other) => bail!(
                    "the cache in {shown} is in use{owner}, and the docxy that answers at {} is another one, with its cache \
                     in {other}: give each docxy its own state_path",
                    socket.display()
                ),
            },
            _ => Err(error),
        },
    }
}
