"""The action and the examples for CI: their shell steps run, and a regression turns them red."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import click
import pytest

from harness.cli import cli
from tests.ci_runner import ROOT, CiRunner, load
from tests.cli.test_ab import interpreter
from tests.running.fakes import RUNNERS, environ

EXAMPLES: Final = ROOT / "examples"
ACTION: Final = ROOT / "action.yml"
WORKFLOWS: Final = sorted([*(ROOT / ".github" / "workflows").glob("*.yml"), *EXAMPLES.glob("github-*.yml")])
WORSE: Final = {"FAKE_ACCURACIES": json.dumps({"": 0.6})}
MAY_WRITE: Final = {
    "github-comment.yml": {"pull-requests"},
    "lock.yml": {"actions", "contents", "pull-requests"},
}


def steps_of(path: Path, job: str = "") -> list[dict[str, Any]]:
    loaded = load(path)
    found: list[dict[str, Any]] = loaded["jobs"][job]["steps"] if job else loaded["runs"]["steps"]
    return found


def harness_in(folder: Path, python: str | Path = sys.executable) -> Path:
    """A `harness` in a folder whose `run` and `ab` take a fake for what trains."""
    program = folder / "harness"
    program.write_text(
        f"#!{sys.executable}\nimport os, sys\narguments = sys.argv[1:]\n"
        "if arguments[0] in ('run', 'ab'):\n"
        f"    arguments += ['--runner', '{RUNNERS}:scoring', '--no-parity']\n"
        f"os.execv({str(python)!r}, [{str(python)!r}, '-m', 'harness', *arguments])\n"
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the gate's suite, and a `harness` in front of all others."""
    monkeypatch.setenv("HARNESS_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    harness_in(tmp_path / "bin")
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    folder = tmp_path / "workspace"
    (folder / "examples").mkdir(parents=True)
    # The fake's numbers fit the default settings of training.
    suite = re.sub(r"^(train|measure): .*\n", "", (EXAMPLES / "gate.yaml").read_text(), flags=re.MULTILINE)
    (folder / "examples" / "gate.yaml").write_text(suite)
    return folder


def runner(folder: Path, context: dict[str, Any], **changes: str) -> CiRunner:
    path = f"{folder.parent / 'bin'}:/usr/bin:/bin"
    return CiRunner(folder, context, {**environ(**changes), "PATH": path})


def keep_baseline(folder: Path) -> None:
    """Type the commands that the example's comment gives."""
    commands = re.findall(r"^# +(harness .*)$", (EXAMPLES / "github-actions.yml").read_text(), re.MULTILINE)
    ran = runner(folder, {})
    assert ran.run([{"name": "Baseline", "run": "\n".join(commands)}]), ran.log
    assert (folder / "reports" / "baselines" / "gate.json").exists()


def gate(folder: Path, **changes: str) -> CiRunner:
    """Run the steps of the action with the inputs of the example."""
    (step,) = (
        each for each in steps_of(EXAMPLES / "github-actions.yml", "regression") if each["uses"] == "./"
    )
    inputs = {name: each.get("default") for name, each in load(ACTION)["inputs"].items()} | step["with"]
    ran = runner(
        folder, {"inputs": inputs, "github": {"action_path": str(ROOT)}}, PYTHONPATH=str(ROOT), **changes
    )
    ran.outcomes["job"] = (
        "success" if ran.run([{"name": "", **each} for each in steps_of(ACTION)]) else "failure"
    )
    return ran


def test_the_gate_is_green_without_a_change_and_red_for_worse_training(workspace: Path) -> None:
    keep_baseline(workspace)
    same = gate(workspace)
    assert same.outcomes["job"] == "success", same.log
    assert "harness check: PASS" in same.log
    worse = gate(workspace, **WORSE)
    assert (worse.outcomes["job"], worse.outcomes["Run"], worse.outcomes["Check"]) == (
        "failure",
        "success",
        "failure",
    )
    assert re.search(r"eval.{0,2}accuracy drop .{0,5}= 0\.05", worse.summary)
    # The page has the report of each of the three runs once: the pages repeat none.
    assert worse.summary.count("# gate: 2 variants") == 3
    kept = worse.temporary / "harness"
    assert {file.name for file in kept.iterdir()} == {
        "report.json",
        "gates.xml",
        "report.html",
        "comparison.html",
    }
    failed = [
        case.get("name") for case in ElementTree.parse(kept / "gates.xml").iter("testcase") if len(case)
    ]
    assert any("drop" in str(name) for name in failed)
    assert any(">= 0.9" in str(name) for name in failed)
    assert "::error title=" in worse.log


def test_a_suite_that_cannot_be_read_ends_the_action_before_the_check(workspace: Path) -> None:
    (workspace / "examples" / "gate.yaml").write_text("name: gate\n")
    ran = gate(workspace)
    assert ran.outcomes == {"Find the versions": "success", "Run": "failure", "job": "failure"}
    assert "Traceback" not in ran.log


def test_the_other_services_gate_too(workspace: Path) -> None:
    keep_baseline(workspace)
    gitlab = load(EXAMPLES / "gitlab-ci.yml")["regression"]
    lines = [line for line in gitlab["script"] if line.startswith("harness ")]
    scripts = {
        "GitLab": ("\n".join(lines), gitlab["variables"]),
        "Jenkins": ("\n".join(jenkins_commands()), jenkins_variables()),
    }
    (workspace / ".venv" / "bin").mkdir(parents=True)
    harness_in(workspace / ".venv" / "bin")
    for name, (script, variables) in scripts.items():
        worse = runner(workspace, {}, **WORSE)
        assert not worse.run([{"name": name, "run": script, "env": variables}])
        assert "harness check: FAIL" in worse.log
        for file in ("report.html", "gates.xml"):
            (workspace / file).unlink()


def jenkins_commands() -> list[str]:
    return re.findall(r"sh '(\.venv/bin/harness .*)'", (EXAMPLES / "Jenkinsfile").read_text())


def jenkins_variables() -> dict[str, str]:
    return dict(
        re.findall(r"^ +(SUITE|BASELINE) = '(.*)'$", (EXAMPLES / "Jenkinsfile").read_text(), re.MULTILINE)
    )


@pytest.fixture
def sides(workspace: Path) -> Path:
    """Two checkouts with an environment each, as the steps before the measurement leave them."""
    for side in ("base", "head"):
        python = interpreter(workspace / side / ".venv")
        harness_in(python.parent, python)
        for name in ("harness", "tests"):
            shutil.copytree(
                ROOT / name, workspace / side / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        shutil.copytree(workspace / "examples", workspace / side / "examples")
    return workspace


def measure(folder: Path, **changes: str) -> tuple[bool, CiRunner]:
    workflow = EXAMPLES / "github-base-against-head.yml"
    ran = runner(folder, {"env": load(workflow)["env"]}, PYTHONPATH="", **changes)
    green = ran.run(steps_of(workflow, "measure"))
    return green, ran


def test_base_against_head_is_red_for_a_worse_head_and_its_comment_is_replaced(
    sides: Path, tmp_path: Path
) -> None:
    green, ran = measure(sides)
    assert green, ran.log
    assert {file.name for file in (sides / "sides").iterdir()} == {"base.json", "candidate.json"}
    assert "candidate against base" in ran.summary
    server = FakeGitHub(tmp_path)
    assert server.comment(sides / "sides", sha="abc").outcomes["Post the comment"] == "success"
    shutil.rmtree(sides / "reports")
    green, ran = measure(sides, FAKE_ACCURACIES=json.dumps({"head/": 0.6}))
    assert not green
    assert "harness check: FAIL" in ran.summary
    server.comment(sides / "sides", sha="abc")
    others, (mine,) = server.comments[:1], server.comments[1:]
    assert others[0]["body"] == "<!-- harness check: gates of gate --> not the workflow's"
    assert mine["body"].startswith("<!-- harness check: gates of gate -->\n")
    assert "FAIL" in mine["body"]
    # A pull request that has moved on gets no comment on its old commit.
    before = server.comments
    assert server.comment(sides / "sides", sha="old").outcomes["Post the comment"] == "success"
    assert server.comments == before


class FakeGitHub:
    """A `gh` that serves one pull request with one comment of a person; filters run in jq."""

    def __init__(self, folder: Path) -> None:
        if (jq := shutil.which("jq")) is None:
            pytest.skip("jq is not installed")
        self._folder = folder / "github"
        (self._folder / "bin").mkdir(parents=True)
        self._state = self._folder / "comments.json"
        forged = {
            "id": 1,
            "user": {"login": "someone"},
            "body": "<!-- harness check: gates of gate --> not the workflow's",
        }
        self._state.write_text(json.dumps([forged]))
        program = self._folder / "bin" / "gh"
        program.write_text(_GH.format(python=sys.executable, state=str(self._state), jq=jq))
        program.chmod(0o755)
        harness_in(self._folder / "bin")

    @property
    def comments(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self._state.read_text())
        return found

    def comment(self, sides: Path, sha: str) -> CiRunner:
        event = {
            "id": 7,
            "head_sha": sha,
            "head_branch": "topic",
            "head_repository": {"owner": {"login": "fork"}},
        }
        context = {"github": {"token": "none", "event": {"workflow_run": event}}}
        ran = CiRunner(self._folder, context, {**environ(), "PATH": f"{self._folder / 'bin'}:/usr/bin:/bin"})
        shutil.rmtree(ran.temporary / "sides", ignore_errors=True)
        shutil.copytree(sides, ran.temporary / "artifact", dirs_exist_ok=True)
        assert ran.run(steps_of(EXAMPLES / "github-comment.yml", "comment")), ran.log
        return ran


_GH: Final = """#!{python}
import json, os, shutil, subprocess, sys
arguments, state = sys.argv[1:], {state!r}
def after(name):
    return arguments[arguments.index(name) + 1]
comments = json.load(open(state))
if arguments[:2] == ["run", "download"]:
    assert arguments[2] == "7" and after("--repo") == "team/project" and after("--name") == "sides"
    shutil.copytree(os.path.join(os.path.dirname(after("--dir")), "artifact"), after("--dir"))
    sys.exit()
path = next(each for each in arguments if each.startswith("repos/team/project/"))
path = path.removeprefix("repos/team/project/")
if path == "pulls":
    assert "head=fork:topic" in arguments and "state=open" in arguments and after("--method") == "GET"
    answer = [{{"number": 5, "head": {{"sha": "abc"}}}}, {{"number": 6, "head": {{"sha": "newer"}}}}]
elif path == "issues/5/comments" and "POST" not in arguments:
    answer = comments
else:
    body = open(after("--field").removeprefix("body=@")).read()
    if after("--method") == "POST":
        assert path == "issues/5/comments", path
        comments.append({{"id": 2, "user": {{"login": "github-actions[bot]"}}, "body": body}})
    else:
        assert (after("--method"), path) == ("PATCH", "issues/comments/2"), path
        comments[1]["body"] = body
    json.dump(comments, open(state, "w"))
    sys.exit()
sys.exit(subprocess.run([{jq!r}, "-r", after("--jq")], input=json.dumps(answer), text=True).returncode)
"""


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION], ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_full_commit_with_its_version_behind(path: Path) -> None:
    used = re.findall(r"^ *(?:- )?uses: (\S+)(.*)$", path.read_text(), re.MULTILINE)
    pinned = [(name, more) for name, more in used if name != "./"]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name) for name, _ in pinned)
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", more) for _, more in pinned)


