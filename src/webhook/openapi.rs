//! The OpenAPI description of the front door, generated from the types: `events/schemas/webhook.openapi.json`.

use http::{Method, StatusCode};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::JSON;
use super::problem::{Kind, PROBLEM_JSON, Problem, RETRY_AFTER_SECONDS};
use super::request::{BODY_MAX_BYTES, IDEMPOTENCY_KEY, SyncRequest, WEBHOOK_ID};
use super::routes::{HEALTH, SYNCS, chat_path};
use super::status::SyncStatus;
use crate::ids::ChatId;
use crate::postpress::Envelope;
use crate::schema::{self, absent_not_null};

/// Where the schemas of the types are.
const SCHEMAS: &str = "/components/schemas";
/// The schema of the body of a POST.
const TRIGGER: &str = "Trigger";

/// The names of the ways to authenticate.
const SIGNATURE: [&str; 3] = ["webhookId", "webhookTimestamp", "webhookSignature"];
const TOKEN: &str = "token";

/// The whole description, as OpenAPI 3.1 has it.
pub fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize().with_transform(absent_not_null);
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
    let mut types = settings.into_generator();
    // As it is read, not as it is written: what is absent may be null.
    let mut trigger = schema::trigger();
    trigger.remove("$schema");
    trigger.remove("$id");
    let paths = json!({
        SYNCS: { "post": post_sync(&mut types), "options": options(&[]) },
        chat_path("{chat_id}"): {
            "get": get_status(&mut types, &Method::GET),
            "head": get_status(&mut types, &Method::HEAD),
            "options": options(&[chat_id(&json!({ "type": "string", "minLength": 1 }))]),
        },
        HEALTH: { "get": get_health(&Method::GET), "head": get_health(&Method::HEAD), "options": options(&[]) },
    });
    let mut schemas = types.take_definitions(true);
    schemas.insert(TRIGGER.to_owned(), trigger.to_value());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "postpress-bridge",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Ask for the sync of a chat, and for how it is getting on.",
            "description": "A trigger that is accepted ends in one event on EventBridge. Asking for a status never calls \
                the provider. With `BRIDGE_WEBHOOK_AUTH=iam` the function asks for neither signature nor token.",
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
            "description": "The token, which may read and hand in. A request that is signed too must be signed rightly.",
        },
        SIGNATURE[0]: header(
            WEBHOOK_ID[0],
            "Standard Webhooks: the message's id, and its idempotency key. `svix-id`, `svix-timestamp` and \
             `svix-signature` are read as well.",
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
    let accepted = answer("SQS has the trigger", types.subschema_for::<SyncRequest>().as_value(), NO_STORE);
    let refused = [
        Kind::InvalidTrigger,
        Kind::InvalidIdempotencyKey,
        Kind::UnreadableRequest,
        Kind::Unauthorized,
        Kind::BodyTooLarge,
        Kind::UnsupportedMediaType,
        Kind::Unavailable,
    ];
    json!({
        "operationId": "requestSync",
        "summary": "Ask for the sync of a chat",
        "description": format!("The trigger goes onto the queue. At most {BODY_MAX_BYTES} bytes."),
        "security": [signature, { TOKEN: [] }],
        "parameters": [{
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "description": "Stands in for `idempotency_key` in the body where there is no `webhook-id` either.",
            "schema": { "type": "string", "minLength": 1, "maxLength": 256 },
        }],
        "requestBody": {
            "required": true,
            "content": { JSON: { "schema": { "$ref": format!("#{SCHEMAS}/{TRIGGER}") } } },
        },
        "responses": responses("202", accepted, &refused, types),
    })
}

fn chat_id(schema: &Value) -> Value {
    json!({
        "name": "chat_id",
        "in": "path",
        "required": true,
        "description": "The chat, percent-encoded as one segment. API Gateway's HTTP APIs cut it at a `?`; function URLs and REST APIs do not.",
        "schema": schema,
        "example": "chat_01HXYZ4QK3WJ8FN3M6QH7TZ8GR",
    })
}

fn get_status(types: &mut SchemaGenerator, method: &Method) -> Value {
    let refused = [Kind::InvalidChatId, Kind::Unauthorized, Kind::NoRun, Kind::Unavailable];
    let status = answer("What the run table knows", types.subschema_for::<SyncStatus>().as_value(), STATUS_HEADERS);
    let chat_id = chat_id(types.subschema_for::<ChatId>().as_value());
    let mut responses = responses("200", status, &refused, types);
    responses["304"] = json!({
        "description": "The status is still the one with this entity tag",
        "headers": headers(STATUS_HEADERS),
    });
    let mut operation = json!({
        "operationId": if method == Method::HEAD { "getStatusHead" } else { "getStatus" },
        "summary": "Ask how a chat's latest run is getting on",
        "security": [{ TOKEN: [] }],
        "parameters": [chat_id, {
            "name": "if-none-match",
            "in": "header",
            "description": "An entity tag, or several with commas between them",
            "schema": { "type": "string" },
        }],
        "responses": responses,
    });
    if method == Method::HEAD {
        without_content(&mut operation);
    }
    operation
}

fn get_health(method: &Method) -> Value {
    let schema = json!({
        "type": "object",
        "properties": { "status": { "const": "ok" } },
        "required": ["status"],
    });
    let mut operation = json!({
        "operationId": if method == Method::HEAD { "getHealthHead" } else { "getHealth" },
        "summary": "Ask whether the function is there; it asks nobody else",
        "security": [],
        "responses": { "200": answer("It is", &schema, NO_STORE) },
    });
    if method == Method::HEAD {
        without_content(&mut operation);
    }
    operation
}

/// Which methods there are does not depend on what a parameter is.
fn options(parameters: &[Value]) -> Value {
    json!({
        "summary": "Ask for the methods that there are",
        "security": [],
        "parameters": parameters,
        "responses": { "204": { "description": "They are in `Allow`", "headers": headers(&["Allow", "Cache-Control"]) } },
    })
}

/// The headers of answers, by what they are for.
const NO_STORE: &[&str] = &["Cache-Control"];
const STATUS_HEADERS: &[&str] = &["Cache-Control", "ETag"];

/// Headers that are there, and those of every answer.
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
        "Cache-Control" => text("Whether the answer may be kept", "no-store"),
        "ETag" => text("The strong entity tag of the body", "\"9c56cc51b374c3ba189210d5b6d4bf57\""),
        "Allow" => text("The methods that there are", "GET, HEAD, OPTIONS"),
        "WWW-Authenticate" => text("How to authenticate", "Bearer realm=\"postpress-bridge\""),
        "Retry-After" => text("After how many seconds to try again", RETRY_AFTER_SECONDS),
        _ => text("No other type is guessed", "nosniff"),
    };
    let names = names.iter().copied().chain(["X-Content-Type-Options"]);
    Value::Object(names.map(|name| (name.to_owned(), header(name))).collect())
}

fn answer(description: &str, schema: &Value, names: &[&str]) -> Value {
    json!({ "description": description, "headers": headers(names), "content": { JSON: { "schema": schema } } })
}

/// All answers to a call: the good one, and those that refuse it, by their status.
fn responses(good: &str, answer: Value, refused: &[Kind], types: &mut SchemaGenerator) -> Value {
    let mut responses = Map::from_iter([(good.to_owned(), answer)]);
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

/// An answer to `HEAD` has no body.
fn without_content(operation: &mut Value) {
    for response in operation["responses"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
}
