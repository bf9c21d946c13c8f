"""`litakit convert`: a published checkpoint as a folder that transformers reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litakit.cli._errors import one_line_errors
from litakit.cli._options import Base


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of a published LITA checkpoint.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write; it must not hold a model.")],
    base: Base = None,
) -> None:
    """Write a published LITA checkpoint as one folder with config, safetensors, tokenizer and processor."""
    with one_line_errors():
        from litakit.modeling.checkpoints import convert as convert_checkpoint

        typer.echo(str(convert_checkpoint(source, target, base=base)))
