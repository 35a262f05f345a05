"""Each extension that CONTRIBUTING.md describes is made in a copy of the source, in the named files alone.

One copy has all of them: a format, a status, a kind of gate, a task, an executor, two metrics, an engine and
an axis. Its command line and its generated reference then show each one wherever it belongs.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from tests.factories import make_report, make_result, make_trial
from tests.running.fakes import RUNNERS, environ

ROOT: Final = Path(__file__).parents[1]
QUICKSTART: Final = "reports/samples/quickstart/report.json"


@dataclass(frozen=True)
class Addition:
    """The changes of one row: in each file a line that is there once, and its replacement; and new files."""

    what: str
    changed: Mapping[str, Sequence[tuple[str, str]]]
    new: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> set[str]:
        """The changed files, and the folders of new ones."""
        return {*self.changed, *(f"{Path(file).parent}/" for file in self.new)}


def after(line: str, *more: str) -> tuple[str, str]:
    """The replacement that puts lines behind another one."""
    return line, "\n".join([line, *more])


ADDITIONS: Final = (
    Addition(
        "a format",
        {
            "harness/output/formats/known_formats.py": [
                after(
                    "FORMATS: Final[dict[str, Format]] = {",
                    '    "shout": Format("shout:to_shout", endings=(".shout",)),',
                )
            ]
        },
        {
            "harness/output/formats/shout.py": "def to_shout(document):\n"
            "    return document.title.upper() + '\\n'\n"
        },
    ),
    Addition(
        "a status",
        {
            "harness/model/status.py": [
                after("StatusName = Literal[", '    "paused",'),
                after(
                    "    for status in (",
                    '        Status("paused", "a cluster took its machine", final=False, ran=False, '
                    'rerun=True, junit="skipped"),',
                ),
            ]
        },
    ),
    Addition(
        "a kind of gate",
        {
            "harness/analysis/gates/cases.py": [after("CaseKind = Literal[", '    "lucky",')],
            "harness/analysis/gates/alone.py": [
                after(
                    '    """Yield every case that needs no baseline."""',
                    "    for group in found:",
                    '        yield GateCase(rule="no seed is 13", kind="lucky", variant=group.label, '
                    'verdict="passed", reason="none is")',
                )
            ],
        },
    ),
    Addition(
        "a task of GLUE",
        {
            "harness/model/tasks.py": [
                after(
                    "GLUE: Final[dict[str, GlueTask]] = {",
                    '    "axb": GlueTask(("sentence",), ("no", "yes"), _ACCURACY, _sizes(40, 4)),',
                )
            ],
            "harness/data/glue.py": [
                after(
                    "_COLUMNS: Final[dict[str, dict[str, str]]] = {",
                    '    "axb": {"sentence": "sentence", "label": "label"},',
                )
            ],
        },
    ),
    Addition(
        "an executor",
        {
            "harness/running/options.py": [
                ('ExecutorName = Literal["local",', 'ExecutorName = Literal["echo", "local",')
            ],
            "harness/running/seams.py": [
                after(
                    "def _cluster(options: RunOptions) -> AbstractContextManager[RayCluster | SlurmCluster]:",
                    '    if options.executor == "echo":',
                    "        from harness.running.echo import EchoCluster",
                    "        return nullcontext(EchoCluster())",
                )
            ],
        },
        {
            "harness/running/echo.py": """\
from harness.running.preflight import this_machine
from harness.running.workers.local import LocalExecutor

class EchoExecutor(LocalExecutor):
    pass

class EchoCluster:
    machine = staticmethod(this_machine)

    def describe(self):
        return "echo: one node"

    def executor(self, setup, grace_s):
        return EchoExecutor(setup, grace_s=grace_s)

    def count(self, device, threads):
        return 1
