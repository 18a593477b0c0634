"""Writes the JSON Schemas of triggers and events as one schema that generators of types understand.

A schema in `events/schemas/` lists every field once, and then the cases: which fields each requires, and which it never
has. Generators ignore such cases, so here each becomes an object of its own, and an event gets the envelope that
EventBridge puts around it. Nothing is added but names.

    flatten.py typescript|python
"""

import json
import sys
from pathlib import Path

SCHEMAS = Path(__file__).resolve().parent.parent / "schemas"

# The name of each case of an event's detail, by its title in the schema, after that of its subject.
CASES = {
    "SYNC_DONE, SYNC_ERROR, CHAT_DELETED": "Ended",
    "ERROR_ENVELOPE of a run": "Failed",
    "ERROR_ENVELOPE of a trigger that was not accepted": "NotAccepted",
    "ERROR_ENVELOPE of a trigger whose workspace is not configured": "UnknownWorkspace",
    "ERROR_ENVELOPE of an invalid trigger": "InvalidTrigger",
}
SUBJECTS = {"ChatHistorySync": "Chat", "AccountResync": "Account"}
# The schema's own names that would be taken for something else beside the others.
RENAMED = {"Trigger": "AnsweredTrigger", "Envelope": "ErrorEnvelope", "Finish": "FinalStatus"}
# What no type can say.
CONSTRAINTS = {"format", "maximum", "minimum", "maxLength", "minLength", "maxItems", "minItems", "pattern", "not"}
ENVELOPE = {
    "version": {"type": "string", "const": "0"},
    "id": {"type": "string", "description": "EventBridge's own id. A repeat has another one: compare `event_id`."},
    "source": {"type": "string", "description": "`postpress.bridge`, or the value of `BRIDGE_EVENT_SOURCE`."},
    "account": {"type": "string", "description": "The AWS account."},
    "time": {"type": "string"},
    "region": {"type": "string"},
    "resources": {
        "description": "The id of the chat or account, if there is one.",
        "type": "array",
        "items": {"type": "string"},
    },
}


def plain(schema):
    """The schema as far as a type can express it."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return {**schema, "$ref": f"#/$defs/{RENAMED.get(name, name)}"}
    result = {}
    for key, value in schema.items():
        if key == "properties":
            result[key] = {name: plain(field) for name, field in value.items()}
        elif key not in CONSTRAINTS:
            result[key] = plain(value)
    choices = result.get("oneOf", [])
    if choices and all("const" in choice for choice in choices):
        del result["oneOf"]
        result |= {"type": "string", "enum": [choice["const"] for choice in choices]}
    if "properties" in result:
        result.setdefault("additionalProperties", False)
    return result


def merge(fields, case):
    """The fields in one case: narrowed, required or (`False`) never there."""
    properties = dict(fields["properties"])
    for name, narrower in case.get("properties", {}).items():
        field = properties[name]
        if narrower is False:
            properties[name] = False
        elif "$ref" not in field:
            properties[name] = {**field, **narrower}
    return {"properties": properties, "required": {*fields["required"], *case.get("required", [])}}


def named(title, description, properties, required):
    return {
        "title": title,
        "description": description,
        "type": "object",
        "properties": properties,
        "required": sorted(required),
        "additionalProperties": False,
    }


def union(title, description, names):
    return {"title": title, "description": description, "anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}


def without_enum(field):
    return {key: value for key, value in field.items() if key != "enum"}


def event_types(schema):
    definitions = {RENAMED.get(name, name): plain(value) for name, value in schema["$defs"].items()}
    fields = {"properties": plain(schema["properties"]), "required": schema["required"]}
    definitions["Resync"] = {"title": "Resync", **fields["properties"]["resync"]}
    fields["properties"]["resync"] = {"$ref": "#/$defs/Resync"}
    # Each case has its own constant.
    fields["properties"]["object"] = without_enum(fields["properties"]["object"])
    details = {}
    for case in schema["oneOf"]:
        title = case["title"]
        if title not in CASES:
            sys.exit(f"the case `{title}` of event.schema.json is new: name it in CASES of {Path(__file__).name}")
        outer = merge(fields, case)
        for branch in case["oneOf"]:
            kind = branch["properties"]["object"]
            subject = SUBJECTS[kind["const"]] if kind else ""
            inner = merge(outer, branch)
            name = subject + CASES[title]
            of = {"Chat": "a chat", "Account": "an account", "": "neither a chat nor an account"}[subject]
            what = f"The `detail` of {title}: of {of}."
            definitions[name] = named(name, what, inner["properties"], inner["required"])
            details.setdefault(title, []).append(name)
    ended, *errors = details.values()
    events = {}
    for kind in [*definitions["FinalStatus"]["enum"], "ERROR_ENVELOPE"]:
        name = "".join(word.capitalize() for word in kind.split("_")) + "Event"
        cases = [error for group in errors for error in group] if kind == "ERROR_ENVELOPE" else ended
        detail = {"anyOf": [{"$ref": f"#/$defs/{case}"} for case in cases]}
        properties = {**ENVELOPE, "detail-type": {"type": "string", "const": kind}, "detail": detail}
        events[name] = named(name, f"An event with the detail-type {kind}.", properties, properties)
    every = union("BridgeEvent", "Any event of the bridge: its `detail-type` tells which.", events)
    return {**definitions, **events, "BridgeEvent": every}


def trigger_types(schema):
    fields = {"properties": plain(schema["properties"]), "required": []}
    definitions = {"ResyncOptions": {"title": "ResyncOptions", **fields["properties"]["resync"], "type": "object"}}
    fields["properties"]["resync"] = {"anyOf": [{"$ref": "#/$defs/ResyncOptions"}, {"type": "null"}]}
    names = [f"{case['required'][0].removesuffix('_id').capitalize()}Trigger" for case in schema["oneOf"]]
    for name, case in zip(names, schema["oneOf"]):
        merged = merge(fields, case)
        # Exactly one case is true, so what the others require is not in this one.
        for other in schema["oneOf"]:
            for field in {*other["required"]} - {*case["required"]}:
                merged["properties"][field] = {"type": "null"}
        if merged["properties"]["resync"].get("type") == "null":
            merged["properties"]["resync"] = {"type": "null"}
        of = name.removesuffix("Trigger").lower()
        definitions[name] = named(name, f"The body of a trigger that names its {of}.", merged["properties"], merged["required"])
    return {**definitions, "Trigger": union("Trigger", schema["description"], names)}


def for_python(schema):
    """A `TypedDict` has no fields that are never there, and may always have others."""
    if isinstance(schema, list):
        return [for_python(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    fields = {name: field for name, field in schema.get("properties", {}).items() if field is not False}
    schema = {**schema, "properties": fields} if fields else schema
    return {key: for_python(value) for key, value in schema.items() if key != "additionalProperties"}


def main(language):
    event, trigger = (json.loads((SCHEMAS / f"{name}.schema.json").read_text()) for name in ("event", "trigger"))
    definitions = {**trigger_types(trigger), **event_types(event)}
    whole = union("Message", "What goes in, a trigger, and what comes out, an event.", ["Trigger", "BridgeEvent"])
    schema = {**whole, "$defs": definitions}
    json.dump({"python": for_python, "typescript": lambda same: same}[language](schema), sys.stdout, indent=2)


main(*sys.argv[1:])
