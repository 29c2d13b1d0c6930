//! The life of a cache with a private image in it, from cold to offline: in every part of it everybody who must not have the
//! image asks for all of it in every way, and alice, who may, gets it.

use std::fmt::Write as _;

use futures_util::{StreamExt as _, stream};
use tokio::task::JoinHandle;

use super::{
    ab_leaks::Secrets,
    ab_vectors::{BOBS, Door, MADE_UP, PRIVATE, PUBLIC, Shown, Vector, Wish, token},
};
use crate::cache::support::Cached;
use crate::support::{
    app::Builder as AppBuilder,
    client::Response,
    image::Image,
    stub::{Auth, Fault, Gate, On, StubRegistry},
};

/// Every how many ways one is tried in the regular tests.
pub const SOME: usize = 11;
pub const ALL: usize = 1;
/// Accounts at the registry.
pub const ALICE: Login = ("alice", "alice-password");
pub const BOB: Login = ("bob", "bob-password");
const TIMES: &str = "[cache]\nrevalidate_timeout = \"500ms\"\n[timeouts]\nconnect = \"500ms\"\n";
/// Bytes of a body that pass while a download is joined: more than any error has, fewer than any content.
const HELD_AFTER: usize = 300;

pub type Login = (&'static str, &'static str);

/// Whose the private image is, and how docxy knows.
#[derive(Clone, Copy)]
pub struct Kind {
    pub auth: Auth,
    pub allowed: Login,
    pub other: Login,
    /// Whose account at the registry reads what is the other's.
    pub reader: &'static str,
    /// People are docxy's own users; the registry is shown docxy's own credential.
    pub own_users: bool,
    pub how: fn(AppBuilder) -> AppBuilder,
}

struct World {
    kind: Kind,
    image: Image,
    secrets: Secrets,
}

impl World {
    async fn start(kind: Kind) -> (Self, Cached) {
        let image = Image::layers(3).seed(950).oci();
        let image = image.platforms(&["amd64", "arm64"]).build();
        let signature = Image::artifact(
            "application/vnd.canary",
            &image.root,
            "canary-payload-of-a-signature",
        );
        let bobs = Image::layers(1).seed(951).oci().platforms(&["amd64"]).build();
        let public = Image::layers(1).seed(952).oci().platforms(&["amd64"]).build();
        let stub = StubRegistry::builder()
            .auth(kind.auth)
            .token_life(24 * 3600)
            .user(ALICE.0, ALICE.1)
            .user(BOB.0, BOB.1)
            .private(PRIVATE, &["alice"])
            .private(BOBS, &[kind.reader])
            .image(PRIVATE, "1", image.clone())
            .image(PRIVATE, "canary-secret-tag", signature.clone())
            .image(BOBS, "1", bobs.clone())
            .image(PUBLIC, "7", public.clone())
            .start()
            .await;
        let docxy = Cached::built(stub, move |app| {
            (kind.how)(app.config(TIMES).config(Door::CONFIG))
        })
        .await;
        let secrets = Secrets::of(&[&image, &signature], &["canary-secret-tag"], &[&bobs, &public]);
        let world = Self { kind, image, secrets };
        (world, docxy)
    }
}

/// Somebody without the right, with what he shows at each door.
struct Intruder {
    name: &'static str,
    shown: Vec<Shown>,
}

impl Intruder {
    fn at(&self, door: Door) -> &Shown {
        &self.shown[Door::ALL.iter().position(|other| *other == door).unwrap()]
    }
}

/// Who, signed in with what, for which repositories.
type Signed<'a> = (
    &'static str,
    Option<(&'static str, &'static str)>,
    &'a [&'static str],
);

