"""Reading a large report in parts gives the same report as reading it whole, or leaves it to the latter."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import InvalidInputError
from harness.model.arrays import Logits
from harness.model.measurements import measured, unmeasured
from harness.model.quality import Predictions
from harness.model.results import Report
from harness.model.seeds import Seed, SeedRoles
from harness.store.large_report import read_large
from harness.store.reading import load_report
from harness.store.results_process import ResultsProcess
from harness.store.writing import NO_DIGEST, digest_of, to_json
from tests.factories import make_environment, make_report, make_result, make_trial

# The beginning of a list of several values.
STEPS = b'"unit": "s",\n          "goal": "min",\n          "values": ['


@pytest.fixture
def report() -> Report:
    results = list(make_report().results)
    failed = make_result(make_trial("bucketed"), status="failed", reason='quotes " and\n    },\n    {')
    return make_report([*results, failed])


def write(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path


def test_it_is_the_same_report(tmp_path: Path, report: Report) -> None:
    path = write(tmp_path / "report.json", to_json(report))
    found = read_large(path, least=0)
    assert found == load_report(path) == report
    assert found is not None
    assert to_json(found) == path.read_bytes()


FLOATS = st.floats(-1e300, 1e300)
ROWS = st.integers(1, 4).flatmap(
    lambda classes: st.lists(st.tuples(*[FLOATS] * classes), min_size=1, max_size=5)
)
TRIALS = st.lists(st.tuples(ROWS, st.lists(st.floats(1e-9, 1e9), max_size=5)), min_size=1, max_size=4)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TRIALS)
def test_any_numbers_are_those_of_the_whole_file(
    tmp_path: Path, trials: list[tuple[list[tuple[float, ...]], list[float]]]
) -> None:
    results = [
        make_result(make_trial(seed=seed)).model_copy(
            update={
                "predictions": Predictions(
                    example_ids=tuple(range(len(rows))), labels=(0,) * len(rows), logits=Logits(rows)
                ),
                "measurements": (
                    measured("train_step_seconds", *steps)
                    if steps
                    else unmeasured("train_step_seconds", "none"),
                    measured("train_seconds", 1.0),
                ),
            }
        )
        for seed, (rows, steps) in enumerate(trials)
    ]
    path = write(tmp_path / "report.json", to_json(make_report(results)))
    whole = load_report(path)
    found = read_large(path, least=0)
    assert found is not None
    assert found == whole
    assert to_json(found) == path.read_bytes()
    for one, other in zip(found.results, whole.results, strict=True):
        assert one.value("train_step_seconds") == other.value("train_step_seconds")
        assert one.measurement("train_step_seconds") == other.measurement("train_step_seconds")


def test_equal_parts_are_kept_once(tmp_path: Path, report: Report) -> None:
    found = read_large(write(tmp_path / "report.json", to_json(report)), least=0)
    assert found is not None
    one, two = found.results[:2]
    assert one.environment is not None
    assert two.environment is not None
    assert one.environment.packages is two.environment.packages
    assert one.checkpoint is two.checkpoint
    assert one.trial.train is two.trial.train
    assert one.predictions is not None
    assert two.predictions is not None
    assert one.predictions.labels is two.predictions.labels


def test_environments_that_differ_in_their_load_share_their_parts(tmp_path: Path) -> None:
    loads: list[float | None] = [0.5, 2.0, None]
    results = [
        make_result(make_trial(seed=seed), environment=make_environment(load_average=load))
        for seed, load in enumerate(loads)
    ]
    path = write(tmp_path / "report.json", to_json(make_report(results)))
    found = read_large(path, least=0)
    assert found is not None
    environments = [result.environment for result in found.results]
    assert [each and each.load_average for each in environments] == loads
    assert len({id(each and each.packages) for each in environments[:2]}) == 1


def test_trials_share_all_but_their_seeds(tmp_path: Path) -> None:
    seeds: list[Seed] = [0, 7, 2**32 - 1, SeedRoles(init=1, order=2)]
    report = make_report([make_result(make_trial(seed=seed)) for seed in seeds])
    found = read_large(write(tmp_path / "report.json", to_json(report)), least=0)
    assert found == report
    assert found is not None
    assert [result.trial.id for result in found.results] == [result.trial.id for result in report.results]
    assert len({id(result.trial.train) for result in found.results}) == 1


def test_measurements_of_other_reasons_or_numbers_of_values_are_told_apart(tmp_path: Path) -> None:
    steps = [measured("train_step_seconds", *[1.0] * count) for count in (1, 2, 3, 2)]
    unknown = [unmeasured("energy_joules", reason) for reason in ("one", "two", "one", "two")]
    results = [
        make_result(make_trial(seed=seed)).model_copy(update={"measurements": pair})
        for seed, pair in enumerate(zip(steps, unknown, strict=True))
    ]
    path = write(tmp_path / "report.json", to_json(make_report(results)))
    assert read_large(path, least=0) == make_report(results)


def test_a_list_of_spaces_is_not_taken_for_a_value(tmp_path: Path) -> None:
    results = [
        make_result(make_trial(seed=seed)).model_copy(
            update={"measurements": (measured("train_seconds", 2.0),)}
        )
        for seed in range(2)
    ]
    text = sealed_again(to_json(make_report(results)), b'"values": [2.0]', b'"values": [ ]', last=True)
    path = write(tmp_path / "report.json", text)
    assert read_large(path, least=0) is None
    with pytest.raises(InvalidInputError):
        load_report(path)


def test_garbage_is_collected_again_afterwards(tmp_path: Path, report: Report) -> None:
    path = write(tmp_path / "report.json", to_json(report))
    for text in (path.read_bytes(), path.read_bytes()[:-9]):
        read_large(write(path, text), least=0)
        assert gc.isenabled()


def test_trials_with_other_examples_keep_theirs(tmp_path: Path) -> None:
    results = [make_result(make_trial(seed=seed), examples=40 + seed) for seed in range(3)]
    path = write(tmp_path / "report.json", to_json(make_report(results)))
    assert read_large(path, least=0) == make_report(results)


def test_a_small_file_is_left_to_the_reader_of_whole_files(tmp_path: Path, report: Report) -> None:
    assert read_large(write(tmp_path / "report.json", to_json(report))) is None
    assert read_large(tmp_path / "nothing.json") is None
    assert read_large(tmp_path) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"duration_s": 12.5', b'"duration_s": 12.6'),
        (b'"duration_s": 12.5', b'"duration_s": NaN'),
        (b'"duration_s": 12.5', b'"duration_s": 1.5, "duration_s": 12.5'),
        (b'"status": "completed"', b'"status": "finished"'),
        (b'"digest": "sha256:', b'"digest": "sha256:0'),
        (b'"harness_version": "0.1.0"', b'"harness_version": "0.1.1"'),
    ],
)
def test_a_changed_file_is_left_to_the_reader_of_whole_files(
    tmp_path: Path, report: Report, before: bytes, after: bytes
) -> None:
    text = to_json(report)
    assert before in text
    assert read_large(write(tmp_path / "report.json", text.replace(before, after, 1)), least=0) is None


def test_a_cut_appended_or_reformatted_file_is_left_to_the_reader_of_whole_files(
    tmp_path: Path, report: Report
) -> None:
    text = to_json(report)
    for other in (
        text[: len(text) // 2],
        text[:-2],
        text + b"{}",
        json.dumps(json.loads(text)).encode(),
        b"[]",
    ):
        assert read_large(write(tmp_path / "report.json", other), least=0) is None
    assert read_large(write(tmp_path / "report.json", to_json(make_report([]))), least=0) is None


def sealed_again(text: bytes, before: bytes, after: bytes, *, last: bool = False) -> bytes:
    """The report, changed at the first place or the last, with the digest of its new content, as forged."""
    assert before in text
    digest = json.loads(text)["digest"].encode()
    bare = text.replace(b'"digest": "%s"' % digest, NO_DIGEST, 1)
    start, _, end = bare.rpartition(before) if last else bare.partition(before)
    bare = start + after + end
    return bare.replace(NO_DIGEST, b'"digest": "%s"' % digest_of(bare).encode(), 1)


def test_a_report_that_is_sealed_again_is_read(tmp_path: Path, report: Report) -> None:
    text = sealed_again(to_json(report), b'"duration_s": 12.5', b'"duration_s": 12.6')
    found = read_large(write(tmp_path / "report.json", text), least=0)
    assert found is not None
    assert found.results[0].duration_s == 12.6


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"schema_version": 2,', b""),
        (b'"schema_version": 2,', b'"schema_version": 3,'),
        (b'"schema_version": 2,', b'"schema_version": 2.0,'),
        (b'"duration_s": 12.5', b'"duration_s": 1.5, "duration_s": 12.5'),
        (b'"run": "', b'"run": "0", "run": "'),
        (b'"matrix": {', b'"matrix": {"[1]": 0, "[1]": 0, '),
        (b'"matrix": {', b'"matrix": {"[1]": 0, "[\\u0031]": 0, '),
        (b'"logits": [', b'"logits": [0, '),
        (b'"logits": [', b'"logits": [[0 1], '),
        (b'"logits": [', b'"logits": [[NaN, 1], '),
        (b'"labels": [', b'"labels": [1.5e, '),
        (b'"logits": [', b'"logits": [[1e999, 1], '),
        (b'"logits": [', b'"logits": [[1, 2, 3], '),
        (b'"logits": [', b'"logits": [[[1], [2]], '),
        (STEPS, STEPS + b'"1", '),
        (STEPS, STEPS + b"true, "),
        (STEPS, STEPS + b"[1], "),
        (STEPS, STEPS + b"-1.0, "),
        (STEPS, STEPS + b"1e999, "),
        (STEPS, STEPS + 400 * b"1" + b", "),
        (b'"metric": "eval_f1"', b'"metric": "eval_accuracy"'),
        (b'"values": [0.74]', b'"values": [0.74, 0.74]'),
        (b'"values": [0.74]', b'"values": [0.74'),
        (b'"values": [0.74]', b'"values": [1.74]'),
        (b'"values": [0.74]', b'"values": []'),
        (b'"values": [0.74]', b'"values": [ ]'),
        (b'"values": [0.74]', b'"values": [0.74,]'),
        (b'"seed": 0\n', b'"seed": 00\n'),
        (b'"seed": 0\n', b'"seed": -1\n'),
        (b'"seed": 0\n', b'"seed": 0.0\n'),
        (b'"seed": 0\n', b'"seed": 4294967296\n'),
        (b'"seed": 0\n', b'"seed": 0, "seed": 0\n'),
        (b'\n      "trial": {', b'\n      "tried": {'),
        (b'\n      "measurements": [', b'\n      "measurements": [],\n      "measurements": ['),
        (b'"checkpoint": {', b'"check\\u0070oint": null,\n      "checkpoint": {'),
        (b'\n        "train": {', b'\n        "tr\\u0061in": {},\n        "train": {'),
        (b'\n        "train": {', b'\n        "train": {},\n        "train": {'),
        (b'"log_tail": ""', b'"log_tail": "\xff"'),
        (b'"log_tail": ""', b'"log_tail": "\xed\xa0\x80"'),
        (b'"duration_s": 12.5', b'"duration_s": ' + 5_000 * b"[" + 5_000 * b"]"),
        (b"{\n  ", b"\xef\xbb\xbf{\n  "),
    ],
)
def test_what_the_reader_of_whole_files_refuses_is_refused_whatever_its_digest(
    tmp_path: Path, report: Report, before: bytes, after: bytes, last: bool
) -> None:
    path = write(tmp_path / "report.json", sealed_again(to_json(report), before, after, last=last))
    assert read_large(path, least=0) is None
    with pytest.raises(InvalidInputError):
        load_report(path)


def test_a_report_without_any_one_of_its_commas_is_refused_whatever_its_digest(tmp_path: Path) -> None:
    text = to_json(make_report([make_result(make_trial(seed=seed)) for seed in range(2)]))
    places = [place for place in range(len(text)) if text[place : place + 2] == b",\n"]
    digest = json.loads(text)["digest"].encode()
    assert len(places) > 300
    # Each line of a result is laid out like those of the others.
    for place in places[:8] + places[-200:]:
        bare = (text[:place] + text[place + 1 :]).replace(b'"%s"' % digest, b"null", 1)
        sealed = bare.replace(NO_DIGEST, b'"digest": "%s"' % digest_of(bare).encode(), 1)
        assert read_large(write(tmp_path / "report.json", sealed), least=0) is None, sealed[
            place - 40 : place
        ]


def test_a_file_beyond_the_limit_of_reports_is_refused(tmp_path: Path, report: Report) -> None:
    path = write(tmp_path / "report.json", to_json(report))
    size = path.stat().st_size
    assert read_large(path, least=0, most=size) == report
    assert read_large(path, least=0, most=size - 1) is None


def test_a_report_comes_through_a_named_pipe(tmp_path: Path, report: Report) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # More than the buffer of a pipe, so that the writer meets a reader that has left.
    long = report.model_copy(update={"notes": ("a note " * 100_000,)})
    writer = threading.Thread(target=pipe.write_bytes, args=(to_json(long),), daemon=True)
    writer.start()
    time.sleep(0.3)
    assert read_large(pipe, least=0) is None
    time.sleep(0.3)
    assert load_report(pipe) == long
    writer.join()


def test_a_list_of_results_in_a_nested_object_is_not_taken_for_the_report_s(
    tmp_path: Path, report: Report
) -> None:
    text = to_json(report)
    start = text.index(b'"results": [\n    {')
    inner = text[start : text.rindex(b"\n    }\n  ]") + len(b"\n    }\n  ]")]
    nested = sealed_again(
        text.replace(inner, b'"results": []'), b'"matrix": {', b'"matrix": {' + inner + b", "
    )
    assert load_report(write(tmp_path / "whole.json", nested)).results == ()
    assert read_large(write(tmp_path / "report.json", nested), least=0) is None


def many(count: int = 40) -> Report:
    return make_report([make_result(make_trial(seed=seed), examples=20 + seed % 3) for seed in range(count)])


@pytest.mark.parametrize("helpers", [0, 1, 2])
def test_other_processes_parse_the_same_results(tmp_path: Path, helpers: int) -> None:
    path = write(tmp_path / "report.json", to_json(many()))
    # A batch for each result: all processes take part.
    found = read_large(path, least=0, helpers=[ResultsProcess() for _ in range(helpers)], batch_bytes=1)
    assert found == many()
    assert not psutil.Process().children()


def test_a_process_takes_what_waits_for_it(tmp_path: Path) -> None:
    path = write(tmp_path / "report.json", to_json(many()))
    # One batch in all, for which nobody else is free.
    helper = ResultsProcess()
    assert read_large(path, least=0, helpers=[helper]) == many()
    assert {place: len(results) for place, results in helper.results().items()} == {0: 40}


@pytest.mark.parametrize(
    "script",
    [
        "exit 1",
        "head -c 3000 > /dev/null",
        "echo printed by a start-up file; cat > /dev/null",
        # Answers of another kind, and of fewer results.
        "head -c 3000 > /dev/null; printf '\\200\\005N.'; cat > /dev/null",
        "head -c 3000 > /dev/null; printf '\\200\\005).'; cat > /dev/null",
    ],
)
def test_what_a_process_does_not_parse_is_parsed_here(tmp_path: Path, script: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    path = write(tmp_path / "report.json", to_json(many()))
    for batch_bytes in (1, 2**22):
        found = read_large(path, least=0, helpers=[ResultsProcess(str(python))], batch_bytes=batch_bytes)
        assert found == many()
    assert read_large(path, least=0, helpers=[ResultsProcess(str(tmp_path / "nothing"))]) == many()
    assert not psutil.Process().children()


def test_a_result_that_another_process_cannot_parse_is_left_to_the_reader_of_whole_files(
    tmp_path: Path,
) -> None:
    for last in (False, True):
        text = sealed_again(to_json(many()), b'"duration_s": 12.5', b'"duration_s": "12.5"', last=last)
        path = write(tmp_path / "report.json", text)
        assert read_large(path, least=0, helpers=[ResultsProcess()], batch_bytes=1) is None


def test_the_current_directory_gives_another_process_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "report.json", to_json(many()))
    for name in ("pickle", "numpy", "harness", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("open('was-run', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "pickle.py"))
    helper = ResultsProcess()
    assert read_large(path, least=0, helpers=[helper]) == many()
    assert helper.results()
    assert not (tmp_path / "was-run").exists()


def test_a_system_without_room_for_another_process_or_thread_reads_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    path = write(tmp_path / "report.json", to_json(many()))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert read_large(path, least=0, helpers=[ResultsProcess()]) == many()
    assert not psutil.Process().children()
