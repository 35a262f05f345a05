"""The derived files of docs/, each with the function that returns its text."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from harness.cli.suite_commands.schema import SCHEMAS
from tools.reference.api import api_page
from tools.reference.axes import axes_page
from tools.reference.commands import commands_page
from tools.reference.picture import padding_picture
from tools.reference.schemas import schema_text, schemas_page
from tools.reference.tables import metrics_page, outcomes_page, suites_page

DOCS: Final = Path(__file__).parents[2] / "docs"

FILES: Final[dict[str, Callable[[], str]]] = {
    "reference/suites.md": suites_page,
    "reference/axes.md": axes_page,
    "reference/metrics.md": metrics_page,
    "reference/outcomes.md": outcomes_page,
    "reference/commands.md": commands_page,
    "reference/schemas.md": schemas_page,
    "reference/api.md": api_page,
    "pictures/padding.svg": padding_picture,
    **{f"schemas/{name}.json": partial(schema_text, name) for name in SCHEMAS},
}
