from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.cli import main
from harness.cli.suite_commands import plan
from harness.machine.facts import installed_torch
from harness.model.trial import Trial
from harness.model.values import Padding
from harness.running import seams
from harness.running.options import RunOptions
from harness.running.preflight import Machine
from harness.running.seams import Seams
from tests.suite.suite_texts import SMALL

SUITES = Path(__file__).parents[2] / "suites"


@pytest.fixture(autouse=True)
def nowhere_and_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "available_devices", lambda: ("cpu",))
    monkeypatch.setattr(plan, "peek_checkpoint", lambda name, revision, mode: f"{mode} of {name}")
    monkeypatch.setattr(plan, "plan_data", lambda task, mode: f"{mode} of {task.name}")


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["plan", *args])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return str(path)


def test_the_plan_lists_every_trial_and_what_it_will_use(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    static = Trial(checkpoint="bert-base-uncased", padding=Padding(strategy="static"), device="cpu")
    dynamic = static.model_copy(update={"padding": Padding(strategy="dynamic", multiple_of=8)})
    paddings = "matrix.padding=[static, {strategy: dynamic, multiple_of: 8}]"
    assert run(small, "-s", paddings, "--assets", "hub") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out == (
        "small: 2 trials of glue/mrpc\n"
        "\n"
        "id                checkpoint         padding                 device  precision  seed\n"
        f"{static.id}  bert-base-uncased  static                  cpu     fp32       0\n"
        f"{dynamic.id}  bert-base-uncased  dynamic(multiple_of=8)  cpu     fp32       0\n"
        "\n"
        "uses\n"
        "  bert-base-uncased  hub of bert-base-uncased\n"
        "  glue/mrpc          hub of glue/mrpc\n"
        "  cpu                here\n"
        "\n"
        "estimate\n"
        "  trials  2 to run, 0 reused, 0 unavailable\n"
        "  bert-base-uncased: 2 trials not estimated: no earlier result of this checkpoint on this machine: "
        "run one seed first\n"
        "\n"
        "trainings\n"
        "  -s measure.separate=true -s measure.quality=once_per_function saves 1 of 2 trainings if every "
        "proof passes: variants with the same batches share the scores of one training\n"
    )


@pytest.mark.parametrize(
    ("overrides", "offer"),
    [
        (["matrix.padding=[static, bucketed]"], None),
        (["matrix.padding=[static]", "matrix.compile=[off, default]"], None),
        (
            [
                "matrix.padding=[static, bucketed, unpadded]",
                "matrix.seed=[0, 1]",
                "measure.separate=true",
                "measure.quality=once_per_function",
            ],
            "measure.quality once_per_function saves 2 of 6 trainings if every proof passes",
        ),
    ],
)
def test_the_plan_offers_trainings_that_variants_can_share(
    small: str, capsys: pytest.CaptureFixture[str], overrides: list[str], offer: str | None
) -> None:
    assert run(small, "--json", *(part for each in overrides for part in ("-s", each))) == 0
    assert json.loads(capsys.readouterr().out)["offers"] == ([] if offer is None else [offer])


def test_one_training_a_function_needs_windows(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(small, "-s", "measure.quality=once_per_function") == 2
    assert "once_per_function needs separate: true" in capsys.readouterr().err


def test_a_checkpoint_given_by_path_is_shown_by_its_folder_and_used_by_its_path(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small, "-s", "matrix.checkpoint=[/runs/a/best, /runs/b/tiny]") == 0
    table, _, uses = capsys.readouterr().out.partition("uses")
    assert "/runs" not in table
    assert " best " in table
    assert "/runs/a/best  auto of /runs/a/best" in uses


def test_columns_that_vary_are_shown_too(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(small, "-s", "matrix.train.learning_rate=[1e-5, 2e-5]", "-s", "matrix.attention=[sdpa, eager]")
    header = capsys.readouterr().out.splitlines()[2]
    assert header.split() == [
        "id", "checkpoint", "padding", "device", "precision", "seed", "attention", "learning_rate",
    ]  # fmt: skip


def test_a_device_that_is_not_here_is_said_to_be_missing(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small, "-s", "matrix.device=['cuda:1', cpu]") == 0
    assert (
        f"  cuda:1             not here ({installed_torch()}): its trials will be unavailable\n"
        in capsys.readouterr().out
    )


def test_json_holds_the_same(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(small, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["suite"] == "small"
    assert found["checkpoints"] == [
        {"name": "bert-base-uncased", "revision": None, "uses": "auto of bert-base-uncased"}
    ]
    assert found["data"] == "auto of glue/mrpc"
    assert found["devices"] == [{"name": "cpu", "available": True}]
    (trial,) = found["trials"]
    assert len(trial["id"]) == len(trial["variant_id"]) == 16
    assert trial["padding"]["strategy"] == "dynamic"


def test_a_bad_suite_ends_with_2_and_nothing_on_standard_output(
    small: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small, "-s", "lr=1") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "did you mean train.learning_rate?" in printed.err


def test_json_is_valid_when_it_fails_too(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(small, "--json", "-s", "lr=1") == 2
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["exit_code"] == 2
    assert "did you mean" in found["error"]
    assert found["error"] in printed.err


@pytest.mark.parametrize(
    "name",
    ["<script>", r"\x1b]0;x\x07", "[/]", "a|b", r"a\nb", r"\u202eb", "=cmd()", r"\n::error::x", r"\x00b"],
)
def test_a_hostile_checkpoint_name_is_shown_escaped(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(f'name: x\nmatrix: {{checkpoint: ["{name}"]}}')
    assert run(str(path)) in (0, 2)
    printed = capsys.readouterr()
    for line in (printed.out + printed.err).split("\n"):
        assert line.isprintable()
        assert not line.startswith("::")


def test_a_thousand_trials_are_listed(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = ", ".join(map(str, range(1_000)))
    assert run(small, "-s", f"matrix.seed=[{seeds}]") == 0
    assert capsys.readouterr().out.startswith("small: 1,000 trials")


def test_planning_imports_nothing_that_trains() -> None:
    heavy = ["torch", "transformers", "datasets", "evaluate", "pandas", "scipy", "rich", "ray"]
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"try:\n    main(['plan', {str(SUITES / 'quickstart.yaml')!r}, '--assets', 'embedded'])\n"
        f"finally:\n    print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert done.stdout.startswith("quickstart: 12 trials of glue/mrpc")


def test_the_plan_of_a_suite_that_tokenises_shows_the_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(SUITES / "tokenization.yaml")) == 0
    head, *rows = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert head.split() == ["id", "checkpoint", "tokenization", "tokenizer", "seed"]
    assert rows[9].split()[1:] == ["bert-base-uncased", "map_batched(num_proc=2)", "slow", "0"]


def test_a_truth_is_written_as_in_a_suite(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(SUITES / "cuda.yaml")) == 0
    header, first = capsys.readouterr().out.splitlines()[2:4]
    assert header.endswith("last_layer  cuda_graphs")
    assert first.split()[-2:] == ["all", "false"]


def test_an_error_as_json_has_no_secret_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "correct-horse")
    assert run(str(tmp_path / "correct-horse.yaml"), "--json") == 2
    out, err = capsys.readouterr()
    error = json.loads(out)
    assert (error["exit_code"], error["hint"] is None) == (2, False)
    assert "[redacted].yaml" in error["error"]
    assert "correct-horse" not in out + err


def test_a_plan_shows_how_each_trial_compiles(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(SUITES / "compile.yaml"), "-s", "matrix.seed=[0]") == 0
    shown = capsys.readouterr().out
    assert [line.split()[-1] for line in shown.splitlines()[2:12]] == [
        "compile",
        *("off", "default") * 4,
        "default(dynamic=false)",
    ]


def test_a_plan_refuses_what_cannot_be_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(SUITES / "compile.yaml"), "-s", "matrix.padding=[unpadded]") == 2
    shown = capsys.readouterr().err
    assert "compile default with padding unpadded" in shown
    assert "Use compile: off, or exclude it" in shown


def test_a_plan_for_a_cluster_has_its_devices_and_nodes_and_no_estimate(
    small: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(
        ("cuda:0", "cpu"),
        installed_torch(),
        name="the cluster",
        processors=("Xeon",),
        together=2,
        nodes=("one: 4 CPUs, 2 GPUs (H100), Xeon",),
    )

    @contextmanager
    def cluster(options: RunOptions, _given: None, note: Callable[[str], None]) -> Iterator[Seams]:
        assert (options.executor, options.ray_address) == ("ray", "head:6379")
        note("running on the cluster: 1 node")
        yield Seams(machine=lambda: machine)

    monkeypatch.setattr(seams, "seams_of", cluster)
    ray = ("--executor", "ray", "--ray-address", "head:6379", "-s", "matrix.device=[auto]")
    ranks = ("-s", "matrix.world_size=[1, 2, 4]", "-s", "matrix.engine=[loop]")
    assert run(small, *ray, *ranks, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {trial["device"] for trial in found["trials"]} == {"cuda:0"}
    assert found["devices"] == [{"name": f"cuda:{index}", "available": index < 2} for index in range(4)]
    assert found["estimate"]["unavailable"] == len(found["trials"]) / 3
    assert run(small, *ray) == 0
    printed = capsys.readouterr().out
    assert (
        "cluster\n  running on the cluster: 1 node\n  one: 4 CPUs, 2 GPUs (H100), Xeon\n\nestimate\n"
        in printed
    )
    assert printed.rstrip().endswith("times on a cluster are not estimated")


def test_an_address_of_a_cluster_needs_its_executor(small: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(small, "--ray-address", "head:6379") == 2
    assert "Add --executor ray" in capsys.readouterr().err
