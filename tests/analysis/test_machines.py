"""Speeds of several machines: ratios inside each one, and the numbers of those that are not comparable."""

from __future__ import annotations

import pytest

from harness.analysis.machines import Machines, machines
from harness.model.environment import Device
from harness.model.results import Report
from harness.model.values import PaddingStrategy
from tests.factories import make_environment, make_report, make_result, make_trial


def on(device: str, slow: float, fast: float, concurrent: int = 1) -> Report:
    environment = make_environment(device=Device(kind="cuda", name=device, driver="570.10", clock_mhz=1980.0))
    speeds: dict[PaddingStrategy, float] = {"static": slow, "unpadded": fast}
    return make_report(
        [
            make_result(
                make_trial(padding, seed, device="cuda:0"),
                samples_per_second=speed + seed,
                environment=environment,
                concurrent=concurrent if padding == "unpadded" else 1,
            )
            for seed in range(3)
            for padding, speed in speeds.items()
        ]
    )


def found(*reports: tuple[str, Report]) -> Machines:
    made = machines(reports)
    assert made is not None
    return made


def test_ratios_are_inside_a_machine() -> None:
    shown = found(("a", on("A100", 100.0, 200.0)), ("b", on("H100", 200.0, 600.0)))
    assert [column.device for column in shown.columns] == ["A100", "H100"]
    assert shown.baseline == "static"
    (static, ones), (unpadded, ratios) = shown.variants
    assert (static, unpadded) == ("static", "unpadded")
    assert [each.ratio for each in ones if each] == [1.0, 1.0]
    assert [each.ratio for each in ratios if each] == pytest.approx([2.0, 3.0], rel=0.05)
    assert dict(shown.columns[0].stack)["driver"] == "570.10"
    assert dict(shown.columns[0].stack)["torch"] == "2.13.0"


def test_a_speed_that_is_not_comparable_keeps_its_number_and_tells_why() -> None:
    shown = found(("a", on("A100", 100.0, 200.0)), ("b", on("H100", 200.0, 600.0, concurrent=2)))
    speed = dict(shown.variants)["unpadded"][1]
    assert speed is not None
    assert (speed.ratio, speed.doubt) == (None, "2 at once")
    assert speed.value == pytest.approx(601 * 53, rel=0.05)


def test_a_baseline_is_a_variant_that_every_machine_measured() -> None:
    fast = on("H100", 200.0, 600.0)
    only_fast = fast.model_copy(
        update={"results": tuple(r for r in fast.results if r.trial.padding.strategy != "static")}
    )
    shown = found(("a", on("A100", 100.0, 200.0)), ("b", only_fast))
    assert shown.baseline == "unpadded"
    assert dict(shown.variants)["static"][1] is None


def test_two_runs_of_one_device_are_no_machines() -> None:
    reports = [(name, on("A100", 100.0, 200.0)) for name in ("a", "b")]
    assert machines(reports) is None
