use std::fs;
use std::path::Path;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::time::advance;

use super::*;

const HOME: &str = "192.0.2.1";

struct World {
    folder: TempDir,
    users: Users,
}

impl World {
    /// With one file of these lines.
    fn new(lines: &[String]) -> Self {
        Self::with(lines, pool::Size::default())
    }

    fn with(lines: &[String], pool: pool::Size) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        write(&file, lines);
        let users = Users::load(Config {
            files: vec![file],
            key: Secret::new([7; 32]),
            pool,
        });
        Self {
            users: users.expect("users"),
            folder,
        }
    }

    fn rewrite(&self, lines: &[String]) {
        write(&self.folder.path().join("users"), lines);
        assert_eq!(self.users.check(), Look::Taken);
    }

    async fn sign_in(&self, name: &str, password: &str, from: &str) -> Result<String, SignInError> {
        let from = from.parse().expect("an address");
        self.users.verify(name, password.as_bytes(), from).await
    }

    /// The hashes that this sign-in ran.
    async fn cost(&self, name: &str, password: &str, from: &str) -> BTreeMap<Cost, u64> {
        let before = self.users.runs();
        let _ = self.sign_in(name, password, from).await;
        let mut runs = self.users.runs();
        for (cost, count) in before {
            *runs.entry(cost).or_default() -= count;
        }
        runs.retain(|_, count| *count > 0);
        runs
    }

    fn hashed(&self) -> u64 {
        self.users.runs().values().sum()
    }
}

fn write(file: &Path, lines: &[String]) {
    fs::write(file, lines.join("\n")).expect("written");
}

fn bcrypt(name: &str, password: &str, cost: u32) -> String {
    format!("{name}:{}", bcrypt::hash(password, cost).expect("a hash"))
}

