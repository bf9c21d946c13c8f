"""VideoSession: a conversation about one video that is encoded once and read once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING

from litakit.assistant.answer import Answer, TimeAxis, span_confidence
from litakit.assistant.generation import Generated, generate
from litakit.assistant.options import GenerationOptions
from litakit.assistant.prefix import PrefixCache
from litakit.assistant.refining import Part, second_look, with_first_look
from litakit.assistant.streaming import PieceMaker
from litakit.messages import Message, prompt_text
from litakit.modeling.losses import IGNORED

if TYPE_CHECKING:
    import os

    from litakit.assistant.loading import Assistant
    from litakit.features import VideoFeatures
    from litakit.video import VideoInfo


@dataclass(frozen=True)
class _Turn:
    """A question on its way to the model."""

    question: str
    messages: tuple[Message, ...]
    ids: list[int]
    ids_before: list[int]
    limit: int
    started: float


class AnswerStream:
    """An answer as it comes: an iterator of pieces of its text; `answer` is the whole when they are through.

    Leaving it early (`close`, or Ctrl-C in a loop over it) ends the generation; such a turn is not
    remembered.
    """

    def __init__(self, pieces: Generator[str, None, None], result: list[Answer]) -> None:
        self._pieces = pieces
        self._result = result

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """End the generation, if it still runs."""
        self._pieces.close()

    @property
    def answer(self) -> Answer:
        """The whole answer.

        Raises:
            RuntimeError: the stream was not read to its end.
        """
        if not self._result:
            raise RuntimeError("the answer is not complete: read the stream to its end first")
        return self._result[0]


class VideoSession:
    """A conversation about a video, or a part of one; `Assistant.open` makes it.

    The video was encoded when the session was opened. Its visual tokens go through the language model with
    the first question; every further one reads only what is new.

    Attributes:
        source: the file, folder of frames, or image.
        video: its features, and what was sampled.
    """

    def __init__(
        self,
        assistant: Assistant,
        source: str | os.PathLike[str],
        video: VideoFeatures,
        fps: float | None,
        duration: float | None,
    ) -> None:
        self.source = source
        self.video = video
        self._assistant = assistant
        self._timing = (fps, duration)
        self._features = video.features[None].to(assistant.model.device)  # (1, N, width)
        self._axis = TimeAxis(assistant.processor.time_codec, video.duration, video.start)
        self._prefix = PrefixCache(assistant.model)
        self._history: tuple[Message, ...] = ()
        self._history_ids: list[int] = []  # the same as the model read and wrote it, without the last end
        self._generating = Lock()

    def __repr__(self) -> str:
        part = "an image" if self.duration is None else f"{self.start:.1f}-{self.start + self.duration:.1f} s"
        return f"VideoSession({str(self.source)!r}, {part}, {len(self._history) // 2} turns)"

    @property
    def info(self) -> VideoInfo:
        """Facts about the file."""
        return self.video.info

    @property
    def duration(self) -> float | None:
        """Seconds of the part that is asked about; None for a still image."""
        return self.video.duration

    @property
    def start(self) -> float:
        """Second of the video at which that part begins."""
        return self.video.start

    @property
    def resolution_seconds(self) -> float | None:
        """Seconds between two neighbouring times that the model can name; None for a still image."""
        return self._axis.resolution_seconds

    @property
    def history(self) -> tuple[Message, ...]:
        """The conversation so far: questions, and answers as the model wrote them."""
        return self._history

    def reset(self) -> None:
        """Forget the conversation; the video stays read."""
        self._history, self._history_ids = (), []

    def ask(
        self,
        question: str,
        *,
        refine: bool = False,
        temperature: float = 0.0,
        top_p: float = 1.0,
        num_beams: int = 1,
        max_new_tokens: int = 1024,
        seed: int | None = None,
    ) -> Answer:
        """Ask, and wait for the answer. Questions and answers so far are part of what the model reads.

        Args:
            question: in words.
            refine: look a second time, with all frames inside the first answer and a margin around it, and
                ask again there. The conversation remembers the first answer.
            temperature: see `GenerationOptions`, as the rest. The default is greedy.
            top_p: probability mass that tokens are drawn from.
            num_beams: beams of a beam search.
            max_new_tokens: longest answer, in tokens.
            seed: of the draws.

        Returns:
            The answer, its seconds on the time axis of the whole video.

        Raises:
            ValueError: an empty question, a conversation longer than the model reads, an option out of its
                range.
            VideoError: the second look cannot read the video again.
        """
        options = GenerationOptions(temperature, top_p, num_beams, max_new_tokens, seed)
        turn = self._turn(question, options)
        first = self._finish(turn, self._run(turn, options))
        if not refine:
            return first
        part = second_look(first, self._axis)
        if not isinstance(part, Part):
            return dataclasses.replace(first, notes=(*first.notes, part))
        with self._all_or_nothing(turn):
            second = self._closer(part).ask(question, **dataclasses.asdict(options))
        return with_first_look(first, second, time.perf_counter() - turn.started)

    def stream(
        self,
        question: str,
        *,
        refine: bool = False,
        temperature: float = 0.0,
        top_p: float = 1.0,
        num_beams: int = 1,
        max_new_tokens: int = 1024,
        seed: int | None = None,
    ) -> AnswerStream:
        """Ask, and get the answer piece by piece while it is generated; arguments and errors as `ask`.

        Joined, the pieces are the answer's text: words with times as seconds, never a part of a time. With
        `refine` they are those of the second look; with several beams the text comes in one piece.
        """
        options = GenerationOptions(temperature, top_p, num_beams, max_new_tokens, seed)
        turn = self._turn(question, options)
        result: list[Answer] = []
        if refine:
            return AnswerStream(self._refined_pieces(turn, options, result), result)
        return AnswerStream(self._pieces(turn, options, result), result)

    def _turn(self, question: str, options: GenerationOptions) -> _Turn:
        if not question.strip():
            raise ValueError("expected a question in words, got an empty one")
        started = time.perf_counter()
        model, processor = self._assistant.model, self._assistant.processor
        messages = (*self._history, Message("user", question, video=not self._history))
        ids, labels = processor.encode_sample(messages, self._assistant.chat_template, too_long="keep")
        if self._history:
            # The answers stand as they were written, id for id: their words, tokenised anew, might come out
            # differently and would have to be read again. What is new begins with the last answer's end.
            last_end = max(index for index, label in enumerate(labels) if label != IGNORED)
            ids = [*self._history_ids, *ids[last_end:]]
        room = processor.max_sequence_length - len(ids)
        if room < 1:
            num_video = ids.count(model.config.video_token_id)
            turns = len(self._history) // 2
            cure = f"reset() forgets the {turns} turns before it" if turns else "ask a shorter one"
            raise ValueError(
                f"the question takes the prompt to {len(ids)} tokens ({num_video} of them the video), "
                f"the model reads {processor.max_sequence_length}, its answer included: {cure}"
            )
        return _Turn(question, messages, ids, self._history_ids, min(options.max_new_tokens, room), started)

    def _run(
        self,
        turn: _Turn,
        options: GenerationOptions,
        on_token: Callable[[int], None] | None = None,
        stop: Event | None = None,
    ) -> Generated:
        if not self._generating.acquire(blocking=False):
            raise RuntimeError("this session is still answering: read its stream to the end, or close it")
        try:
            if turn.messages[:-1] != self._history:
                raise RuntimeError("the conversation has gone on since this question was put: ask it again")
            return generate(
                self._assistant.model,
                self._prefix,
                turn.ids,
                self._features,
                options,
                turn.limit,
                eos_token_ids=self._assistant.eos_token_ids,
                pad_token_id=self._assistant.processor.tokenizer.pad_token_id,
                on_token=on_token,
                stop=stop,
            )
        finally:
            self._generating.release()

    def _finish(self, turn: _Turn, generated: Generated) -> Answer:
        """Make the answer and remember the turn."""
        processor = self._assistant.processor
        raw_text = processor.decode_answer(generated.ids)
        spans = self._axis.spans(raw_text)
        boundaries = tuple(
            self._axis.boundary(index, probabilities.numpy())
            for _, index, probabilities in generated.time_probabilities
            if self.duration is not None and self._axis.codec.tokens
        )
        notes = [
            *self.video.notes,
            *self._axis.notes(raw_text, num_time_tokens=len(generated.time_probabilities)),
        ]
        if generated.truncated:
            full = len(turn.ids) + turn.limit == processor.max_sequence_length
            why = f": the model reads {processor.max_sequence_length} in all" if full else ""
            notes.append(f"the answer was cut at the limit of {turn.limit} tokens{why}")
        if raw_text:
            self._history = (*turn.messages, Message("assistant", raw_text))
            ended = generated.ids[-1] in self._assistant.eos_token_ids
            self._history_ids = [*turn.ids, *(generated.ids[:-1] if ended else generated.ids)]
        else:
            notes.append("the model said nothing; this turn is left out of the conversation")
        return Answer(
            question=turn.question,
            text=self._axis.show(raw_text),
            spans=spans,
            confidence=span_confidence(raw_text, spans, boundaries, self._axis),
            boundaries=boundaries,
            raw_text=raw_text,
            token_ids=generated.ids,
            resolution_seconds=self.resolution_seconds,
            parsed=bool(spans),
            truncated=generated.truncated,
            notes=tuple(notes),
            prompt=prompt_text(turn.messages, self._assistant.chat_template),
            seconds_taken=time.perf_counter() - turn.started,
        )

    def _pieces(
        self, turn: _Turn, options: GenerationOptions, result: list[Answer]
    ) -> Generator[str, None, None]:
        """Generate in a thread and hand on what is sure to stay; ending this iterator ends the thread."""
        queue: SimpleQueue[int | Generated | BaseException] = SimpleQueue()
        stop = Event()

        def work() -> None:
            try:
                queue.put(self._run(turn, options, on_token=queue.put, stop=stop))
            except BaseException as error:  # noqa: BLE001  # law: the reader of the queue raises it
                queue.put(error)

        maker = PieceMaker(self._assistant.processor.decode_answer, self._axis.show)
        thread = Thread(target=work, name="litakit-answer", daemon=True)
        thread.start()
        try:
            while isinstance(item := queue.get(), int):
                if piece := maker.add(item):
                    yield piece
        finally:
            stop.set()
            thread.join()
        if isinstance(item, BaseException):
            raise item
        answer = self._finish(turn, item)
        result.append(answer)
        if piece := maker.rest(answer.text):
            yield piece

    def _refined_pieces(
        self, turn: _Turn, options: GenerationOptions, result: list[Answer]
    ) -> Generator[str, None, None]:
        first = self._finish(turn, self._run(turn, options))
        part = second_look(first, self._axis)
        if not isinstance(part, Part):
            result.append(dataclasses.replace(first, notes=(*first.notes, part)))
            yield first.text
            return
        with self._all_or_nothing(turn):
            stream = self._closer(part).stream(turn.question, **dataclasses.asdict(options))
            yield from stream
        result.append(with_first_look(first, stream.answer, time.perf_counter() - turn.started))

    @contextmanager
    def _all_or_nothing(self, turn: _Turn) -> Iterator[None]:
        """Forget a turn whose second look does not come to its end."""
        try:
            yield
        except BaseException:  # law: raised again, only the turn is forgotten
            self._history, self._history_ids = turn.messages[:-1], turn.ids_before
            raise

    def _closer(self, part: Part) -> VideoSession:
        fps, duration = self._timing
        return self._assistant.open(self.source, start=part.start, end=part.end, fps=fps, duration=duration)
