"""`harness schema`: the JSON Schema of a suite, a report, a comparison or a check."""

from __future__ import annotations

import importlib
import json
from typing import Final

import click

from harness.cli.options import harness_command
from harness.cli.parsing import Names

# what -> the module and the model, so that one schema imports no other
_MODELS: Final = {
    "report": ("harness.model.results", "Report"),
    "comparison": ("harness.analysis.comparison.models", "Comparison"),
    "check": ("harness.analysis.gates.models", "GateReport"),
}


@harness_command("schema")
@click.argument("what", type=Names(["suite", "report", "comparison", "check"]))
def command(what: str) -> None:
    """Print the JSON Schema (2020-12) of a suite file or of what `--format json` writes.

    An editor that is given the suite's schema completes keys and marks mistakes while you write.
    """
    click.echo(json.dumps(_suite() if what == "suite" else _stored(what), indent=2))


def _suite() -> dict[str, object]:
    from harness.suite.schema import suite_schema  # noqa: PLC0415  the other schemas need none of it

    return suite_schema()


def _stored(what: str) -> dict[str, object]:
    from harness.suite.schema import DIALECT  # noqa: PLC0415  as above

    module, name = _MODELS[what]
    model = getattr(importlib.import_module(module), name)
    return {"$schema": DIALECT, **model.model_json_schema(mode="serialization")}
