"""`litakit audit`: whether the second the model is told is the second a frame was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litakit.cli._errors import DONE_WITH_FAILURES, one_line_errors


def audit(
    video: Annotated[Path, typer.Argument(help="Video file.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show for each sampled frame the second the model is told and when the frame was on screen.

    Exit code 1 where an error is larger than half a frame, or a picture is not the one it should be.
    """
    with one_line_errors():
        from litakit.audit import audit as audit_video

        report = audit_video(video)
    typer.echo(report.to_json() if json_output else str(report))
    if not report.ok:
        raise typer.Exit(DONE_WITH_FAILURES)
