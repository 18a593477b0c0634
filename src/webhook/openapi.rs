//! The OpenAPI description, generated from the types: `events/schemas/webhook.openapi.json`.

use http::StatusCode;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::JSON;
use super::problem::{Kind, PROBLEM_JSON, Problem, RETRY_AFTER_SECONDS};
use super::request::{BODY_MAX_BYTES, CancelRequest, IDEMPOTENCY_KEY, MESSAGE_GROUP, SyncRequest, WEBHOOK_ID};
use super::routes::{HEALTH, SYNCS, sync_path};
use super::status::SyncStatus;
use crate::ids::{ChatId, SubjectKind, Workspace};
use crate::postpress::operation::OPERATIONS;
use crate::postpress::{Envelope, Operation};
use crate::schema::{self, absent_not_null};

/// Where the schemas are.
const SCHEMAS: &str = "/components/schemas";
/// The schema of the body of a POST.
const TRIGGER: &str = "Trigger";

/// The names of the security schemes.
const SIGNATURE: [&str; 3] = ["webhookId", "webhookTimestamp", "webhookSignature"];
const TOKEN: &str = "token";

/// The description, in OpenAPI 3.1.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize().with_transform(absent_not_null);
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
    let mut types = settings.into_generator();
    // As triggers are read: an absent field may also be null.
    let mut trigger = schema::trigger();
    trigger.remove("$schema");
    trigger.remove("$id");
    let get_health = get_health();
    let mut paths = json!({
        SYNCS: { "post": post_sync(&mut types), "options": options(&[]) },
        HEALTH: { "head": head(&get_health), "get": get_health, "options": options(&[]) },
    });
    for operation in OPERATIONS {
        let get_status = get_status(operation, &mut types);
        let path = sync_path(operation, &format!("{{{}}}", operation.kind.id_field()));
        paths[path] = json!({
            "head": head(&get_status),
            "get": get_status,
            "delete": cancel(operation, &mut types),
            "options": options(&[id_in_path(operation, &json!({ "type": "string", "minLength": 1 }))]),
        });
    }
    let mut schemas = types.take_definitions(true);
    schemas.insert(TRIGGER.to_owned(), trigger.to_value());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "postpress-bridge",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Request the sync of a chat or an account, and query its run.",
            "description": "An accepted trigger ends in one event on EventBridge. A query never calls the provider. With \
                `BRIDGE_WEBHOOK_AUTH=iam`, IAM authorizes callers, and the function requires neither signature nor token.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{
            "url": "https://{domain}",
            "description": "The function URL, or the API's",
            "variables": { "domain": { "default": "abcdefg.lambda-url.us-east-1.on.aws" } },
        }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": security_schemes(),
        },
    })
}

fn security_schemes() -> Value {
    let header = |name: &str, description: &str| json!({ "type": "apiKey", "in": "header", "name": name, "description": description });
    json!({
        TOKEN: {
            "type": "http",
            "scheme": "bearer",
            "description": "The token, for triggers and queries. If a request is also signed, its signature must be valid.",
        },
        SIGNATURE[0]: header(
            WEBHOOK_ID[0],
            "Standard Webhooks: the message's id, and its idempotency key. `svix-id`, `svix-timestamp` and \
             `svix-signature` are accepted too.",
        ),
        SIGNATURE[1]: header("webhook-timestamp", "Standard Webhooks: seconds since 1970, at most five minutes off"),
        SIGNATURE[2]: header(
            "webhook-signature",
            "Standard Webhooks: `v1,` and the Base64 of the HMAC-SHA-256 of `id.timestamp.body`",
        ),
    })
}

