// Writes the types of the template's parameters: node bin/parameters.js lib/parameters.ts

import { writeFileSync } from "node:fs";
import { parametersModule } from "../lib/parameters-module";

writeFileSync(process.argv[2]!, parametersModule());
