import { CfnParameter, Stack } from "aws-cdk-lib";
import { CfnInclude } from "aws-cdk-lib/cloudformation-include";
import { TEMPLATE } from "./template";

/** The text of parameters.ts. */
export function parametersModule(): string {
  const include = new CfnInclude(new Stack(), "Template", { templateFile: TEMPLATE });
  const fields = include.node.findAll().filter((node) => node instanceof CfnParameter).map(field);
  return `// Generated from template.yaml by \`npm run parameters\`. Do not edit.

/** The parameters of the template. Those left out have the template's defaults. */
export interface BridgeParameters {
${fields.join("\n")}
}
`;
}

function field(parameter: CfnParameter): string {
  const name = parameter.node.id;
  const property = name.charAt(0).toLowerCase() + name.slice(1);
  const initial = parameter.default === "" ? "" : ` Default: ${parameter.default}.`;
  return `  /** ${parameter.description}${initial} */\n  readonly ${property}?: ${typeOf(parameter)};`;
}

function typeOf({ type, allowedValues }: CfnParameter): string {
  if (allowedValues) {
    const numeric = allowedValues.every((value) => /^[0-9]+$/.test(value));
    return allowedValues.map((value) => (numeric ? String(value) : JSON.stringify(value))).join(" | ");
  }
  switch (type) {
    case "String":
      return "string";
    case "Number":
      return "number";
    case "CommaDelimitedList":
      return "readonly string[]";
    default:
      throw new Error(`no TypeScript type for a parameter of type ${type}`);
  }
}
