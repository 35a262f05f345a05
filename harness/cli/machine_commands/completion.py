"""`harness completion`: the script that lets a shell complete commands, options and their values."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from harness.cli import COMPLETE, cli
from harness.cli.parsing import Names
from harness.cli.shared_options import harness_command

_SHELLS: Final = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
# A value follows `KEY=` without a space.
_ADD: Final = "COMPREPLY+=($value)"
_ADD_KEY: Final = f"[[ $value == *= ]] && compopt -o nospace\n            {_ADD}"


@harness_command("completion")
@click.argument("shell", type=Names(list(_SHELLS)))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    It completes commands, options, the names of suites, axes, metrics, kept baselines, and the keys of -s.

    \b
    bash, in ~/.bashrc:                   eval "$(harness completion bash)"
    zsh, in ~/.zshrc:                     eval "$(harness completion zsh)"
    fish, in ~/.config/fish/config.fish:  harness completion fish | source
    """  # noqa: D301 - click keeps the lines of a paragraph after a backspace
    script = _SHELLS[shell](cli, {}, "harness", COMPLETE)
    # Without the check of `source()`, which starts a bash only to learn its version.
    click.echo((script.source_template % script.source_vars()).replace(_ADD, _ADD_KEY), nl=False)
