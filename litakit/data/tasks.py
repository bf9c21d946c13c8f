"""Tasks: from an annotation to samples, each a conversation with its video, and how its question may be put.

Seconds stay seconds here, as `<12.5>` in the text: the processor writes them as time tokens (or as words),
and nothing else does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from litakit.data.annotations import Annotation, TimedCaption
from litakit.data.manifests import AnswerStyle, Task
from litakit.messages import Message
from litakit.spans import Span
from litakit.timestamps import find_timestamps

PARAPHRASES: Mapping[Task, tuple[str, ...]] = MappingProxyType(
    {
        "dvc": (
            "Tell what happens in this video from beginning to end, each sentence after its two times.",
            "Give a full account of the clip, and put a start time and an end time before every statement.",
            "What happens in the video, one after another? Write when it begins and ends, and what it is.",
            "Write down every event of this video: its two times first, then a sentence about it.",
            "Describe the video event by event, each with its start and end time ahead of the words.",
            "Take this video apart: every event gets its first moment, its last moment and a description.",
        ),
        "event_loc": (
            'When does "{}" happen in the video? Give its start and its end time, nothing else.',
            'Find the part of the video that shows "{}". Answer with its start and end time only.',
            'From when to when does the video show "{}"? Reply with the two times alone.',
            'At which time does "{}" begin, and at which does it end? Only the times, please.',
            'Give nothing but the start and end time of this event: "{}".',
            'Locate "{}" in the video. Your answer is its first and its last moment, without further words.',
        ),
        "vidqa": (
            "{}",
            "{} Watch the whole video before you answer.",
            "Here is a question about the video. {}",
            "Answer from what the video shows: {}",
            "Look at the video. {}",
            "{} Go by the video.",
        ),
        "imgqa": (
            "{}",
            "Look at the picture. {}",
            "{} Go by the picture.",
            "Here is a question about the picture. {}",
            "Answer from what the picture shows: {}",
            "{} Look closely before you answer.",
        ),
        "rtl": (
            "{} Answer with the start time and the end time, and then say why.",
            "{} Give the two times of that part of the video first, then your reasons.",
            "{} First its beginning and its end in the video, then an explanation.",
            "Think about what the video shows. {} Start with two times, from when to when, and explain.",
            "{} Say from when to when, and how you can tell.",
            "{} Begin with the start and end time; then give the reason in a sentence.",
        ),
    }
)
"""Ways to put each task's question; `{}` is the event or the question of the annotation."""

SHORT_ANSWERS: Mapping[AnswerStyle, tuple[str, ...]] = MappingProxyType(
    {
        "word": (
            "One word or one phrase is enough.",
            "Answer with a single word or phrase.",
            "Reply in one word or a phrase.",
            "Keep it to a word or a phrase.",
            "Use just a word or a phrase.",
            "Your answer is a single word or a phrase.",
        ),
        "phrase": (
            "A short phrase is enough.",
            "Answer with a short phrase.",
            "Reply in a few words.",
            "Keep it to a short phrase.",
            "Use just a few words.",
            "Your answer is a short phrase.",
        ),
        "free": ("",) * 6,
    }
)
"""What is asked for where a data set's answers are short: a model shall be short only when asked to."""

NUM_PARAPHRASES = 6


@dataclass(frozen=True)
class Sample:
    """One conversation to train on or to answer.

    Attributes:
        id: unique within its data set's part: the annotation's id, and what of it is asked for.
        video: as the annotation calls it.
        duration: of the video in seconds; None where the annotation does not say it, and for images.
        task: which of the five.
        subjects: what each question is about, one a turn: an event's words, a question, or nothing.
        answers: what is to be said, one a turn; times as `<seconds>`.
        spans: the times of the answer, in its order.
        source: the data set.
        split: of it.
        style: how long answers are.
    """

    id: str
    video: str
    duration: float | None
    task: Task
    subjects: tuple[str, ...]
    answers: tuple[str, ...]
    spans: tuple[Span, ...]
    source: str
    split: str
    style: AnswerStyle = "free"

    def messages(self, paraphrase: int = 0) -> tuple[Message, ...]:
        """Return the conversation, its questions put in one of the task's ways; the video is in the first.

        Args:
            paraphrase: which way; any integer, counted round.

        >>> sample = Sample("a#0", "a", 9.0, "event_loc", ("he jumps",), ("<1> <2>",), (), "mine", "train")
        >>> sample.messages()[0].content
        'When does "he jumps" happen in the video? Give its start and its end time, nothing else.'
        """
        way = paraphrase % NUM_PARAPHRASES
        said: list[Message] = []
        for turn, (subject, answer) in enumerate(zip(self.subjects, self.answers, strict=True)):
            # Only the first question is put in another way: the others go on with the conversation.
            words = PARAPHRASES[self.task][way if turn == 0 else 0].replace("{}", subject)
            short = SHORT_ANSWERS[self.style][way]
            said.append(Message("user", f"{words} {short}".rstrip(), video=turn == 0))
            said.append(Message("assistant", answer))
        return tuple(said)


