"""Reading stored JSON as strictly as it was written: duplicate keys, NaN, loose types are refused by name."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import pydantic_core
from pydantic import ValidationError

from harness.errors import InvalidInputError
from harness.foreign import ForeignFileError, read_regular
from harness.model.frozen import Frozen
from harness.model.results import UNSEALED, Report
from harness.store.folders import is_there, newest_report
from harness.store.large_report import LARGEST_REPORT_BYTES, read_large
from harness.store.migrations import MIGRATIONS, Document, migrate
from harness.store.writing import digest_of, storage_error, unsealed_json, without_digest

M = TypeVar("M", bound=Frozen)

ERRORS_SHOWN: Final = 5
# A suite in YAML has its keys at the beginning of a line, where a report in JSON has none.
_SUITE: Final = re.compile(rb"^(matrix|task)[ \t]*:", re.MULTILINE)
_SHORT: Final = 1_000
_SUITE_BYTES: Final = 1_000_000


class NewerSchemaError(InvalidInputError):
    """A file that a newer harness wrote."""


def read_strict(path: Path, model: type[M]) -> M:
    """The model stored in the JSON file `path`.

    Raises:
        InvalidInputError: The file is missing, is no regular file, or has no such model; the message
            names the file and the byte or the JSON pointer.
        StorageError: The operating system refused to read it.
    """
    return parse_strict(read_bytes(path), model, path)


def load_report(path: Path, *, allow_unsealed: bool = False) -> Report:
    """The report in the file `path`, or in `report.json` of the run directory `path`.

    Args:
        path: a file, a pipe or a run directory.
        allow_unsealed: accept a report whose `digest` is null; its notes then include `UNSEALED`.

    Raises:
        InvalidInputError: There is none, or it is damaged, foreign, unsealed or from a newer schema.
        StorageError: The operating system refused to read it.
    """
    path = Path(path)
    file = path
    if os.path.isdir(path):  # noqa: PTH112  # this one never raises
        file = path / "report.json"
        if not is_there(file):
            _explain_folder(path)
    if (large := read_large(file)) is not None:
        return large
    data = read_bytes(file)
    _refuse_other_files(data, file)
    report, stored = parse_stored(data, Report, file)
    if report.digest is not None:
        return _unsealed(report, stored, data, file)
    if not allow_unsealed:
        raise InvalidInputError(
            f"{file}: its digest is null, so that changes to its numbers cannot be detected",
            hint="Restore the file as `harness run` wrote it. `check`, `compare` and `baseline set` accept "
            "it with --allow-unsealed; `show` and `rescore` read it with a remark.",
        )
    return (
        report if UNSEALED in report.notes else report.model_copy(update={"notes": (*report.notes, UNSEALED)})
    )


def _explain_folder(folder: Path) -> None:
    """Refuse a folder that has no report but is a run, or has runs."""
    if is_there(folder / "plan.json"):
        raise InvalidInputError(
            f"{folder}: this run has no report yet: it is running, or was stopped",
            hint="Run its suite again with the same command: it finishes the run and writes the report.",
        )
    if (newest := newest_report(folder)) is not None:
        raise InvalidInputError(
            f"{folder}: is a folder of runs, not a run", hint=f"Give one of them; the newest is {newest}"
        )


def _refuse_other_files(data: bytes, file: Path) -> None:
    """Refuse an empty file and a suite, which are not damaged reports."""
    if len(data) < _SHORT and not data.strip():
        raise InvalidInputError(
            f"{file}: the file is empty: it is no report",
            hint="Restore it, or run the suite again to write it.",
        )
    if _SUITE.search(data[:_SUITE_BYTES]):
        raise InvalidInputError(
            f"{file}: this is a suite, not a report",
            hint=f"Run it with `harness run {file}`, and give the report.json that it writes.",
        )


def read_bytes(path: Path, *, follow: bool = True, limit: int = LARGEST_REPORT_BYTES) -> bytes:
    """Return at most `limit` bytes of a regular file, or of a pipe such as a shell's `<(...)`.

    With `follow=False` neither a symbolic link nor a pipe is read. A named pipe without a writer is empty.

    Raises:
        InvalidInputError: Nothing is there, or something that is neither a file nor a pipe, or too large.
        StorageError: The operating system refused to read it.
    """
    try:
        if follow and path.is_fifo():
            return _read_pipe(path, limit)
        return read_regular(path, limit=limit, follow=follow)
    except (FileNotFoundError, NotADirectoryError) as error:
        hint = "Give a report.json or the run directory that contains one."
        raise InvalidInputError(f"{path}: no such file", hint=hint) from error
    except ForeignFileError as error:
        raise InvalidInputError(f"{path}: {error}", hint="Give the path of a JSON file.") from error
    except OSError as error:
        raise storage_error(error, f"cannot read {path}") from error


def _read_pipe(path: Path, limit: int) -> bytes:
    # Without O_NONBLOCK, opening a pipe without a writer would block for ever; so it is at its end.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as pipe:
        os.set_blocking(pipe.fileno(), True)
        content = pipe.read(limit + 1)
    if len(content) > limit:
        raise ForeignFileError(f"gives more than {limit >> 20} MiB")
    return content


def parse_strict(data: bytes, model: type[M], path: Path) -> M:
    """Return the model in the JSON text `data`; `path` is named in errors.

    Raises:
        InvalidInputError: As `read_strict` does.
    """
    return parse_stored(data, model, path)[0]


def parse_stored(
    data: bytes, model: type[M], path: Path, *, unversioned: int | None = None
) -> tuple[M, Document | None]:
    """Return the model, and the document as stored where an older schema was migrated, else None.

    A digest inside of the file covers the stored document, so it is verified against that.

    Args:
        data: JSON text.
        model: what it contains, in the current schema.
        path: named in errors.
        unversioned: the schema of a document without a `schema_version`; None where it must have one.

    Raises:
        InvalidInputError: As `read_strict` does.
    """
    version, current = _schema(_outline(data, path), model, path, unversioned)
    stored = None
    try:
        if version in MIGRATIONS and version < current:
            stored = pydantic_core.from_json(data)
            data = pydantic_core.to_json(migrate(stored, version, current))
        return model.model_validate_json(data), stored
    except ValidationError as error:
        raise _invalid(error, model, path) from error
    except ValueError as error:
        raise _damaged(path, f"not valid JSON: {error}") from error


class _SuspiciousError(Exception):
    """A duplicate key or a constant, found at full speed and located by a second, slower pass."""


def _outline(data: bytes, path: Path) -> Any:
    """The document with nothing but its schema version, once its syntax has been checked."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _damaged(path, f"not UTF-8 at byte {error.start}") from error
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_suspect)
    except _SuspiciousError:
        raise _damaged(path, _locate(text)) from None
    except json.JSONDecodeError as error:
        at = len(text[: error.pos].encode())
        raise _damaged(path, f"not valid JSON at byte {at} of {len(data)}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"not valid JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise _SuspiciousError
    # Only the version is needed: drop the content of an object as soon as it is read.
    return {"schema_version": unique["schema_version"]} if "schema_version" in unique else {}


def _suspect(_name: str) -> NoReturn:
    raise _SuspiciousError


class _Pairs(list[tuple[str, Any]]):
    """An object with its duplicate keys."""


class _Constant(str):
    """NaN, Infinity or -Infinity."""

    __slots__ = ()


def _locate(text: str) -> str:
    """Return the error in `text` and its JSON pointer: the first duplicate key or constant."""
    todo: list[tuple[tuple[str | int, ...], Any]] = [
        ((), json.loads(text, object_pairs_hook=_Pairs, parse_constant=_Constant))
    ]
    while todo:
        where, value = todo.pop()
        if isinstance(value, _Constant):
            return f"{value} at {pointer(where)}, where a number or null belongs"
        if isinstance(value, _Pairs):
            seen: set[str] = set()
            for key, _ in value:
                if key in seen:
                    return f"the key at {pointer((*where, key))} occurs twice"
                seen.add(key)
            todo.extend(((*where, key), item) for key, item in reversed(value))
        elif isinstance(value, list):
            todo.extend(((*where, index), item) for index, item in reversed(list(enumerate(value))))
    return "a duplicate key or NaN"  # pragma: no cover


def _schema(document: Any, model: type[Frozen], path: Path, unversioned: int | None) -> tuple[int, int]:
    """Return the schema version of the document and that of the model; 0 and 0 if the model has none."""
    kind = model.__name__.lower()
    if not isinstance(document, dict):
        raise _damaged(path, f"no {kind}: an object was expected, this is {_json_type(document)}")
    if "schema_version" not in model.model_fields:
        return 0, 0
    current: int = model.model_fields["schema_version"].default
    version = document.get("schema_version", unversioned)
    if type(version) is not int:
        raise _damaged(path, f"no harness {kind}: it has no schema_version")
    if version > current:
        raise NewerSchemaError(
            f"{path}: written by schema {version}, this is {current}",
            hint="Upgrade harness: a newer one wrote this file. It was left as it is.",
        )
    return version, current


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _invalid(error: ValidationError, model: type[Frozen], path: Path) -> InvalidInputError:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    lines = [
        f"{pointer(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in found[:ERRORS_SHOWN]
    ]
    if len(found) > ERRORS_SHOWN:
        lines.append(f"and {len(found) - ERRORS_SHOWN} more")
    return _damaged(path, f"no valid {model.__name__.lower()}: " + "; ".join(lines))


def _damaged(path: Path, what: str) -> InvalidInputError:
    return InvalidInputError(f"{path}: {what}", hint="Restore the file, or run the suite again to write it.")


def pointer(location: tuple[str | int, ...]) -> str:
    """The JSON pointer (RFC 6901) of a place in a document; the document itself is `/`."""
    parts = (str(part).replace("~", "~0").replace("/", "~1") for part in location)
    return "/" + "/".join(parts)


def _unsealed(report: Report, stored: Document | None, data: bytes, path: Path) -> Report:
    """Return the report without its digest, which is verified against the file before any migration."""
    bare = report.model_copy(update={"digest": None})
    if report.digest == digest_of(without_digest(data)):
        return bare
    # An editor or a formatter that changed the layout alone left the same report.
    if report.digest == digest_of(unsealed_json(bare if stored is None else stored | {"digest": None})):
        return bare
    raise InvalidInputError(
        f"{path}: its content does not match its digest: it was changed after it was written",
        hint='Restore the file. If the change was meant, set "digest" to null: `show` and `rescore` then '
        "read it, and `check`, `compare` and `baseline set` do with --allow-unsealed.",
    )
