"""The samples of a run for torch's data workers: a batch at a time, read where they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from litakit.data.reading import Batch, SampleReader
from litakit.modeling.losses import IGNORED

if TYPE_CHECKING:
    from litakit.data import Sample
    from litakit.features import FeatureFolder
    from litakit.messages import ChatTemplate
    from litakit.modeling import LitaProcessor
    from litakit.training.order import SampleOrder


class RunSamples(Dataset[Batch]):
    """Samples as ready batches; torch asks for all of a batch at once. It travels to data workers.

    Args:
        samples: of the whole run, by number.
        processor: of the model.
        features: of the samples' videos; None where no sample has one.
        template: chat template to write with; None takes the processor's own.
        on_error: see `SampleReader`. A batch of which nothing is left is one token that teaches nothing,
            so that every process takes every step.
        too_long: see `SampleReader`.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        processor: LitaProcessor,
        features: FeatureFolder | None = None,
        *,
        template: ChatTemplate | str | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        too_long: Literal["refuse", "cut"] = "refuse",
    ) -> None:
        self.samples = samples
        self.processor = processor
        self.features = features
        self.options: dict[str, Any] = {"template": template, "on_error": on_error, "too_long": too_long}
        self._reader: SampleReader | None = None
        self._make_reader()  # what does not fit together is said now, not by a worker

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Batch:
        """Return one sample as a batch."""
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> Batch:
        """Return some samples as a batch.

        Raises:
            ReadError: one of them cannot be read, unless such are skipped.
        """
        reader = self._reader or self._make_reader()
        batch = reader.batch(numbers)
        return self._nothing() if batch is None else batch

    def _make_reader(self) -> SampleReader:
        self._reader = SampleReader(self.samples, self.processor, self.features, **self.options)
        return self._reader

    def _nothing(self) -> Batch:
        token = self.processor.tokenizer.eos_token_id
        inputs = {
            "input_ids": torch.tensor([[token]]),
            "attention_mask": torch.tensor([[1]]),
            "labels": torch.tensor([[IGNORED]]),
        }
        return Batch(inputs, ())

    def __getstate__(self) -> dict[str, Any]:
        # The reader holds a lock and buffers; each process makes its own.
        return {**self.__dict__, "_reader": None}


def hand_on(batch: Batch) -> dict[str, Tensor]:
    """Return a batch as the model's arguments; with `indices`, the numbers of its samples."""
    return {**batch.inputs, "indices": torch.tensor(batch.indices, dtype=torch.long)}


class ProcessBatches(Sampler[list[int]]):
    """The batches of one process, in the order of the run.

    The processes take the batches in turn, so that all of them together take a step's next ones.

    Args:
        order: of the run.
        rank: of this process.
        num_processes: that train.
    """

    def __init__(self, order: SampleOrder, rank: int = 0, num_processes: int = 1) -> None:
        self.order = order
        self.rank = rank
        self.num_processes = num_processes

    def __len__(self) -> int:
        return len(self.order) // (self.order.batch_size * self.num_processes)

    def __iter__(self) -> Iterator[list[int]]:
        size = self.order.batch_size
        for batch in range(len(self)):
            first = (batch * self.num_processes + self.rank) * size
            yield self.order[first : first + size]
