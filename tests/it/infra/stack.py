"""Makes a stack of a template in the emulator, as `sam deploy` would in an account.

Reads `{"template": path, "name": …, "parameters": {…}}` from stdin, and writes the result to stdout: the template
without its SAM parts, the stack's outputs, the environment that each function would find, and what each role may do, both
with every reference resolved. Where AWS is, it finds in its environment, as every SDK does. Without a name it makes no stack.
"""

import json
import sys

import boto3
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# What the emulator has no CloudFormation for, or only in Docker. The tests read these in the template.
LEFT_OUT = ("AWS::Lambda::", "AWS::SQS::QueuePolicy", "AWS::Scheduler::", "AWS::CloudWatch::", "AWS::Events::Connection")
NO_VALUE = {"Ref": "AWS::NoValue"}


class NoManagedPolicies:
    def load(self):
        return {}


def without_sam(template):
    """What CloudFormation makes of it, once `sam package` has uploaded the code."""
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://code/function.zip"
    return transform(template, defaults(template), NoManagedPolicies())


def defaults(template):
    parameters = template["Parameters"].items()
    return {name: str(parameter["Default"]) for name, parameter in parameters if "Default" in parameter}


class Questions:
    """Values that CloudFormation is to resolve: each an output of the stack."""

    def __init__(self, template):
        self.outputs = template["Outputs"]
        self.conditions = template.setdefault("Conditions", {})

    def ask(self, value, condition=None):
        """The key of its answer, which is missing where the value is not there."""
        if isinstance(value, dict) and NO_VALUE in value.get("Fn::If", []):
            condition, yes, no = value["Fn::If"]
            value = yes
            if yes == NO_VALUE:
                value = no
                self.conditions[f"No{condition}"] = {"Fn::Not": [{"Condition": condition}]}
                condition = f"No{condition}"
        key = f"Question{len(self.outputs)}"
        self.outputs[key] = {"Value": value, **({"Condition": condition} if condition else {})}
        return key

    def environment(self, function):
        variables = function["Properties"]["Environment"]["Variables"]
        return {name: self.ask(value) for name, value in variables.items()}

    def permissions(self, role):
        """(actions, question) for each resource of each statement."""
        for policy in role["Properties"]["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                condition = None
                if "Fn::If" in statement:
                    condition, statement, otherwise = statement["Fn::If"]
                    assert otherwise == NO_VALUE, statement
                assert statement["Effect"] == "Allow", statement
                for resource in as_list(statement["Resource"]):
                    yield as_list(statement["Action"]), self.ask(resource, condition)


def as_list(value):
    return value if isinstance(value, list) else [value]


def of_type(template, kind):
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == kind}


def mentions(value, names):
    """Whether it asks for any of these: by `Ref`, `Fn::GetAtt` or `Fn::Sub`."""
    if isinstance(value, str):
        return any(f"${{{name}" in value for name in names)
    if isinstance(value, list):
        return any(mentions(part, names) for part in value)
    if not isinstance(value, dict):
        return False
    named = {value.get("Ref"), as_list(value.get("Fn::GetAtt", ""))[0]}
    return bool(named & names) or mentions([*value.values()], names)


def adapt(template, name, secrets_manager):
    """Leaves out what the emulator cannot make, and what asks for it."""
    resources = template["Resources"]
    # It has no secrets by CloudFormation: each is made here, and becomes a parameter with the value that `Ref` would have.
    for secret, resource in of_type(template, "AWS::SecretsManager::Secret").items():
        del resources[secret]
        generated = secrets_manager.get_random_password(**resource["Properties"]["GenerateSecretString"])
        made = secrets_manager.create_secret(Name=f"{name}-{secret}", SecretString=generated["RandomPassword"])
        template["Parameters"][secret] = {"Type": "String", "Default": made["ARN"]}
    # It takes an archive's pattern as a text only, in which nothing could be resolved.
    for archive in of_type(template, "AWS::Events::Archive").values():
        archive["Properties"].pop("EventPattern", None)
    # A queue plays an API destination, so that what a rule sends there can be read.
    for destination in of_type(template, "AWS::Events::ApiDestination"):
        resources[destination] = {"Type": "AWS::SQS::Queue"}
        template["Outputs"][f"{destination}Url"] = {"Value": {"Ref": destination}}
    left_out = {key for key, resource in resources.items() if resource["Type"].startswith(LEFT_OUT)}
    template["Resources"] = {key: resource for key, resource in resources.items() if key not in left_out}
    template["Outputs"] = {
        key: output for key, output in template["Outputs"].items() if not mentions(output, left_out)
    }


def make(request):
    with open(request["template"], encoding="utf-8") as file:
        template = yaml_parse(file)
    if "Transform" in template:
        template = without_sam(template)
    if request["name"] is None:
        return {"template": template}
    expanded = json.loads(json.dumps(template))

    questions = Questions(template)
    environments = {
        name: questions.environment(function) for name, function in of_type(template, "AWS::Lambda::Function").items()
    }
    roles = {name: [*questions.permissions(role)] for name, role in of_type(template, "AWS::IAM::Role").items()}
    adapt(template, request["name"], boto3.client("secretsmanager"))
    cloudformation = boto3.client("cloudformation")
    # It takes a list's default for a text, so each parameter is given.
    parameters = {**defaults(template), **request["parameters"]}
    cloudformation.create_stack(
        StackName=request["name"],
        TemplateBody=json.dumps(template),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM"],
    )
    [stack] = cloudformation.describe_stacks(StackName=request["name"])["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE", stack
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def environment(variables):
        return {name: outputs[key] for name, key in variables.items() if key in outputs}

    def permissions(asked):
        return [[action, outputs[key]] for actions, key in asked if key in outputs for action in actions]

    return {
        "template": expanded,
        "environments": {name: environment(variables) for name, variables in environments.items()},
        "permissions": {name: permissions(asked) for name, asked in roles.items()},
        "outputs": {key: value for key, value in outputs.items() if not key.startswith("Question")},
    }


json.dump(make(json.load(sys.stdin)), sys.stdout)
