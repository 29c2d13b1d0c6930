//! What the three doors share: contents, users, tokens, the clock.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{builder::Options, fault::Faults, journal::Journal};
use crate::support::image::{Content, Image};

pub(super) struct State {
    pub options: Options,
    pub journal: Journal,
    pub faults: Faults,
    /// Pulls counted so far, by whoever they count for.
    pub pulls: Mutex<HashMap<String, u64>>,
    repositories: Mutex<BTreeMap<String, Repository>>,
    grants: Mutex<BTreeMap<String, Grant>>,
    refresh: Mutex<BTreeMap<String, String>>,
    signatures: Mutex<Vec<String>>,
    places: OnceLock<Places>,
    started: Instant,
    skipped: AtomicU64,
    id: u64,
}

/// Base URLs of the doors.
pub(super) struct Places {
    pub registry: String,
    pub token: String,
    pub cdn: String,
}

/// What a repository holds.
#[derive(Clone, Default)]
pub(super) struct Repository {
    /// None: anyone.
    pub readers: Option<Vec<String>>,
    pub tags: BTreeMap<String, String>,
    pub manifests: BTreeMap<String, Content>,
    pub blobs: BTreeMap<String, Content>,
    images: BTreeMap<String, Image>,
}

/// What a token is good for.
#[derive(Clone)]
pub(super) struct Grant {
    pub user: Option<String>,
    /// `repository:NAME:pull`, as granted.
    pub scopes: Vec<String>,
    pub until: u64,
}

impl State {
    pub fn new(options: Options, private: BTreeMap<String, Vec<String>>) -> Self {
        let with_readers = |(name, readers)| {
            (
                name,
                Repository {
                    readers: Some(readers),
                    ..Repository::default()
                },
            )
        };
        Self {
            options,
            journal: Journal::new(),
            faults: Faults::default(),
            pulls: Mutex::default(),
            repositories: Mutex::new(private.into_iter().map(with_readers).collect()),
            grants: Mutex::default(),
            refresh: Mutex::default(),
            signatures: Mutex::default(),
            places: OnceLock::new(),
            started: Instant::now(),
            skipped: AtomicU64::new(0),
            id: rand::random(),
        }
    }

    pub fn places(&self) -> &Places {
        self.places.get().expect("the stub has been started")
    }

    pub fn set_places(&self, places: Places) {
        assert!(self.places.set(places).is_ok(), "a stub starts once");
    }

    // ---- the clock ----

    /// Seconds since the start, with what `advance` added.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_secs() + self.skipped.load(Ordering::SeqCst)
    }

    pub fn advance(&self, by: Duration) {
        self.skipped.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    // ---- contents ----

    pub fn put(&self, name: &str, tag: &str, image: &Image) {
        let mut repositories = self.repositories.lock().unwrap();
        let repository = repositories.entry(name.to_owned()).or_default();
        for manifest in image.children.iter().chain([&image.root]) {
            repository
                .manifests
                .insert(manifest.digest.clone(), manifest.clone());
        }
        for blob in &image.blobs {
            repository.blobs.insert(blob.digest.clone(), blob.clone());
        }
        repository.tags.insert(tag.to_owned(), image.root.digest.clone());
        repository.images.insert(tag.to_owned(), image.clone());
    }

    pub fn image(&self, name: &str, tag: &str) -> Image {
        let repositories = self.repositories.lock().unwrap();
        let image = repositories
            .get(name)
            .and_then(|repository| repository.images.get(tag));
        image
            .unwrap_or_else(|| panic!("no image was put at {name}:{tag}"))
            .clone()
    }

    pub fn untag(&self, name: &str, tag: &str) {
        if let Some(repository) = self.repositories.lock().unwrap().get_mut(name) {
            repository.tags.remove(tag);
        }
    }

    pub fn close(&self, name: &str, readers: &[&str]) {
        let readers = readers.iter().map(|reader| (*reader).to_owned()).collect();
        let mut repositories = self.repositories.lock().unwrap();
        repositories.entry(name.to_owned()).or_default().readers = Some(readers);
    }

    pub fn open(&self, name: &str) {
        let mut repositories = self.repositories.lock().unwrap();
        repositories.entry(name.to_owned()).or_default().readers = None;
    }

    pub fn delete(&self, name: &str) {
        self.repositories.lock().unwrap().remove(name);
    }

    pub fn repository(&self, name: &str) -> Option<Repository> {
        self.repositories.lock().unwrap().get(name).cloned()
    }

    pub fn names(&self) -> Vec<String> {
        self.repositories.lock().unwrap().keys().cloned().collect()
    }

    /// A repository that is not there may be read by nobody, as on Docker Hub.
    pub fn may_read(&self, user: Option<&str>, name: &str) -> bool {
        let repositories = self.repositories.lock().unwrap();
        repositories
            .get(name)
            .is_some_and(|repository| match &repository.readers {
                None => true,
                Some(readers) => user.is_some_and(|user| readers.iter().any(|reader| reader == user)),
            })
    }

    // ---- secrets ----

    pub fn password_is(&self, user: &str, password: &str) -> bool {
        self.options.users.get(user).is_some_and(|own| own == password)
    }

    pub fn hand_out(&self, grant: Grant) -> String {
        let token = self.secret("token");
        self.grants.lock().unwrap().insert(token.clone(), grant);
        token
    }

    pub fn grant(&self, token: &str) -> Option<Grant> {
        let grant = self.grants.lock().unwrap().get(token).cloned();
        grant.filter(|grant| grant.until > self.now())
    }

    pub fn refresh_token(&self, user: &str) -> String {
        let token = self.secret("refresh");
        self.refresh
            .lock()
            .unwrap()
            .insert(token.clone(), user.to_owned());
        token
    }

    pub fn refreshed(&self, token: &str) -> Option<String> {
        self.refresh.lock().unwrap().get(token).cloned()
    }

    /// The signature of a CDN path that is good until `expires`.
    pub fn sign(&self, path: &str, expires: u64) -> String {
        let text = format!("{}|{path}|{expires}", self.id);
        let digest = crate::support::image::sha256(text.as_bytes());
        let signature = digest["sha256:".len()..].to_owned();
        let mut signatures = self.signatures.lock().unwrap();
        if !signatures.contains(&signature) {
            signatures.push(signature.clone());
        }
        signature
    }

    pub fn signatures(&self) -> Vec<String> {
        self.signatures.lock().unwrap().clone()
    }

    pub fn secrets(&self) -> Vec<String> {
        let mut secrets: Vec<String> = self.options.users.values().cloned().collect();
        secrets.extend(self.grants.lock().unwrap().keys().cloned());
        secrets.extend(self.refresh.lock().unwrap().keys().cloned());
        secrets
    }

    fn secret(&self, kind: &str) -> String {
        format!("stub-{kind}-{:016x}-{:016x}", self.id, rand::random::<u64>())
    }
}