/// Everybody without the right, each signed in as far as he comes; the realm's refusals are looked at too.
async fn intruders(world: &World, docxy: &Cached, tally: &mut Tally) -> Vec<Intruder> {
    let (allowed, other) = (world.kind.allowed, world.kind.other);
    let every = [PRIVATE, BOBS, PUBLIC, MADE_UP];
    let fixed = |shown: Shown| vec![shown; Door::ALL.len()];
    let mut all = vec![
        Intruder {
            name: "nobody",
            shown: fixed(Shown::Nothing),
        },
        Intruder {
            name: "bob by password",
            shown: fixed(Shown::Basic(other.0, other.1)),
        },
        Intruder {
            name: "alice, wrong password",
            shown: fixed(Shown::Basic(allowed.0, "not-the-password")),
        },
        Intruder {
            name: "forged",
            shown: fixed(Shown::Bearer("eyJhbGciOiJub25lIn0.e30.".to_owned())),
        },
    ];
    let signed: [Signed<'_>; 5] = [
        ("nobody with a token", None, &every),
        ("bob", Some(other), &every),
        ("bob for his own", Some(other), &[BOBS]),
        ("alice for another repository", Some(allowed), &[PUBLIC]),
        (
            "alice, wrong password at the realm",
            Some((allowed.0, "neither-is-this")),
            &every,
        ),
    ];
    for (name, login, scopes) in signed {
        let mut shown = Vec::new();
        for door in Door::ALL {
            match token(docxy, door, login, scopes).await {
                Ok(token) => shown.push(token),
                Err(refusal) => {
                    tally.tried += 1;
                    tally.bytes += world.secrets.bytes_in(&refusal.body, &[]);
                    shown.push(Shown::Nothing);
                }
            }
        }
        all.push(Intruder { name, shown });
    }
    all
}

/// Where docxy slows guessing, whoever means well signs in before the guessers come; a registry's people only when they pull,
/// so that nothing is proved before.
async fn early(world: &World, docxy: &Cached) -> Option<Intruder> {
    if world.kind.own_users {
        return Some(allowed(world, docxy).await);
    }
    None
}

/// Alice's credential at each door.
async fn allowed(world: &World, docxy: &Cached) -> Intruder {
    let mut shown = Vec::new();
    for door in Door::ALL {
        let token = token(docxy, door, Some(world.kind.allowed), &[PRIVATE]).await;
        shown.push(token.unwrap_or_else(|refusal| panic!("no token: {}", refusal.everything())));
    }
    Intruder { name: "alice", shown }
}

#[derive(Default)]
struct Tally {
    tried: usize,
    given: usize,
    bytes: usize,
    told: usize,
    apart: usize,
    entitled: usize,
    refused: usize,
    story: String,
    told_of: usize,
}

impl Tally {
    fn note(&mut self, line: &str) {
        self.told_of += 1;
        if self.told_of <= 40 {
            let _ = writeln!(self.story, "{line}");
        }
    }

    fn finish(&self, what: &str) {
        println!(
            "S4 {what}: {} requests without the right: {} given, {} bytes leaked, {} heads that tell, {} told apart from a \
             missing repository; {} requests with the right, {} refused\n{}",
            self.tried,
            self.given,
            self.bytes,
            self.told,
            self.apart,
            self.entitled,
            self.refused,
            self.story
        );
        let wrong = (self.given, self.bytes, self.told, self.apart, self.refused);
        assert_eq!(wrong, (0, 0, 0, 0, 0), "{}", self.story);
    }
}

/// What was found out by one way.
struct Found {
    line: String,
    given: bool,
    bytes: usize,
    told: Option<String>,
    apart: bool,
    more: usize,
}

async fn assault(
    world: &World,
    docxy: &Cached,
    intruders: &[Intruder],
    phase: &str,
    stride: usize,
    tally: &mut Tally,
) {
    let vectors = Vector::all(&world.image, &[PRIVATE, BOBS, PUBLIC, MADE_UP]);
    for (turn, intruder) in (0..).zip(intruders) {
        // Another eleventh for each of them, and in each phase.
        let first = (turn + phase.len()) % stride;
        let some = vectors.iter().skip(first).step_by(stride);
        let found = stream::iter(some).map(|vector| try_one(world, docxy, intruder, vector, phase));
        let found: Vec<Found> = found.buffer_unordered(8).collect().await;
        for found in found {
            tally.tried += 1 + found.more;
            tally.given += usize::from(found.given);
            tally.bytes += found.bytes;
            tally.told += usize::from(found.told.is_some());
            tally.apart += usize::from(found.apart);
            if found.given || found.bytes > 0 || found.told.is_some() || found.apart {
                tally.note(&found.line);
            }
        }
    }
}

