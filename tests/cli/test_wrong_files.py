"""Files in the wrong place and mistyped names: the message names the file, its kind and what to type."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.cli import main
from harness.store.writing import to_json
from tests.factories import make_report, make_result, make_trial
from tests.suite.suite_texts import SMALL

SMALL_RUNS = "reports/small"
RUNS = ("20260101T000000Z-abcdef", "20260102T000000Z-abcdef")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a suite, a report, and two runs of a suite in `reports/small`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "small.yaml").write_text(SMALL)
    made = [make_result(make_trial(padding)) for padding in ("static", "dynamic")]
    (tmp_path / "report.json").write_bytes(to_json(make_report(made)))
    for run in RUNS:
        (tmp_path / "reports" / "small" / run).mkdir(parents=True)
        (tmp_path / "reports" / "small" / run / "report.json").write_bytes(
            to_json(make_report(made, run=run))
        )
    (tmp_path / "reports" / "baselines").mkdir()
    (tmp_path / "reports" / "baselines" / "main.json").write_bytes(to_json(make_report(made)))
    (tmp_path / "empty.json").touch()
    (tmp_path / "no_trials.json").write_bytes(to_json(make_report([])))
    return tmp_path


def harness(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.mark.parametrize(
    ("line", "message"),
    [
        # A file of another kind.
        ("run report.json", "this is a report, not a suite\nPrint it with: harness show report.json"),
        ("plan report.json", "report.json: this is a report, not a suite"),
        ("ab report.json small.yaml", "report.json: this is a report, not a suite"),
        (f"run reports/small/{RUNS[0]}", f"It is a run: harness show reports/small/{RUNS[0]}"),
        ("show small.yaml", "this is a suite, not a report\nRun it with `harness run small.yaml`"),
        ("compare small.yaml report.json", "small.yaml: this is a suite, not a report"),
        ("check small.yaml", "small.yaml: this is a suite, not a report"),
        ("check reports/small", f"not a run\nGive one of them; the newest is {SMALL_RUNS}/{RUNS[1]}"),
        ("show empty.json", "empty.json: the file is empty: it is no report"),
        ("check empty.json", "empty.json: the file is empty: it is no report"),
        # Values of a suite.
        ("plan small.yaml -s matrix.device=[gpu]", "found the text 'gpu' (did you mean cuda?)"),
        ("plan small.yaml -s matrix.seed", "-s matrix.seed: the value is missing: write matrix.seed=VALUE"),
        ("plan small.yaml -s sed", "-s sed: expected KEY=VALUE (did you mean matrix.seed?)"),
        ("plan small.yaml -s task.data_dir=small.yaml", "not a folder: small.yaml\nName its folder: ."),
        # An empty text: mostly a variable of the shell that is not set.
        ("plan small.yaml -s task.data_dir=", "the value is empty: write task.data_dir=VALUE"),
        ("run small.yaml --reports=", "'--reports': the path is empty"),
        ("show report.json --output=", "'-o' / '--output': the path is empty"),
        ("check report.json --baseline=", "the name of the baseline is empty\nGive a report"),
        ("check report.json --history=", "the name of the baseline is empty\nGive a report"),
        # An override given to -o.
        ("run small.yaml -o matrix.seed=[0]", "Set a value with -s: -s 'matrix.seed=[0]'"),
        ("run small.yaml -o task.data_dir=/no/such.json", "-s: -s 'task.data_dir=/no/such.json'"),
        ("plan small.yaml -o train.max_steps=1", "Set a value with -s: -s 'train.max_steps=1'"),
        ("prove small.yaml -o train.max_steps=1", "Set a value with -s: -s 'train.max_steps=1'"),
        # Mistyped names.
        ("rnu small.yaml", "there is no command 'rnu' (did you mean run?)"),
        ("baseline lst", "there is no command 'lst' (did you mean list?)"),
        ("run small.yaml --asets hub", "there is no option '--asets' (did you mean --assets?)"),
        ("run small.yaml --assets embed", "(did you mean embedded?)"),
        ("show report.json --format mark", "(did you mean markdown?)"),
        ("compare report.json report.json --metric eval_acc", "(did you mean eval_accuracy?)"),
        ("compare report.json report.json --margin eval_acc=1%", "(did you mean eval_accuracy?)"),
        ("compare report.json report.json --allow-mismatch metric", "(did you mean metric_version?)"),
        ("compare report.json --by pading", "there is no axis 'pading' (did you mean padding?)"),
        ("compare report.json --by padding --baseline dinamic", "padding 'dinamic' (did you mean dynamic?)"),
        ("check report.json -g eval_acc>=0.5", "'eval_acc' (did you mean eval_accuracy?)"),
        ("ab small.yaml --by pading", "there is no axis 'pading' (did you mean padding?)"),
        ("fetch minlm", "there is no checkpoint 'minlm' to fetch (did you mean minilm?)"),
        ("schema repot", "(did you mean report?)"),
    ],
)  # fmt: skip
def test_a_mistake_ends_with_2_and_a_message_that_says_what_to_type(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness(*line.split()) == 2
    output, errors = capsys.readouterr()
    # `check` writes its verdict before the error.
    assert output == "" or line.startswith("check ")
    assert errors.splitlines()[0].startswith("error: ")
    assert message in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["show", "plan", "check", "compare", "merge", "history"])
def test_an_empty_argument_is_not_the_current_folder(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness(command, "") == 2
    assert "the path is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["compare report.json", "check report.json"])
def test_a_mistyped_baseline_is_suggested(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness(*command.split(), "--baseline", "mian") == 3
    assert "there is no baseline mian (did you mean main?)" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["reports/small", "reports"])
def test_of_a_folder_of_runs_the_newest_is_shown_and_named(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness("show", place) == 0
    output, errors = capsys.readouterr()
    assert output.startswith("padding: 2 variants")
    assert errors == f"{place} is a folder of runs; this is the newest: reports/small/{RUNS[1]}\n"


def test_a_run_without_a_report_is_told_from_a_folder_without_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped = folder / "reports" / "small" / "20260103T000000Z-abcdef"
    shutil.copytree(folder / "reports" / "small" / RUNS[0], stopped)
    (stopped / "report.json").rename(stopped / "plan.json")
    assert harness("show", str(stopped)) == 2
    assert "this run has no report yet" in capsys.readouterr().err
    assert harness("show", "cache") == 2
    assert "no such file" in capsys.readouterr().err
    # The newest run with a report is shown.
    assert harness("show", "reports/small") == 0
    assert RUNS[1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("show no_trials.json", 0, "0 trials of glue/mrpc: nothing has run"),
        ("check no_trials.json", 1, "no trial"),
        ("compare no_trials.json report.json", 3, "no such variant"),
        ("compare no_trials.json --by padding", 3, "the report contains no trial"),
        ("baseline set no_trials.json x", 2, "no trial"),
    ],
)
def test_a_report_without_trials_is_named_as_one(
    line: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert harness(*line.split()) == code
    assert message in "".join(capsys.readouterr())


def test_an_output_file_may_have_an_equals_sign(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness("show", "report.json", "-o", "seed=0.md") == 0
    assert (folder / "seed=0.md").read_text().startswith("# padding")
    assert capsys.readouterr().err == "wrote seed=0.md\n"


@pytest.mark.parametrize(
    "command", ["show nowhere.json", "plan report.json", "compare nowhere.json small.yaml"]
)
def test_json_is_valid_on_failure(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness(*command.split(), "--json") == 2
    output, errors = capsys.readouterr()
    assert json.loads(output)["exit_code"] == 2
    assert errors.startswith("error: ")


def test_a_kept_baseline_is_found_in_the_folder_of_reports(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "reports").rename(folder / "elsewhere")
    for command in ("compare", "check"):
        assert harness(command, "report.json", "--baseline", "main", "--reports", "elsewhere", "-v") == 0
        assert "read elsewhere/baselines/main.json: run " in capsys.readouterr().err
