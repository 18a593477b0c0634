//! A template as a stack in the emulator.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use uuid::Uuid;

use crate::harness::emulator::{self, CREDENTIAL, REGION};
use crate::harness::tools::without_private_settings;

/// The bridge's template.
pub(super) const BRIDGE: &str = "template.yaml";

/// A created stack.
#[derive(Debug, Deserialize)]
pub(super) struct Stack {
    /// Its template, without the SAM parts.
    pub(super) template: Value,
    pub(super) outputs: BTreeMap<String, String>,
    /// The environment of each function.
    pub(super) environments: BTreeMap<String, BTreeMap<String, String>>,
    /// The permissions of each role: action and resource ARN.
    pub(super) permissions: BTreeMap<String, BTreeSet<(String, String)>>,
}

impl Stack {
    /// Creates a stack from this file in `infra/`, with a unique name.
    pub(super) async fn create(file: &str, parameters: &[(&str, &str)]) -> Self {
        // Short, since it is part of an archive's name, which may have 48 characters.
        let name = format!("bridge-{:08x}", Uuid::new_v4().as_fields().0);
        let parameters: BTreeMap<_, _> = parameters.iter().copied().collect();
        serde_json::from_value(stack_py(json!({"template": path(file), "name": name, "parameters": parameters})).await)
            .unwrap()
    }

    pub(super) fn output(&self, name: &str) -> &str {
        self.outputs.get(name).unwrap_or_else(|| panic!("no output {name}: {:?}", self.outputs.keys()))
    }

    /// The properties of a resource, as the template has them.
    pub(super) fn properties(&self, resource: &str) -> &Value {
        properties(&self.template, resource)
    }
}

/// The template in this file in `infra/`, without its SAM parts.
pub(super) async fn template(file: &str) -> Value {
    stack_py(json!({"template": path(file), "name": null})).await["template"].take()
}

pub(super) fn properties<'a>(template: &'a Value, resource: &str) -> &'a Value {
    let properties = &template["Resources"][resource]["Properties"];
    assert!(properties.is_object(), "the template has no resource {resource}");
    properties
}

/// The default of a parameter, as CloudFormation renders it.
pub(super) fn default_of(template: &Value, parameter: &str) -> String {
    match &template["Parameters"][parameter]["Default"] {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => panic!("the default of {parameter} is {other}"),
    }
}

fn path(file: &str) -> String {
    format!("{}/infra/{file}", env!("CARGO_MANIFEST_DIR"))
}

async fn stack_py(request: Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/infra/stack.py");
    let mut command = Command::new(emulator::python());
    without_private_settings(command.as_std_mut())
        .envs([("AWS_ENDPOINT_URL", &*emulator::endpoint()), ("AWS_DEFAULT_REGION", REGION)])
        .envs([("AWS_ACCESS_KEY_ID", CREDENTIAL), ("AWS_SECRET_ACCESS_KEY", CREDENTIAL)]);
    command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    process.stdin.take().unwrap().write_all(request.to_string().as_bytes()).await.unwrap();
    let output = process.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{request}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
