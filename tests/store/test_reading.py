from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harness
from harness.errors import HarnessError, InvalidInputError, StorageError
from harness.model.results import UNSEALED, Report
from harness.model.trial import Trial
from harness.model.values import Padding
from harness.store.reading import NewerSchemaError, load_report, parse_strict, read_bytes, read_strict
from harness.store.writing import to_json, unsealed_json
from tests.factories import make_report, make_result, make_suite, make_trial

REPORT = make_report(
    [
        make_result(make_trial("static"), examples=6, notes=("a note",)),
        make_result(make_trial("dynamic"), status="oom"),
    ]
)
TEXT = to_json(REPORT)
# A day from the ends of the calendar: every moment exists in every time zone.
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)
MUTATIONS = 500


def load(data: bytes, folder: Path) -> Report:
    file = folder / "report.json"
    file.write_bytes(data)
    return load_report(file)


def refused(data: bytes, folder: Path) -> str:
    """The message a file with this content is refused with; it names the file."""
    with pytest.raises(InvalidInputError) as caught:
        load(data, folder)
    assert caught.value.exit_code == 2
    assert caught.value.message.startswith(f"{folder / 'report.json'}: ")
    assert caught.value.hint
    return caught.value.message


def test_a_report_comes_back_as_it_was_from_its_file_and_from_its_run_directory(tmp_path: Path) -> None:
    assert load(TEXT, tmp_path) == REPORT
    assert load_report(tmp_path) == REPORT
    assert harness.load_report(tmp_path) == REPORT


def test_a_report_can_come_through_a_pipe(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, TEXT)
    os.close(write)
    assert load_report(Path(f"/dev/fd/{read}")) == REPORT
    os.close(read)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 1])
def test_a_report_truncated_anywhere_is_refused_with_the_byte(tmp_path: Path, share: float) -> None:
    size = int((len(TEXT) - 2) * share)
    assert f"not valid JSON at byte {size} of {size}" in refused(TEXT[:size].rstrip(b" \n"), tmp_path) or (
        "not valid JSON at byte" in refused(TEXT[:size], tmp_path)
    )


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            b'"attempts": 1',
            b'"attempts": 1, "attempts": 2',
            "the key at /results/0/attempts occurs twice",
        ),
        (b'"schema_version": 2', b'"run": "x", "schema_version": 2', "the key at /run occurs twice"),
        (b'"duration_s": 12.5', b'"duration_s": NaN', "NaN at /results/0/duration_s"),
        (b'"duration_s": 12.5', b'"duration_s": -Infinity', "-Infinity at /results/0/duration_s"),
        (b'"duration_s": 12.5', b'"duration_s": 1e999', "/results/0/duration_s"),
        (
            b'"duration_s": 12.5',
            b'"duration_s": "12.5"',
            "/results/0/duration_s: Input should be a valid number",
        ),
        (b'"attempts": 1', b'"attempts": 1.0', "/results/0/attempts"),
        (b'"attempts": 1', b'"attempts": true', "/results/0/attempts"),
        (b'"attempts": 1', b'"attempt": 1', "/results/0/attempt: Extra inputs are not permitted"),
        (b'"log_tail": ""', b'"log_tail": "\\ud800"', "Invalid JSON"),
        (b'"log_tail": ""', b'"log_tail": "\xff"', "not UTF-8 at byte "),
        (b'"log_tail": ""', b'"log_tail": "\n"', "not valid JSON at byte "),
        (b'"schema_version": 2', b'"schema_version": true', "it has no schema_version"),
        (b'"schema_version": 2', b'"schema_version": 0', "/schema_version"),
        (b'"seed": [0, 1, 2]', b'"seed": [1e999]', "/suite"),
        (b'"seed": [0, 1, 2]', b'"seed": ' + b"9" * 5_000, "not valid JSON"),
        (b'"seed": [0, 1, 2]', b'"seed": ' + b"[" * 100_000 + b"]" * 100_000, "not valid JSON"),
        (b'"seed": [0, 1, 2]', b'"seed": [0, 1, 3]', "does not match its digest"),
        (b'"torch": "2.13.0",', b"", "does not match its digest"),
        (b'"a note"', b"", "does not match its digest"),
    ],
)
def test_damage_is_refused_by_its_place(tmp_path: Path, old: bytes, new: bytes, says: str) -> None:
    assert old in TEXT
    assert says in refused(TEXT.replace(old, new, 1), tmp_path)


