//! Which programs the suite speaks of.

use super::support::{generation::Generation, process};

#[tokio::test]
async fn of_all_programs() {
    // Matters to whoever reads a test report: a behaviour of "dockerd" is one of this version.
    let mut programs = Vec::new();
    for generation in [Generation::Debian12, Generation::Sid] {
        for name in ["dockerd", "docker", "containerd", "ctr"] {
            programs.push((format!("{generation:?}"), generation.program(name).await));
        }
    }
    for name in ["docker-registry", "skopeo", "podman"] {
        programs.push(("Debian12".to_owned(), format!("/usr/bin/{name}").into()));
    }
    for (generation, program) in programs {
        let mut command = process::mortal(&program);
        command.arg("--version");
        let version = process::run(command).await.succeeded().text();
        println!("{generation}: {version}");
    }
}