fn post_sync(types: &mut SchemaGenerator) -> Value {
    let signature: Map<_, _> = SIGNATURE.iter().map(|scheme| ((*scheme).to_owned(), json!([]))).collect();
    let requests = [types.subschema_for::<SyncRequest>(), types.subschema_for::<CancelRequest>()];
    let accepted = answer("SQS has the trigger", &json!({ "oneOf": requests }), NO_STORE);
    let refused = [
        Kind::InvalidTrigger,
        Kind::InvalidIdempotencyKey,
        Kind::InvalidWorkspace,
        Kind::UnreadableRequest,
        Kind::Unauthorized,
        Kind::BodyTooLarge,
        Kind::UnsupportedMediaType,
        Kind::Unavailable,
    ];
    json!({
        "operationId": "requestSync",
        "summary": "Request the sync of a chat or an account",
        "description": format!("Puts the trigger on the queue. The body has at most {BODY_MAX_BYTES} bytes."),
        "security": [signature, { TOKEN: [] }],
        "parameters": [{
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "description": "The idempotency key, if neither the body nor `webhook-id` has one.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 256 },
        }, {
            "name": MESSAGE_GROUP,
            "in": "header",
            "description": "The tenant, by whom SQS's fair queues share the worker. Without it, the workspace is the tenant.",
            "schema": { "type": "string", "pattern": "^[!-~]{1,128}$" },
        }, workspace_in_query("The body's `workspace` counts; another one here is refused", types)],
        "requestBody": {
            "required": true,
            "content": { JSON: { "schema": { "$ref": format!("#{SCHEMAS}/{TRIGGER}") } } },
        },
        "responses": responses("202", accepted, &refused, types),
    })
}

fn id_in_path(operation: &Operation, schema: &Value) -> Value {
    let kind = operation.kind;
    json!({
        "name": kind.id_field(),
        "in": "path",
        "required": true,
        "description": format!("The {kind}, percent-encoded as one segment. API Gateway's HTTP APIs cut it at a `?`; function URLs and REST APIs do not."),
        "schema": schema,
        "example": format!("{kind}_01HXYZ4QK3WJ8FN3M6QH7TZ8GR"),
    })
}

/// What the workspace in a query means where there is no body.
const OF_SUBJECT: &str = "The workspace; `default` if absent";

fn workspace_in_query(description: &str, types: &mut SchemaGenerator) -> Value {
    json!({
        "name": "workspace",
        "in": "query",
        "description": description,
        "schema": types.subschema_for::<Workspace>().as_value(),
    })
}

fn get_status(operation: &Operation, types: &mut SchemaGenerator) -> Value {
    let kind = operation.kind;
    let refused = [Kind::InvalidId(kind), Kind::InvalidWorkspace, Kind::Unauthorized, Kind::NoRun, Kind::Unavailable];
    let status =
        answer("The run, as the run table has it", types.subschema_for::<SyncStatus>().as_value(), STATUS_HEADERS);
    let id = id_in_path(operation, types.subschema_for::<ChatId>().as_value());
    let mut responses = responses("200", status, &refused, types);
    responses["304"] = json!({
        "description": "The status still has this entity tag",
        "headers": headers(STATUS_HEADERS),
    });
    json!({
        "operationId": match kind {
            SubjectKind::Chat => "getStatus",
            SubjectKind::Account => "getAccountStatus",
        },
        "summary": format!("Query the latest run of a {kind}"),
        "security": [{ TOKEN: [] }],
        "parameters": [id, workspace_in_query(OF_SUBJECT, types), {
            "name": "if-none-match",
            "in": "header",
            "description": "An entity tag, or a comma-separated list of them",
            "schema": { "type": "string" },
        }],
        "responses": responses,
    })
}

fn cancel(operation: &Operation, types: &mut SchemaGenerator) -> Value {
    let kind = operation.kind;
    let refused = [Kind::InvalidId(kind), Kind::InvalidWorkspace, Kind::Unauthorized, Kind::Unavailable];
    let accepted = answer("SQS has the request", types.subschema_for::<CancelRequest>().as_value(), NO_STORE);
    json!({
        "operationId": match kind {
            SubjectKind::Chat => "cancelSync",
            SubjectKind::Account => "cancelAccountSync",
        },
        "summary": format!("Cancel the run in flight of a {kind}"),
        "description": "The run makes no further call, and ends for all its triggers as `bridge/cancelled`, unless its sync ends \
            first. A run that begins later is left alone. A sync that postpress has begun goes on.",
        "security": [{ TOKEN: [] }],
        "parameters": [
            id_in_path(operation, types.subschema_for::<ChatId>().as_value()),
            workspace_in_query(OF_SUBJECT, types),
        ],
        "responses": responses("202", accepted, &refused, types),
    })
}