def test_one_version_of_every_action_and_of_the_installer_is_used() -> None:
    texts = [
        path.read_text() for path in (*WORKFLOWS, ACTION, *EXAMPLES.glob("*ci*"), EXAMPLES / "Jenkinsfile")
    ]
    found = {each for text in texts for each in re.findall(r"[\w/-]+@[0-9a-f]{40}|uv==[\d.]+", text)}
    assert len(found) == len({re.split("@|==", each)[0] for each in found})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_only_the_comment_and_the_lock_may_write_and_run_no_code_of_a_pull_request(path: Path) -> None:
    loaded = load(path)
    jobs = loaded["jobs"].values()
    asked = [loaded["permissions"], *(job.get("permissions", {}) for job in jobs)]
    writes = {name for permissions in asked for name, level in permissions.items() if level == "write"}
    assert writes == MAY_WRITE.get(path.name, set())
    assert all(job["timeout-minutes"] <= 120 for job in jobs)
    if writes:
        assert loaded["permissions"] == {}
        assert "pull_request" not in str(loaded.get("on", ""))
        checkouts = [step for job in jobs for step in job["steps"] if "checkout" in step.get("uses", "")]
        assert [step["with"] for step in checkouts] == [{"persist-credentials": False}]


def test_every_installation_takes_pinned_versions_and_their_hashes() -> None:
    for path in (*WORKFLOWS, ACTION, EXAMPLES / "gitlab-ci.yml", EXAMPLES / "Jenkinsfile"):
        text = re.sub(r"\s*\\*\n\s+(?=--)", " ", path.read_text())
        for line in re.findall(r".*\bpip install\b.*", text):
            if " uv pip " not in f" {line}".replace("/", " "):
                assert re.search(r"pip install (--quiet )?uv==[\d.]+$", line), (path.name, line)
                continue
            files = set(re.findall(r"--((?:build-)?constraint) \S*?([\w-]+\.txt)", line))
            hashed = {("constraint", "requirements.txt"), ("build-constraint", "requirements.txt")}
            torch = {("constraint", "requirements-torch.txt")} if "[train]" in line else set()
            assert files == hashed | torch, (path.name, line)


