"""PrefixCache: keys and values of what a conversation has read already, so that it is not read again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

if TYPE_CHECKING:
    from litakit.modeling import LitaForConditionalGeneration


class PrefixCache:
    """The cache of one video's prompts: system words, the video, and what was said about it.

    A new prompt keeps the longest stretch of ids that it begins with; only the rest goes through the model.

    Args:
        model: whose keys and values these are.
    """

    def __init__(self, model: LitaForConditionalGeneration) -> None:
        self._model = model
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._cache = DynamicCache(config=self._model.config.text_config)
        self._ids: list[int] = []

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids whose keys and values are held."""
        return tuple(self._ids)

    @contextmanager
    def borrow(
        self, ids: Sequence[int], video_features: Tensor, num_beams: int = 1
    ) -> Iterator[DynamicCache]:
        """Give a cache that holds the longest common beginning with a prompt, for `generate` to grow.

        With one beam it is the cache itself, and `commit` tells what was added. With several it is a copy,
        one row for each beam, of everything but the last id, which is read first so that all beams share it.
        If anything fails in between, the cache is empty afterwards: a half-written one would give wrong
        answers.

        Args:
            ids: the whole prompt.
            video_features: (1, N, width), for the first reading.
            num_beams: rows that `generate` will work on.
        """
        try:
            self._rewind(ids)
            if num_beams > 1:
                self._read(ids[:-1], video_features)
                cache = copy.deepcopy(self._cache)
                cache.batch_repeat_interleave(num_beams)
                yield cache
            else:
                yield self._cache
                if self._cache.get_seq_length() != len(self._ids):  # grown, and nothing committed
                    self.clear()
        except BaseException:  # law: raised again, only the half-written cache is dropped
            self.clear()
            raise

    def commit(self, ids: Sequence[int]) -> None:
        """Say which ids went through the model; those beyond the cache's length did not."""
        self._ids = list(ids[: self._cache.get_seq_length()])

    def _rewind(self, ids: Sequence[int]) -> None:
        """Cut the cache down to what the prompt begins with; its last id is always read anew."""
        kept = common_length(self._ids, ids[:-1])
        if kept < len(self._ids):
            if not all(type(layer) is DynamicLayer for layer in self._cache.layers):
                self.clear()  # a layer with a sliding window has forgotten what is needed
                return
            self._cache.crop(kept - len(self._ids))
            self._ids = self._ids[:kept]

    def _read(self, ids: Sequence[int], video_features: Tensor) -> None:
        """Run what is not held yet through the model."""
        new = torch.tensor([ids[len(self._ids) :]], device=self._model.device)
        if new.shape[1] == 0:
            return
        has_video = bool((new == self._model.config.video_token_id).any())
        with torch.no_grad():
            self._model(
                input_ids=new,
                attention_mask=new.new_ones(1, len(ids)),
                video_features=video_features if has_video else None,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self.commit(ids)


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many ids two sequences have in common at their beginning.

    >>> common_length([1, 2, 3, 4], [1, 2, 5])
    2
    """
    for index, (left, right) in enumerate(zip(a, b, strict=False)):
        if left != right:
            return index
    return min(len(a), len(b))
