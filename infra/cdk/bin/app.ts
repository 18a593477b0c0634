// The bridge by itself, as a stack. For more than that, use the construct in an app of your own.
//
//   cargo lambda build --release --arm64 --output-format zip --bin sync-worker --bin webhook
//   npx cdk deploy

import { join } from "node:path";
import { App, Stack } from "aws-cdk-lib";
import { PostpressBridge } from "../lib/postpress-bridge";

const app = new App();
const stack = new Stack(app, "postpress-bridge");
const built = join(__dirname, "../../../target/lambda");

new PostpressBridge(stack, "Bridge", {
  code: {
    syncWorker: join(built, "sync-worker/bootstrap.zip"),
    webhook: join(built, "webhook/bootstrap.zip"),
  },
});
