"""Plant each defect in a copy of the package and prove it there: `python -m tools.defects.run`.

Each copy runs in a forked child of a process that has imported the heavy libraries and no line of harness, so
that a defect costs the seconds of its proofs. What is caught, by which check, and what survives is written to
`reports/proofs/defects.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from tools.defects.catalogue import DEFECTS, Defect, Variant

ROOT: Final = Path(__file__).parents[2]
REPORT: Final = ROOT / "reports" / "proofs" / "defects.json"
_HEAVY: Final = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "evaluate",
    "peft",
    "scipy.stats",
    "pyarrow.parquet",
)

# A few of all kinds, for a test.
FAST: Final = frozenset(
    {
        "epsilon is torch's default",
        "clipping by tensor",
        "schedule of one epoch",
        "divided by the asked number",
        "the same order every epoch",
        "Trainer's batches reversed",
        "the same mask in each layer",
        "off after the first evaluation",
        "frozen head",
        "no autocast in evaluation",
        "mean of two epochs' logits",
        "rate over computed tokens",
        "padding masked by -10",
        "masks of the seed modulo 4",
        "shares overlap",
        "shares count alike",
        "gradients not added up",
        "the same masks in every rank",
    }
)

# Why a defect may pass: what the proofs do not look at.
SURVIVORS: Final[dict[str, str]] = {}


def plant(defect: Defect, folder: Path) -> None:
    """Copy the package into `folder` with the defect in it.

    Raises:
        ValueError: the source has changed so that the defect fits nowhere, or in more than one place.
    """
    shutil.copytree(ROOT / "harness", folder / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "harness" / "training" / defect.path
    source = path.read_text(encoding="utf-8")
    if source.count(defect.before) != 1:
        raise ValueError(
            f"{defect.name}: {defect.before!r} occurs {source.count(defect.before)} times in {path.name}"
        )
    path.write_text(source.replace(defect.before, defect.after), encoding="utf-8")


def caught_by(folder: Path, variants: Sequence[Variant]) -> dict[str, Any]:
    """What the proofs of these variants find with the package in `folder`, up to the first that fails."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _prove_in_child(folder, variants, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    found: dict[str, Any] = (
        json.loads(text) if text else {"proof": "training", "checks": ["the process ended"]}
    )
    return found


def _prove_in_child(folder: Path, variants: Sequence[Variant], writing: int) -> None:
    """Never returns."""
    try:
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT] + [str(ROOT)]
        for name in [name for name in sys.modules if name.partition(".")[0] == "harness"]:
            del sys.modules[name]
        proving = importlib.import_module("tools.defects.proving")
        found = proving.first_failure(variants)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(found).encode())
    finally:
        os._exit(0)


def run(defects: Iterable[Defect]) -> list[dict[str, Any]]:
    """Plant and prove each of the defects."""
    rows = []
    for defect in defects:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="harness-defect-") as name:
            plant(defect, Path(name))
            found = caught_by(Path(name), defect.on)
        row = {"name": defect.name, "kind": defect.kind, "caught": bool(found), **found}
        if not found:
            row["reason"] = SURVIVORS.get(defect.name, "unexplained")
        rows.append(row)
        line = f"{time.perf_counter() - began:5.1f} s  {defect.kind:12}  {defect.name}: {found or 'SURVIVES'}"
        print(line, flush=True)  # noqa: T201 - a tool's output
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen defects and write the report; 1 if fewer than 95 % are caught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only", help="run the defects whose name or kind has this text, and write no report"
    )
    parser.add_argument("--fast", action="store_true", help="run a dozen of all kinds, and write no report")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args(arguments)
    for name in _HEAVY:
        importlib.import_module(name)
    chosen = [
        each
        for each in DEFECTS
        if (not options.only or options.only in f"{each.kind} {each.name}")
        and (not options.fast or each.name in FAST)
    ]
    rows = run(chosen)
    caught = sum(row["caught"] for row in rows)
    print(f"{caught} of {len(rows)} caught")  # noqa: T201 - a tool's output
    if not options.only and not options.fast:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        summary = {
            "defects": len(rows),
            "caught": caught,
            "by_kind": {
                kind: f"{sum(row['caught'] for row in rows if row['kind'] == kind)} of {count}"
                for kind, count in Counter(row["kind"] for row in rows).items()
            },
            "survivors": [row for row in rows if not row["caught"]],
            "rows": rows,
        }
        options.report.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return 0 if caught >= 0.95 * len(rows) else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