async fn try_one(world: &World, docxy: &Cached, intruder: &Intruder, vector: &Vector, phase: &str) -> Found {
    let shown = intruder.at(vector.door);
    let answer = vector.send(docxy, shown).await;
    let said = vector.said();
    let through_it = vector.repository == PRIVATE;
    // Elsewhere a tag or a list is the other repository's own.
    let asked_for = through_it || vector.thing.rest.contains("/sha256:") && vector.thing.content.is_some();
    let given = asked_for && matches!(answer.status, 200 | 206 | 304 | 416);
    let asked = vector.thing.content.as_ref().filter(|_| asked_for);
    let mut found = Found {
        line: String::new(),
        given,
        bytes: world.secrets.bytes_in(&answer.body, &said),
        told: world.secrets.told(&answer, vector.method, asked),
        apart: false,
        more: 0,
    };
    let mut other = String::new();
    if through_it {
        let missing = vector.of(MADE_UP).send(docxy, shown).await;
        found.more = 1;
        // Too many wrong passwords are slowed whatever they are for.
        let slowed = answer.status == 429 || missing.status == 429;
        found.apart = !slowed && same(&answer, PRIVATE) != same(&missing, MADE_UP);
        if found.apart {
            other = format!("; a missing one: {}", missing.everything());
        }
    }
    found.line = format!(
        "{phase}, {}: {:?} {} {}/{} {:?}: {} of {} bytes, {} private, told {:?}: {}{other}",
        intruder.name,
        vector.door,
        vector.method,
        vector.repository,
        vector.thing.rest,
        vector.wish,
        answer.status,
        answer.body.len(),
        found.bytes,
        found.told,
        answer.everything().chars().take(600).collect::<String>(),
    );
    found
}

fn same(answer: &Response, repository: &str) -> (u16, String) {
    (answer.status, answer.text().replace(repository, "REPOSITORY"))
}

/// Alice gets what is hers, in every way.
async fn entitled(
    world: &World,
    docxy: &Cached,
    alice: &Intruder,
    phase: &str,
    stride: usize,
    tally: &mut Tally,
) {
    let vectors = Vector::all(&world.image, &[PRIVATE]);
    let answers = stream::iter(vectors.iter().step_by(stride))
        .map(|vector| async move { (vector, vector.send(docxy, alice.at(vector.door)).await) })
        .buffer_unordered(8);
    let answers: Vec<(&Vector, Response)> = answers.collect().await;
    for (vector, answer) in answers {
        // Lists are not kept: in an outage nobody gets them.
        if vector.thing.content.is_none() && answer.status >= 500 {
            continue;
        }
        tally.entitled += 1;
        if let Some(wrong) = vector.wrong(&answer) {
            tally.refused += 1;
            let (door, method, thing) = (vector.door, vector.method, &vector.thing.rest);
            let text: String = answer.everything().chars().take(600).collect();
            tally.note(&format!(
                "{phase}, alice: {door:?} {method} {thing} {:?}: {wrong}: {text}",
                vector.wish
            ));
        }
    }
}

/// Alice's pulls of everything at once, stopped in the middle of each body.
struct Joined {
    gates: Vec<Gate>,
    pulls: Vec<JoinHandle<(Vector, Response)>>,
}

impl Joined {
    async fn begin(world: &World, docxy: &Cached, alice: &Intruder) -> Self {
        let whole = Vector::all(&world.image, &[PRIVATE])
            .into_iter()
            .filter(|vector| {
                let plain = vector.door == Door::Default && vector.method == "GET";
                plain && vector.wish == Wish::Whole && vector.thing.content.is_some()
            });
        let (mut gates, mut pulls) = (Vec::new(), Vec::new());
        for kind in ["manifests", "blobs"] {
            let gate = Gate::after(HELD_AFTER);
            let of_kind = On::get(&format!("/v2/{PRIVATE}/{kind}/*"));
            docxy.stub.fault(of_kind, Fault::Body(gate.clone()));
            for vector in whole.clone().filter(|vector| vector.thing.rest.starts_with(kind)) {
                let request = vector.request(docxy, alice.at(Door::Default));
                let to = docxy.app.addr();
                pulls.push(tokio::spawn(async move { (vector, request.send(to).await) }));
            }
            gate.held().await;
            gates.push(gate);
        }
        let layer = format!("*{}", world.image.blobs[1].digest);
        docxy
            .stub
            .until("the layer to be fetched", |seen| {
                seen.iter()
                    .any(|seen| seen.method == "GET" && seen.path.ends_with(&layer[1..]))
            })
            .await;
        Self { gates, pulls }
    }