"""
        },
    ),
    Addition(
        "a metric of time, rate or memory",
        {
            "harness/model/metrics.py": [
                after(
                    "METRICS: Final[dict[str, Metric]] = {",
                    '    "train_batches": Metric("batches", "none", "timed batches", label="batches", '
                    'family="time"),',
                )
            ],
            "harness/training/measuring/steps.py": [
                after("            all_steps,", '            measured("train_batches", len(batches)),')
            ],
        },
    ),
    Addition(
        "a metric of quality",
        {
            "harness/model/metrics.py": [
                after(
                    "METRICS: Final[dict[str, Metric]] = {",
                    '    "eval_distance": Metric("ratio", "min", "mean distance", label="distance", '
                    'family="quality", most=1, later=True),',
                )
            ],
            "harness/analysis/stats/scoring.py": [
                after(
                    "SCORINGS: Final[dict[str, Scoring]] = {",
                    '    "eval_distance": Scoring(_as_given, _mean, squared_distances),',
                )
            ],
        },
    ),
    Addition(
        "an engine",
        {
            "harness/model/values.py": [
                ('Engine = Literal["trainer",', 'Engine = Literal["trainer", "echo",')
            ],
            "harness/model/trial.py": [
                after(
                    '                "trainer": "the `Trainer` of transformers",',
                    '                "echo": "the loop under another name",',
                )
            ],
            "harness/training/engines/known_engines.py": [
                after(
                    "from harness.training.engines import loop as loop_engine",
                    "from harness.training.engines import echo",
                ),
                after(
                    "ENGINES: Final[dict[Engine, TrainingEngine]] = {",
                    '    "echo": TrainingEngine(echo.prepare, echo.train),',
                ),
            ],
        },
        {
            "harness/training/engines/echo.py": "from harness.training.engines.loop import prepare, train\n"
            '__all__ = ["prepare", "train"]\n'
        },
    ),
    Addition(
        "an axis",
        {
            "harness/model/trial.py": [
                after("from typing import Annotated, Any, Final, Self", "from typing import Literal"),
                (
                    "    token_type_ids: Annotated[",
                    """\
    gain: Annotated[
        Literal["off", "double"],
        Field(exclude_if=lambda given: given == "off"),
        Axis("a factor of every logit", values={"off": "one", "double": "two"}, aka=("boost",)),
    ] = "off"
    token_type_ids: Annotated[""",
                ),
            ],
            "harness/training/variants/known_variants.py": [
                after(
                    "from harness.training.variants.adapters import add_adapter",
                    "from harness.training.variants.gain import double",
                ),
                after(
                    "VARIANTS: Final[dict[str, Variant]] = {",
                    '    "gain=double": Variant(double, prepare=lambda _, model, __: double(model)),',
                ),
            ],
        },
        {
            "harness/training/variants/gain.py": "def double(model):\n"
            "    raise RuntimeError('the code behind the value runs')\n"
        },
    ),
)


def described(what: str) -> tuple[int, set[str]]:
    """The number of files in a row of CONTRIBUTING.md, and those that its first sentence names."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {re.escape(what)} \| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert row is not None, what
    return int(row[1]), set(re.findall(r"`(harness/[\w/.]+)`", row[2].split(". ")[0]))


@pytest.mark.parametrize("addition", ADDITIONS, ids=lambda one: one.what)
def test_an_addition_touches_the_files_that_are_described(addition: Addition) -> None:
    count, files = described(addition.what)
    assert files == addition.places
    assert count == len(addition.changed) + len(addition.new)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with every addition, and the reference that it generates."""
    folder = tmp_path_factory.mktemp("additions") / "checkout"
    for name in ("harness", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("suites", "reports", "tests", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    for addition in ADDITIONS:
        for file, changes in addition.changed.items():
            text = (folder / file).read_text(encoding="utf-8")
            for old, replacement in changes:
                assert text.count(f"\n{old}") == 1, (file, old)
                text = text.replace(f"\n{old}", f"\n{replacement}")
            (folder / file).write_text(text, encoding="utf-8")
        for file, text in addition.new.items():
            (folder / file).write_text(text, encoding="utf-8")
    (folder / "docs").mkdir()
    python(folder, "-m", "tools.reference")
    return folder


def python(folder: Path, *arguments: str, expected: Sequence[int] = (0,), **changes: str) -> tuple[str, str]:
    """Run Python in the copy; return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environ(**changes), "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in expected, done.stderr
    return done.stdout, done.stderr


def harness(folder: Path, *arguments: str, expected: Sequence[int] = (0,)) -> str:
    return python(folder, "-m", "harness", *arguments, expected=expected)[0]


def page(folder: Path, name: str) -> str:
    return (folder / "docs" / "reference" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("outcomes.md", ["`shout` | `.shout` | every result", "`paused` | a cluster took its machine"]),
        ("metrics.md", ["`train_batches` | batches | timed batches", "`eval_distance` | distance"]),
        ("axes.md", ["`echo` | the loop under another name", "## gain", "Also known as: `boost`"]),
        ("commands.md", ["shout", "echo"]),
    ],
)
def test_the_reference_has_each_addition(checkout: Path, name: str, words: list[str]) -> None:
    for each in words:
        assert each in page(checkout, name)
        assert each not in page(ROOT, name)


def test_the_schemas_have_each_addition(checkout: Path) -> None:
    suite = harness(checkout, "schema", "suite")
    for word in ("train_batches", "eval_distance", "echo", "gain"):
        assert f'"{word}"' in suite
    assert '"paused"' in harness(checkout, "schema", "report")
    assert '"lucky"' in harness(checkout, "schema", "check")


