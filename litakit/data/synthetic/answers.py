"""Questions that are answered in words: about the whole video, and about one still frame of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from litakit.data.synthetic.asking import QA, Asker
from litakit.data.synthetic.language import VERBS, name, predicate
from litakit.data.synthetic.scene import COLOURS, PAIR_KINDS, SHAPES, Thing, scene_state

SMALLEST_LARGE = 0.21
"""From this size on, in crop units, a thing is large; none is near it but while it grows or shrinks."""

NUMBERS = ("none", "one", "two", "three", "four")
TIMES = ("never", "once", "twice", "three times", "four times", "five times", "six times", "seven times")


def video_questions(asker: Asker) -> Iterator[QA]:
    """Short questions about what happens, as turns of one conversation."""
    yield from asker.some([*_who(asker), *_what(asker), *_how_many(asker)], 6)


def _said(question: str, answer: str, kind: str) -> QA:
    return QA("vidqa", question, answer, (), kind)


def _who(asker: Asker) -> Iterator[QA]:
    scene = asker.scene
    for event in asker.unique:
        if asker.sole(event.kind) is not event:
            continue
        if event.kind in PAIR_KINDS and event.other is not None:
            verb, partner = VERBS[event.kind][0], name(scene, event.other)
            yield _said(f"Which thing {verb} {partner}?", name(scene, event.thing), "who")
            continue
        thing, verb = scene.things[event.thing], VERBS[event.kind][0]
        yield _said(f"Which thing {verb}?", name(scene, event.thing), "who")
        yield _said(f"What colour is the thing that {verb}?", thing.colour, "colour")
        yield _said(f"What shape is the thing that {verb}?", thing.shape, "shape")


def _what(asker: Asker) -> Iterator[QA]:
    scene = asker.scene
    for index in range(len(scene.things)):
        mine, subject = scene.events_of(index), name(scene, index)
        if len(mine) == 1:
            yield _said(f"What does {subject} do?", f"it {predicate(scene, mine[0], index)}", "what")
        for event, following in pairwise(mine):
            if event in asker.unique:
                question = f"What does {subject} do after it {predicate(scene, event, index)}?"
                yield _said(question, f"it {predicate(scene, following, index)}", "what_next")


def _how_many(asker: Asker) -> Iterator[QA]:
    scene = asker.scene
    number = NUMBERS[len(scene.things)]
    yield _said("How many things are there in the whole video?", number, "how_many_things")
    for index in range(len(scene.things)):
        mine = scene.events_of(index)
        kind = asker.pick(("appears", "grows", "shrinks", "leaves"))
        count = sum(event.kind == kind for event in mine)
        question = f"How many times does {name(scene, index)} {VERBS[kind][1]}?"
        yield _said(question, TIMES[count], "how_many_times")
        kind = asker.pick(("spins", "jumps", "flashes", "leaves", "appears"))
        count = sum(event.kind == kind for event in mine)
        yield _said(f"Does {name(scene, index)} {VERBS[kind][1]}?", "yes" if count else "no", "does")


def image_questions(asker: Asker) -> Iterator[QA]:
    """Questions about one still frame in which nothing is going on."""
    scene = asker.scene
    seconds = 0.0
    for drawn in asker.rng.uniform(0.0, scene.duration, 40):
        index = int(float(drawn) * scene.rate)
        shown = round(float(index / scene.rate), 4)
        busy = any(e.span.start - 0.05 <= shown <= e.span.end + 0.05 for e in scene.events)
        if index < scene.num_frames and not busy:
            seconds = shown
            break
    states = scene_state(scene, seconds)
    everything = zip(scene.things, states, strict=True)
    found = list(_still(asker, [(thing, state.size) for thing, state in everything if state.visible > 0]))
    for question, answer, kind in sorted(found[i] for i in asker.rng.permutation(len(found))[:5]):
        yield QA("imgqa", question, answer, (), kind, seconds)


def _still(asker: Asker, sized: Sequence[tuple[Thing, float]]) -> Iterator[tuple[str, str, str]]:
    """Questions, answers and kinds about things and their sizes as they are shown."""
    things = [thing for thing, _ in sized]
    are = "is" if len(things) == 1 else "are"
    yield "How many things are there?", f"There {are} {NUMBERS[len(things)]}.", "count"
    for thing, size in sized:
        if sum(other.shape == thing.shape for other in things) == 1:
            yield f"What colour is the {thing.shape}?", f"It is {thing.colour}.", "colour"
        if sum(other.colour == thing.colour for other in things) == 1:
            yield f"What shape is the {thing.colour} thing?", f"It is a {thing.shape}.", "shape"
        if thing.name == f"{thing.colour} {thing.shape}":
            word = "large" if size >= SMALLEST_LARGE else "small"
            yield f"Is the {thing.name} small or large?", f"It is {word}.", "size"
    colour, shape = asker.pick(tuple(COLOURS)), asker.pick(SHAPES)
    for word, count in (
        (colour, sum(t.colour == colour for t in things)),
        (shape, sum(t.shape == shape for t in things)),
    ):
        noun = f"{word} thing" if word in COLOURS else word
        yield f"Is there a {noun}?", "Yes." if count else "No.", "exists"
        number = f"There {'is' if count == 1 else 'are'} {NUMBERS[count]}."
        yield f"How many {noun}s are there?", number, "count_some"
