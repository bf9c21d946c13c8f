"""SampleReader: from samples and the features of their videos to batches for a model."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

from litakit.data.samples import Sample
from litakit.features import FeatureFolder
from litakit.features.buffers import BufferPool
from litakit.messages import ChatTemplate, Message, get_template
from litakit.timestamps import check_choice

if TYPE_CHECKING:
    from torch import Tensor

    from litakit.features import FeatureLink
    from litakit.modeling import LitaProcessor

logger = logging.getLogger(__name__)

TIMED = ("dvc", "event_loc", "rtl")
"""Tasks whose answers hold times."""


class ReadError(ValueError):
    """A sample that cannot be read; it names the sample, the file, and what to do."""


class Skip(NamedTuple):
    """A sample that was left out of its batch: its number, its id, and why."""

    number: int
    id: str
    reason: str


class EncodedSample(NamedTuple):
    """A sample as ids: what the model reads, what it is to learn (-100 elsewhere), and its video."""

    input_ids: list[int]
    labels: list[int]
    link: FeatureLink | None


class Batch(NamedTuple):
    """Samples side by side.

    Attributes:
        inputs: what the model's forward takes: `input_ids`, `attention_mask` and `labels`, (B, L), and
            `video_features`, (V, N, width), of the samples with a video in their order; to generate, without
            `labels`.
        indices: numbers of the samples, one a row.
    """

    inputs: dict[str, Tensor]
    indices: tuple[int, ...]


class SampleReader:
    """Reads samples of a mixture, or any others, as batches.

    Videos are never decoded here: their features lie in a folder that `litakit data features` made.

    Args:
        samples: a `Mixture`, or a list.
        processor: of the model: its tokenizer, template and way to write times.
        features: of the samples' videos; None where no sample has one.
        template: chat template to write with; None takes the processor's own.
        purpose: "train" keeps the answers and pads on the right; "generate" leaves the last answer open and
            pads on the left.
        on_error: "raise" ends at a sample that cannot be read; "skip" leaves it out of its batch, counts it
            and logs it, and puts none in its place.
        too_long: see `LitaProcessor.encode_prompt`; what is refused there cannot be read here.

    Attributes:
        skips: what was left out so far.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        processor: LitaProcessor,
        features: FeatureFolder | None = None,
        *,
        template: ChatTemplate | str | None = None,
        purpose: Literal["train", "generate"] = "train",
        on_error: Literal["raise", "skip"] = "raise",
        too_long: Literal["refuse", "cut"] = "refuse",
    ) -> None:
        check_choice("purpose", purpose, ("train", "generate"))
        check_choice("on_error", on_error, ("raise", "skip"))
        check_choice("too_long", too_long, ("refuse", "cut"))
        if isinstance(template, str):
            get_template(template)
        self.samples = samples
        self.processor = processor
        self.features = features
        self.template = template
        self.purpose = purpose
        self.on_error = on_error
        self.too_long: Literal["refuse", "cut"] = too_long
        self.skips: list[Skip] = []
        self._lock = threading.Lock()
        self._pool = BufferPool()
        if features is not None:
            made, asked = features.encoder.num_tokens, processor.num_visual_tokens
            if made != asked:
                raise ValueError(
                    f"{features.folder} holds {made} tokens a video, the processor asks for {asked}: they "
                    "belong to different models"
                )

    def encode(self, sample: Sample) -> EncodedSample:
        """Return a sample as ids, its times as the model writes them.

        Raises:
            ReadError: its video has no features, its length is not known, or it is too long.
        """
        link = self._link(sample)
        duration = sample.duration
        if duration is None and link is not None:
            duration = link.duration
        messages = sample.messages
        if sample.task in TIMED:
            if duration is None:
                raise ReadError(f"{sample.id}: the length of {sample.video} is not known, nor are its times")
            messages = self._in_time_tokens(sample, duration)
        if self.purpose == "generate":
            messages = (*messages[:-1], Message("assistant", None))
        try:
            ids, labels = self.processor.encode_sample(messages, self.template, self.too_long)
        except ValueError as error:
            raise ReadError(f"{sample.id}: {error}") from error
        return EncodedSample(ids, labels, link)

    def _in_time_tokens(self, sample: Sample, duration: float) -> tuple[Message, ...]:
        codec = self.processor.time_codec
        try:
            return tuple(
                replace(message, content=codec.render(message.content, duration))
                if message.role == "assistant" and message.content
                else message
                for message in sample.messages
            )
        except ValueError as error:
            raise ReadError(f"{sample.id}: {error}") from error

    def batch(self, indices: Sequence[int]) -> Batch | None:
        """Return some samples as a batch; None where none of them could be read.

        Raises:
            ReadError: one of them cannot be read, unless such are skipped.
        """
        kept, rows = [], []
        for index in indices:
            try:
                sample = self.samples[index]
                row = self.encode(sample)
                kept.append(index)
                rows.append(row)
            except ReadError as error:
                self._skip(index, sample.id, error)
        features = self._read_features(kept, rows)
        if not rows:
            return None
        generating = self.purpose == "generate"
        inputs = self.processor.pad(
            [row.input_ids for row in rows],
            [row.labels for row in rows],
            padding_side="left" if generating else "right",
        )
        if generating:
            inputs.pop("labels")
        if features is not None:
            inputs["video_features"] = features
        return Batch(inputs, tuple(kept))

    def batches(self, batch_size: int, *, start: int = 0, threads: int = 2) -> Iterator[Batch]:
        """Yield all samples in order, so many at a time, the next batches read meanwhile by threads.

        A batch is made of the same numbers every time, so that a run that was at sample `start` goes on as if
        it had never stopped. A batch in which every sample was skipped is left out.

        Args:
            batch_size: samples to a batch; the last may be smaller, and one with skipped samples is.
            start: number of the first sample.
            threads: that read.

        Raises:
            ReadError: a sample cannot be read, unless such are skipped.
        """
        if batch_size < 1 or start < 0:
            raise ValueError(f"expected a batch size from 1 and a start from 0, got {batch_size} and {start}")
        waiting: deque[Future[Batch | None]] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="litakit-read") as pool:
            try:
                for first in range(start, len(self.samples), batch_size):
                    numbers = range(first, min(first + batch_size, len(self.samples)))
                    waiting.append(pool.submit(self.batch, numbers))
                    if len(waiting) > threads:
                        yield from self._finished(waiting.popleft())
                while waiting:
                    yield from self._finished(waiting.popleft())
            finally:
                for future in waiting:
                    future.cancel()
                if self.skips:
                    logger.warning("%d samples were skipped; report() lists them", len(self.skips))

    def report(self) -> str:
        """Return what was skipped so far, by number; a line for each, after one that counts them."""
        skips = sorted(self.skips)
        lines = [f"  sample {skip.number}, {skip.id}: {skip.reason}" for skip in skips]
        return "\n".join([f"{len(skips)} samples skipped", *lines])

    @staticmethod
    def _finished(future: Future[Batch | None]) -> Iterator[Batch]:
        batch = future.result()
        if batch is not None:
            yield batch

    def _link(self, sample: Sample) -> FeatureLink | None:
        if sample.video is None:
            return None
        if self.features is None or sample.path is None:
            raise ReadError(f"{sample.id}: it has a video, {sample.video}, but there are no features to read")
        try:
            link = self.features.link_of(sample.path, sample.fps)
        except (ValueError, OSError) as error:
            raise ReadError(f"{sample.id}: {error}") from error
        if link is None:
            raise ReadError(
                f"{sample.id}: {self.features.folder} holds no features of {sample.path}: make them with "
                "`litakit data features`"
            )
        return link

    def _read_features(self, kept: list[int], rows: list[EncodedSample]) -> Tensor | None:
        """Read the features of all videos into one tensor; rows whose features cannot be read are removed."""
        num_videos = sum(row.link is not None for row in rows)
        if self.features is None or num_videos == 0:
            return None
        import torch

        facts = self.features.encoder
        shape = (num_videos, facts.num_tokens, facts.width)
        out = self._pool.take(shape, getattr(torch, facts.dtype))
        place = 0
        for index, row in zip(list(kept), list(rows), strict=True):
            if row.link is None:
                continue
            try:
                self.features.read_into(row.link.key, out[place])
                place += 1
            except (ValueError, OSError) as error:
                sample = self.samples[index]
                self._skip(index, sample.id, ReadError(f"{sample.id}: {sample.path}: {error}"))
                at = kept.index(index)
                del kept[at], rows[at]
        return out[:place] if place else None

    def _skip(self, index: int, name: str, error: ReadError) -> None:
        if self.on_error == "raise":
            raise error
        reason = str(error).removeprefix(f"{name}: ")
        logger.warning("sample %d, %s, is skipped: %s", index, name, reason)
        with self._lock:
            self.skips.append(Skip(index, name, reason))
