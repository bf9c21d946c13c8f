"""`QA`, and the state that all makers of questions about one scene share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from litakit.data.synthetic.language import TRAVELLING, stamped
from litakit.data.synthetic.scene import Scene, SceneEvent
from litakit.spans import Span

TaskName = Literal["dvc", "event_loc", "vidqa", "imgqa", "rtl"]

LONGEST_SHARE = 0.4
"""No span that is asked for is longer than this share of its video."""


@dataclass(frozen=True)
class QA:
    """A question and its right answer.

    `answer` holds times as `<seconds>`; `spans` are those times (none for vidqa and imgqa); `kind` says how
    the question was made; `seconds` is the moment of the still frame that an imgqa question is about.
    """

    task: TaskName
    question: str
    answer: str
    spans: tuple[Span, ...]
    kind: str
    seconds: float | None = None


class Asker:
    """A scene with what all its questions need: which events are unique, and a generator for paraphrases."""

    def __init__(self, scene: Scene, rng: np.random.Generator) -> None:
        self.scene = scene
        self.rng = rng
        self.unique = tuple(event for event in scene.events if self.alike(event) == 1 and self.plain(event))

    def alike(self, event: SceneEvent) -> int:
        """How many events are called the same as this one, itself included."""
        return sum(other.key == event.key for other in self.scene.events)

    def plain(self, event: SceneEvent) -> bool:
        """Whether no other kind of event of the thing could be called by the same verb."""
        others = [other for other in self.scene.events_of(event.thing) if other.kind != event.kind]
        return event.kind != "moves" or not any(o.kind in TRAVELLING or o.style == "slide" for o in others)

    def sole(self, kind: str) -> SceneEvent | None:
        """The one event of a kind in the scene, where there is just one and no other could be called so."""
        found = [event for event in self.scene.events if event.kind == kind]
        others = (event for event in self.scene.events if event.kind != kind)
        rivals = kind == "moves" and any(o.kind in TRAVELLING or o.style == "slide" for o in others)
        return found[0] if len(found) == 1 and not rivals else None

    def pick(self, options: Sequence[str]) -> str:
        """One of several paraphrases."""
        return options[int(self.rng.integers(len(options)))]

    def some(self, found: list[QA], most: int) -> Iterator[QA]:
        """At most so many of the questions, in their order."""
        kept = sorted(self.rng.permutation(len(found))[:most].tolist())
        return (found[i] for i in kept)

    def rtl(self, kind: str, question: str, span: Span, why: str) -> list[QA]:
        """A reasoning question with its explanation; none if its span is too short or too long."""
        if not 0.03 <= span.duration / self.scene.duration <= LONGEST_SHARE:
            return []
        return [QA("rtl", question, stamped([span], why), (span,), kind)]
