"""Writes `infra/schemas.yaml`: the events' schemas for the schema registry of EventBridge.

    registry.py FILE           writes the template to FILE
    registry.py --check FILE   also validates every sample in `events/samples/`

The registry takes JSON Schema of draft 4, one schema for each detail-type.
"""

import json
import sys
from pathlib import Path

EVENTS = Path(__file__).resolve().parent.parent
# https://docs.aws.amazon.com/eventbridge/latest/schema-reference/v1-registries-name-registryname-schemas-name-schemaname.html
LARGEST = 100_000
ERRORS = "ERROR_ENVELOPE"

HEAD = """\
# Generated from events/schemas by events/types/generate. Do not edit.
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  The schemas of postpress-bridge's events, in a schema registry of EventBridge: to search in the console, and to generate code
  from. A registry costs nothing; only schema discovery does, which this does not use.

# Deploy it beside the bridge:
#
#   aws cloudformation deploy --stack-name postpress-bridge-schemas --template-file infra/schemas.yaml

Parameters:
  EventSource:
    Type: String
    Default: postpress.bridge
    Description: The `source` of the events (the bridge's output EventSource).

Resources:
  Registry:
    Type: AWS::EventSchemas::Registry
    Properties:
      RegistryName: !Ref AWS::StackName
      Description: The events of postpress-bridge.
"""
SCHEMA = """
  {name}:
    Type: AWS::EventSchemas::Schema
    Properties:
      RegistryName: !GetAtt Registry.RegistryName
      SchemaName: !Sub "${{EventSource}}@{name}"
      Description: Events with the detail-type {kind}.
      Type: JSONSchemaDraft4
      Content: '{content}'
"""


def draft4(schema):
    """The same schema in draft 4."""
    if schema is False:
        return {"not": {}}
    if isinstance(schema, list):
        return [draft4(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {}
    for key, value in schema.items():
        if key in ("$defs", "properties"):
            renamed = "definitions" if key == "$defs" else key
            result[renamed] = {name: draft4(part) for name, part in value.items()}
        elif key == "const":
            result["enum"] = [value]
        elif key == "$ref":
            result[key] = value.replace("#/$defs/", "#/definitions/")
        else:
            result[key] = value if key in ("enum", "required") else draft4(value)
    return result


def schemas():
    """The schema of a whole event, by detail-type."""
    detail = json.loads((EVENTS / "schemas/event.schema.json").read_text())
    kinds = [final["const"] for final in detail["$defs"]["Finish"]["oneOf"]] + [ERRORS]
    for kind in kinds:
        cases = [case for case in detail["oneOf"] if kind in case["title"]]
        if not cases:
            sys.exit(f"{Path(__file__).name}: event.schema.json has no case for {kind}")
        own = {key: value for key, value in detail.items() if key not in ("$id", "$schema", "$defs", "title", "oneOf")}
        if kind != ERRORS:
            own["properties"] = {**own["properties"], "status": {"const": kind}}
        event = {
            "$schema": "http://json-schema.org/draft-04/schema#",
            "title": kind,
            "type": "object",
            "properties": {
                **{name: {"type": "string"} for name in ("version", "id", "source", "account", "time", "region")},
                "resources": {"type": "array", "items": {"type": "string"}},
                "detail-type": {"const": kind},
                "detail": {**own, "oneOf": cases},
            },
            "$defs": detail["$defs"],
        }
        event["required"] = sorted(event["properties"])
        yield kind, draft4(event)


def template():
    parts = [HEAD]
    for kind, schema in schemas():
        content = json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
        if len(content) > LARGEST:
            sys.exit(f"the schema of {kind} has {len(content)} characters; the registry takes {LARGEST}")
        name = "".join(word.capitalize() for word in kind.split("_"))
        parts.append(SCHEMA.format(name=name, kind=kind, content=content.replace("'", "''")))
    return "".join(parts)


def check():
    """Each sample is valid by the schema of its detail-type, and by no other."""
    from jsonschema import Draft4Validator

    validators = {}
    for kind, schema in schemas():
        Draft4Validator.check_schema(schema)
        validators[kind] = Draft4Validator(schema)
    for path in sorted((EVENTS / "samples").glob("*.json")):
        event = json.loads(path.read_text())
        kind = event["detail-type"]
        validators[kind].validate(event)
        for other in validators.keys() - {kind}:
            # The detail alone has to tell.
            if validators[other].is_valid({**event, "detail-type": other}):
                sys.exit(f"{path.name} is also valid as {other}")


def main(*arguments):
    *mode, file = arguments
    Path(file).write_text(template())
    if mode == ["--check"]:
        check()


main(*sys.argv[1:])
