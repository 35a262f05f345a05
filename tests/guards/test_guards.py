from __future__ import annotations

import pytest

from tests.guards.record import GUARDS, RECORDED


@pytest.mark.parametrize("name", GUARDS)
def test_a_guarded_text_equals_its_record(name: str) -> None:
    assert GUARDS[name]() == (RECORDED / name).read_text(encoding="utf-8")


def test_every_record_belongs_to_a_guard() -> None:
    assert {path.name for path in RECORDED.iterdir()} == set(GUARDS)
