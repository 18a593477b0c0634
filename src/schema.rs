//! The JSON Schemas of triggers and events, generated from the types: `events/schemas/`.
//!
//! A schema is more permissive than the bridge: it counts characters where the bridge counts bytes, and sees a JSON value where
//! the bridge sees its text. Whatever the schema refuses, the bridge refuses too.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::{Map, Value, json};

use crate::event::Detail;
use crate::message::TriggerBody;
use crate::postpress::Operation;
use crate::postpress::operation::OPERATIONS;

/// A trigger as a producer writes it, without a wrapper. Unknown fields are allowed.
pub fn trigger() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_deserialize();
    let mut schema = settings.into_generator().into_root_schema_for::<TriggerBody>();
    let by_id = schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten();
    for (of_kind, operation) in by_id.zip(OPERATIONS) {
        if !operation.has_options {
            of_kind["properties"]["resync"] = json!({ "type": "null" });
        }
    }
    identified("trigger", schema)
}

/// The `detail` of an event. Unknown fields, which a later version may add, are allowed.
pub fn event() -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(absent_not_null);
    let mut schema = settings.into_generator().into_root_schema_for::<Detail>();
    let forms = FORMS.iter().map(|form| form.schema(&schema)).collect();
    schema.insert("oneOf".to_owned(), Value::Array(forms));
    identified("event", schema)
}

/// Identifies a schema by a URN, since it has no address. The last part is the version of the format.
fn identified(name: &str, mut schema: Schema) -> Schema {
    schema.insert("$id".to_owned(), format!("urn:postpress-bridge:schema:{name}:1").into());
    schema
}

/// Absent values are omitted from events and answers, so no schema allows `null` or has a default.
pub(crate) fn absent_not_null(schema: &mut Schema) {
    transform_subschemas(&mut absent_not_null, schema);
    schema.remove("default");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [kind] = &types[..] {
            let kind = kind.clone();
            schema.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    // `Option<T>` of a named type is `T` or null.
    let null = json!({ "type": "null" });
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| *choice != null);
        if let [Value::Object(only)] = &mut choices[..] {
            let only = std::mem::take(only);
            schema.remove("anyOf");
            schema.ensure_object().extend(only);
        }
    }
}

/// One form of events: its fields besides those of every event.
struct Form {
    title: &'static str,
    /// The fields it has, besides the id of what was to be synced.
    has: &'static [&'static [&'static str]],
    /// Whether that id is known, and with it the `object`.
    has_subject: bool,
    /// The fields it may have.
    may_have: &'static [&'static str],
    /// The types of its `error`, if they are known; any otherwise.
    error_types: &'static [&'static str],
}

/// The fields of every event.
const ALWAYS: [&str; 2] = ["schema_version", "event_id"];

/// The fields that depend on what was to be synced.
const OF_A_SUBJECT: &[&str] = &["chat_id", "account_id", "workspace", "object", "resync", "chunks"];

/// The fields of every event of a run.
const OF_A_RUN: &[&str] = &["run_id", "ended_by", "triggers", "polls", "restarts", "requested_at", "finished_at"];

/// The forms of events.
const FORMS: [Form; 5] = [
    Form {
        title: "SYNC_DONE, SYNC_ERROR, CHAT_DELETED",
        has: &[&["status"], OF_A_RUN],
        has_subject: true,
        may_have: &[],
        error_types: &[],
    },
    Form {
        title: "ERROR_ENVELOPE of a run",
        has: &[&["error", "origin"], OF_A_RUN],
        has_subject: true,
        may_have: &[],
        error_types: &[],
    },
    Form {
        title: "ERROR_ENVELOPE of a trigger that was not accepted",
        has: &[&["error", "origin", "triggers"]],
        has_subject: true,
        may_have: &[],
        error_types: &["bridge/too_many_triggers", "bridge/deadline_exceeded"],
    },
    Form {
        title: "ERROR_ENVELOPE of a trigger whose workspace is not configured",
        has: &[&["error", "origin", "triggers", "workspace"]],
        has_subject: true,
        may_have: &[],
        error_types: &["bridge/unknown_workspace"],
    },
    Form {
        title: "ERROR_ENVELOPE of an invalid trigger",
        has: &[&["error", "origin", "input", "triggers"]],
        has_subject: false,
        may_have: &["truncated"],
        error_types: &["bridge/invalid_trigger"],
    },
];

impl Form {
    /// The form as a schema: the fields it requires, and those of `event` it excludes.
    fn schema(&self, event: &Schema) -> Value {
        let required = self.has.concat();
        let known = [&ALWAYS, OF_A_SUBJECT, &*required, self.may_have];
        let named = |field: &str| known.iter().any(|names| names.contains(&field));
        let fields = event.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let mut properties: Map<_, _> =
            fields.filter(|field| !named(field)).map(|field| (field.clone(), false.into())).collect();
        if !self.error_types.is_empty() {
            properties.insert("error".to_owned(), json!({ "properties": { "type": { "enum": self.error_types } } }));
        }
        let mut of_subject: Vec<Value> = OPERATIONS.into_iter().map(|operation| self.of_operation(operation)).collect();
        if !self.has_subject {
            of_subject.push(excluding(OF_A_SUBJECT));
        }
        json!({ "title": self.title, "required": required, "properties": properties, "oneOf": of_subject })
    }
}

impl Form {
    /// The fields that depend on what was to be synced, for one operation.
    fn of_operation(&self, operation: &Operation) -> Value {
        let id = operation.kind.id_field();
        let is_of_a_run = self.has.contains(&OF_A_RUN);
        let mut required = vec![id, "object"];
        let is_excluded = |field: &&str| *field != "workspace" && !required.contains(field);
        let mut excluded: Vec<&str> = OF_A_SUBJECT.iter().copied().filter(is_excluded).collect();
        if operation.has_options {
            excluded.retain(|field| *field != "resync");
        }
        if operation.has_chunks() && is_of_a_run {
            required.push("chunks");
            excluded.retain(|field| *field != "chunks");
        }
        let mut schema = excluding(&excluded);
        schema["required"] = required.into();
        schema["properties"]["object"] = json!({ "const": operation.object });
        schema
    }
}

/// The schema of an object without these fields.
fn excluding(fields: &[&str]) -> Value {
    let properties: Map<_, _> = fields.iter().map(|field| ((*field).to_owned(), false.into())).collect();
    json!({ "properties": properties })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Event;
    use crate::run::{EndedRun, Publication, arbitrary};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))] // each compiles the schema
        #[test]
        fn every_event_of_a_run_matches_the_schema(item in arbitrary::item(), outcome in arbitrary::outcome()) {
            let schema = event();
            let id = schema.get("$id").and_then(Value::as_str).unwrap();
            let (mut compiler, mut schemas) = (boon::Compiler::new(), boon::Schemas::new());
            compiler.enable_format_assertions();
            compiler.add_resource(id, schema.as_value().clone()).unwrap();
            let index = compiler.compile(id, &mut schemas).unwrap();

            let event = Event::from(Publication::Ending(Box::new(EndedRun::new(&item, &outcome))));
            // The schema does not limit numbers, but a parser refuses those out of its range.
            let detail = serde_json::to_value(&event.detail);
            prop_assume!(detail.is_ok());
            if let Err(error) = schemas.validate(&detail.unwrap(), index) {
                prop_assert!(false, "{error:#}");
            }
        }
    }
}
