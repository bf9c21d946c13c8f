"""`litakit data prepare` and `describe`: samples from annotations, and what a mixture of them draws."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from litakit.cli._errors import DONE_WITH_FAILURES, one_line_errors

SHOWN = 10


def prepare(
    names: Annotated[
        list[Path], typer.Argument(help="Name or YAML file of a mixture, or of one or more data sets.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write the samples to.")],
    root: Annotated[Path, typer.Option(help="Data root: the folder that holds the data sets.")] = Path(),
    split: Annotated[
        str | None, typer.Option(help="Split, where data sets are named; by default train.")
    ] = None,
    only_found: Annotated[
        bool, typer.Option("--only-found", help="Leave out samples whose video is not there.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the samples of a mixture as JSON lines.

    Exit code 1 where something was left out; each is listed with its reason in left_out.jsonl.
    """
    with one_line_errors():
        from litakit.data.mixture_spec import find_parts
        from litakit.data.prepare import prepare as prepare_samples
        from litakit.progress import progress_bar

        spec, parts = find_parts(names, split)
        with progress_bar("preparing", "files") as progress:
            prepared = prepare_samples(spec, parts, root, out, only_found=only_found, progress=progress)
    if json_output:
        files = [asdict(file) for file in prepared.files]
        left_out = [entry._asdict() for entry in prepared.left_out]
        typer.echo(json.dumps({"folder": str(out), "files": files, "left_out": left_out}, ensure_ascii=False))
    else:
        typer.echo(str(prepared))
        for entry in prepared.left_out[:SHOWN]:
            typer.echo(f"  {entry.dataset} {entry.split} {entry.task} {entry.id}: {entry.reason}")
        if len(prepared.left_out) > SHOWN:
            typer.echo(f"  and {len(prepared.left_out) - SHOWN} more")
    if prepared.left_out:
        raise typer.Exit(DONE_WITH_FAILURES)


def describe(
    folder: Annotated[Path, typer.Argument(help="What `litakit data prepare` wrote.")],
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    epoch: Annotated[int, typer.Option(help="Which epoch, from 0.", min=0)] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count what an epoch of a prepared mixture really draws."""
    with one_line_errors():
        from litakit.data.mixture import Mixture

        table = Mixture(folder, seed=seed, epoch=epoch).describe()
    typer.echo(json.dumps(asdict(table), ensure_ascii=False) if json_output else str(table))
