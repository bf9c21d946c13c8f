"""`litakit cache`: what is kept on disk, and how to be rid of it."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from typing import Annotated

import typer

from litakit.cli._errors import one_line_errors

app = typer.Typer(
    name="cache", no_args_is_help=True, help="Video features that are kept on disk (LITAKIT_HOME)."
)


@app.command("list")
def list_entries(json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List what the cache holds, the most recently used first."""
    with one_line_errors():
        from litakit.features import FeatureStore

        store = FeatureStore()
        entries = store.entries()
    if json_output:
        rows = [{**dataclasses.asdict(entry), "path": str(entry.path)} for entry in entries]
        record = {"folder": str(store.folder), "max_bytes": store.max_bytes, "entries": rows}
        typer.echo(json.dumps(record, ensure_ascii=False))
        return
    for entry in entries:
        used = datetime.fromtimestamp(entry.last_used).astimezone().strftime("%Y-%m-%d %H:%M")
        part = (
            "image" if entry.duration is None else f"{entry.start:.1f}-{entry.start + entry.duration:.1f} s"
        )
        typer.echo(f"{used}  {entry.num_bytes / 1e6:8.2f} MB  {entry.video}  {part}")
    total = sum(entry.num_bytes for entry in entries)
    typer.echo(
        f"{len(entries)} videos, {total / 1e6:.1f} of {store.max_bytes / 1e6:.0f} MB in {store.folder}"
    )


@app.command("clear")
def clear() -> None:
    """Remove the features of all videos; they are made anew when they are needed."""
    with one_line_errors():
        from litakit.features import FeatureStore

        store = FeatureStore()
        count, num_bytes = store.clear()
    typer.echo(f"removed {count} videos, {num_bytes / 1e6:.1f} MB, from {store.folder}")
