"""`harness schema`: the JSON Schema of a suite, a report, a comparison or a check."""

from __future__ import annotations

import importlib
import json
from typing import Any, Final

import click

from harness.cli.parsing import Names
from harness.cli.shared_options import harness_command

# what -> the module and the model, so that one schema imports no other
_MODELS: Final = {
    "report": ("harness.model.results", "Report"),
    "comparison": ("harness.analysis.comparison.models", "Comparison"),
    "check": ("harness.analysis.gates.cases", "GateReport"),
}
SCHEMAS: Final = ("suite", *_MODELS)


@harness_command("schema")
@click.argument("what", type=Names(SCHEMAS))
def command(what: str) -> None:
    """Print the JSON Schema (2020-12) of a suite file or of what `--format json` writes.

    An editor that is given the suite's schema completes keys and marks mistakes while you write.
    """
    click.echo(json.dumps(schema_of(what), indent=2))


def schema_of(what: str) -> dict[str, Any]:
    """Return the schema of that name, with the identifier under which it is published."""
    from harness.suite.suite_schema import DIALECT, suite_schema  # noqa: PLC0415  `--help` needs none of it

    if what == "suite":
        schema = suite_schema()
    else:
        module, name = _MODELS[what]
        schema = getattr(importlib.import_module(module), name).model_json_schema(mode="serialization")
    return {"$schema": DIALECT, "$id": f"urn:harness:schema:{what}", **schema}
