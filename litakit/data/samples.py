"""Samples: conversations to train on or to answer, one a line of JSON on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from litakit.data.manifests import AnswerStyle, Task
from litakit.data.paraphrases import conversation
from litakit.messages import Message
from litakit.spans import Span

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Sample:
    """One conversation to train on or to answer.

    Attributes:
        id: unique within its data set's part and task: the annotation's id, and what of it is asked for.
        video: as the annotation calls it; None where there is none.
        duration: of the video in seconds; None where the annotation does not say it, and for images.
        task: which of the five.
        messages: questions and answers in turn, the video in the first; times as `<seconds>`.
        spans: the times of the answer, in its order.
        source: the data set.
        split: of it.
        path: where the video lies below the data root: where it was found, or where it is expected; None
            where there is none.
        fps: frames a second, of a video that is a folder of frames.
        subjects: what each question is about: an event's words, a question, or nothing.
        style: how long answers are.
    """

    id: str
    video: str | None
    duration: float | None
    task: Task
    messages: tuple[Message, ...]
    spans: tuple[Span, ...]
    source: str
    split: str
    path: str | None = None
    fps: float | None = None
    subjects: tuple[str, ...] = ()
    style: AnswerStyle = "free"

    @property
    def answers(self) -> tuple[str, ...]:
        """What is to be said, one a turn."""
        return tuple(message.content or "" for message in self.messages[1::2])

    def paraphrased(self, way: int) -> Sample:
        """Return the same sample, its first question put in another of the task's ways.

        Args:
            way: which; any integer, counted round. Samples are made with way 0.

        >>> from litakit.data.annotations import Annotation, TimedCaption
        >>> from litakit.data.tasks import samples_of
        >>> told = Annotation("a", "a", 9.0, (TimedCaption(1, 2, "He jumps."),))
        >>> sample = samples_of(told, "event_loc", source="mine", split="train")[0][0]
        >>> sample.paraphrased(4).messages[0].content
        'Give nothing but the start and end time of this event: "he jumps".'
        """
        has_video = self.video is not None
        return replace(
            self, messages=conversation(self.task, self.style, self.subjects, self.answers, way, has_video)
        )


class LeftOut(NamedTuple):
    """What of an annotation can be no sample, and why."""

    id: str
    reason: str


def to_line(sample: Sample) -> str:
    """Return a sample as a line of JSON, without its end."""
    record = {
        "schema_version": SCHEMA_VERSION,
        "id": sample.id,
        "video": sample.video,
        "duration": sample.duration,
        "task": sample.task,
        "messages": [
            {"role": message.role, "content": message.content} | ({"video": True} if message.video else {})
            for message in sample.messages
        ],
        "spans": [[span.start, span.end] for span in sample.spans],
        "source": sample.source,
        "split": sample.split,
        "path": sample.path,
        "fps": sample.fps,
        "subjects": sample.subjects,
        "style": sample.style,
    }
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def from_record(record: Mapping[str, Any], way: int | None = None) -> Sample:
    """Return the sample of a line's record.

    Args:
        record: a line of JSON, read.
        way: how its first question is to be put; None as it was written.

    Raises:
        ValueError: another schema than this one.
        KeyError: a field is missing.
    """
    if record["schema_version"] != SCHEMA_VERSION:
        raise ValueError(
            f"samples of schema {record['schema_version']!r}, expected {SCHEMA_VERSION}: prepare them anew"
        )
    said = record["messages"]
    subjects = tuple(record["subjects"])
    if way is None:
        messages = tuple(Message(turn["role"], turn["content"], turn.get("video", False)) for turn in said)
    else:
        answers = [turn["content"] for turn in said[1::2]]
        has_video = record["video"] is not None
        messages = conversation(record["task"], record["style"], subjects, answers, way, has_video)
    return Sample(
        id=record["id"],
        video=record["video"],
        duration=record["duration"],
        task=record["task"],
        messages=messages,
        spans=tuple(Span(start, end) for start, end in record["spans"]),
        source=record["source"],
        split=record["split"],
        path=record["path"],
        fps=record["fps"],
        subjects=subjects,
        style=record["style"],
    )
