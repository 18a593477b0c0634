import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { Fn, NestedStack, Token, Tokenization } from "aws-cdk-lib";
import { CfnInclude } from "aws-cdk-lib/cloudformation-include";
import * as dynamodb from "aws-cdk-lib/aws-dynamodb";
import * as events from "aws-cdk-lib/aws-events";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { Asset } from "aws-cdk-lib/aws-s3-assets";
import type { CfnFunction } from "aws-cdk-lib/aws-sam";
import * as sqs from "aws-cdk-lib/aws-sqs";
import { Construct } from "constructs";
import type { BridgeParameters } from "./parameters";
import { TEMPLATE } from "./template";

/** Where the built functions are: for each a zip, or a directory, with an executable `bootstrap` in it. */
export interface BridgeCode {
  readonly syncWorker: string;
  readonly webhook: string;
}

export interface PostpressBridgeProps extends BridgeParameters {
  readonly code: BridgeCode;
}

/**
 * The bridge: the template, as a nested stack.
 *
 * The template's conditions depend on its parameters, and a condition may use nothing but parameters. In a stack of its own
 * they stay parameters, so that a property may be the ARN of something that this app creates.
 */
export class PostpressBridge extends Construct {
  /** Where triggers go. */
  readonly queue: sqs.IQueue;
  /** Where messages go that failed ten times. */
  readonly deadLetters: sqs.IQueue;
  /** The run table. */
  readonly table: dynamodb.ITable;
  /** Where the events are: put rules on it. */
  readonly bus: events.IEventBus;
  /** The `source` of the events. */
  readonly eventSource: string;
  readonly syncWorker: lambda.IFunction;
  readonly webhook: lambda.IFunction;
  /** The URL of the HTTP API. */
  readonly webhookUrl: string;
  /** The secret to put postpress's API key into, unless `apiKeySecretId` names one. */
  readonly apiKeySecretArn: string | undefined;
  /** The secret that producers sign with, unless `webhookAuth` is `iam`. */
  readonly webhookSecretArn: string | undefined;
  /** The webhook's bearer token, unless `webhookAuth` is `iam`. */
  readonly webhookTokenArn: string | undefined;
  /** The template's resources, to change what no parameter changes. */
  readonly template: CfnInclude;

  constructor(scope: Construct, id: string, props: PostpressBridgeProps) {
    super(scope, id);
    const { code, ...parameters } = props;
    const stack = new NestedStack(this, "Stack", { parameters: asCloudFormation(parameters) });
    this.template = new CfnInclude(stack, "Template", { templateFile: TEMPLATE });
    const [worker, webhook] = [this.deploy("SyncWorker", code.syncWorker), this.deploy("Webhook", code.webhook)];

    const output = (name: string) => {
      this.template.getOutput(name);
      return Token.asString(stack.nestedStackResource!.getAtt(`Outputs.${name}`));
    };
    const arn = (resource: string) => Token.asString(this.template.getResource(resource).getAtt("Arn"));
    this.queue = sqs.Queue.fromQueueAttributes(this, "Queue", {
      queueArn: output("QueueArn"),
      queueUrl: output("QueueUrl"),
    });
    this.deadLetters = sqs.Queue.fromQueueAttributes(this, "DeadLetters", {
      queueArn: arn("DeadLetters"),
      queueUrl: output("DeadLettersUrl"),
    });
    this.table = dynamodb.Table.fromTableName(this, "Runs", output("TableName"));
    this.bus = events.EventBus.fromEventBusArn(this, "Bus", output("EventBusArn"));
    this.eventSource = output("EventSource");
    this.syncWorker = lambda.Function.fromFunctionArn(this, "SyncWorker", Token.asString(worker.getAtt("Arn")));
    this.webhook = lambda.Function.fromFunctionArn(this, "Webhook", Token.asString(webhook.getAtt("Arn")));
    this.webhookUrl = output("WebhookUrl");
    const checksSignatures = props.webhookAuth !== "iam";
    this.apiKeySecretArn = props.apiKeySecretId ? undefined : output("ApiKeySecretArn");
    this.webhookSecretArn = checksSignatures ? output("WebhookSecretArn") : undefined;
    this.webhookTokenArn = checksSignatures ? output("WebhookTokenArn") : undefined;
  }

  /** Puts the built code in place of the template's `CodeUri`, which only `sam build` understands. */
  private deploy(name: string, path: string): CfnFunction {
    const resource = this.template.getResource(name) as CfnFunction;
    const asset = new Asset(resource.stack, `${name}Code`, { path: built(name, path) });
    resource.codeUri = { bucket: asset.s3BucketName, key: asset.s3ObjectKey };
    return resource;
  }
}

function built(name: string, path: string): string {
  const isThere = existsSync(path) && (statSync(path).isDirectory() ? existsSync(join(path, "bootstrap")) : path.endsWith(".zip"));
  if (!isThere) {
    throw new Error(
      `the code of ${name} is missing: ${path} is neither a zip nor a directory with \`bootstrap\` in it. Build it with: ` +
        "cargo lambda build --release --arm64 --output-format zip --bin sync-worker --bin webhook",
    );
  }
  return path;
}

/** As the parameters of a stack are: named as in the template, and strings. */
function asCloudFormation(parameters: BridgeParameters): Record<string, string> {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given.map(([name, value]) => [name.charAt(0).toUpperCase() + name.slice(1), text(value)]));
}

function text(value: string | number | readonly string[]): string {
  if (typeof value === "number") return Token.isUnresolved(value) ? Tokenization.stringifyNumber(value) : String(value);
  return typeof value === "string" ? value : Fn.join(",", [...value]);
}
