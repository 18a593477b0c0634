"""Writes the samples in `events/samples/` as values that must have the type of an event: `samples.ts` and `samples.py`.

A field that the types lack or forbid is an error. One value that has no such type proves that there are errors.
"""

import json
import sys
from pathlib import Path

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def main(directory):
    events = [json.loads(path.read_text()) for path in sorted(SAMPLES.glob("*.json"))]
    wrong = json.loads((SAMPLES / "sync-done.json").read_text())
    wrong["detail"]["polls"] = "seven"
    typescript = ['import type { BridgeEvent } from "./postpress-bridge.js";']
    python = ["from postpress_bridge import BridgeEvent"]
    for number, event in enumerate(events):
        typescript.append(f"const event{number}: BridgeEvent = {json.dumps(event)};")
        python.append(f"event{number}: BridgeEvent = {event!r}")
    names = ", ".join(f"event{number}" for number in range(len(events)))
    typescript.append(f"export const events: BridgeEvent[] = [{names}];")
    python.append(f"events: list[BridgeEvent] = [{names}]")
    typescript.append(f"// @ts-expect-error\nexport const wrong: BridgeEvent = {json.dumps(wrong)};")
    python.append(f"wrong: BridgeEvent = {wrong!r}  # type: ignore")
    Path(directory, "samples.ts").write_text("\n".join(typescript) + "\n")
    Path(directory, "samples.py").write_text("\n".join(python) + "\n")


main(*sys.argv[1:])
