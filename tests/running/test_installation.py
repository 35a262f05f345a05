"""The command that installs what is missing goes to where harness came from."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.machine.requirements import install_command, own_origin

PIP = f"{shlex.quote(sys.executable)} -m pip install"
NEEDS = ("torch>=2.10", "ray[default]>=2.60")


@pytest.mark.parametrize(
    ("extra", "editable", "arguments"),
    [("train", True, "-e '.[train]'"), (None, True, "-e ."), ("ray", False, "'.[ray]'"), (None, False, ".")],
)
def test_a_checkout_is_installed_from_its_folder(
    tmp_path: Path, extra: str | None, editable: bool, arguments: str
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    origin = {"url": folder.as_uri(), "dir_info": {"editable": editable}}
    assert install_command(extra, NEEDS, origin) == f"cd '{folder}' && {PIP} {arguments}"


def test_an_archive_or_a_repository_is_named_by_its_address(tmp_path: Path) -> None:
    wheel = tmp_path / "harness-0.1.0-py3-none-any.whl"
    wheel.touch()
    origins: dict[str, dict[str, Any]] = {
        wheel.as_uri(): {"url": wheel.as_uri(), "archive_info": {}},
        "https://files.invalid/h.whl": {"url": "https://files.invalid/h.whl", "archive_info": {}},
        "git+https://host.invalid/h.git@abc#subdirectory=sub": {
            "url": "https://host.invalid/h.git",
            "vcs_info": {"vcs": "git", "commit_id": "abc"},
            "subdirectory": "sub",
        },
    }
    for address, origin in origins.items():
        assert install_command("train", NEEDS, origin) == f"{PIP} 'harness[train] @ {address}'"
        assert install_command(None, NEEDS, origin) == f"{PIP} 'harness @ {address}'"


@pytest.mark.parametrize("url", [None, "", "file:///no/such/folder", "file:///no/such/harness.whl"])
def test_without_a_source_the_packages_themselves_are_named(url: str | None) -> None:
    origin = None if url is None else {"url": url}
    assert install_command("train", NEEDS, origin) == f"{PIP} 'torch>=2.10' 'ray[default]>=2.60'"


def test_the_tests_run_from_a_checkout() -> None:
    origin = own_origin()
    assert origin is not None
    assert " && " in install_command("train", NEEDS, origin)


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_record_that_cannot_be_read_is_no_source(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "harness-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: harness\nVersion: 0.1.0\n")
    (folder / "direct_url.json").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert own_origin() is None
