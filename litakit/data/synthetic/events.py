"""`make_scene`: a scene from a seed. Times are drawn first, then things and kinds of events are fitted into them.

The promises of a training scene, held by tests: 2 to 4 things, 3 to 7 events of 3 to 25 % of the video (at
least 0.5 s, nearly half of them under 8 %), at most two at once and never two of one thing, things that touch
only when they collide, and nothing that orbits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from litakit.data.synthetic.scene import (
    ALL_KINDS,
    COLOURS,
    SHAPES,
    TRAINING_KINDS,
    Background,
    Scene,
    SceneEvent,
    Thing,
)
from litakit.spans import Span

Point = tuple[float, float]

FRAME_SIZES = ((320, 240), (426, 240), (240, 320), (256, 256), (480, 270), (640, 360))
FRAME_RATES = tuple(
    Fraction(*rate) for rate in ((10, 1), (12, 1), (15, 1), (24, 1), (25, 1), (30000, 1001), (30, 1))
)
DURATIONS = (8.0, 120.0)
SHARES = (0.031, 0.25)
MIN_SECONDS = 0.52
SMALL, LARGE = (0.16, 0.18), (0.24, 0.27)
SLOTS = tuple((x, y) for y in (0.19, 0.5, 0.81) for x in (0.19, 0.5, 0.81))
BACKGROUNDS = ("flat", "gradient", "stripes", "checker", "clouds")
WEIGHTS = {
    "appears": 2.0,
    "collides": 2.0,
    "orbits": 6.0,
    "moves": 1.5,
    "jumps": 1.7,
    "grows": 1.4,
    "shrinks": 1.4,
}
HOP = 0.16
CLEARANCE = 1.08


@dataclass
class _Actor:
    """A thing while its scene is being made: where it is, and until when it is busy."""

    thing: Thing
    x: float
    y: float
    size: float
    present: bool
    free_from: float = 0.0
    reserved: bool = False
    way: tuple[Point, ...] = ()
    reach: float = 0.0


@dataclass(frozen=True)
class _Slot:
    """A stretch of time for one event; `leaver` is the thing that must leave in it, if any."""

    start: float
    length: float
    leaver: int | None = None

    @property
    def end(self) -> float:
        return self.start + self.length


def make_scene(seed: int, kinds: Sequence[str] = TRAINING_KINDS) -> Scene:
    """The scene of a seed: always the same one.

    Args:
        seed: any integer >= 0; see `TRAIN_SEEDS` and `EVAL_SEEDS`.
        kinds: the kinds of events that may happen, out of `ALL_KINDS`.

    Raises:
        ValueError: on a negative seed, an unknown kind, or kinds out of which no scene can be made.

    Example:
        >>> scene = make_scene(7)
        >>> scene == make_scene(7), 8.0 <= scene.duration <= 120.0
        (True, True)
    """
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    unknown = sorted(set(kinds) - set(ALL_KINDS))
    if unknown or not kinds:
        raise ValueError(f"kinds must be some of {', '.join(ALL_KINDS)}, got {', '.join(unknown) or 'none'}")
    for attempt in range(400):
        stage = _Stage(np.random.Generator(np.random.PCG64([seed, attempt])), tuple(kinds))
        events = stage.play()
        if events is not None:
            return stage.scene(seed, events)
    raise ValueError(f"no scene can be made of the kinds {', '.join(kinds)} alone; allow more kinds")


class _Stage:
    """One attempt at a scene."""

    def __init__(self, rng: np.random.Generator, kinds: tuple[str, ...]) -> None:
        self.rng = rng
        self.kinds = kinds
        self.width, self.height = FRAME_SIZES[rng.integers(len(FRAME_SIZES))]
        self.rate = FRAME_RATES[rng.integers(len(FRAME_RATES))]
        wished = math.exp(rng.uniform(*np.log(DURATIONS)))
        self.num_frames = min(
            max(round(wished * self.rate), math.ceil(8 * self.rate)), math.floor(120 * self.rate)
        )
        self.duration = float(self.num_frames / self.rate)
        self.background = _background(rng)
        self.actors = self._cast()
        self.events: list[SceneEvent] = []

    def scene(self, seed: int, events: list[SceneEvent]) -> Scene:
        return Scene(
            seed=seed,
            width=self.width,
            height=self.height,
            rate=self.rate,
            num_frames=self.num_frames,
            background=self.background,
            things=tuple(actor.thing for actor in self.actors),
            events=tuple(events),
        )

    def _cast(self) -> list[_Actor]:
        rng = self.rng
        count = int(rng.choice((2, 3, 4), p=(0.25, 0.4, 0.35)))
        looks = [(colour, shape) for colour in COLOURS for shape in SHAPES]
        picked = [looks[i] for i in rng.permutation(len(looks))[:count]]
        large = [bool(rng.integers(2)) for _ in picked]
        twins = rng.random() < 0.1
        if twins:
            picked[1] = picked[0]
            large[1] = not large[0]
        present = [bool(rng.random() < 0.65) for _ in picked]
        if sum(present) == 0 or "appears" not in self.kinds:
            present = [True] * count
        slots = rng.permutation(len(SLOTS))[:count]
        if "orbits" in self.kinds and rng.random() < 0.8:
            slots = np.concatenate([[4], slots[slots != 4]])[:count]
            slots[1] = rng.choice((1, 3, 5, 7))
            if len(set(slots.tolist())) < count:
                slots, count = slots[:2], 2
        actors = []
        for i in range(count):
            colour, shape = picked[i]
            word = ("large " if large[i] else "small ") if twins and i < 2 else ""
            x, y = self._near(SLOTS[slots[i]])
            size = round(float(rng.uniform(*(LARGE if large[i] else SMALL))), 3)
            thing = Thing(f"{word}{colour} {shape}", colour, shape, large[i], size, x, y, present[i])
            actors.append(_Actor(thing, x, y, size, present[i], way=((x, y),), reach=size))
        return actors

    def _near(self, slot: Point) -> Point:
        shift = self.rng.uniform(-0.009, 0.009, 2)
        return round(slot[0] + float(shift[0]), 4), round(slot[1] + float(shift[1]), 4)

    def play(self) -> list[SceneEvent] | None:
        """Fill time with events; None when the attempt does not make a good scene."""
        queue = self._times()
        while queue:
            slot = queue.pop(0)
            event = self._cast_event(slot)
            if event is None:
                continue
            self.events.append(event)
            follow = self._follow_up(event, queue)
            if follow is not None:
                queue = sorted([*queue, follow], key=lambda each: each.start)
        keys = [event.key for event in self.events]
        unique = [key for key in keys if keys.count(key) == 1]
        acting = {index for event in self.events for index in event.things}
        never_seen = [
            i for i, actor in enumerate(self.actors) if not actor.thing.present_at_start and i not in acting
        ]
        if not 3 <= len(self.events) <= 7 or len(unique) < 3 or never_seen:
            return None
        return sorted(self.events, key=lambda event: event.span.start)

    def _times(self) -> list[_Slot]:
        """Stretches of time, uniform over the video, never more than two at once."""
        slots: list[_Slot] = []
        for _ in range(int(self.rng.choice((3, 4, 5, 6, 7), p=(0.05, 0.2, 0.3, 0.25, 0.2)))):
            for _ in range(20):
                slot = self._draw(SHARES[1])
                if self._fits(slot, slots):
                    slots.append(slot)
                    break
        return sorted(slots, key=lambda slot: slot.start)

    def _draw(self, longest: float, start: float | None = None) -> _Slot:
        share = math.exp(self.rng.uniform(math.log(SHARES[0]), math.log(longest)))
        length = max(share * self.duration, MIN_SECONDS)
        margin = 0.015 * self.duration
        if start is None:
            start = float(self.rng.uniform(margin, self.duration - margin - length))
        return _Slot(start, length)

    def _fits(self, slot: _Slot, others: Sequence[_Slot]) -> bool:
        touching = [other for other in others if other.start < slot.end and slot.start < other.end]
        crowded = any(
            a.start < b.end and b.start < a.end for i, a in enumerate(touching) for b in touching[:i]
        )
        return not crowded and (not touching or bool(self.rng.random() < 0.5))

    def _follow_up(self, event: SceneEvent, queue: list[_Slot]) -> _Slot | None:
        """Time for one of two things that have just collided to leave: the collision made it."""
        if event.kind != "collides" or "leaves" not in self.kinds or self.rng.random() < 0.1:
            return None
        drawn = self._draw(0.12, event.span.end + float(self.rng.uniform(0.01, 0.02)) * self.duration)
        leaver = int(self.rng.choice(event.things))
        slot = _Slot(drawn.start, drawn.length, leaver)
        taken = [*queue, *(_Slot(e.span.start, e.span.duration) for e in self.events)]
        gap = _Slot(event.span.end, slot.start - event.span.end)
        quiet = all(other.end <= gap.start or gap.end <= other.start for other in taken)
        full = len(self.events) + len(queue) >= 7 or slot.end > 0.985 * self.duration
        if full or not quiet or not self._fits(slot, taken):
            return None
        self.actors[leaver].reserved = True
        return slot

    def _cast_event(self, slot: _Slot) -> SceneEvent | None:
        span = Span(round(slot.start, 2), round(slot.end, 2))
        for actor in self.actors:
            if actor.free_from <= span.start:
                actor.way, actor.reach = ((actor.x, actor.y),), actor.size
        if slot.leaver is not None:
            self.actors[slot.leaver].reserved = False
            return self._act("leaves", slot.leaver, span)
        if self.events and self.rng.random() < 0.15:
            again = self.events[self.rng.integers(len(self.events))]
            event = self._act(again.kind, again.thing, span)
            if event is not None:
                return event
        weights = np.array([WEIGHTS.get(kind, 1.0) for kind in self.kinds])
        order = self.rng.choice(len(self.kinds), len(self.kinds), replace=False, p=weights / weights.sum())
        for kind in (self.kinds[i] for i in order):
            for index in self.rng.permutation(len(self.actors)):
                event = self._act(kind, int(index), span)
                if event is not None:
                    return event
        return None

    def _free(self, index: int, span: Span) -> bool:
        actor = self.actors[index]
        return not actor.reserved and (
            actor.free_from == 0.0 or actor.free_from + 0.01 * self.duration <= span.start
        )

    def _act(self, kind: str, index: int, span: Span) -> SceneEvent | None:
        """Let a thing do something if it can: the event, with the thing's new state kept; else None."""
        actor = self.actors[index]
        if not self._free(index, span) or actor.present == (kind == "appears"):
            return None
        if kind == "appears":
            return self._appear(index, span)
        if kind == "leaves":
            return self._leave(index, span)
        if kind == "moves":
            return self._move(index, span)
        if kind in ("grows", "shrinks"):
            return self._resize(kind, index, span)
        if kind in ("collides", "orbits"):
            return self._meet(kind, index, span)
        here = (actor.x, actor.y)
        target = (actor.x, actor.y - HOP) if kind == "jumps" else here
        if target[1] < actor.size / 2:
            return None
        cycles = self._cycles(span, 0.3, 1.0 if kind == "spins" else 1.2)
        return self._keep(kind, span, index, (here, target), cycles=cycles)

    def _cycles(self, span: Span, per_sample: float, per_second: float) -> int:
        """Turns, slow enough to be seen by whoever looks at 100 frames only."""
        return max(1, round(span.duration * min(per_sample * 99 / self.duration, per_second)))

    def _clear(self, way: Sequence[Point], reach: float, start: float, *, without: Sequence[int]) -> bool:
        for index, other in enumerate(self.actors):
            if index in without or not (other.present or other.free_from > start):
                continue
            apart = CLEARANCE * (reach + other.reach) / 2
            if any(math.dist(a, b) < apart for a in way for b in other.way):
                return False
        return True

    def _keep(
        self,
        kind: str,
        span: Span,
        index: int,
        ends: tuple[Point, Point],
        *,
        size: float | None = None,
        cycles: int = 1,
        style: str = "",
    ) -> SceneEvent | None:
        """The event of a single thing, unless something stands in its way."""
        actor = self.actors[index]
        after = actor.size if size is None else size
        way = _line(*ends)
        if not self._clear(way, max(actor.size, after), span.start, without=[index]):
            return None
        event = SceneEvent(kind, index, span, *ends, (actor.size, after), cycles, style)
        actor.free_from, actor.way, actor.reach = span.end, way, max(actor.size, after)
        if kind in ("appears", "moves"):
            actor.x, actor.y = ends[1]
        actor.present, actor.size = True, after
        if kind == "leaves":
            actor.present = False
        return event

    def _appear(self, index: int, span: Span) -> SceneEvent | None:
        actor = self.actors[index]
        for slot in self.rng.permutation(len(SLOTS))[:6]:
            target = self._near(SLOTS[slot])
            slides = bool(self.rng.random() < 0.4)
            origin = self._edge(target, actor.size) if slides else target
            event = self._keep("appears", span, index, (origin, target), style="slide" if slides else "fade")
            if event is not None:
                return event
        return None

    def _leave(self, index: int, span: Span) -> SceneEvent | None:
        actor = self.actors[index]
        if sum(other.present for other in self.actors) < 2:
            return None
        for _ in range(3):
            ends = ((actor.x, actor.y), self._edge((actor.x, actor.y), actor.size))
            event = self._keep("leaves", span, index, ends)
            if event is not None:
                return event
        return None

    def _edge(self, point: Point, size: float) -> Point:
        """A point just out of the central square where its border is the border of the frame too."""
        beyond = 0.58 * size
        out = -beyond if self.rng.random() < 0.5 else 1.0 + beyond
        upright = self.width > self.height or (self.width == self.height and self.rng.random() < 0.5)
        return (point[0], out) if upright else (out, point[1])

    def _move(self, index: int, span: Span) -> SceneEvent | None:
        actor = self.actors[index]
        here = (actor.x, actor.y)
        for slot in self.rng.permutation(len(SLOTS)):
            target = self._near(SLOTS[slot])
            if math.dist(here, target) > 0.28:
                event = self._keep("moves", span, index, (here, target))
                if event is not None:
                    return event
        return None

    def _resize(self, kind: str, index: int, span: Span) -> SceneEvent | None:
        actor = self.actors[index]
        twin = actor.thing.name.startswith(("small", "large"))
        is_small = actor.size <= SMALL[1]
        if twin or is_small != (kind == "grows"):
            return None
        size = round(float(self.rng.uniform(*(LARGE if is_small else SMALL))), 3)
        return self._keep(kind, span, index, ((actor.x, actor.y), (actor.x, actor.y)), size=size)

    def _meet(self, kind: str, index: int, span: Span) -> SceneEvent | None:
        for other in self.rng.permutation(len(self.actors)):
            if other != index and self.actors[other].present and self._free(int(other), span):
                event = self._pair(kind, index, int(other), span)
                if event is not None:
                    return event
        return None

    def _pair(self, kind: str, index: int, other: int, span: Span) -> SceneEvent | None:
        a, b = self.actors[index], self.actors[other]
        here, there = (a.x, a.y), (b.x, b.y)
        apart = math.dist(here, there)
        if kind == "orbits":
            ways = (_ring(there, here), (there,))
            inside = all(a.size / 2 < v < 1 - a.size / 2 for point in ways[0] for v in point)
            if not inside:
                return None
            ends, others, cycles = (here, here), (there, there), self._cycles(span, 0.12, 0.5)
        else:
            step = (apart - 0.94 * (a.size + b.size) / 2) / 2 / apart
            if step * apart < 0.06:
                return None
            dx, dy = (there[0] - here[0]) * step, (there[1] - here[1]) * step
            ends = (here, (here[0] + dx, here[1] + dy))
            others, cycles = (there, (there[0] - dx, there[1] - dy)), 1
            ways = (_line(*ends), _line(*others))
        both = [index, other]
        if not all(
            self._clear(way, actor.size, span.start, without=both) for actor, way in zip((a, b), ways)
        ):
            return None
        for actor, way in ((a, ways[0]), (b, ways[1])):
            actor.free_from, actor.way = span.end, way
        return SceneEvent(kind, index, span, *ends, (a.size, b.size), cycles, "", other, *others)


def _line(a: Point, b: Point) -> tuple[Point, ...]:
    shares = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    return (a,) if a == b else tuple((a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s) for s in shares)


def _ring(centre: Point, start: Point) -> tuple[Point, ...]:
    radius = math.dist(centre, start)
    turns = (2 * math.pi * i / 24 for i in range(24))
    return tuple((centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)) for turn in turns)


def _background(rng: np.random.Generator) -> Background:
    """Two greyish tones, at least a little apart, and numbers for the pattern."""
    tones = []
    base = rng.uniform(75, 165)
    for level in (base, np.clip(base + rng.choice((-1, 1)) * rng.uniform(14, 40), 70, 172)):
        tint = rng.uniform(-12, 12, 3)
        red, green, blue = (int(v) for v in np.clip(level + tint - tint.mean(), 55, 185))
        tones.append((red, green, blue))
    numbers = tuple(round(float(v), 4) for v in rng.random(12))
    return Background(str(rng.choice(BACKGROUNDS)), (tones[0], tones[1]), numbers)
