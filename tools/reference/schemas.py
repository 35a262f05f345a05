"""The page of schemas, and the schema files that editors and programs read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from harness.cli.suite_commands.schema import SCHEMAS, schema_of
from tools.reference.markdown import page, table

_ABOUT: Final = {
    "suite": "A suite file. Editors that know it complete keys and mark mistakes.",
    "report": "`report.json`, and `harness run --json` and `harness show --json`.",
    "comparison": "`harness compare --json`.",
    "check": "`harness check --json`.",
}


def schema_text(name: str) -> str:
    """Return the text of a schema file, as `harness schema NAME` prints it."""
    return json.dumps(schema_of(name), indent=2) + "\n"


def schemas_page() -> str:
    """Return the page: each schema with its file, its identifier and its first level."""
    return page(
        "Schemas",
        "the models",
        "JSON Schema (2020-12) of the files that `harness` reads and writes, by `harness schema NAME`. "
        "Reports of earlier versions are still read; `schema_version` in a report has its version.",
        *(part for name in SCHEMAS for part in _sections(name, schema_of(name))),
    )


def _sections(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}\n\n{_ABOUT[name]} [`{name}.json`](../schemas/{name}.json), `{schema['$id']}`."
    required = schema.get("required", ())
    yield table(
        ["Key", "Type", "Required", "Description"],
        [
            [f"`{key}`", _type(value), "yes" if key in required else "no", value.get("description", "")]
            for key, value in schema["properties"].items()
        ],
    )


def _type(value: dict[str, Any]) -> str:
    """The type of a value in words: `string`, `list of TrialResult`, `number or null`."""
    if "$ref" in value:
        return f"`{value['$ref'].rpartition('/')[2]}`"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_type(each) for each in value["anyOf"]))
    if "const" in value or "enum" in value:
        return "one of " + ", ".join(f"`{each}`" for each in value.get("enum", [value.get("const")]))
    kind = str(value.get("type", "any"))
    if kind == "array" and isinstance(value.get("items"), dict):
        return f"list of {_type(value['items'])}"
    return {"array": "list", "object": "mapping"}.get(kind, kind)
