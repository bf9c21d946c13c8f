"""The order in which a run learns its samples: known beforehand, the same everywhere, with little padding."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    from litakit.data import Mixture, Sample

WINDOW_BATCHES = 32
"""Batches among which samples of a length are brought together."""

KEY = struct.Struct("<3q")


class Draws(Sequence["Sample"]):
    """The draws of a mixture, all its epochs behind one another.

    Number `n` is draw `n % epoch_size` of epoch `n // epoch_size`.

    Args:
        mixture: what is drawn from, in whatever epoch it stands.
        size: how many draws there are.
    """

    def __init__(self, mixture: Mixture, size: int) -> None:
        self.mixture = mixture
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> Sample:  # type: ignore[override]
        """Return a draw's sample.

        Raises:
            IndexError: no number in [0, size).
        """
        epoch, index = self._place(number)
        return self.mixture.at(epoch)[index]

    def num_bytes(self, number: int) -> int:
        """Return the bytes of a draw's line, which stand for its length in tokens: nothing is read for it."""
        epoch, index = self._place(number)
        draw = self.mixture.at(epoch).draw(index)
        start, end = self.mixture.sources[draw.source].index.place(draw.row)
        return end - start

    def _place(self, number: int) -> tuple[int, int]:
        if not 0 <= number < self.size:
            raise IndexError(f"draw {number} of {self.size}")
        return divmod(number, self.mixture.epoch_size)


class SampleOrder(Sequence[int]):
    """Numbers of draws in the order in which they are learnt; `order[i]` is the same on every machine.

    The draws go by in windows of some batches. Within a window they are sorted by their length and cut into
    batches, which so hold samples of about one length; then the batches are shuffled. Every draw comes once.
    How many processes there are plays no part: a step takes the next batches, however they are shared out.

    Args:
        draws: of the whole run.
        batch_size: samples of a process in one forward pass.
        seed: another seed is another order; by default the mixture's.
        window_batches: batches in a window; 1 leaves the draws almost as they are.

    Raises:
        ValueError: no sample in a batch, or no batch in a window.
    """

    def __init__(
        self,
        draws: Draws,
        batch_size: int,
        *,
        seed: int | None = None,
        window_batches: int = WINDOW_BATCHES,
    ) -> None:
        if batch_size < 1 or window_batches < 1:
            raise ValueError(
                f"expected at least 1 sample in a batch and 1 batch in a window, got {batch_size} and "
                f"{window_batches}"
            )
        self.draws = draws
        self.batch_size = batch_size
        self.seed = draws.mixture.seed if seed is None else seed
        self.window_size = batch_size * window_batches
        self._kept: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self.draws)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: int | slice) -> int | list[int]:
        """Return the number of the draw, or of the draws, at a place.

        Raises:
            IndexError: outside the run.
        """
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(f"place {place} of {len(self)}")
        window, within = divmod(place, self.window_size)
        if self._kept is None or self._kept[0] != window:
            self._kept = window, self._window(window)
        return int(self._kept[1][within])

    def _window(self, window: int) -> np.ndarray:
        first = window * self.window_size
        numbers = np.arange(first, min(first + self.window_size, len(self)))
        # Equal lengths stay in the order of their draws.
        lengths = [self.draws.num_bytes(int(number)) for number in numbers]
        numbers = numbers[np.argsort(lengths, kind="stable")]
        batches = [numbers[at : at + self.batch_size] for at in range(0, len(numbers), self.batch_size)]
        # What is less than a batch, at the end of the run, stays there: the batches before it are whole.
        whole = sum(len(batch) == self.batch_size for batch in batches)
        shuffled = sorted(range(whole), key=lambda batch: _key(self.seed, window, batch))
        return np.concatenate([batches[batch] for batch in [*shuffled, *range(whole, len(batches))]])


def _key(seed: int, window: int, batch: int) -> bytes:
    """Return what batches are sorted by; a hash, and no generator, whose numbers a new version may change."""
    return blake2b(KEY.pack(seed, window, batch), digest_size=16, person=b"litakit-order").digest()