@pytest.mark.parametrize("number", ["3", "4", "99999999999999999999"])
def test_a_newer_schema_is_refused_with_a_sentence(tmp_path: Path, number: str) -> None:
    newer = TEXT.replace(b'"schema_version": 2', f'"schema_version": {number}, "new": {{}}'.encode(), 1)
    assert f"written by schema {number}, this is 2" in refused(newer, tmp_path)
    with pytest.raises(NewerSchemaError, match="Upgrade harness"):
        load(newer, tmp_path)
    assert (tmp_path / "report.json").read_bytes() == newer


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"name: x\nmatrix: {}\n", "this is a suite, not a report"),
        (b"\x00", "not valid JSON at byte 0"),
        (b"\xef\xbb\xbf{}", "not valid JSON at byte 0"),
        ('{"é": nope}'.encode(), "not valid JSON at byte 7 of 12"),
        (b"null", "an object was expected, this is null"),
        (b"[]", "an object was expected, this is an array"),
        (b"3", "an object was expected, this is a number"),
        (b"true", "an object was expected, this is a boolean"),
        (b'"x"', "an object was expected, this is a string"),
        (b"{}", "no harness report: it has no schema_version"),
        (b'{"benchmarks": [], "version": "5.1"}', "no harness report: it has no schema_version"),
        (b'{"schema_version": 2}', "no valid report"),
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: bytes, says: str) -> None:
    assert says in refused(text, tmp_path)


def test_many_errors_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    message = refused(b'{"schema_version": 2, "a": 1, "b/c~": 2}', tmp_path)
    assert "/harness_version: Field required" in message
    assert "and 3 more" in message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nowhere: no such file"):
        load_report(tmp_path / "nowhere")
    with pytest.raises(InvalidInputError, match=r"report\.json: no such file"):
        load_report(tmp_path)
    with pytest.raises(InvalidInputError, match="not a regular file"):
        read_strict(tmp_path, Report)
    with pytest.raises(InvalidInputError, match="not a regular file"):
        load_report(Path("/dev/zero"))
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInputError, match="no such file"):
        load_report(tmp_path / "file" / "report.json")
    with pytest.raises(StorageError, match="File name too long"):
        load_report(tmp_path / ("x" * 300))


def test_a_pipe_that_gives_more_than_a_report_may_have_is_refused() -> None:
    read, write = os.pipe()
    os.write(write, TEXT[:20_000])
    os.close(write)
    with pytest.raises(InvalidInputError, match="gives more than 0 MiB"):
        read_bytes(Path(f"/dev/fd/{read}"), limit=10_000)
    os.close(read)


def test_a_report_in_another_layout_is_still_the_same_report(tmp_path: Path) -> None:
    document = json.loads(TEXT)
    assert load(json.dumps(document).encode(), tmp_path) == REPORT
    assert load(json.dumps(document, indent=4, sort_keys=False).encode(), tmp_path) == REPORT
    assert load(TEXT.replace(b"\n", b"\r\n"), tmp_path) == REPORT


