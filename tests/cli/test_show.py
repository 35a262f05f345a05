from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from harness.model.proof import TrainingCheck, TrainingProof
from harness.store.reading import load_report
from harness.store.writing import to_json
from tests.factories import make_report, make_result, make_trial
from tests.output.written import to_table
from tests.running.fakes import forked
from tests.store.forging import sealed

REPORT = make_report()


@pytest.fixture
def report_file(tmp_path: Path) -> Path:
    (tmp_path / "report.json").write_bytes(to_json(REPORT))
    return tmp_path / "report.json"


def _harness(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    if not variables:
        done = forked(*arguments, environment=os.environ)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.encode(), done.stderr.encode()
        )
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=os.environ | variables, timeout=240, check=False)


def test_show_prints_the_table_of_a_file_or_a_run_directory(report_file: Path) -> None:
    for place in (report_file, report_file.parent):
        done = _harness("show", place)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode() == to_table(REPORT)


def test_show_names_variants_whose_stored_numbers_contradict_each_other(tmp_path: Path) -> None:
    document = json.loads(to_json(REPORT))
    result = document["results"][0]
    accuracy = next(each for each in result["measurements"] if each["metric"] == "eval_accuracy")
    accuracy["values"] = [0.99]
    check = TrainingCheck(name="losses", passed=True, found="largest 2e-1", measured=0.2, limit=1e-5)
    proof = make_result(make_trial(), epochs=(), measurements=(), predictions=None).model_copy(
        update={"training": TrainingProof(checks=(check,))}
    )
    document["training_proofs"] = [json.loads(to_json(proof))]
    (tmp_path / "report.json").write_bytes(sealed(document))
    for words in (("show", tmp_path), ("show", tmp_path, "--format", "markdown")):
        done = _harness(*words)
        told = " ".join(done.stdout.decode().replace("\\", "").split())
        assert done.returncode == 0
        assert "stored numbers contradict each other: static: seed 0: eval_accuracy 0.99 is stored" in told
        assert f"stored numbers contradict each other: proof {proof.trial.id}: the check losses" in told


def test_show_json_gives_the_report_back(report_file: Path, tmp_path: Path) -> None:
    done = _harness("show", report_file, "--json")
    (tmp_path / "again.json").write_bytes(done.stdout)
    assert load_report(tmp_path / "again.json") == REPORT
    assert done.stdout == _harness("show", report_file, "--format", "json").stdout


@pytest.mark.parametrize(
    ("name", "begins"),
    [("x.md", b"# padding"), ("x.csv", b'"suite"'), ("x.html", b"<!DOCTYPE"), ("x.txt", b"padding:")],
)
def test_show_writes_a_file_in_the_format_of_its_ending(
    report_file: Path, tmp_path: Path, name: str, begins: bytes
) -> None:
    done = _harness("show", report_file, "--output", tmp_path / name)
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_a_format_beats_an_ending(report_file: Path, tmp_path: Path) -> None:
    assert _harness("show", report_file, "--format", "bmf", "-o", tmp_path / "x.json").returncode == 0
    assert "padding/static" in json.loads((tmp_path / "x.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["missing.json"], 2, b"missing.json: no such file"),
        (["report.json", "--output", "x.pdf"], 2, b"no format is known by the ending '.pdf'"),
        (["report.json", "--json", "--format", "csv"], 2, b"exclude each other"),
        (["report.json", "--format", "tex"], 2, b"'tex' is not one of"),
        (["report.json", "--output", "no/such/x.md"], 74, b"cannot write no/such/x.md"),
    ],
)
def test_what_cannot_be_shown_is_said(
    report_file: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: bytes
) -> None:
    monkeypatch.chdir(report_file.parent)
    done = _harness("show", *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_early_ends_it_without_a_word(report_file: Path) -> None:
    command = [sys.executable, "-m", "harness", "show", str(report_file), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate(timeout=240)
    assert (process.returncode, said) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("name", ["table", "json"])
def test_a_full_device_is_an_error_of_its_own(report_file: Path, name: str) -> None:
    command = [sys.executable, "-m", "harness", "show", str(report_file), "--format", name]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=240, check=False)
    assert done.returncode == 74
    assert b"Traceback" not in done.stderr


def test_the_table_on_a_terminal_that_knows_no_unicode(report_file: Path) -> None:
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "harness", "show", str(report_file)]
    variables = os.environ | {"PYTHONIOENCODING": "ascii", "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    done = subprocess.run(
        command, stdout=inner, stderr=subprocess.PIPE, env=variables, timeout=240, check=False
    )
    os.close(inner)
    with os.fdopen(outer, "rb", buffering=0) as terminal:
        shown = terminal.read(65_536)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"static" in shown
    assert b"\\xb1" in shown


