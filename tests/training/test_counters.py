"""Energy from RAPL zones in a folder laid out as the kernel lays out /sys/class/powercap."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.training.measuring.counters import energy_counter

pytestmark = pytest.mark.heavy
CPU = torch.device("cpu")


def zone(folder: Path, directory: str, name: str, microjoules: int, most: int = 1_000_000_000) -> Path:
    path = folder / directory
    path.mkdir()
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    return path


def test_every_package_counts_once_and_nothing_else_does(tmp_path: Path) -> None:
    zones = [
        zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000),
        zone(tmp_path, "intel-rapl:0:0", "core", 0),
        zone(tmp_path, "intel-rapl:0:1", "dram", 0),
        zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000),
        zone(tmp_path, "intel-rapl:1:0", "uncore", 0),
        zone(tmp_path, "intel-rapl:2", "psys", 0),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    (tmp_path / "intel-rapl").mkdir()
    counter = energy_counter(CPU, tmp_path)
    assert not isinstance(counter, str)
    assert counter() == 0.0
    for each in zones:
        energy = each / "energy_uj"
        energy.write_text(str(int(energy.read_text()) + 3_000_000))
    assert counter() == 6.0


def test_a_counter_that_started_again_at_zero_goes_on(tmp_path: Path) -> None:
    energy = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, most=10_000_000) / "energy_uj"
    counter = energy_counter(CPU, tmp_path)
    assert not isinstance(counter, str)
    read = []
    for microjoules in (9_500_000, 2_000_000, 8_000_000, 1_000_000):
        energy.write_text(str(microjoules))
        read.append(counter())
    assert read == [0.5, 3.0, 9.0, 12.0]


def test_without_packages_there_is_a_reason(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "psys", 0)
    assert energy_counter(CPU, tmp_path) == "no energy counter that this process may read"
    assert energy_counter(CPU, tmp_path / "nowhere") == "no energy counter that this process may read"


def test_a_package_that_cannot_be_read_leaves_no_count_of_a_part(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 0)
    (second / "energy_uj").unlink()
    assert energy_counter(CPU, tmp_path) == (
        "no energy counter of every processor package that this process may read"
    )


def test_a_package_that_vanishes_later_ends_the_count(tmp_path: Path) -> None:
    energy = zone(tmp_path, "intel-rapl:0", "package-0", 0) / "energy_uj"
    counter = energy_counter(CPU, tmp_path)
    assert not isinstance(counter, str)
    energy.unlink()
    assert counter() is None