MakeSamples = Callable[[Annotation, AnswerStyle], Iterator[Sample]]


def samples_of(
    annotation: Annotation, task: Task, *, source: str, split: str, style: AnswerStyle
) -> list[Sample]:
    """Return what a task makes of an annotation; nothing where it holds nothing for the task.

    Args:
        annotation: as read.
        task: one of the five.
        source: name of the data set.
        split: of it.
        style: how long its answers are.

    Raises:
        ValueError: a span that cannot be: reversed, or before the video begins; or a text without words.
    """
    made = TASKS[task](annotation, style)
    return [replace(sample, source=source, split=split) for sample in made]


def _dense_captions(annotation: Annotation, style: AnswerStyle) -> Iterator[Sample]:
    """One account of the whole video, in file order."""
    if not annotation.captions:
        return
    said = [f"<{start}> <{end}> {_words(text, annotation)}" for start, end, text in annotation.captions]
    spans = tuple(_span(caption, annotation) for caption in annotation.captions)
    yield _sample(annotation, style, "dvc", "", ("",), (" ".join(said),), spans)


def _event_localization(annotation: Annotation, style: AnswerStyle) -> Iterator[Sample]:
    """One question an event: its sentence without the full stop and with a small letter at its head."""
    for index, caption in enumerate(annotation.captions):
        words = _words(caption.caption, annotation).removesuffix(".")
        subject = words[:1].lower() + words[1:]
        answer = f"<{caption.start}> <{caption.end}>"
        spans = (_span(caption, annotation),)
        yield _sample(annotation, style, "event_loc", f"#{index}", (subject,), (answer,), spans)


def _video_qa(annotation: Annotation, style: AnswerStyle) -> Iterator[Sample]:
    """All questions of a video, one conversation; where answers are free, questions stay as they are."""
    if annotation.pairs:
        put = _words if style == "free" else _question
        asked = tuple(put(pair.question, annotation) for pair in annotation.pairs)
        answers = tuple(_words(pair.answer, annotation) for pair in annotation.pairs)
        yield _sample(annotation, style, "vidqa", "", asked, answers, ())


def _image_qa(annotation: Annotation, style: AnswerStyle) -> Iterator[Sample]:
    """One conversation about an image, its words as they stand."""
    if annotation.pairs:
        asked = tuple(_words(pair.question, annotation) for pair in annotation.pairs)
        answers = tuple(_words(pair.answer, annotation) for pair in annotation.pairs)
        yield _sample(annotation, style, "imgqa", "", asked, answers, ())


def _reasoning(annotation: Annotation, style: AnswerStyle) -> Iterator[Sample]:
    """One question a pair; the first two times of its answer are its span."""
    for index, pair in enumerate(annotation.pairs):
        times = find_timestamps(pair.answer)[:2]
        if len(times) < 2:
            raise ValueError(f"{annotation.id}: expected two times in the answer {pair.answer[:80]!r}")
        asked, answer = _words(pair.question, annotation), _words(pair.answer, annotation)
        number = f"#{index}" if len(annotation.pairs) > 1 else ""
        yield _sample(annotation, style, "rtl", number, (asked,), (answer,), (Span(*sorted(times)),))


TASKS: Mapping[Task, MakeSamples] = MappingProxyType(
    {
        "dvc": _dense_captions,
        "event_loc": _event_localization,
        "vidqa": _video_qa,
        "imgqa": _image_qa,
        "rtl": _reasoning,
    }
)
"""What each task makes of an annotation."""


def _sample(
    annotation: Annotation,
    style: AnswerStyle,
    task: Task,
    number: str,
    subjects: tuple[str, ...],
    answers: tuple[str, ...],
    spans: tuple[Span, ...],
) -> Sample:
    return Sample(
        id=annotation.id + number,
        video=annotation.video,
        duration=annotation.duration,
        task=task,
        subjects=subjects,
        answers=answers,
        spans=spans,
        source="",
        split="",
        style=style,
    )


def _span(caption: TimedCaption, annotation: Annotation) -> Span:
    try:
        return Span(caption.start, caption.end)
    except ValueError as error:
        raise ValueError(f"{annotation.id}: {error}") from error


def _words(text: str, annotation: Annotation) -> str:
    words = text.strip()
    if not words:
        raise ValueError(f"{annotation.id}: a text without words")
    return words


def _question(text: str, annotation: Annotation) -> str:
    """First letter raised, a question mark at its end."""
    words = _words(text, annotation)
    return words[:1].upper() + words[1:].removesuffix("?") + "?"
