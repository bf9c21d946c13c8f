"""Memory that is used again once nobody holds it: fresh memory costs more to touch than features to read."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

MOST_FREE = 8
"""Blocks that wait for their next use; a block more is given back to the system."""


class BufferPool:
    """Tensors whose memory comes back when the last tensor on it, or on a part of it, is gone.

    Safe to use from several threads.

    >>> import torch
    >>> pool = BufferPool()
    >>> first = pool.take((2, 3), torch.float16)
    >>> place, view = first.data_ptr(), first[1]
    >>> del first
    >>> second = pool.take((2, 3), torch.float16)
    >>> second.data_ptr() == place  # a part of the first is still held
    False
    >>> del view
    >>> pool.take((2, 3), torch.float16).data_ptr() == place
    True
    """

    def __init__(self) -> None:
        self._free: deque[np.ndarray] = deque(maxlen=MOST_FREE)

    def take(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """Return a tensor of a shape and type, on the CPU, its content whatever was there."""
        import torch

        num_bytes = int(np.prod(shape)) * dtype.itemsize
        block = self._block(num_bytes)
        view = block[:num_bytes]
        # The tensor holds `view` for as long as its memory is in use, whatever is made of it.
        weakref.finalize(view, self._free.append, block).atexit = False
        return torch.from_numpy(view).view(dtype).view(*shape)

    def _block(self, num_bytes: int) -> np.ndarray:
        for _ in range(len(self._free)):
            try:
                block = self._free.popleft()
            except IndexError:  # another thread took the last
                break
            if len(block) >= num_bytes:
                return block
        return np.empty(num_bytes, dtype=np.uint8)
