//! Repository files that tests read, or keep equal to what the code generates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The files directly in a directory, by name.
pub(crate) fn read_files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let files = entries.map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read_to_string(file.path()).unwrap())).collect()
}

/// # Panics
/// Unless the directory has exactly these files; `remedy` is the command that regenerates them.
pub(crate) fn assert_same_files(directory: &Path, expected: &BTreeMap<String, String>, remedy: &str) {
    let found = read_files(directory);
    let names: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let stale: Vec<_> = names.into_iter().filter(|name| found.get(*name) != expected.get(*name)).collect();
    let directory = directory.display();
    assert!(stale.is_empty(), "{stale:?} in {directory} are not what the code generates; regenerate them: `{remedy}`");
}