def test_in_a_github_step_the_summary_is_appended(report_file: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    step = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    done = _harness("show", report_file, "--format", "github", **step)
    assert (done.returncode, done.stdout) == (0, b"")
    assert summary.read_text().startswith("before\n# padding")


def test_outside_of_github_no_summary_is_written(report_file: Path, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    _harness("show", report_file, GITHUB_ACTIONS="", GITHUB_STEP_SUMMARY=str(summary))
    assert not summary.exists()


def test_what_an_error_names_reaches_the_terminal_spelt_out(tmp_path: Path) -> None:
    done = _harness("show", tmp_path / "x\x1b]0;title\x07\u202e")
    assert done.returncode == 2
    assert b"\x1b" not in done.stderr
    assert b"\\x1b]0;title\\x07\\u202e" in done.stderr


def test_help_names_every_format() -> None:
    shown = _harness("show", "--help").stdout.decode()
    assert "pytest-benchmark" in shown
    assert "--output" in shown


def test_the_peaks_are_shown_on_request_only(report_file: Path) -> None:
    assert b"roofline" not in _harness("show", report_file).stdout
    done = _harness("show", report_file, "--roofline")
    assert done.returncode == 0
    assert done.stdout.startswith(_harness("show", report_file, "--no-roofline").stdout)
    assert b"no roofline: no trial of this report measured the machine's peaks" in done.stdout


def test_epochs_are_shown_on_request(report_file: Path) -> None:
    plain, asked = (_harness("show", report_file, *given).stdout.decode() for given in ((), ("--epochs",)))
    assert "Epochs" not in plain
    assert asked.startswith(plain.rstrip("\n"))
    assert "means over the seeds" in asked.partition("Epochs")[2]


def test_show_selects_variants_by_their_labels(report_file: Path) -> None:
    shown = _harness("show", report_file, "-k", "not static")
    assert (shown.returncode, shown.stderr) == (0, b"")
    first, *lines = shown.stdout.decode().splitlines()
    assert first.endswith("(-k 'not static': 1 of 2 variants)")
    assert [line.split()[0] for line in lines if line.startswith(("static", "dynamic"))] == ["dynamic"]


@pytest.mark.parametrize("name", ["csv", "junit", "bmf", "html", "markdown"])
def test_a_selection_applies_to_each_format_and_keeps_the_names(report_file: Path, name: str) -> None:
    selected = _harness("show", report_file, "-k", "dynamic", "--format", name).stdout.decode()
    whole = _harness("show", report_file, "--format", name).stdout.decode()
    assert "dynamic" in selected
    assert len(selected) < len(whole)
    if name in ("csv", "junit"):
        assert {line for line in selected.splitlines() if "testsuite" not in line} < set(whole.splitlines())


def test_a_selection_of_json_or_of_no_variant_is_refused(report_file: Path) -> None:
    json_refused = _harness("show", report_file, "-k", "static", "--json")
    assert json_refused.returncode == 2
    assert b"digest covers the whole report" in json_refused.stdout + json_refused.stderr
    unknown = _harness("show", report_file, "-k", "statik")
    assert (unknown.returncode, unknown.stdout) == (2, b"")
    assert b"Did you mean static?" in unknown.stderr


def test_show_writes_the_trials_as_a_parquet_file(report_file: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    file = tmp_path / "trials.parquet"
    done = _harness("show", report_file, "-k", "static", "-o", file)
    assert (done.returncode, done.stdout) == (0, b"")
    table = parquet.read_table(file)
    listed = csv.DictReader(io.StringIO(_harness("show", report_file, "--format", "csv").stdout.decode()))
    rows = [row for row in listed if row["padding"] == "static"]
    assert table.column_names == list(rows[0])
    assert table["trial"].to_pylist() == [row["trial"] for row in rows]
    assert table["train_seconds"].to_pylist() == [float(row["train_seconds"]) for row in rows]
    assert table["energy_joules"].to_pylist() == [None] * len(rows)
    assert str(table.schema.field("energy_joules").type) == "double"


def test_a_parquet_file_needs_pyarrow_and_the_error_tells_what_to_do(
    report_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "pyarrow.py").write_text("raise ImportError\n")
    done = _harness("show", report_file, "-o", tmp_path / "x.parquet", PYTHONPATH=str(tmp_path))
    assert (done.returncode, (tmp_path / "x.parquet").exists()) == (69, False)
    assert done.stderr.decode().splitlines() == [
        "error: a Parquet file needs pyarrow, which is not installed",
        "Install pyarrow, or the extra `train` of harness, which has it; or write CSV: -o x.csv.",
    ]


def test_show_sorts_rows_and_announces_hidden_columns(report_file: Path) -> None:
    done = _harness("show", report_file, "--sort", "variant", "--columns", "f1,status")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert next(line for line in lines if line.startswith("variant")).split() == ["variant", "F1", "status"]
    assert [line.split()[0] for line in lines if line.startswith(("static", "dynamic"))] == [
        "dynamic",
        "static",
    ]
    (hidden,) = (line for line in lines if line.startswith("- hidden: "))
    assert "accuracy" in hidden
    assert hidden.endswith("; --columns shows them")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--columns", "F1,acuracy"), b"did you mean accuracy?"),
        (("--sort", "acuracy"), b"did you mean accuracy?"),
        (("--sort", "remarks"), b"this column has no order"),
        (("--sort", "F1", "--format", "csv"), b"csv has none"),
    ],
)
def test_a_column_that_cannot_be_used_is_refused(
    report_file: Path, arguments: tuple[str, ...], why: bytes
) -> None:
    done = _harness("show", report_file, *arguments)
    assert (done.returncode, done.stdout) == (2, b"")
    assert why in done.stderr
