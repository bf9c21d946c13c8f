"""What goes wrong outside us, as one line on stderr and exit code 2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

WRONG_INPUT = 2
DONE_WITH_FAILURES = 1


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors of usage, input, files and missing packages into a line and exit code 2."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):  # a RuntimeError of its own; a reader that has left
        raise
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        typer.echo(f"litakit: {' '.join(str(error).split()) or type(error).__name__}", err=True)
        raise typer.Exit(WRONG_INPUT) from error