/// argon2 with this many passes over 64 KiB.
fn argon2(name: &str, password: &str, passes: u32) -> String {
    use argon2::PasswordHasher as _;
    let params = argon2::Params::new(64, passes, 1, None).expect("parameters");
    let hash = argon2::Argon2::from(params).hash_password_with_salt(password.as_bytes(), b"0123456789abcdef");
    format!("{name}:{}", hash.expect("a hash"))
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_costs_the_same_hashes_whether_or_not_the_name_exists() {
    // Threat S7: names must not be found out by the clock, nor by the processor's, in whatever mix a file has.
    let files: [&[String]; 5] = [
        &[bcrypt("ann", "right", 4), bcrypt("bob", "other", 4)],
        &[bcrypt("ann", "right", 4), bcrypt("bob", "other", 6)],
        &[argon2("ann", "right", 1)],
        &[argon2("ann", "right", 1), argon2("bob", "other", 3)],
        &[
            bcrypt("ann", "right", 4),
            argon2("bob", "other", 1),
            bcrypt("carl", "third", 5),
        ],
    ];
    let long = "r".repeat(100);
    let (mut tries, mut address) = (0, 0_u32);
    for lines in files {
        let world = World::new(lines);
        let kinds = world.users.0.table.get().decoys().len();
        for password in ["wrong", "right\0", " ", &long] {
            let mut costs = Vec::new();
            for name in ["ann", "bob", "carl", "nobody", "", "ANN", "\u{e9}"] {
                // Each from elsewhere, so that no back-off gets in the way.
                address += 1;
                let from = IpAddr::from(address.to_be_bytes()).to_string();
                costs.push(world.cost(name, password, &from).await);
                tries += 1;
            }
            assert_eq!(costs[0].len(), kinds, "{lines:?}");
            assert!(costs[0].values().all(|runs| *runs == 1), "{costs:?}");
            assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
        }
    }
    println!(
        "{tries} wrong sign-ins of known and unknown names in {} files: 0 differ in the hashes they ran",
        files.len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_right_password_signs_in_and_costs_its_own_hash() {
    // A user with a cheap hash does not pay for a colleague with a dear one.
    let world = World::new(&[bcrypt("ann", "right", 4), argon2("bob", "other", 2)]);
    let cost = world.cost("ann", "right", HOME).await;
    assert_eq!(
        cost.into_iter().collect::<Vec<_>>(),
        [(Cost::Bcrypt { cost: 4 }, 1)]
    );
    assert_eq!(world.sign_in("bob", "other", HOME).await, Ok("bob".to_owned()));
    for (name, password) in [("bob", "right"), ("ann", "other"), ("Ann", "right"), ("", "")] {
        assert_eq!(world.sign_in(name, password, HOME).await, Err(SignInError::Wrong));
    }
    assert_eq!(world.users.names(), ["ann", "bob"]);
}

#[tokio::test(start_paused = true)]
async fn a_password_is_hashed_once_for_all_who_bring_it_together_and_for_five_minutes() {
    // A machine that pulls twenty layers signs in twenty times; fifty machines after a power cut do so at once.
    let world = World::new(&[bcrypt("ann", "right", 4)]);
    let together = || {
        join_all((0..50).map(|n| {
            let (world, from) = (&world, format!("192.0.2.{n}"));
            async move { world.sign_in("ann", "right", &from).await }
        }))
    };
    assert!(together().await.iter().all(Result::is_ok));
    assert_eq!(world.hashed(), 1);
    advance(Duration::from_secs(299)).await;
    assert!(together().await.iter().all(Result::is_ok));
    assert_eq!(world.hashed(), 1);
    advance(Duration::from_secs(2)).await;
    assert!(together().await.iter().all(Result::is_ok));
    assert_eq!(world.hashed(), 2);
    assert!(world.users.0.flights().is_empty());
    println!(
        "150 sign-ins with one right password in 301 s: {} hashed",
        world.hashed()
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_removed_or_has_a_new_password_is_out_at_once() {
    // The operator who removes a user means now, whatever is remembered of him.
    let ann = bcrypt("ann", "right", 4);
    let world = World::new(&[ann.clone(), bcrypt("bob", "other", 4)]);
    assert!(world.sign_in("ann", "right", HOME).await.is_ok());
    assert!(world.sign_in("bob", "other", HOME).await.is_ok());
    let [of_ann, of_bob] = ["ann", "bob"].map(|name| world.users.fingerprint(name));
    assert!(of_ann.is_some() && of_ann != of_bob);
    world.rewrite(&[ann.clone(), bcrypt("bob", "new", 4)]);
    assert_eq!(world.users.fingerprint("ann"), of_ann);
    assert_ne!(world.users.fingerprint("bob"), of_bob);
    assert!(world.sign_in("bob", "other", HOME).await.is_err());
    assert!(world.sign_in("bob", "new", HOME).await.is_ok());
    let hashed = world.hashed();
    assert!(world.sign_in("ann", "right", HOME).await.is_ok());
    assert_eq!(
        world.hashed(),
        hashed,
        "ann's entry is the same, and so is what is remembered"
    );
    world.rewrite(&[bcrypt("bob", "new", 4)]);
    assert_eq!(world.users.fingerprint("ann"), None);
    assert_eq!(world.sign_in("ann", "right", HOME).await, Err(SignInError::Wrong));
    // The same hash as before: a fingerprint says which entry, not when.
    world.rewrite(&[ann]);
    assert_eq!(world.users.fingerprint("ann"), of_ann);
    assert!(world.sign_in("ann", "right", HOME).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nobody_signs_in_without_a_password_or_with_a_part_of_one() {
    // An empty password is what a badly made script sends; and who chose a long one must not have a short one.
    let long = "x".repeat(90);
    let world = World::new(&[
        bcrypt("empty", "", 4),
        argon2("argon", "", 1),
        bcrypt("long", &long, 4),
        argon2("fits", &long, 1),
        argon2("zero", "a\0b", 1),
    ]);
    for name in ["empty", "argon", "nobody"] {
        assert_eq!(world.sign_in(name, "", HOME).await, Err(SignInError::Wrong));
    }
    assert_eq!(world.hashed(), 0);
    for password in [&long, &long[..72], &long[..89]] {
        // The 72 bytes that bcrypt read are the password that the file really holds.
        let expected = if password.len() == 72 {
            Ok("long".to_owned())
        } else {
            Err(SignInError::Wrong)
        };
        assert_eq!(world.sign_in("long", password, HOME).await, expected);
    }
    assert!(world.sign_in("fits", &long, HOME).await.is_ok());
    assert!(world.sign_in("zero", "a\0b", HOME).await.is_ok());
    assert!(
        world
            .users
            .verify("zero", b"\xff\0\xfe", HOME.parse().expect("an address"))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn who_guesses_waits_and_those_who_are_in_do_not() {
    // Threat S7: many people share one address; a guesser among them must not throw out those who signed in.
    let world = World::new(&[bcrypt("ann", "right", 4), bcrypt("bob", "other", 4)]);
    assert!(world.sign_in("ann", "right", HOME).await.is_ok());
    for guess in 0..5 {
        assert_eq!(
            world.sign_in("bob", &guess.to_string(), HOME).await,
            Err(SignInError::Wrong)
        );
    }
    let hashed = world.hashed();
    let wait = |seconds| {
        Err(SignInError::BackOff {
            retry_after: Duration::from_secs(seconds),
        })
    };
    for _ in 0..20 {
        assert_eq!(world.sign_in("bob", "5", HOME).await, wait(1));
        assert_eq!(
            world.sign_in("bob", "other", HOME).await,
            wait(1),
            "the right one tells no more"
        );
        assert!(world.sign_in("ann", "right", HOME).await.is_ok());
    }
    assert_eq!(world.hashed(), hashed, "who waits costs nothing");
    assert!(world.sign_in("bob", "other", "192.0.2.2").await.is_ok());
    advance(Duration::from_secs(1)).await;
    assert_eq!(world.sign_in("bob", "6", HOME).await, Err(SignInError::Wrong));
    assert_eq!(world.sign_in("bob", "7", HOME).await, wait(2));
    assert!(world.sign_in("ann", "right", HOME).await.is_ok());
    assert_eq!(
        world.sign_in("bob", "7", HOME).await,
        wait(2),
        "a remembered success does not end the row"
    );

    let mut tries = 0;
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < Duration::from_hours(1) {
        match world.sign_in("bob", &format!("guess {tries}"), HOME).await {
            Err(SignInError::BackOff { retry_after }) => advance(retry_after).await,
            answer => {
                assert_eq!(answer, Err(SignInError::Wrong));
                tries += 1;
            }
        }
    }
    println!("one address guesses for an hour: {tries} passwords were hashed");
    assert!(tries < 70, "{tries}");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_told_to_come_back_and_does_not_queue_for_ever() {
    // Hashing as a way to keep every processor busy: what does not fit is refused at once, and costs nothing.
    let size = pool::Size {
        hashing: 1,
        waiting: 20,
    };
    let world = World::with(&[bcrypt("ann", "right", 4)], size);
    let crowd = (0..100).map(|n| {
        let (world, from) = (&world, format!("198.51.100.{n}"));
        async move { world.sign_in("ann", &from, &from).await }
    });
    let answers = join_all(crowd).await;
    let busy = Err(SignInError::Busy {
        retry_after: Duration::from_secs(1),
    });
    let count =
        |wanted: &Result<String, SignInError>| answers.iter().filter(|answer| *answer == wanted).count();
    assert_eq!((count(&Err(SignInError::Wrong)), count(&busy)), (21, 79));
    assert_eq!(world.hashed(), 21);
    assert!(world.sign_in("ann", "right", HOME).await.is_ok(), "it empties");

    let crowd = (0..100).map(|n| {
        let world = &world;
        async move { world.sign_in("ann", &n.to_string(), "203.0.113.1").await }
    });
    let answers = join_all(crowd).await;
    let wrong = answers
        .iter()
        .filter(|answer| **answer == Err(SignInError::Wrong))
        .count();
    assert_eq!(wrong, 16, "one address does not fill it");
    println!("100 guesses at once: 21 hashed from 100 addresses, {wrong} from one");
}

#[tokio::test(start_paused = true)]
async fn a_guess_counts_though_its_client_has_left_and_once_though_it_is_repeated() {
    // Hanging up must not be a way to guess without waiting; repeating one wrong password is no guessing.
    let world = World::new(&[bcrypt("ann", "right", 4)]);
    for guess in 0..5 {
        let guess = guess.to_string();
        let mut asked = std::pin::pin!(world.sign_in("ann", &guess, HOME));
        assert!(futures_util::poll!(asked.as_mut()).is_pending());
    }
    while world.hashed() < 5 || !world.users.0.flights().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(
        world.sign_in("ann", "6", HOME).await,
        Err(SignInError::BackOff { .. })
    ));

    let (one, other) = ("203.0.113.1", "203.0.113.2");
    let crowd = (0..40).map(|n| world.sign_in("ann", "old", if n < 36 { one } else { other }));
    let answers = join_all(crowd).await;
    assert!(answers.iter().all(|answer| *answer == Err(SignInError::Wrong)));
    assert_eq!(world.hashed(), 6);
    // One guess each, so far.
    for from in [one, other] {
        for guess in ["w", "x", "y", "z"] {
            assert_eq!(world.sign_in("ann", guess, from).await, Err(SignInError::Wrong));
        }
        assert!(matches!(
            world.sign_in("ann", "!", from).await,
            Err(SignInError::BackOff { .. })
        ));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_no_way_to_guess_while_one_waits() {
    // Threat S7: an attacker who has to wait must not learn by 200 against 429 which password somebody else signed in with.
    let world = World::new(&[bcrypt("ann", "right", 4), bcrypt("bob", "other", 4)]);
    let (at_home, attacker) = (HOME, "203.0.113.1");
    assert!(world.sign_in("ann", "right", at_home).await.is_ok());
    let waits = |answer: &Result<String, SignInError>| matches!(answer, Err(SignInError::BackOff { .. }));
    for guess in 0..5 {
        let _ = world.sign_in("ann", &guess.to_string(), attacker).await;
    }
    let hashed = world.hashed();
    let mut waited = 0;
    for guess in 5..1005 {
        waited += usize::from(waits(&world.sign_in("ann", &guess.to_string(), attacker).await));
        assert!(waits(&world.sign_in("ann", "right", attacker).await));
    }
    assert_eq!((waited, world.hashed()), (1000, hashed));
    assert!(
        world.sign_in("ann", "right", at_home).await.is_ok(),
        "she goes on"
    );
    advance(Duration::from_secs(1)).await;
    assert!(
        world.sign_in("ann", "right", attacker).await.is_ok(),
        "the wait is over"
    );

    // Behind the same address as ann: he may compare fifty, and then nobody there may until the wait is over.
    for guess in 0..5 {
        let _ = world.sign_in("bob", &guess.to_string(), at_home).await;
    }
    for guess in 5..55 {
        assert!(world.sign_in("ann", "right", at_home).await.is_ok());
        assert!(waits(&world.sign_in("bob", &guess.to_string(), at_home).await));
    }
    assert!(waits(&world.sign_in("ann", "right", at_home).await));
    advance(Duration::from_secs(1)).await;
    assert!(world.sign_in("ann", "right", at_home).await.is_ok());
    println!("1000 guesses of a remembered password during a wait: 0 were told right from wrong");
}

#[tokio::test(start_paused = true)]
async fn one_robot_with_an_old_password_does_not_lock_out_its_neighbours() {
    // A node that was forgotten when ann changed her password asks a thousand times an hour, from the company's address.
    let world = World::new(&[bcrypt("ann", "new", 4), bcrypt("bob", "other", 4)]);
    for _ in 0..1000 {
        assert_eq!(world.sign_in("ann", "old", HOME).await, Err(SignInError::Wrong));
    }
    assert_eq!(world.hashed(), 1);
    assert!(world.sign_in("bob", "other", HOME).await.is_ok());
    assert_eq!(world.hashed(), 2);
    // Elsewhere it is a guess like any other.
    assert_eq!(
        world.sign_in("ann", "old", "203.0.113.1").await,
        Err(SignInError::Wrong)
    );
    assert_eq!(world.hashed(), 3);
    advance(Duration::from_mins(15)).await;
    assert_eq!(world.sign_in("ann", "old", HOME).await, Err(SignInError::Wrong));
    assert_eq!(world.hashed(), 4);
    world.rewrite(&[bcrypt("ann", "old", 4)]);
    assert!(
        world.sign_in("ann", "old", HOME).await.is_ok(),
        "it is right again"
    );
    println!("1000 sign-ins with one old password: 1 hashed, 1 counted");
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_guessers_leaves_room_for_who_was_never_wrong() {
    // A hundred addresses that guess all day must not keep everyone else from signing in.
    let size = pool::Size {
        hashing: 1,
        waiting: 19,
    };
    let world = World::with(&[bcrypt("ann", "right", 4)], size);
    let crowd: Vec<_> = (0..100).map(|n| format!("198.51.100.{n}")).collect();
    for from in &crowd {
        assert_eq!(world.sign_in("ann", "first", from).await, Err(SignInError::Wrong));
    }
    let (world, crowd) = (&world, &crowd);
    let guesses = join_all(crowd.iter().map(|from| world.sign_in("ann", "second", from)));
    let others = join_all(crowd.iter().map(|from| world.sign_in("ann", from, from)));
    let ann = world.sign_in("ann", "right", HOME);
    let (guesses, others, ann) = tokio::join!(guesses, others, ann);
    let busy = |answers: &[Result<String, SignInError>]| {
        let busy = answers
            .iter()
            .filter(|answer| matches!(answer, Err(SignInError::Busy { .. })));
        busy.count()
    };
    assert!(ann.is_ok(), "{ann:?}");
    // All the same password: hashed once.
    assert_eq!((busy(&guesses), busy(&others)), (0, 86));
}

#[tokio::test(start_paused = true)]
async fn without_files_nobody_signs_in_and_nothing_is_hashed() {
    // A docxy without users must not be made to work for them.
    let users = Users::load(Config {
        files: Vec::new(),
        key: Secret::new([7; 32]),
        pool: pool::Size::default(),
    });
    let users = users.expect("no users");
    for _ in 0..10 {
        let answer = users
            .verify("ann", b"right", HOME.parse().expect("an address"))
            .await;
        assert_eq!(answer, Err(SignInError::Wrong));
    }
    assert_eq!(
        (users.runs().len(), users.names().len(), users.fingerprint("ann")),
        (0, 0, None)
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_password_can_be_printed() {
    // Threat S12: whoever logs one of these by mistake must not log a hash or a password.
    let line = bcrypt("ann", "right", 4);
    let hash = line.strip_prefix("ann:").expect("a hash");
    let world = World::new(std::slice::from_ref(&line));
    let table = world.users.0.table.get();
    let printed = format!("{:?} {:?} {:?}", world.users, table, table.decoys());
    assert!(
        printed.contains("ann") && !printed.contains(hash) && !printed.contains(&hash[7..20]),
        "{printed}"
    );
}
