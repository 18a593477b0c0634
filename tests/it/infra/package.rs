//! `infra/package.sh`: the template with functions that were built elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// Runs the script in a folder with two zips, and with an `aws` that only writes down how it is called.
fn package(folder: &Path, arguments: &[&str]) -> Output {
    package_with("echo \"$@\" >>calls", folder, arguments)
}

/// Runs the script with this command in place of `aws`.
fn package_with(command: &str, folder: &Path, arguments: &[&str]) -> Output {
    let aws = folder.join("aws");
    fs::write(&aws, format!("#!/bin/sh\n{command}\n")).unwrap();
    fs::set_permissions(&aws, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("worker.zip"), "the worker").unwrap();
    fs::write(folder.join("webhook.zip"), "the webhook").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/package.sh");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    Command::new(script).args(arguments).current_dir(folder).env("PATH", path).output().unwrap()
}

#[test]
fn packaged_template_differs_only_in_where_the_code_is() {
    let folder = tempfile::tempdir().unwrap();
    let output = package(folder.path(), &["worker.zip", "webhook.zip", "a-bucket"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let template = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("infra/template.yaml")).unwrap();
    let packaged = fs::read_to_string(folder.path().join("packaged.yaml")).unwrap();
    let changed: Vec<_> = template.lines().zip(packaged.lines()).filter(|(before, after)| before != after).collect();
    assert_eq!(template.lines().count(), packaged.lines().count());
    assert_eq!(changed.len(), 2, "{changed:?}");

    let calls = fs::read_to_string(folder.path().join("calls")).unwrap();
    for ((before, after), (name, zip)) in
        changed.into_iter().zip([("sync-worker", "worker.zip"), ("webhook", "webhook.zip")])
    {
        assert_eq!(before.trim(), "CodeUri: ..");
        let address = after.trim().strip_prefix("CodeUri: ").unwrap();
        assert!(address.starts_with(&format!("s3://a-bucket/postpress-bridge/{name}-")), "{address}");
        assert!(calls.contains(&format!("{zip} {address}\n")), "{zip} is not uploaded there: {calls}");
        let (_, function) = template.split_once(&format!("Binary: {name} ")).unwrap();
        let (_, packaged) = packaged.split_once(&format!("Binary: {name} ")).unwrap();
        assert_eq!(packaged.find("CodeUri"), function.find("CodeUri"), "{name}");
        assert!(packaged.lines().nth(2).unwrap().contains(address), "{name} has the other's code");
    }
}

#[test]
fn failed_upload_writes_no_template() {
    let folder = tempfile::tempdir().unwrap();
    let output = package_with("echo denied >&2; exit 1", folder.path(), &["worker.zip", "webhook.zip", "a-bucket"]);
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "denied\n");
    assert!(!folder.path().join("packaged.yaml").exists());
}

#[test]
fn new_code_has_a_new_address() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["worker.zip", "webhook.zip", "a-bucket"];
    let packaged = |arguments| {
        assert!(package(folder.path(), arguments).status.success());
        fs::read_to_string(folder.path().join("packaged.yaml")).unwrap()
    };
    let first = packaged(&arguments);
    assert_eq!(first, packaged(&arguments), "the same code, the same template");
    assert_ne!(first, packaged(&["aws", "webhook.zip", "a-bucket"]));
}

#[test]
fn missing_zip_is_reported_before_anything_is_uploaded() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["worker.zip", "missing.zip", "a-bucket"][..], &["worker.zip", "webhook.zip"]] {
        let output = package(folder.path(), arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{stderr}");
        assert!(stderr.contains("missing.zip") || stderr.contains("usage"), "{stderr}");
        for file in ["packaged.yaml", "calls"] {
            assert!(!folder.path().join(file).exists(), "{file}");
        }
    }
}
