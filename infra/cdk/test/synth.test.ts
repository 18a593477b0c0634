// What the app synthesizes, without an AWS account: the template, unchanged, with the properties as its parameters.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { App, CfnOutput, Stack } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { Rule } from "aws-cdk-lib/aws-events";
import { SqsQueue } from "aws-cdk-lib/aws-events-targets";
import { Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Queue } from "aws-cdk-lib/aws-sqs";
import { Topic } from "aws-cdk-lib/aws-sns";
import { parseDocument, type ScalarTag, type Tags } from "yaml";
import { parametersModule } from "../lib/parameters-module";
import { PostpressBridge, type PostpressBridgeProps } from "../lib/postpress-bridge";
import { TEMPLATE } from "../lib/template";

const directory = mkdtempSync(join(tmpdir(), "postpress-bridge-cdk-"));
after(() => rmSync(directory, { recursive: true }));
const zip = join(directory, "bootstrap.zip");
writeFileSync(zip, "not a real one");
const code = { syncWorker: zip, webhook: zip };

function bridge(props: Omit<PostpressBridgeProps, "code">, parent = new Stack(new App(), "parent")) {
  const bridge = new PostpressBridge(parent, "Bridge", { code, ...props });
  const synthesize = () => {
    const outer = Template.fromStack(parent);
    const [nested] = Object.values(outer.findResources("AWS::CloudFormation::Stack"));
    return { outer, parameters: nested!["Properties"].Parameters ?? {}, inner: Template.fromStack(bridge.template.stack).toJSON() };
  };
  return { bridge, parent, synthesize };
}

/** The template as CloudFormation reads it, by another parser than the CDK's. */
function original(): any {
  const short = ["Equals", "FindInMap", "GetAtt", "If", "Join", "Not", "Select", "Split", "Sub"];
  const tags: Tags = ["Ref", ...short].flatMap((name): ScalarTag[] => {
    const key = name === "Ref" ? name : `Fn::${name}`;
    const wrap = (value: unknown) => ({ [key]: value });
    // The CDK leaves the argument of GetAtt in one piece, which CloudFormation takes, too.
    const scalar = (text: string) => wrap(text);
    const collection = (node: any) => wrap(node.toJSON());
    return [
      { tag: `!${name}`, resolve: scalar },
      { tag: `!${name}`, collection: "seq", resolve: collection } as unknown as ScalarTag,
    ];
  });
  const document = parseDocument(readFileSync(TEMPLATE, "utf8"), { customTags: tags });
  // The CDK drops a short form that it does not know, `!Contains` for example: write it as "Fn::Contains" in the template.
  assert.deepEqual([document.errors, document.warnings], [[], []]);
  return document.toJS();
}

test("the nested stack is the template", () => {
  const { inner } = bridge({}).synthesize();
  const expected = original();
  for (const name of ["SyncWorker", "Webhook"]) {
    const { Bucket, Key } = inner.Resources[name].Properties.CodeUri;
    assert.match(Key, /^[0-9a-f]{64}[.]zip$/);
    assert.ok(Bucket);
    inner.Resources[name].Properties.CodeUri = expected.Resources[name].Properties.CodeUri;
  }
  assert.deepEqual(inner, expected);
});

test("the types of the parameters are the template's", () => {
  assert.equal(readFileSync(join(__dirname, "../lib/parameters.ts"), "utf8"), parametersModule(), "run: npm run parameters");
});

test("properties arrive as parameters, and defaults stay the template's", () => {
  assert.deepEqual(bridge({}).synthesize().parameters, {});
  const { parameters } = bridge({
    callTimeoutSeconds: 20,
    maximumConcurrency: 30,
    pollFactor: "2",
    producerArns: ["arn:aws:sns:eu-west-1:123456789012:a", "arn:aws:sns:eu-west-1:123456789012:b"],
    webhookAuth: "iam",
  }).synthesize();
  assert.deepEqual(parameters, {
    CallTimeoutSeconds: "20",
    MaximumConcurrency: "30",
    PollFactor: "2",
    ProducerArns: "arn:aws:sns:eu-west-1:123456789012:a,arn:aws:sns:eu-west-1:123456789012:b",
    WebhookAuth: "iam",
  });
});

test("a property may be something that the same app creates", () => {
  const parent = new Stack(new App(), "parent");
  const topic = new Topic(parent, "Alarms");
  const { parameters } = bridge({ alarmTopicArn: topic.topicArn }, parent).synthesize();
  assert.deepEqual(parameters, { AlarmTopicArn: parent.resolve(topic.topicArn) });
});

test("an app can subscribe, send triggers and read the outputs", () => {
  const { bridge: made, parent, synthesize } = bridge({});
  const role = new Role(parent, "Producer", { assumedBy: new ServicePrincipal("ecs-tasks.amazonaws.com") });
  made.queue.grantSendMessages(role);
  made.webhook.grantInvokeUrl(role);
  made.table.grantReadData(role);
  new Rule(parent, "Done", {
    eventBus: made.bus,
    eventPattern: { source: [made.eventSource], detailType: ["SYNC_DONE"] },
    targets: [new SqsQueue(new Queue(parent, "Subscriber"))],
  });
  new CfnOutput(parent, "Url", { value: made.webhookUrl });
  const { outer, inner } = synthesize();
  outer.resourceCountIs("AWS::Events::Rule", 1);
  const asked = new Set([...JSON.stringify(outer.toJSON()).matchAll(/"Outputs[.](\w+)"/g)].map((match) => match[1]!));
  for (const name of ["QueueArn", "TableName", "EventBusArn", "EventSource", "WebhookUrl"]) assert.ok(asked.has(name), name);
  for (const name of asked) assert.ok(inner.Outputs[name], `the nested stack has no output ${name}`);
});

test("what the parameters leave out is undefined", () => {
  const own = bridge({}).bridge;
  assert.ok(own.apiKeySecretArn && own.webhookSecretArn && own.webhookTokenArn);
  const { bridge: other } = bridge({ webhookAuth: "iam", apiKeySecretId: "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key" });
  assert.deepEqual([other.apiKeySecretArn, other.webhookSecretArn, other.webhookTokenArn], [undefined, undefined, undefined]);
});

test("missing code is an error that says how to build it", () => {
  for (const path of [join(directory, "missing.zip"), directory, __filename]) {
    const deploy = () => new PostpressBridge(new Stack(), "Bridge", { code: { ...code, webhook: path } });
    assert.throws(deploy, /code of Webhook is missing: .* Build it with: cargo lambda build/);
  }
});
