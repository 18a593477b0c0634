//! The programs that the tests run as Lambda would.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::tools::without_private_settings;

/// The worker as deployed: the release build. The first test that needs it builds it, which takes minutes unless it is
/// already built.
///
/// # Panics
/// If it cannot be built.
pub(crate) fn sync_worker() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let arguments = ["--release", "--bin", "sync-worker", "--features", "aws"];
    BUILT.get_or_init(|| build(&arguments, "release/sync-worker")).clone()
}

/// The worker without a table, for comparison. `cargo test` has built it, unless it builds only one test.
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
        // Building this test has fetched all dependencies.
        .args(["--locked", "--offline", "--quiet", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    target.join(program)
}