    async fn end(self, docxy: &Cached, tally: &mut Tally) {
        for gate in &self.gates {
            gate.open();
        }
        for pull in self.pulls {
            let (vector, answer) = pull.await.unwrap();
            tally.entitled += 1;
            if let Some(wrong) = vector.wrong(&answer) {
                tally.refused += 1;
                tally.note(&format!("joined, alice: {}: {wrong}", vector.thing.rest));
            }
        }
        docxy.stub.clear_faults();
    }
}

/// What everybody may have comes, whatever happens.
async fn public(world: &World, docxy: &Cached, phase: &str) {
    // A registry that knows only passwords has nothing for everybody, and nor has docxy where its own users sign in.
    if world.kind.auth == Auth::Token && !world.kind.own_users {
        let image = docxy.stub.image(PUBLIC, "7");
        let answer = docxy.client().ask(&format!("/v2/{PUBLIC}/manifests/7")).await;
        assert_eq!(answer.status, 200, "{phase}: {}", answer.everything());
        for blob in &image.blobs {
            let answer = docxy
                .client()
                .ask(&format!("/v2/{PUBLIC}/blobs/{}", blob.digest))
                .await;
            assert_eq!(answer.body, blob.bytes, "{phase}: {}", answer.status);
        }
    }
}

/// The whole life of a cache, with everybody at its doors in every part of it.
pub async fn life(kind: Kind, stride: usize, what: &str) {
    let (world, docxy) = World::start(kind).await;
    let mut tally = Tally::default();
    let t = &mut tally;

    let alice = early(&world, &docxy).await;
    let people = intruders(&world, &docxy, t).await;
    assault(&world, &docxy, &people, "cold", stride, t).await;
    let alice = match alice {
        Some(alice) => alice,
        None => allowed(&world, &docxy).await,
    };
    let joined = Joined::begin(&world, &docxy, &alice).await;
    assault(&world, &docxy, &people, "joined", stride, t).await;
    joined.end(&docxy, t).await;
    entitled(&world, &docxy, &alice, "warm", ALL, t).await;
    public(&world, &docxy, "warm").await;
    assault(&world, &docxy, &people, "warm", stride, t).await;

    let docxy = docxy.again().await;
    let alice = early(&world, &docxy).await;
    let people = intruders(&world, &docxy, t).await;
    assault(&world, &docxy, &people, "after a restart", stride, t).await;
    let alice = match alice {
        Some(alice) => alice,
        None => allowed(&world, &docxy).await,
    };
    entitled(&world, &docxy, &alice, "after a restart", stride, t).await;
    assault(&world, &docxy, &people, "after a restart and alice", stride, t).await;

    docxy.stub.fault(On::path("*"), Fault::Status(503));
    entitled(&world, &docxy, &alice, "suspect", stride, t).await;
    assault(&world, &docxy, &people, "suspect", stride, t).await;
    public(&world, &docxy, "suspect").await;
    docxy.stub.clear_faults();
    docxy.stub.down().await;
    entitled(&world, &docxy, &alice, "down", stride, t).await;
    assault(&world, &docxy, &people, "down", stride, t).await;
    let again = intruders(&world, &docxy, t).await;
    assault(&world, &docxy, &again, "down, signed in again", stride, t).await;
    public(&world, &docxy, "down").await;

    let docxy = docxy.again().await;
    // docxy itself knows ann: she needs no registry. (Her file is written anew at each start, which ends her tokens.)
    if let Some(alice) = early(&world, &docxy).await {
        entitled(&world, &docxy, &alice, "down, after a restart", stride, t).await;
    }
    assault(&world, &docxy, &people, "down, after a restart", stride, t).await;
    let again = intruders(&world, &docxy, t).await;
    assault(
        &world,
        &docxy,
        &again,
        "down, after a restart, signed in again",
        stride,
        t,
    )
    .await;
    public(&world, &docxy, "down, after a restart").await;

    let docxy = docxy.stop().await.start_with("[cache]\noffline = true").await;
    if let Some(alice) = early(&world, &docxy).await {
        entitled(&world, &docxy, &alice, "offline", stride, t).await;
    }
    assault(&world, &docxy, &people, "offline", stride, t).await;
    public(&world, &docxy, "offline").await;

    let ended = docxy.stop().await;
    ended.stub.up().await;
    let docxy = ended.start().await;
    let alice = allowed(&world, &docxy).await;
    entitled(&world, &docxy, &alice, "up again", stride, t).await;
    tally.finish(what);
    assert!(tally.tried > 1000, "{}", tally.tried);
}