@pytest.mark.parametrize("metric", ["train_batches", "eval_distance"])
def test_a_metric_is_known_by_name(checkout: Path, metric: str) -> None:
    mistyped = ("compare", QUICKSTART, "--by", "padding", "--metric", metric[:-1])
    assert f"did you mean {metric}?" in python(checkout, "-m", "harness", *mistyped, expected=(2,))[1]


def test_a_format_is_chosen_by_name_and_by_ending(checkout: Path, tmp_path: Path) -> None:
    assert harness(checkout, "show", QUICKSTART, "--format", "shout").startswith("QUICKSTART: 12 VARIANTS")
    harness(checkout, "show", QUICKSTART, "-o", str(tmp_path / "run.shout"))
    assert (tmp_path / "run.shout").read_text().startswith("QUICKSTART: 12 VARIANTS")


def test_a_status_is_read_shown_and_skipped_in_junit(checkout: Path, tmp_path: Path) -> None:
    report = make_report([make_result(make_trial(seed=0)), make_result(make_trial(seed=1), status="pending")])
    text = report.model_dump_json()
    assert text.count('"pending"') == 1
    (tmp_path / "report.json").write_text(text.replace('"pending"', '"paused"'))
    assert "paused" in harness(checkout, "show", str(tmp_path / "report.json"))
    junit = harness(checkout, "show", str(tmp_path / "report.json"), "--format", "junit")
    assert '<skipped message="paused' in junit


def test_a_kind_of_gate_is_judged_and_written(checkout: Path) -> None:
    arguments = ("check", QUICKSTART, "--no-suite-gates")
    found = json.loads(harness(checkout, *arguments, "--format", "json", expected=(0, 1)))
    assert [case["verdict"] for case in found["cases"] if case["kind"] == "lucky"] == ["passed"] * 12
    assert "no seed is 13" in harness(checkout, *arguments, expected=(0, 1))
    assert "harness.quickstart.lucky" in harness(checkout, *arguments, "--format", "junit", expected=(0, 1))


def test_a_task_is_named_by_a_suite_and_its_own_files_are_read(checkout: Path, tmp_path: Path) -> None:
    rows = "".join(f"{at}\tone sentence {at}\t{at % 2}\n" for at in range(8))
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text(f"index\tsentence\tlabel\n{rows}")
    suite = {
        "name": "own",
        "task": "glue/axb",
        "matrix": {"checkpoint": ["bert-base-uncased"], "device": ["cpu"]},
    }
    plan = planned(checkout, tmp_path, suite, "-s", f"task.data_dir={tmp_path}")
    assert "glue/axb" in plan
    assert "the train split has 8 examples, the published one 40" in plan


def planned(folder: Path, place: Path, suite: Mapping[str, Any], *arguments: str) -> str:
    (place / "suite.yaml").write_text(json.dumps(suite))
    command = ("-m", "harness", "plan", str(place / "suite.yaml"), "--assets", "embedded", *arguments)
    return "".join(python(folder, *command))


def test_an_executor_runs_a_suite(checkout: Path, tmp_path: Path) -> None:
    suite = {"name": "own", "matrix": {"checkpoint": ["bert-base-uncased"], "device": ["cpu"]}}
    (tmp_path / "suite.yaml").write_text(json.dumps(suite))
    command = ["run", str(tmp_path / "suite.yaml"), "--executor", "echo", "--reports", str(tmp_path / "runs")]
    fake = ["--assets", "embedded", "--runner", f"{RUNNERS}:scoring", "--no-parity"]
    shown, told = python(checkout, "-m", "harness", *command, *fake)
    assert "completed" in shown
    assert "echo: one node" in told


@pytest.mark.heavy
def test_metrics_an_engine_and_an_axis_take_part_in_a_run(checkout: Path, tmp_path: Path) -> None:
    suite = {
        "name": "own",
        "task": {"limit": {"train": 32, "eval": 16}},
        "matrix": {
            "checkpoint": ["bert-base-uncased"],
            "device": ["cpu"],
            "engine": ["echo"],
            "gain": ["off", "double"],
        },
        "train": {"max_steps": 3},
        "measure": {"warmup_steps": 1},
    }
    shown = planned(checkout, tmp_path, suite)
    assert "double" in shown
    command = ("run", str(tmp_path / "suite.yaml"), "--assets", "embedded", "--no-parity")
    text = harness(checkout, *command, "--reports", str(tmp_path / "runs"), "--json", expected=(1,))
    plain, doubled = json.loads(text)["results"]
    assert (plain["trial"]["engine"], plain["status"], doubled["status"]) == ("echo", "completed", "failed")
    assert "the code behind the value runs" in doubled["reason"]
    values = {each["metric"]: each["values"] for each in plain["measurements"] if "values" in each}
    assert values["train_batches"] == [2]
    assert values["eval_distance"] == values["eval_brier"]
