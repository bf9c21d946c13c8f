"""`litakit data frames`: videos as folders of frames."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from litakit.cli._errors import DONE_WITH_FAILURES, one_line_errors
from litakit.cli._options import Engine, RayAddress, Workers


def frames(
    manifests: Annotated[list[Path], typer.Argument(help="Names or YAML files of data sets.")],
    videos: Annotated[
        Path, typer.Option(help="Folder of the video files, called as in the annotations, v_ or not.")
    ],
    root: Annotated[Path, typer.Option(help="Data root: the folder that holds the data sets.")] = Path(),
    fps: Annotated[
        float | None, typer.Option(help="Frames a second; only the manifest's own is taken.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="Width x height in pixels, such as 320x240; native keeps the video's.")
    ] = "320x240",
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the jpgs, 1 to 100.")] = 90,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    workers: Workers = None,
) -> None:
    """Make the folders of frames that data sets are read from; those that are there stay as they are.

    Ended at any moment and started again, or started several times at once, it makes what is left. Exit code
    1 where a video could not be read or is not there; each is listed with the reason.
    """
    with one_line_errors():
        from litakit.data.engines import run
        from litakit.data.frames import extract, frame_jobs
        from litakit.data.manifests import load_manifest
        from litakit.progress import progress_bar

        jobs = frame_jobs(
            [load_manifest(path) for path in manifests],
            root,
            videos,
            fps=fps,
            size=_parse_size(size),
            quality=quality,
        )
        with progress_bar("frames") as progress:
            report = run(
                extract, jobs, engine=engine, ray_address=ray_address, num_workers=workers, progress=progress
            )
    typer.echo(str(report))
    if report.failures:
        raise typer.Exit(DONE_WITH_FAILURES)


def _parse_size(text: str) -> tuple[int, int] | None:
    if text == "native":
        return None
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise ValueError(f"--size must be width x height in pixels, such as 320x240, or native, got {text!r}")
    return int(match[1]), int(match[2])
