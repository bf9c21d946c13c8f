"""Tasks: from an annotation to samples.

Seconds stay seconds here, as `<12.5>` in the text: the processor writes them as time tokens (or as words),
and nothing else does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from litakit.data.annotations import Annotation
from litakit.data.manifests import AnswerStyle, Task
from litakit.data.paraphrases import conversation
from litakit.data.samples import LeftOut, Sample
from litakit.spans import Span
from litakit.timestamps import find_timestamps, replace_timestamps, write_timestamp


def samples_of(
    annotation: Annotation, task: Task, *, source: str, split: str, style: AnswerStyle = "free"
) -> tuple[list[Sample], list[LeftOut]]:
    """Return what a task makes of an annotation, and what it cannot use.

    A sentence or reasoning answer whose span is reversed or outside its video, a text without words, and a
    reasoning answer with fewer than two times are left out, each alone: the others of its video stay.

    Args:
        annotation: as read.
        task: one of the five.
        source: name of the data set.
        split: of it.
        style: how long its answers are.
    """
    left_out: list[LeftOut] = []
    samples = []
    for number, subjects, answers, spans in TASKS[task](annotation, style, left_out):
        said = conversation(task, style, subjects, answers, 0, annotation.video is not None)
        samples.append(
            Sample(
                id=annotation.id + number,
                video=annotation.video,
                duration=annotation.duration,
                task=task,
                messages=said,
                spans=spans,
                source=source,
                split=split,
                subjects=subjects,
                style=style,
            )
        )
    return samples, left_out


class Made(NamedTuple):
    """What a task asks about an annotation: the end of the sample's id, subjects, answers and spans."""

    number: str
    subjects: tuple[str, ...]
    answers: tuple[str, ...]
    spans: tuple[Span, ...]


MakeSamples = Callable[[Annotation, AnswerStyle, list[LeftOut]], Iterator[Made]]


def _dense_captions(annotation: Annotation, style: AnswerStyle, left_out: list[LeftOut]) -> Iterator[Made]:
    """One account of the whole video, in file order."""
    told = list(_told(annotation, left_out))
    if told:
        account = " ".join(f"{_times(span)} {words}" for _, span, words in told)
        yield Made("", ("",), (account,), tuple(span for _, span, _ in told))


def _event_localization(
    annotation: Annotation, style: AnswerStyle, left_out: list[LeftOut]
) -> Iterator[Made]:
    """One question an event: its sentence without the full stop and with a small letter at its head.

    What happens several times in the same words is one question, and all its times are the answer.
    """
    events: dict[str, list[tuple[int, Span]]] = {}
    for index, span, words in _told(annotation, left_out):
        events.setdefault(words, []).append((index, span))
    for words, times in events.items():
        subject = words.removesuffix(".")
        subject = subject[:1].lower() + subject[1:]
        spans = tuple(span for _, span in times)
        yield Made(f"#{times[0][0]}", (subject,), (" ".join(map(_times, spans)),), spans)


def _question_answering(
    annotation: Annotation, style: AnswerStyle, left_out: list[LeftOut]
) -> Iterator[Made]:
    """All questions of a video or image, one conversation; short answers' questions get a question mark."""
    asked = list(_asked(annotation, left_out))
    if asked:
        subjects = tuple(question if style == "free" else _question(question) for _, question, _ in asked)
        yield Made("", subjects, tuple(answer for _, _, answer in asked), ())


def _reasoning(annotation: Annotation, style: AnswerStyle, left_out: list[LeftOut]) -> Iterator[Made]:
    """One question a pair; the first two times of its answer are its span."""
    for index, question, answer in _asked(annotation, left_out):
        number = f"#{index}" if len(annotation.pairs) > 1 else ""
        times = find_timestamps(answer)[:2]
        try:
            if len(times) < 2:
                raise ValueError(f"expected two times in the answer {answer[:80]!r}")
            span = _inside(Span(*sorted(times)), annotation)
        except ValueError as error:
            left_out.append(LeftOut(annotation.id + number, str(error)))
            continue
        told = answer if times[0] <= times[1] else _in_order(answer)
        yield Made(number, (question,), (told,), (span,))


def _in_order(answer: str) -> str:
    """Return an answer with its first two times swapped: what is learned is in order."""
    first, second, *others = find_timestamps(answer)
    times = iter([second, first, *others])
    return replace_timestamps(answer, lambda _: write_timestamp(next(times)))


def _told(annotation: Annotation, left_out: list[LeftOut]) -> Iterator[tuple[int, Span, str]]:
    """Yield (index, span, words) of each timed sentence that can be used."""
    for index, (start, end, caption) in enumerate(annotation.captions):
        words = caption.strip()
        try:
            span = _inside(Span(start, end), annotation)
            if not words:
                raise ValueError("a text without words")
        except ValueError as error:
            left_out.append(LeftOut(f"{annotation.id}#{index}", str(error)))
            continue
        yield index, span, words


def _asked(annotation: Annotation, left_out: list[LeftOut]) -> Iterator[tuple[int, str, str]]:
    """Yield (index, question, answer) of each pair that has words."""
    for index, pair in enumerate(annotation.pairs):
        question, answer = pair.question.strip(), pair.answer.strip()
        if question and answer:
            yield index, question, answer
        else:
            which = "question" if not question else "answer"
            left_out.append(LeftOut(f"{annotation.id}#{index}", f"{which} without words"))


def _inside(span: Span, annotation: Annotation) -> Span:
    """Refuse a span that has no part in its video; one that goes on behind its end is cut by time codecs."""
    duration = annotation.duration
    if duration is not None and not 0 < duration < math.inf:
        raise ValueError(f"its video lasts {duration} s by the annotation")
    if duration is not None and span.start > duration:
        raise ValueError(f"{span} lies outside its video of {duration:g} s")
    return span


def _times(span: Span) -> str:
    return f"{write_timestamp(span.start)} {write_timestamp(span.end)}"


def _question(words: str) -> str:
    """First letter raised, a question mark at its end."""
    return words[:1].upper() + words[1:].removesuffix("?") + "?"


TASKS: Mapping[Task, MakeSamples] = MappingProxyType(
    {
        "dvc": _dense_captions,
        "event_loc": _event_localization,
        "vidqa": _question_answering,
        "imgqa": _question_answering,
        "rtl": _reasoning,
    }
)
"""What each task makes of an annotation."""
