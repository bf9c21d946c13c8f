"""Reasoning questions: they lead to an event without naming it, and their answers explain themselves."""

from __future__ import annotations

from collections.abc import Iterator

from litakit.data.synthetic.asking import QA, Asker
from litakit.data.synthetic.language import (
    CORNERS,
    GERUNDS,
    VERBS,
    asked,
    clause,
    name,
    predicate,
    raised,
    sentence,
)
from litakit.data.synthetic.scene import PAIR_KINDS, SceneEvent
from litakit.spans import Span

MARGIN = 1.3
"""How much longer than the next one the longest must be."""
STEP = 0.03
"""The share of a video that must lie between two events for one to be clearly the earlier."""

AFTER = ("What happens right after {}?", "What comes next after {}?", "After {}, what happens next?")
BEFORE = ("What happens right before {}?", "What is the last thing to happen before {}?")
WHILE = ("What else happens while {}?", "What happens at the same time, while {}?")
LONGEST = ("Which event lasts the longest?", "What takes the longest time?")
SHORTEST = ("Which event lasts the shortest?", "What takes the shortest time?")
QUIET = (
    "When does nothing happen for the longest time?",
    "When is the longest pause, in which nothing changes?",
    "When does everything stay still for the longest time?",
)
CAUSE = ("What made {} leave?", "Why does {} leave?", "What happens to {} that makes it leave?")
MORE = ("When does the number of things go up?", "When do the things become more?")
FEWER = ("When does the number of things go down?", "When do the things become fewer?")


def reasoning_questions(asker: Asker) -> Iterator[QA]:
    """All reasoning questions of a scene; of the kinds that could be asked for every event, a few."""
    for make in (_neighbours, _repeats, _extremes, _quiet, _causes, _changes):
        yield from make(asker)
    yield from asker.some(list(_described(asker)), 3)
    yield from asker.some(list(_linked(asker)), 2)
    yield from asker.some(list(_something(asker)), 2)


def _neighbours(asker: Asker) -> Iterator[QA]:
    scene = asker.scene
    for event in asker.unique:
        follower, leader = _event_after(asker, event), _event_before(asker, event)
        companion = _during(asker, event)
        said = clause(scene, event)
        if follower is not None:
            why = f"{raised(clause(scene, follower))} right after {said}."
            yield from asker.rtl("right_after", asker.pick(AFTER).format(said), follower.span, why)
        if leader is not None:
            why = f"{raised(clause(scene, leader))} right before {said}."
            yield from asker.rtl("right_before", asker.pick(BEFORE).format(said), leader.span, why)
        if companion is not None:
            why = f"{raised(clause(scene, companion))} while {said}."
            yield from asker.rtl("while", asker.pick(WHILE).format(said), companion.span, why)


def _event_after(asker: Asker, event: SceneEvent) -> SceneEvent | None:
    """The event that starts next after another has ended; None where that is not clear."""
    end, others = event.span.end, [other for other in asker.scene.events if other is not event]
    if any(other.span.start <= end <= other.span.end for other in others):
        return None
    later = sorted((other for other in others if other.span.start > end), key=lambda other: other.span.start)
    starts = [other.span.start for other in later]
    if not later or (len(later) > 1 and starts[1] - starts[0] < STEP * asker.scene.duration):
        return None
    return later[0]


def _event_before(asker: Asker, event: SceneEvent) -> SceneEvent | None:
    """The event that has ended last before another starts; None where that is not clear."""
    start, others = event.span.start, [other for other in asker.scene.events if other is not event]
    if any(other.span.start <= start <= other.span.end for other in others):
        return None
    earlier = sorted((other for other in others if other.span.end < start), key=lambda other: -other.span.end)
    ends = [other.span.end for other in earlier]
    if not earlier or (len(earlier) > 1 and ends[0] - ends[1] < STEP * asker.scene.duration):
        return None
    return earlier[0]


def _during(asker: Asker, event: SceneEvent) -> SceneEvent | None:
    """The only event that overlaps another, if it does so for most of its time."""
    span = event.span
    shared = {
        index: min(other.span.end, span.end) - max(other.span.start, span.start)
        for index, other in enumerate(asker.scene.events)
        if other is not event and other.span.start <= span.end and span.start <= other.span.end
    }
    if len(shared) != 1:
        return None
    ((index, overlap),) = shared.items()
    companion = asker.scene.events[index]
    return companion if overlap >= 0.6 * companion.span.duration else None


def _repeats(asker: Asker) -> Iterator[QA]:
    scene = asker.scene
    for event in scene.events:
        count = sum(o.key == event.key and o.span.start <= event.span.start for o in scene.events)
        if asker.alike(event) > 1 and asker.plain(event) and count <= 2:
            ordinal = ("first", "second")[count - 1]
            verb = f"keep {GERUNDS[event.kind]}" if event.kind in GERUNDS else None
            question = f"When does {asked(scene, event, verb)} for the {ordinal} time?"
            why = f"It is the {ordinal} time that {clause(scene, event)}."
            yield from asker.rtl(f"{ordinal}_time", question, event.span, why)


