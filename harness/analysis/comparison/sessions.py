"""A/B sessions in comparisons: whether reports are sides of one session, and what may differ between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.model.results import Report

ALLOWED_IN_SESSION: Final = ("libraries", "torch")
"""Mismatches that are allowed between the sides of a session, since they may be the compared change."""


def in_one_session(reports: Sequence[Report]) -> bool:
    """Return whether the trials of all these reports ran in turn in one A/B session."""
    sessions = {None if report.session is None else report.session.id for report in reports}
    return len(reports) > 1 and len(sessions) == 1 and None not in sessions


def axes_of_sides(reports: Sequence[Report]) -> frozenset[str]:
    """Return the axes in which the sides of one session may differ; empty for other reports."""
    if not in_one_session(reports):
        return frozenset()
    sessions = [report.session for report in reports if report.session is not None]
    return frozenset(axis for session in sessions for axis in session.apart)
