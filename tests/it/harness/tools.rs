//! Python tools that the tests install: each in its own virtual environment under `target/`, created once and reused by
//! later runs.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program `cargo-lambda`, to be called with `lambda` as its first argument, as cargo would.
pub(crate) fn cargo_lambda() -> PathBuf {
    // Its only dependency, a C compiler, is for building for other machines.
    venv("cargo-lambda", &["--no-deps", "cargo-lambda==1.9.2"]).join("cargo-lambda")
}

/// The program `schemathesis`, which generates requests from an OpenAPI description, valid ones and invalid ones.
pub(crate) fn schemathesis() -> PathBuf {
    venv("schemathesis", &["schemathesis==4.32.5"]).join("schemathesis")
}

/// The directory with the programs of a virtual environment `name`, into which these were installed with `pip install`.
///
/// Tests run in parallel, even in separate processes: the first creates the environment, and the others wait.
///
/// # Panics
/// If it cannot be created; the message says what to install. Nothing is skipped.
pub(crate) fn venv(name: &str, install: &[&str]) -> PathBuf {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    fs::create_dir_all(&tools).expect("a directory for the tools can be made");
    let lock = File::create(tools.join(format!("{name}.lock"))).expect("a lock file can be made");
    lock.lock().expect("the lock file can be locked");

    let directory = tools.join(name);
    let programs = directory.join(if cfg!(windows) { "Scripts" } else { "bin" });
    // The path is part of what must match, since a virtual environment works only where it was created.
    let wanted = format!("{}\n{}\n", directory.display(), install.join("\n"));
    let marker = directory.join("installed");
    if fs::read_to_string(&marker).is_ok_and(|made| made == wanted) {
        return programs;
    }

    if directory.exists() {
        fs::remove_dir_all(&directory).expect("a half-made or older environment can be removed");
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&directory));
    run(Command::new(programs.join("python")).args(["-m", "pip", "install", "--quiet", "--no-input"]).args(install));
    fs::write(&marker, wanted).expect("the environment can be marked as made");
    programs
}

/// Variables to remove: settings of the user who runs the tests, and what cargo tells a test about itself, since changes in
/// these make cargo recompile `ring`.
const PRIVATE: [&str; 7] =
    ["AWS_", "BRIDGE_", "POSTPRESS_", "CARGO_LAMBDA_", "CARGO_MANIFEST_", "CARGO_PKG_", "OUT_DIR"];

/// Removes this process's private variables from a command's environment.
pub(crate) fn without_private_settings(command: &mut Command) -> &mut Command {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| PRIVATE.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to completion.
///
/// # Panics
/// With the command's output, unless it succeeded.
fn run(command: &mut Command) {
    let needs = "the tests need `python3` 3.9 or newer with its `venv` and `pip` (on Debian: `python3-venv`), \
                 and the Python Package Index within reach";
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            panic!("{command:?} failed with {}: {needs}\n{stderr}", output.status)
        }
        Err(error) => panic!("{command:?} cannot be run ({error}): {needs}"),
    }
}

#[test]
fn cargo_lambda_is_installed_and_runs() {
    let output = Command::new(cargo_lambda()).args(["lambda", "--version"]).output().expect("cargo-lambda can be run");
    let version = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && version.contains("1.9.2"), "{output:?}");
}
