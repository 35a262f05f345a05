"""Reports changed as text and sealed again, as a forger who knows the digest would do it."""

from __future__ import annotations

import json
from typing import Any

from harness.store.writing import NO_DIGEST, digest_of


def sealed(document: dict[str, Any]) -> bytes:
    """The document as a file whose digest matches, whatever its content."""
    text = json.dumps({"schema_version": document["schema_version"], "digest": None} | document, indent=2)
    bare = json.dumps(json.loads(text) | {"digest": None}, indent=2).encode()
    return bare.replace(NO_DIGEST, b'"digest": "%s"' % digest_of(bare).encode(), 1)


def put(document: Any, path: tuple[str | int, ...], value: Any) -> None:
    """Change one place of a JSON document."""
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def get(document: Any, path: tuple[str | int, ...]) -> Any:
    """The value at one place of a JSON document."""
    for key in path:
        document = document[key]
    return document
