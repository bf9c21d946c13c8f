"""The stage on which a scene is made: where things stand, and what each can do without touching another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from litakit.data.synthetic.scene import SceneEvent, Thing
from litakit.spans import Span

Point = tuple[float, float]

SMALL, LARGE = (0.16, 0.18), (0.24, 0.27)
"""Sizes of small and large things, in crop units."""
SLOTS = tuple((x, y) for y in (0.19, 0.5, 0.81) for x in (0.19, 0.5, 0.81))
"""Where things rest, give or take `JITTER`."""
JITTER = 0.009
HOP = 0.16
"""Height of a jump."""
CLEARANCE = 1.08
"""How far things stay apart, as a multiple of the sum of their radii."""


@dataclass
class Actor:
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

    @property
    def place(self) -> Point:
        """The point it rests at."""
        return self.x, self.y


class Stage:
    """Things, and the events they can be given; every choice that is left is drawn from `rng`.

    Args:
        rng: source of the choices.
        duration: length of the video, in seconds.
        actors: the things.
        exits: ways out on which the central square ends with the frame: "upright", "sideways" or both.
    """

    def __init__(
        self, rng: np.random.Generator, duration: float, actors: list[Actor], exits: tuple[str, ...]
    ) -> None:
        self.rng = rng
        self.duration = duration
        self.actors = actors
        self.exits = exits

    def settle(self, seconds: float) -> None:
        """Let every thing whose event has ended by then stand still again."""
        for actor in self.actors:
            if actor.free_from <= seconds:
                actor.way, actor.reach = (actor.place,), actor.size

    def _free(self, index: int, span: Span) -> bool:
        actor = self.actors[index]
        rested = actor.free_from == 0.0 or actor.free_from + 0.01 * self.duration <= span.start
        return rested and not actor.reserved

    def act(self, kind: str, index: int, span: Span) -> SceneEvent | None:
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
        here = actor.place
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
            target = near(self.rng, SLOTS[slot])
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
            ends = (actor.place, self._edge(actor.place, actor.size))
            event = self._keep("leaves", span, index, ends)
            if event is not None:
                return event
        return None

    def _edge(self, point: Point, size: float) -> Point:
        """A point just out of the central square where its border is the border of the frame too."""
        beyond = 0.58 * size
        out = -beyond if self.rng.random() < 0.5 else 1.0 + beyond
        way = self.exits[self.rng.integers(len(self.exits))]
        return (point[0], out) if way == "upright" else (out, point[1])

    def _move(self, index: int, span: Span) -> SceneEvent | None:
        actor = self.actors[index]
        here = actor.place
        for slot in self.rng.permutation(len(SLOTS)):
            target = near(self.rng, SLOTS[slot])
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
        return self._keep(kind, span, index, (actor.place, actor.place), size=size)

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
            ways: tuple[tuple[Point, ...], tuple[Point, ...]] = (_ring(there, here), (there,))
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
        paths = ((a, ways[0]), (b, ways[1]))
        if not all(self._clear(way, actor.size, span.start, without=both) for actor, way in paths):
            return None
        for actor, way in paths:
            actor.free_from, actor.way = span.end, way
        return SceneEvent(kind, index, span, *ends, (a.size, b.size), cycles, "", other, *others)


def near(rng: np.random.Generator, slot: Point) -> Point:
    """A point beside a slot, so that things do not stand in rows."""
    dx, dy = rng.uniform(-JITTER, JITTER, 2)
    return round(slot[0] + float(dx), 4), round(slot[1] + float(dy), 4)


def _line(a: Point, b: Point) -> tuple[Point, ...]:
    shares = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
    return (a,) if a == b else tuple((a[0] + (b[0] - a[0]) * s, a[1] + (b[1] - a[1]) * s) for s in shares)


def _ring(centre: Point, start: Point) -> tuple[Point, ...]:
    radius = math.dist(centre, start)
    turns = (2 * math.pi * i / 24 for i in range(24))
    return tuple((centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)) for turn in turns)
