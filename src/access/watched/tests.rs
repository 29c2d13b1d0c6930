use std::io::Write;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// Two files of numbers, one a line, added up.
struct World {
    folder: TempDir,
    sum: Arc<Watched<u32>>,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = ["a", "b"].map(|name| folder.path().join(name));
        for file in &files {
            fs::write(file, "1\n").expect("written");
        }
        let sum = Watched::load("numbers", files.to_vec(), sum).expect("loaded");
        Self {
            sum: Arc::new(sum),
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn look(&self) -> (Look, u32) {
        (self.sum.check(), *self.sum.get())
    }

    /// As if all that was written had been written long ago: from now on only the stamps are looked at.
    fn settle(&self) {
        self.sum.seen.lock().expect("a lock").settled = true;
    }
}

fn sum(files: &[Content]) -> Result<u32, FileError> {
    let mut sum = 0;
    for file in files {
        for line in file.lines() {
            let (number, text) = line?;
            sum += text
                .parse::<u32>()
                .map_err(|_| file.error(number, "is no number"))?;
        }
    }
    Ok(sum)
}

#[test]
fn every_way_to_change_a_file_is_noticed() {
    // A removed user must not stay in because his file was changed in a way that nobody thought of. The way is found
    // by the stamps alone, which is all there is once a file has been still for two seconds.
    let world = World::new();
    world.settle();
    assert_eq!(world.look(), (Look::Unchanged, 2));
    world.write("a", "3\n");
    assert_eq!(
        world.look(),
        (Look::Taken, 4),
        "written in place, of the same size"
    );
    world.settle();
    world.write("new", "5\n");
    fs::rename(world.path("new"), world.path("a")).expect("renamed");
    assert_eq!(world.look(), (Look::Taken, 6), "renamed over");
    world.settle();
    let old = fs::metadata(world.path("b"))
        .expect("metadata")
        .modified()
        .expect("a time");
    let mut file = fs::File::options()
        .append(true)
        .open(world.path("b"))
        .expect("opened");
    file.write_all(b"7\n").expect("written");
    file.set_modified(old).expect("a time set");
    assert_eq!(world.look(), (Look::Taken, 13), "with its old time");
}

#[test]
fn a_link_switched_as_kubernetes_does_is_noticed() {
    // A mounted secret is a link to a link to a folder; only the middle one changes, and no file in it ever does.
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for (version, text) in [("..1", "1"), ("..2", "2")] {
        fs::create_dir(path(version)).expect("a folder");
        fs::write(path(version).join("users"), text).expect("written");
    }
    symlink("..1", path("..data")).expect("a link");
    symlink("..data/users", path("users")).expect("a link");
    let watched = Watched::load("numbers", vec![path("users")], sum).expect("loaded");
    watched.seen.lock().expect("a lock").settled = true;
    symlink("..2", path("..data_tmp")).expect("a link");
    fs::rename(path("..data_tmp"), path("..data")).expect("renamed");
    assert_eq!((watched.check(), *watched.get()), (Look::Taken, 2));
}

#[test]
fn a_change_within_the_clocks_grain_is_found_by_content() {
    // Two changes in one tick of the file system's clock have one time; the second must not be lost.
    let world = World::new();
    let stamps = stamps(&world.sum.files);
    world.write("a", "4\n");
    // As if the change had left no trace.
    let mut seen = world.sum.seen.lock().expect("a lock");
    seen.stamps = super::stamps(&world.sum.files);
    assert!(stamps != seen.stamps && !seen.settled);
    drop(seen);
    assert_eq!(world.look(), (Look::Taken, 5));
    assert_eq!(world.look(), (Look::Unchanged, 5));
}

#[test]
fn a_bad_new_state_keeps_the_old_and_is_told_once() {
    // A typing mistake must not lock everybody out, nor fill the log.
    let world = World::new();
    let told = Told::default();
    let _guard = tracing::subscriber::set_default(told.subscriber());
    world.write("a", "1\n\nx\n");
    let looks: Vec<_> = (0..3).map(|_| world.look()).collect();
    assert_eq!(
        looks,
        [(Look::Refused, 2), (Look::Unchanged, 2), (Look::Unchanged, 2)]
    );
    let path = world.path("a");
    assert_eq!(
        told.lines(),
        [format!(
            "ERROR kept the numbers that are in use: {}:3: is no number",
            path.display()
        )]
    );
    fs::remove_file(&path).expect("removed");
    assert_eq!([world.look().0, world.look().0], [Look::Refused, Look::Unchanged]);
    assert!(
        told.lines()[1].ends_with("a: there is no such file"),
        "{:?}",
        told.lines()
    );
    world.write("a", "2\n");
    assert_eq!(world.look(), (Look::Taken, 3));
    assert_eq!(told.lines()[2..], ["INFO took the new numbers"]);
}

#[test]
fn what_is_no_plain_list_fails_the_start_with_its_name() {
    // A device or a pipe would be read for ever.
    let folder = tempfile::tempdir().expect("a folder");
    let load = |path: &Path| match Watched::load("numbers", vec![path.to_owned()], sum) {
        Ok(_) => panic!("{} was read", path.display()),
        Err(error) => error.to_string(),
    };
    assert_eq!(load(Path::new("/dev/zero")), "/dev/zero: is not a plain file");
    assert!(load(folder.path()).ends_with(": is not a plain file"));
    assert!(load(&folder.path().join("x")).ends_with("/x: there is no such file"));
    let large = folder.path().join("large");
    fs::File::create(&large)
        .and_then(|file| file.set_len(LARGEST + 1))
        .expect("a file");
    assert!(load(&large).ends_with("more than 16 MiB: is this the right file?"));
    assert_eq!(
        *Watched::load("numbers", Vec::new(), sum).expect("no files").get(),
        0
    );
}

#[tokio::test(start_paused = true)]
async fn the_watch_waits_until_nobody_writes() {
    // htpasswd empties the file and writes it again; a look in between must not lock everybody out.
    let world = World::new();
    let (end, until) = tokio::sync::oneshot::channel::<()>();
    let watching = Arc::clone(&world.sum).watch(
        Duration::from_secs(1),
        async {
            let _ = until.await;
        },
        || (),
    );
    let watching = tokio::spawn(watching);
    tokio::time::sleep(Duration::from_millis(950)).await;
    for lines in 0..15 {
        world.write("a", &"1\n".repeat(lines));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(*world.sum.get(), 2, "taken with {lines} lines");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*world.sum.get(), 15);
    for lines in 0..60 {
        world.write("a", &"1\n".repeat(lines));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(
        *world.sum.get() > 15,
        "one that never lies still is not waited for for ever"
    );
    drop(end);
    watching.await.expect("an orderly end");
}

/// Lines of the log, without their times.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    fn subscriber(&self) -> impl tracing::Subscriber + Send + Sync + use<> {
        let all = self.clone();
        tracing_subscriber::fmt()
            .with_writer(move || all.clone())
            .without_time()
            .with_target(false)
            .with_ansi(false)
            .finish()
    }

    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("a lock").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
