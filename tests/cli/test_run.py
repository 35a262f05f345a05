"""`harness run`: what it prints where, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.model.results import Report
from harness.store.writing import to_json
from tests.output.written import written
from tests.running.fakes import command, environ, forked, only_report, run_line, start, write_suite


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def run(*arguments: str | Path, cwd: Path, runner: str = "good", **changes: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; a fresh interpreter reads changed variables."""
    if not changes:
        done = forked(*run_line(*arguments, runner=runner), cwd=cwd)
        return done.returncode, done.stdout, done.stderr
    process = start(*arguments, cwd=cwd, runner=runner, **changes)
    output, errors = process.communicate(timeout=240)
    return process.returncode, output, errors


def test_the_table_is_on_standard_output_and_all_else_on_standard_error(tmp_path: Path) -> None:
    code, output, errors = run(write_suite(tmp_path), cwd=tmp_path)
    assert code == 0
    assert "2 completed" in output
    assert "report:" not in output
    assert "report.json" in errors
    assert "[2/2]" in errors


def test_the_first_trial_waits_for_no_import_of_tables_and_statistics() -> None:
    script = (
        "import sys, harness.cli.suite_commands.run; print(*{'numpy', 'scipy', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_json_is_the_report_alone(tmp_path: Path) -> None:
    code, output, _ = run("--json", write_suite(tmp_path), cwd=tmp_path)
    assert code == 0
    assert Report.model_validate_json(output).model_copy(update={"digest": None}) == only_report(
        tmp_path / "reports"
    )
    assert output.encode() == to_json(only_report(tmp_path / "reports"))


def test_a_run_is_written_with_its_raw_values_in_the_format_asked_for(tmp_path: Path) -> None:
    code, output, errors = run("--output", "trials.csv", write_suite(tmp_path), cwd=tmp_path)
    assert (code, output) == (0, "")
    assert "wrote trials.csv" in errors
    rows = list(csv.DictReader((tmp_path / "trials.csv").open(newline="")))
    expected = written(only_report(tmp_path / "reports"), "csv")
    assert rows == list(csv.DictReader(io.StringIO(expected, newline="")))


def test_jobs_marks_the_trials_and_they_run_again_when_their_times_are_to_count(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    code, output, _ = run("--jobs", "2", suite, cwd=tmp_path)
    assert code == 0
    assert "2 at once" in output
    code, output, errors = run("--rerun", "failed", suite, cwd=tmp_path)
    assert code == 0
    assert "2 finished trials will run again: trials at once was 2, is 1" in errors
    assert "at once" not in output


def test_a_trial_that_does_not_complete_makes_the_exit_code_1(tmp_path: Path) -> None:
    code, output, _ = run(write_suite(tmp_path, [0, 102]), cwd=tmp_path, runner="hostile")
    assert code == 1
    assert "1 failed" in output


def test_json_is_valid_even_on_failure(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    code, output, errors = run("--json", "-s", "matrix.device=[cuda:7]", suite, cwd=tmp_path)
    assert code == 69
    assert json.loads(output)["exit_code"] == 69
    assert "cuda:7: not here" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.yaml"], 2, "missing.yaml"),
        (["fake.yaml", "-s", "matrix.sed=[0]"], 2, "sed"),
        (["fake.yaml", "--trial-timeout", "0"], 2, "trial-timeout"),
        (["fake.yaml", "--reports", "fake.yaml"], 2, "fake.yaml"),
        (["fake.yaml", "--reports", "/proc/nowhere"], 74, "/proc/nowhere"),
        (["fake.yaml", "--reports", "inside"], 2, "lies inside the run"),
        (["fake.yaml", "-s", "matrix.device=[cuda:7]", "--strict"], 69, "cuda:7"),
        (["fake.yaml", "-s", "matrix.device=[cpu, cuda:7]", "--strict"], 69, "2 of 4 trials cannot run"),
        (["fake.yaml", "-s", "task.max_length=4096"], 2, "4096 is more than the 512 tokens"),
        (["fake.yaml", "-s", "train.per_device_train_batch_size=0"], 2, "per_device_train_batch_size"),
    ],
)
def test_what_cannot_run_ends_with_its_code_and_a_sentence(
    tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    write_suite(tmp_path)
    (tmp_path / "inside" / "trials").mkdir(parents=True)
    (tmp_path / "inside" / "plan.json").touch()
    found, output, errors = run(*arguments, cwd=tmp_path)
    assert found == code, errors
    assert words in errors
    assert output == ""
    assert "Traceback" not in errors


def test_of_eight_starts_at_once_one_runs_and_the_others_are_told_who_holds_it(tmp_path: Path) -> None:
    suite, release = write_suite(tmp_path, range(2)), tmp_path / "release"
    processes = [start(suite, cwd=tmp_path, runner="held", FAKE_RELEASE=str(release)) for _ in range(8)]
    while sum(process.poll() is None for process in processes) > 1:
        time.sleep(0.05)
    release.touch()
    ended = [(process.communicate(timeout=240)[1], process.returncode) for process in processes]
    assert sorted(code for _, code in ended) == [0] + [75] * 7
    assert all("is locked by process" in errors for errors, code in ended if code == 75)
    assert len(only_report(tmp_path / "reports").results) == 2


def test_a_second_start_may_wait_for_the_first(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, [0])
    first = start(suite, cwd=tmp_path, runner="slow", FAKE_SECONDS="1.5")
    while not list(tmp_path.glob("reports/*/*/trials/*/progress.jsonl")):
        assert first.poll() is None
    code, _, errors = run("--wait", suite, cwd=tmp_path)
    first.communicate()
    # The first finished its run, so the second has one of its own.
    assert (first.returncode, code) == (0, 0), errors
    assert len(list(tmp_path.glob("reports/*/*/report.json"))) == 2


def test_a_reader_of_the_output_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    process = start("--json", write_suite(tmp_path), cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    assert process.wait(60) == 141
    assert "Traceback" not in errors
    assert only_report(tmp_path / "reports").results[0].status == "completed"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_standard_output_is_74_with_the_report_on_disk(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    process = start(suite, cwd=tmp_path)
    process.communicate()
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            process.args, cwd=tmp_path, env=environ(), stdout=full, stderr=subprocess.PIPE, text=True
        )
        _, errors = process.communicate(timeout=240)
    assert process.returncode == 74
    assert "Traceback" not in errors


def test_what_is_not_here_is_a_row_and_the_others_run(tmp_path: Path) -> None:
    code, output, _ = run("-s", "matrix.device=[cpu, cuda:7]", write_suite(tmp_path), cwd=tmp_path)
    assert code == 1
    assert "2 completed" in output
    assert "2 unavailable" in output


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pytorch_model.bin": ""}, "no safetensors; found pytorch_model.bin"),
        (
            {"model.safetensors": "", "config.json": '{"auto_map": {"AutoModel": "own.Own"}}'},
            "names custom code",
        ),
    ],
    ids=["pickled weights", "code of its own"],
)
def test_a_checkpoint_that_could_run_code_is_refused_with_the_reason(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in ({"config.json": "{}", "vocab.txt": "[PAD]\n"} | files).items():
        (folder / name).write_text(text)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    suite = write_suite(tmp_path)
    for checkpoints, expected in (("[./mine]", 69), ("[./mine, embedded/distilbert]", 1)):
        change = f"matrix.checkpoint={checkpoints}"
        code, _, errors = run("--assets", "auto", "-s", change, suite, cwd=tmp_path)
        assert code == expected, errors
        assert words in errors
    assert not (tmp_path / "ran").exists()


def test_a_package_that_is_too_old_ends_with_69_and_the_install_line(tmp_path: Path) -> None:
    old = tmp_path / "site" / "transformers-4.57.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.57.0\n")
    surroundings = environ(PYTHONPATH=f"{old.parent}{os.pathsep}{environ()['PYTHONPATH']}")
    harness = [sys.executable, "-m", "harness", "run", "--assets", "embedded", str(write_suite(tmp_path))]
    done = subprocess.run(
        harness, cwd=tmp_path, env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 69
    assert "needs transformers>=5.19, found 4.57.0" in done.stderr
    assert "-m pip install " in done.stderr
    assert not (tmp_path / "reports").exists()


def test_a_run_that_a_newer_version_began_is_refused_and_left_untouched(tmp_path: Path) -> None:
    suite = write_suite(tmp_path)
    run(suite, cwd=tmp_path)
    (plan,) = tmp_path.glob("reports/*/*/plan.json")
    plan.write_text(plan.read_text().replace('"schema_version": 2', '"schema_version": 3', 1))
    before = {path: path.read_bytes() for path in plan.parent.rglob("*") if path.is_file()}
    code, output, errors = run(suite, cwd=tmp_path)
    assert code == 2
    assert "written by schema 3, this is 2" in errors
    assert output == ""
    assert {path: path.read_bytes() for path in plan.parent.rglob("*") if path.is_file()} == before


def test_what_a_worker_prints_reaches_no_runner_of_workflows(tmp_path: Path) -> None:
    code, output, errors = run("--json", write_suite(tmp_path, [112]), cwd=tmp_path, runner="shouting")
    assert code == 1
    (log,) = tmp_path.glob("reports/*/*/trials/*/log")
    assert "::error::" in log.read_text()
    for line in (output + errors).splitlines():
        assert not line.lstrip().startswith("::")
        assert "\x1b]0;" not in line


def test_a_run_works_without_a_home_and_without_shared_memory(tmp_path: Path) -> None:
    """`/dev/shm` is hidden under a read-only file system, in a namespace of its own, which only root may."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid() != 0:
        pytest.skip("hiding /dev/shm needs root and unshare")
    suite = write_suite(tmp_path)
    hidden = 'mount -t tmpfs -o ro tmpfs /dev/shm && exec env -u HOME -u TZ "$@"'
    done = subprocess.run(
        [unshare, "--mount", "sh", "-c", hidden, "sh", *command(suite)],
        cwd=tmp_path,
        env=environ(LC_ALL="C"),
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this machine lets nobody mount")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("zone", ["America/St_Johns", "XYZ-13:30", ""])
def test_times_are_utc_whatever_the_time_zone(tmp_path: Path, zone: str) -> None:
    code, _, errors = run(write_suite(tmp_path, [0]), cwd=tmp_path, TZ=zone)
    assert code == 0, errors
    report = only_report(tmp_path / "reports")
    run_began = datetime.strptime(report.run.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    for moment in (run_began, report.created, report.results[0].started):
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=2)
        assert moment.utcoffset() == timedelta(0)
    assert b'"created": "20' in to_json(report)


def test_no_home_a_plain_locale_and_a_read_only_cache_are_enough(tmp_path: Path) -> None:
    code, _, errors = run(
        write_suite(tmp_path), cwd=tmp_path, LC_ALL="C", HOME="/nonexistent", HF_HOME="/proc/nowhere"
    )
    assert code == 0, errors


def test_libraries_planted_in_the_current_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("torch", "evaluate", "glue", "pydantic", "psutil", "json"):
        (tmp_path / f"{name}.py").write_text("open('planted', 'w')\nraise SystemExit('planted')\n")
    (tmp_path / "glue").mkdir()
    (tmp_path / "glue" / "glue.py").write_text("open('planted', 'w')\n")
    # As with the installed command, which does not put the current directory on the import path.
    code, _, errors = run(write_suite(tmp_path), cwd=tmp_path, PYTHONSAFEPATH="1")
    assert code == 0, errors
    assert not list(tmp_path.rglob("planted"))


def test_the_gates_of_the_suite_decide_the_exit_code(tmp_path: Path) -> None:
    # Assets that are named as embedded ones are no stand-ins.
    named = "-s", "matrix.checkpoint=[embedded/distilbert]", "-s", "task={dataset: embedded/pairs}"
    for limit, wanted, word in (("0.01", 0, "PASS"), ("0.999", 1, "FAIL")):
        gates = (
            f"gates: [{{metric: train_seconds, min: 1e-9}}, {{metric: padding_efficiency, min: {limit}}}]\n"
        )
        suite = write_suite(tmp_path, extra=gates)
        code, output, errors = run(suite, *named, cwd=tmp_path)
        assert code == wanted, errors
        assert output.splitlines()[-1].startswith(f"harness check: {word}")
    code, output, errors = run("--json", "--fresh", suite, *named, cwd=tmp_path)
    assert code == 1
    assert Report.model_validate_json(output).suite.gates
    assert "harness check: FAIL" in errors
    assert run("--no-suite-gates", "--fresh", suite, *named, cwd=tmp_path)[0] == 0


def test_gates_that_need_what_is_not_there_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    gates = "gates: [{metric: eval_f1, min: 0.99}, {metric: eval_accuracy, max_drop: 0.02}]\n"
    code, output, errors = run(write_suite(tmp_path, extra=gates), cwd=tmp_path)
    assert code == 0, errors
    assert "harness check" not in output
    assert "not judged: eval_f1 >= 0.99: " in errors
    assert "stands in for" in errors
    assert "not judged: eval_accuracy drop <= 0.02: there is no baseline" in errors


def test_a_run_can_be_held_against_a_baseline(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, extra="gates: [{metric: eval_accuracy, max_drop: 0.02}]\n")
    assert run(suite, cwd=tmp_path)[0] == 0
    (report,) = tmp_path.glob("reports/*/*/report.json")
    (tmp_path / "reports" / "baselines").mkdir()
    (tmp_path / "reports" / "baselines" / "main.json").write_bytes(report.read_bytes())
    code, output, errors = run(suite, "--baseline", "main", cwd=tmp_path)
    assert code == 0, errors
    assert "eval_accuracy drop <= 0.02" in output
    code, output, errors = run(suite, "--baseline", "nothing", cwd=tmp_path)
    assert (code, output) == (3, "")
    assert "harness baseline set REPORT nothing" in errors


def test_a_baseline_is_compared_with_even_without_the_gates_of_the_suite(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, extra="gates: [{metric: padding_efficiency, min: 0.999}]\n")
    assert run("--no-suite-gates", "-s", "matrix.seed=[0, 1, 2]", suite, cwd=tmp_path)[0] == 0
    (report,) = tmp_path.glob("reports/*/*/report.json")
    against = ("--baseline", str(report))
    code, output, errors = run("--no-suite-gates", *against, suite, cwd=tmp_path)
    assert code == 1, errors
    assert output.splitlines()[-1].startswith("harness check: FAIL")
    assert "padding_efficiency" not in output.partition("harness check")[2]


def test_seeds_run_until_decided_and_the_command_line_sets_the_question(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, [5])
    text = suite.read_text().replace("[dynamic]", "[static, dynamic, bucketed]")
    suite.write_text(text)
    code, output, errors = run(
        "--until-decided", "--by", "padding", "--metric", "eval_accuracy", "--margin", "2%",
        "--most-seeds", "3", "--budget", "1h", suite,
        cwd=tmp_path, runner="deciding", FAKE_RECORD=str(tmp_path / "record"),
    )  # fmt: skip
    assert code == 0, errors
    assert "until decided: padding against static: 2 of 2 rows decided, 0 open; 1 look at 3" in " ".join(
        output.split()
    )
    assert "look 1 of at most 1, 3 seeds: 2 of 2 rows decided, 0 open" in errors
    assert sorted((tmp_path / "record").read_text().split())[:3] == ["0", "0", "0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--most-seeds", "5"], "--most-seeds is for a run until its rows are decided"),
        (["--until-decided", "--budget", "soon"], "--budget 'soon' is not a duration"),
        (["--until-decided", "--most-seeds", "2"], "2 is not in the range 3<=x<=200"),
        (["--until-decided"], "the suite has one variant: there is nothing to decide"),
    ],
)
def test_a_question_that_cannot_be_asked_is_a_usage_error(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, output, errors = run(*arguments, write_suite(tmp_path), cwd=tmp_path)
    assert (code, output) == (2, "")
    assert message in errors