def test_a_report_edited_on_purpose_is_read_once_its_digest_is_null(tmp_path: Path) -> None:
    document = json.loads(TEXT) | {"run": "edited"}
    assert "does not match its digest" in refused(json.dumps(document).encode(), tmp_path)
    document["digest"] = None
    assert "its digest is null" in refused(json.dumps(document).encode(), tmp_path)
    report = load_report(tmp_path, allow_unsealed=True)
    assert (report.run, report.notes) == ("edited", (UNSEALED,))
    # Reading it again adds nothing.
    (tmp_path / "report.json").write_bytes(unsealed_json(report))
    assert load_report(tmp_path, allow_unsealed=True).notes == (UNSEALED,)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside a JSON document."""
    inside: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [path for key, item in inside for path in ((*at, key), *places(item, (*at, key)))]


def drop(draw: random.Random, text: bytes) -> bytes:
    return _at_random_place(draw, text, lambda parent, key: parent.pop(key))


def swap_type(draw: random.Random, text: bytes) -> bytes:
    values = ["text", 3, 2.5, True, None, [], {}, [1], {"a": 1}, -1, ""]
    return _at_random_place(draw, text, lambda parent, key: parent.__setitem__(key, draw.choice(values)))


def make_nan(draw: random.Random, text: bytes) -> bytes:
    value = float(draw.choice(["nan", "inf", "-inf"]))
    return _at_random_place(draw, text, lambda parent, key: parent.__setitem__(key, value))


def truncate(draw: random.Random, text: bytes) -> bytes:
    return text[: draw.randrange(len(text))]


def duplicate_key(draw: random.Random, text: bytes) -> bytes:
    lines = text.split(b"\n")
    number = draw.choice([at for at, line in enumerate(lines) if line.endswith(b",") and b'": ' in line])
    return b"\n".join([*lines[: number + 1], *lines[number:]])


def flip_byte(draw: random.Random, text: bytes) -> bytes:
    at = draw.randrange(len(text))
    return text[:at] + bytes([draw.randrange(256)]) + text[at + 1 :]


def _at_random_place(draw: random.Random, text: bytes, change: Callable[[Any, Any], object]) -> bytes:
    document = json.loads(text)
    path = draw.choice(places(document))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    change(parent, path[-1])
    return json.dumps(document, indent=2).encode()


KINDS = (drop, swap_type, make_nan, truncate, duplicate_key, flip_byte)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_mutated_report_is_refused_or_equal(tmp_path: Path, kind: Callable[..., bytes]) -> None:
    draw = random.Random(kind.__name__)
    for _ in range(MUTATIONS // len(KINDS) + 1):
        mutated = kind(draw, TEXT)
        try:
            report = load(mutated, tmp_path)
        except InvalidInputError:
            continue
        assert report == REPORT


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_mutated_report_without_a_digest_never_ends_in_another_exception(
    tmp_path: Path, kind: Callable[..., bytes]
) -> None:
    draw = random.Random(f"bare {kind.__name__}")
    bare = json.dumps(json.loads(TEXT) | {"digest": None}, indent=2).encode()
    for _ in range(MUTATIONS // len(KINDS) + 1):
        mutated = kind(draw, bare)
        try:
            (tmp_path / "report.json").write_bytes(mutated)
            report = load_report(tmp_path, allow_unsealed=True)
        except InvalidInputError:
            continue
        assert isinstance(to_json(report), bytes)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_refused_in_our_own_words(data: bytes) -> None:
    with pytest.raises(HarnessError):
        parse_strict(data, Report, Path("report.json"))


finite = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | finite | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
trials = st.builds(
    Trial,
    checkpoint=text,
    device=text,
    padding=st.builds(
        Padding, strategy=st.sampled_from(["static", "dynamic"]), length=st.integers(1, 65_536)
    ),
    seed=st.integers(0, 2**32 - 1),
)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Reports whose free texts and numbers are anything that JSON can carry."""
    results = [
        make_result(
            trial,
            examples=4,
            notes=tuple(draw(st.lists(text, max_size=2))),
            log_tail=draw(text),
            reason=draw(st.none() | text),
            duration_s=draw(st.floats(0, 1e300)),
            started=draw(st.datetimes(FIRST, LAST, timezones=st.timezones())).astimezone(),
        )
        for trial in draw(st.lists(trials, max_size=3, unique_by=lambda trial: trial.id))
    ]
    suite = make_suite(matrix={"train.x": tuple(draw(st.lists(plain, max_size=3)))})
    return make_report(results, run=draw(text), suite=suite, notes=tuple(draw(st.lists(text, max_size=2))))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(report=reports())
def test_any_report_comes_back_equal_and_is_written_the_same_again(report: Report) -> None:
    data = to_json(report)
    again = parse_strict(data, Report, Path("report.json"))
    assert again.model_copy(update={"digest": None}) == report
    assert to_json(again.model_copy(update={"digest": None})) == data
