"""`harness schema`: the JSON Schema of a suite or a report."""

from __future__ import annotations

import json

import click


@click.command
@click.argument("what", type=click.Choice(["suite", "report"]))
def command(what: str) -> None:
    """Print the JSON Schema (2020-12) of a suite file or of a report.

    An editor that is given the suite's schema completes keys and marks mistakes while you write.
    """
    click.echo(json.dumps(_suite() if what == "suite" else _report(), indent=2))


def _suite() -> dict[str, object]:
    from harness.suite.schema import suite_schema  # noqa: PLC0415  a report's schema needs none of it

    return suite_schema()


def _report() -> dict[str, object]:
    from harness.results.models import Report  # noqa: PLC0415  a suite's schema needs none of it
    from harness.suite.schema import DIALECT  # noqa: PLC0415

    return {"$schema": DIALECT, **Report.model_json_schema(mode="serialization")}
