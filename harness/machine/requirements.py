"""Check that the packages of an extra are installed in accepted versions, before a process needs them.

The requirements are those of harness' own metadata, so that they are written down once. The command that
installs what is missing depends on where harness was installed from: installers record a checkout, an archive
or a repository in `direct_url.json` (PEP 610).
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from harness.errors import UnavailableError
from harness.machine.facts import installed_version

Extra = Literal["train", "ray", "slurm", "peft", "tensorboard", "mlflow", "wandb", "trackio"]
_NEEDED_BY: Final[dict[Extra, str]] = {
    "train": "training",
    "ray": "a Ray cluster",
    "slurm": "jobs of Slurm",
    "peft": "an adapter",
    "tensorboard": "an export to TensorBoard",
    "mlflow": "an export to MLflow",
    "wandb": "an export to Weights & Biases",
    "trackio": "an export to Trackio",
}


@dataclass(frozen=True, slots=True)
class Package:
    """A required package: its requirement line `needs`, and its installed version `found` (None: missing)."""

    name: str
    needs: str
    found: str | None
    satisfied: bool

    def __str__(self) -> str:
        return f"needs {self.needs}, found {self.found or 'none'}"


def require_extra(
    extra: Extra,
    requirements: Iterable[str] | None = None,
    installed: Callable[[str], str | None] | None = None,
) -> None:
    """Check that every package of an extra is installed in an accepted version.

    Args:
        extra: the name of the extra.
        requirements: requirement lines; None for those of the installed `harness`.
        installed: returns the version of a package, or None if it is missing.

    Raises:
        UnavailableError: packages are missing or too old or new; the hint has the command that installs them.
    """
    lines = own_requirements() if requirements is None else requirements
    wrong = [package for package in required(lines, extra, installed) if not package.satisfied]
    if wrong:
        raise UnavailableError(
            f"{_NEEDED_BY[extra]} {'; '.join(map(str, wrong))}", hint=install_hint(extra, wrong)
        )


def install_hint(extra: str | None, wrong: Iterable[Package]) -> str:
    """Return the hint to install these packages from the source of the installed harness."""
    return f"Install it: {install_command(extra, [package.needs for package in wrong], own_origin())}"


def required(
    lines: Iterable[str], extra: str | None, installed: Callable[[str], str | None] | None = None
) -> tuple[Package, ...]:
    """Return the packages that requirement lines list for an extra, or for harness without extras if None.

    Lines whose markers exclude this Python or system are left out.
    """
    version_of = installed or installed_version
    needed = (Requirement(line) for line in lines)
    return tuple(_package(each, version_of(each.name)) for each in needed if _belongs(each, extra))


def own_requirements() -> list[str]:
    """Return the requirement lines of the installed `harness`; none if it is not installed."""
    try:
        return importlib.metadata.requires("harness") or []
    except importlib.metadata.PackageNotFoundError:
        return []


def satisfies(found: str, specifier: SpecifierSet) -> bool:
    """Return whether an installed version satisfies a specifier.

    Pre-releases and local versions count as their release: 5.3.0rc1 as 5.3.0, 2.13.0+cpu as 2.13.0.
    """
    try:
        version = Version(found)
    except InvalidVersion:
        return False
    release = Version(version.base_version)
    return any(specifier.contains(each, prereleases=True) for each in (version, release))


def _belongs(requirement: Requirement, extra: str | None) -> bool:
    marker = requirement.marker
    always = marker is None or marker.evaluate({"extra": ""})
    if extra is None or marker is None:
        return always and extra is None
    return not always and marker.evaluate({"extra": extra})


def _package(requirement: Requirement, found: str | None) -> Package:
    bounds = sorted(map(str, requirement.specifier), key=lambda bound: (bound[0] in "<!", bound))
    which = f" @ {requirement.url}" if requirement.url else ",".join(bounds)
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return Package(
        name=requirement.name,
        needs=f"{requirement.name}{extras}{which}",
        found=found,
        satisfied=found is not None and satisfies(found, requirement.specifier),
    )


def install_command(extra: str | None, needs: Sequence[str], origin: Mapping[str, Any] | None) -> str:
    """Return a shell command that installs an extra into the environment of this interpreter.

    Args:
        extra: the required extra, None for harness without extras.
        needs: the unmet requirements, named in the command if `origin` does not identify harness' source.
        origin: the content of `direct_url.json`, None without one.
    """
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    wanted = "" if extra is None else f"[{extra}]"
    url = str((origin or {}).get("url", ""))
    folder = _local(url)
    if folder is not None and folder.is_dir():
        editable = "-e " if (origin or {}).get("dir_info", {}).get("editable") else ""
        return f"cd {shlex.quote(str(folder))} && {pip} {editable}{shlex.quote(f'.{wanted}')}"
    if origin is not None and url and (folder is None or folder.is_file()):
        return f"{pip} {shlex.quote(f'harness{wanted} @ {_pinned(url, origin)}')}"
    return f"{pip} {' '.join(map(shlex.quote, needs))}"


def own_origin() -> Mapping[str, Any] | None:
    """Return the `direct_url.json` of the installed harness, or else one for the checkout of this file."""
    try:
        text = importlib.metadata.distribution("harness").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        text = None
    if text is not None:
        return _mapping(text)
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return {"url": checkout.as_uri(), "dir_info": {"editable": True}}
    return None


def _mapping(text: str) -> Mapping[str, Any] | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _local(url: str) -> Path | None:
    parts = urllib.parse.urlsplit(url)
    return Path(urllib.request.url2pathname(parts.path)) if parts.scheme == "file" else None


def _pinned(url: str, origin: Mapping[str, Any]) -> str:
    """Return the address in the form of a requirement: a repository has its kind and commit."""
    repository = origin.get("vcs_info")
    if repository is not None:
        url = f"{repository['vcs']}+{url}@{repository['commit_id']}"
    subdirectory = origin.get("subdirectory")
    return f"{url}#subdirectory={subdirectory}" if subdirectory else url
