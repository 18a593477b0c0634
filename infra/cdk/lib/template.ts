import { join } from "node:path";

/** The one template, which `sam deploy` deploys too. */
export const TEMPLATE = join(__dirname, "../../template.yaml");
