"""Slates for uncertain shoppers in simulated towns: profit of four policies when the screen errs as often as it says.

Run it: .venv/bin/python benchmarks/doubt.py --out benchmarks/results   (about eight minutes)

Who is named stands there with the stated probability, else another visitor of the store does. Profit is the town's
exact expectation over an empty screen, minor units a visit; differences to the anonymous slate are of the same cases,
their interval is 95 % of a normal. `tells` is how many items of a slate tell of somebody named to somebody else.
The odds are the town's with an error of deviation 0.7 on the log-odds, shrunk for it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.frame import frame, write
from configs.policy import PolicySettings
from pipelines.simulation.config import VARIANTS
from tests.doubt_town import measure

NAMED = [(0.05,), (0.2,), (0.4,), (0.6,), (0.8,), (0.95,), (1.0,), (0.5, 0.4), (0.3, 0.3)]
SIZE: dict[str, Any] = {"shoppers": 800, "stores": 4, "days": 20, "measured": 2, "most": 130}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder of dated result files")
    options = parser.parse_args()
    harm, started, rows = PolicySettings().harm, time.monotonic(), []
    for variant in VARIANTS:
        found = measure(variant, NAMED, harm=harm, **SIZE)
        anonymous = {weights: values for weights, name, values, _ in found if name == "anonymous"}
        for weights, name, values, tells in found:
            gap = values - anonymous[weights]
            error = 1.96 * float(gap.std(ddof=1)) / len(gap) ** 0.5
            row = {
                "variant": variant,
                "probabilities": list(weights),
                "policy": name,
                "profit": round(float(values.mean()), 2),
                "above_anonymous": round(float(gap.mean()), 2),
                "interval": [round(float(gap.mean()) - error, 2), round(float(gap.mean()) + error, 2)],
                "tells": round(tells, 3),
                "cases": len(gap),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    doubt = [row for row in rows if row["policy"] == "doubt"]
    result = {
        **frame("doubt", ".venv/bin/python benchmarks/doubt.py --out benchmarks/results"),
        "simulated": True,
        "seconds": round(time.monotonic() - started, 1),
        "size": SIZE,
        "harm": harm,
        "significantly_below_anonymous": sum(row["interval"][1] < 0 for row in doubt),
        "lowest_above_anonymous": min(row["above_anonymous"] for row in doubt),
        "rows": rows,
    }
    write(result, "doubt", options.out)


if __name__ == "__main__":
    main()