fn get_health() -> Value {
    let schema = json!({
        "type": "object",
        "properties": { "status": { "const": "ok" } },
        "required": ["status"],
    });
    json!({
        "operationId": "getHealth",
        "summary": "Check whether the function runs, independently of other services",
        "security": [],
        "responses": { "200": answer("The function runs", &schema, NO_STORE) },
    })
}

/// The `HEAD` of a `GET`, whose answers have no body.
fn head(get: &Value) -> Value {
    let mut head = get.clone();
    head["operationId"] = get["operationId"].as_str().map(|id| format!("{id}Head")).into();
    let responses = head["responses"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for response in responses.filter_map(Value::as_object_mut) {
        response.remove("content");
    }
    head
}

/// The methods do not depend on the parameters.
fn options(parameters: &[Value]) -> Value {
    json!({
        "summary": "Query the allowed methods",
        "security": [],
        "parameters": parameters,
        "responses": { "204": { "description": "The methods are in `Allow`", "headers": headers(&["Allow", "Cache-Control"]) } },
    })
}

/// The names of headers of answers.
const NO_STORE: &[&str] = &["Cache-Control"];
const STATUS_HEADERS: &[&str] = &["Cache-Control", "ETag"];

/// Describes these headers and those of every answer.
fn headers(names: &[&str]) -> Value {
    let text = |description: &str, example: &str| {
        json!({
            "description": description,
            "required": true,
            "schema": { "type": "string" },
            "example": example,
        })
    };
    let header = |name: &str| match name {
        "Cache-Control" => text("Whether the answer may be cached", "no-store"),
        "ETag" => text("The strong entity tag of the body", "\"9c56cc51b374c3ba189210d5b6d4bf57\""),
        "Allow" => text("The allowed methods", "DELETE, GET, HEAD, OPTIONS"),
        "WWW-Authenticate" => text("How to authenticate", "Bearer realm=\"postpress-bridge\""),
        "Retry-After" => text("When to try again, in seconds", RETRY_AFTER_SECONDS),
        _ => text("Forbids guessing another type", "nosniff"),
    };
    let names = names.iter().copied().chain(["X-Content-Type-Options"]);
    Value::Object(names.map(|name| (name.to_owned(), header(name))).collect())
}

fn answer(description: &str, schema: &Value, names: &[&str]) -> Value {
    json!({ "description": description, "headers": headers(names), "content": { JSON: { "schema": schema } } })
}

/// All answers to a call, by status: the successful one and the refusals.
fn responses(success: &str, answer: Value, refused: &[Kind], types: &mut SchemaGenerator) -> Value {
    let mut responses = Map::from_iter([(success.to_owned(), answer)]);
    for kind in refused {
        let response = responses.entry(kind.status().as_str().to_owned()).or_insert_with(|| refusal(*kind, types));
        let example = json!({ "value": Problem::new(*kind, "what to do about it").envelope("8476a536-e9f4-11e8-9739-2dfe598c3fcd") });
        response["content"][PROBLEM_JSON]["examples"][kind.name()] = example;
    }
    Value::Object(responses)
}

fn refusal(kind: Kind, types: &mut SchemaGenerator) -> Value {
    let names: &[&str] = match kind.status() {
        StatusCode::UNAUTHORIZED => &["Cache-Control", "WWW-Authenticate"],
        StatusCode::SERVICE_UNAVAILABLE => &["Cache-Control", "Retry-After"],
        _ => NO_STORE,
    };
    let schema = types.subschema_for::<Envelope>();
    json!({
        "description": kind.title(),
        "headers": headers(names),
        "content": { PROBLEM_JSON: { "schema": schema, "examples": {} } },
    })
}
