//! The programs that the tests run as Lambda would.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::tools::without_private_settings;

/// The worker as it is deployed: the release build. The first test that wants it builds it, which takes minutes unless it
/// is there already.
///
/// # Panics
/// If it cannot be built.
pub(crate) fn sync_worker() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let arguments = ["--release", "--bin", "sync-worker", "--features", "aws"];
    BUILT.get_or_init(|| build(&arguments, "release/sync-worker")).clone()
}

/// The worker that keeps no table, to compare with. `cargo test` has built it, unless it was told to build one test only.
///
/// # Panics
/// If it cannot be built.
pub(crate) fn stateless_worker() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let arguments = ["--example", "stateless-worker", "--features", "aws"];
    BUILT.get_or_init(|| build(&arguments, "debug/examples/stateless-worker")).clone()
}

fn build(arguments: &[&str], program: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO"));
    without_private_settings(&mut command)
        .arg("build")
        .args(arguments)
        // Whoever built this test has fetched what it takes.
        .args(["--locked", "--offline", "--quiet", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    target.join(program)
}