def _extremes(asker: Asker) -> Iterator[QA]:
    scene = asker.scene
    for index in range(len(scene.things)):
        mine = scene.events_of(index)
        for word, event in (("longest", longest(mine)), ("shortest", shortest(mine))):
            if event is not None:
                question = f"When does {name(scene, index)} do something for the {word} time?"
                does = predicate(scene, event, index)
                why = f"Of all that {name(scene, index)} does, it {does} for the {word} time."
                yield from asker.rtl(f"{word}_of_thing", question, event.span, why)
    extremes = (("longest", longest(scene.events), LONGEST), ("shortest", shortest(scene.events), SHORTEST))
    for word, event, asks in extremes:
        if event is not None:
            why = f"{raised(clause(scene, event))} for the {word} time."
            yield from asker.rtl(f"{word}_of_all", asker.pick(asks), event.span, why)


def longest(events: tuple[SceneEvent, ...]) -> SceneEvent | None:
    """The longest of two or more events, if it is so by a margin."""
    ranked = sorted(events, key=lambda event: -event.span.duration)
    clear = len(ranked) > 1 and ranked[0].span.duration >= MARGIN * ranked[1].span.duration
    return ranked[0] if clear else None


def shortest(events: tuple[SceneEvent, ...]) -> SceneEvent | None:
    """The shortest of two or more events, if it is so by a margin."""
    ranked = sorted(events, key=lambda event: event.span.duration)
    clear = len(ranked) > 1 and ranked[1].span.duration >= MARGIN * ranked[0].span.duration
    return ranked[0] if clear else None


def _quiet(asker: Asker) -> Iterator[QA]:
    pauses = sorted(quiet_spans(asker), key=lambda span: -span.duration)
    if len(pauses) > 1 and pauses[0].duration >= MARGIN * pauses[1].duration:
        why = "Between these times nothing changes."
        yield from asker.rtl("quiet", asker.pick(QUIET), pauses[0], why)


def quiet_spans(asker: Asker) -> list[Span]:
    """The stretches of a scene in which no event goes on, in order."""
    found, at = [], 0.0
    for event in asker.scene.events:
        if event.span.start > at:
            found.append(Span(at, event.span.start))
        at = max(at, event.span.end)
    end = int(asker.scene.duration * 100) / 100
    return [*found, Span(at, end)] if end > at else found


def _causes(asker: Asker) -> Iterator[QA]:
    scene = asker.scene
    for event in asker.unique:
        if event.kind != "leaves":
            continue
        before = [o for o in scene.events_of(event.thing) if o.span.end <= event.span.start]
        cause = before[-1] if before else None
        if cause is None or cause.kind != "collides":
            continue
        since, until = cause.span.end, event.span.start
        others = (o for o in scene.events if o is not cause and o is not event)
        if until - since > 0.05 * scene.duration or any(_touches(o, since, until) for o in others):
            continue
        leaver = name(scene, event.thing)
        why = f"{raised(clause(scene, cause))} right before {leaver} leaves."
        yield from asker.rtl("cause", asker.pick(CAUSE).format(leaver), cause.span, why)


def _touches(event: SceneEvent, start: float, end: float) -> bool:
    return event.span.start <= end and start <= event.span.end


def _changes(asker: Asker) -> Iterator[QA]:
    for kind, asks, word in (("appears", MORE, "more"), ("leaves", FEWER, "fewer")):
        event = asker.sole(kind)
        if event is not None:
            why = f"{raised(clause(asker.scene, event))}, so the things become {word}."
            yield from asker.rtl(word, asker.pick(asks), event.span, why)


def _described(asker: Asker) -> Iterator[QA]:
    """Things called by a trait that only they have: "the thing with three corners", "the red thing"."""
    things = asker.scene.things
    for event in asker.unique:
        thing = things[event.thing]
        does = asked(asker.scene, event).removeprefix(name(asker.scene, event.thing))
        if sum(other.shape == thing.shape for other in things) == 1:
            why = f"{raised(name(asker.scene, event.thing))} is the thing {CORNERS[thing.shape]}."
            question = f"When does the thing {CORNERS[thing.shape]}{does}?"
            yield from asker.rtl("corners", question, event.span, why)
        if sum(other.colour == thing.colour for other in things) == 1:
            why = f"{raised(name(asker.scene, event.thing))} is the {thing.colour} thing."
            yield from asker.rtl("colour", f"When does the {thing.colour} thing{does}?", event.span, why)


def _linked(asker: Asker) -> Iterator[QA]:
    """Things called by something else that only they do: "the thing that leaves"."""
    scene = asker.scene
    for event in asker.unique:
        for trait in scene.events_of(event.thing):
            if trait is event or trait.kind in PAIR_KINDS or asker.sole(trait.kind) is not trait:
                continue
            does = asked(scene, event).removeprefix(name(scene, event.thing))
            why = f"The thing that {VERBS[trait.kind][0]} is {name(scene, event.thing)}."
            question = f"When does the thing that {VERBS[trait.kind][0]}{does}?"
            yield from asker.rtl("linked", question, event.span, why)


def _something(asker: Asker) -> Iterator[QA]:
    """Kinds of events that happen once in the whole scene."""
    for event in asker.unique:
        if asker.sole(event.kind) is event:
            pair = {"collides": "two things collide", "orbits": "one thing orbit another"}
            words = pair.get(event.kind, f"something {VERBS[event.kind][1]}")
            ask = "When do" if event.kind == "collides" else "When does"
            yield from asker.rtl("something", f"{ask} {words}?", event.span, sentence(asker.scene, event))
