"""Progress of long work: a bar with the time that is left, in a terminal and in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int], None]
"""Called with the pieces finished so far and all there are."""

LOG_SECONDS = 30.0
"""Where nobody watches, a line this often is enough."""


@contextmanager
def progress_bar(words: str, unit: str = "videos") -> Iterator[Progress]:
    """Show a bar on stderr (in a notebook, a widget) for as long as the block runs.

    Args:
        words: what is going on.
        unit: what is counted.

    Yields:
        A function to be called with the pieces finished and all there are.
    """
    from tqdm.auto import tqdm

    interval = 0.1 if sys.stderr.isatty() or "ipykernel" in sys.modules else LOG_SECONDS
    with tqdm(desc=words, unit=f" {unit}", mininterval=interval, dynamic_ncols=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