FAKE_GH: Final = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$1 $2" in
  "pr list") cat "$CALLS.open" 2> /dev/null || true ;;
  "pr create") echo 5 > "$CALLS.open" ;;
esac
"""


def test_newer_versions_become_one_pull_request_whose_tests_run(tmp_path: Path) -> None:
    def git(*arguments: str | Path) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    calls, origin = tmp_path / "calls", tmp_path / "origin"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gh").write_text(FAKE_GH)
    (tmp_path / "bin" / "gh").chmod(0o755)
    git("init", "--quiet", "--bare", "--initial-branch", "main", origin)

    def propose(name: str, versions: str) -> CiRunner:
        folder = tmp_path / name
        git("clone", "--quiet", origin, folder)
        if name == "first":
            git("-C", folder, "switch", "--quiet", "--create", "main")
            (folder / "requirements.txt").write_text("a==1\n")
            git("-C", folder, "add", ".")
            git("-C", folder, "commit", "--quiet", "--message", "first")
            git("-C", folder, "push", "--quiet", "origin", "main")
        (folder / "requirements.txt").write_text(versions)
        path = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "CALLS": str(calls)}
        ran = CiRunner(folder, {"github": {"token": "none"}}, path, frozenset({"Install", "Resolve"}))
        assert ran.run(steps_of(ROOT / ".github" / "workflows" / "lock.yml", "lock")), ran.log
        return ran

    assert "the pinned versions are the newest" in propose("first", "a==1\n").log
    assert not calls.exists()
    propose("second", "a==2\n")
    propose("third", "a==3\n")
    assert git("-C", origin, "show", "lock:requirements.txt") == "a==3\n"
    made = [" ".join(call.split()[:3]) for call in calls.read_text().splitlines()]
    update = ["auth setup-git", "pr list --head", "workflow run test.yml"]
    assert made == [*update[:2], "pr create --head", update[2], *update]


def test_the_gate_has_ten_minutes_and_reads_alone() -> None:
    loaded = load(EXAMPLES / "github-actions.yml")
    assert loaded["permissions"] == {"contents": "read"}
    assert loaded["jobs"]["regression"]["timeout-minutes"] == 10


@pytest.mark.parametrize("path", [*WORKFLOWS, ACTION, EXAMPLES / "gitlab-ci.yml"], ids=lambda path: path.name)
def test_every_command_of_harness_can_be_typed(path: Path) -> None:
    for line in re.findall(r"(?:^|- |run: |/)(harness [a-z]+ .*)$", path.read_text(), re.MULTILINE):
        command = (
            re.split(r" [|>]| \|\|", line)[0].replace('"${arguments[@]}"', "").replace('"${options[@]}"', "")
        )
        _, name, *arguments = shlex.split(command)
        with click.Context(cli) as group:
            found = cli.get_command(group, name)
            assert found is not None, line
            with found.make_context(name, arguments, parent=group) as parsed:
                assert parsed.params
