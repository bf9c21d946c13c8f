"""Questions about a scene that each have exactly one right answer, for all five tasks.

What could be answered in two ways is not asked: an event that happens twice is not asked for by its caption,
the longest must be longer than the rest by a margin, "right after" needs a clear order. No question names a
place, or a part of the video.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from litakit.data.synthetic.answers import image_questions, video_questions
from litakit.data.synthetic.asking import QA, Asker
from litakit.data.synthetic.language import OTHER_VERBS, VERBS, asked, captions, clause, name, stamped
from litakit.data.synthetic.reasoning import reasoning_questions
from litakit.data.synthetic.scene import Scene, SceneEvent

ACCOUNTS = (
    "Tell everything that happens in the video, each event with its start and end time.",
    "Describe the events of the video one by one, with the times of each.",
    "What happens in this video? Give the start and end time of every event.",
)
QUOTES = (
    'When does "{}" happen? Answer with the start and end time only.',
    'Find the event "{}". Give its start and end time only.',
    'At what time does "{}" take place? Answer with two times only.',
    'Between which times can we see "{}"? Answer with the start and end time only.',
)
ASKS = (
    "When does {}?",
    "When does {}?",
    "At what time does {}?",
    "When exactly does {}?",
    "From when to when does {}?",
)
ENTRANCES = ("appears", "leaves")
"""Kinds for which "from when to when" could mean how long the thing stays (in, or away)."""


def questions(scene: Scene, variant: int = 0) -> list[QA]:
    """All the questions of a scene, with paraphrases drawn by the scene's seed and `variant`.

    Event localization asks for every event that can be named by its caption, once quoted and once directly.

    Example:
        >>> from litakit.data.synthetic import make_scene
        >>> sorted({qa.task for qa in questions(make_scene(7))})
        ['dvc', 'event_loc', 'imgqa', 'rtl', 'vidqa']
    """
    asker = Asker(scene, np.random.Generator(np.random.PCG64([scene.seed, variant, 1])))
    makers = (_dense, _localize, reasoning_questions, video_questions, image_questions)
    return [qa for make in makers for qa in make(asker)]


def sample_questions(scene: Scene) -> list[QA]:
    """Three questions that show what can be asked: two that name their event, one that needs inference.

    Example:
        >>> from litakit.data.synthetic import make_scene
        >>> [qa.task for qa in sample_questions(make_scene(7))]
        ['event_loc', 'event_loc', 'rtl']
    """
    asked = questions(scene)
    direct = [qa for qa in asked if qa.kind == "direct"]
    shown = {qa.spans for qa in direct[:2]}
    inferred = [qa for qa in asked if qa.kind == "right_after" and qa.spans not in shown]
    inferred += [qa for qa in asked if qa.task == "rtl" and qa.kind != "right_after"]
    return [*direct[:2], *inferred[:1]]


def quotable(scene: Scene) -> tuple[SceneEvent, ...]:
    """The events that their captions name without a doubt: what event localization may ask for."""
    return Asker(scene, np.random.default_rng(0)).unique


def _dense(asker: Asker) -> Iterator[QA]:
    told = captions(asker.scene)
    answer = " ".join(stamped([event.span], event.caption) for event in told)
    yield QA("dvc", asker.pick(ACCOUNTS), answer, tuple(event.span for event in told), "dense")


def _localize(asker: Asker) -> Iterator[QA]:
    for event in asker.unique:
        spans = (event.span,)
        quoted = asker.pick(QUOTES).format(clause(asker.scene, event))
        yield QA("event_loc", quoted, stamped(spans), spans, "quoted")
        yield QA("event_loc", _direct(asker, event), stamped(spans), spans, "direct")


def _direct(asker: Asker, event: SceneEvent) -> str:
    """A question as a person would ask it, every other one in other words than the caption's."""
    verb = VERBS[event.kind][1]
    asks = ASKS[:-1] if event.kind in ENTRANCES else ASKS
    if asker.rng.random() < 0.4:
        verb = asker.pick((verb, *OTHER_VERBS.get(event.kind, ())))
    if event.other is not None and event.kind == "collides":
        first, second = (event.thing, event.other) if asker.rng.random() < 0.5 else (event.other, event.thing)
        if asker.rng.random() < 0.3:
            return f"When do {name(asker.scene, first)} and {name(asker.scene, second)} collide?"
        return asker.pick(asks).format(f"{name(asker.scene, first)} {verb} {name(asker.scene, second)}")
    return asker.pick(asks).format(asked(asker.scene, event, verb))
