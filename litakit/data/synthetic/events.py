"""`make_scene`: a scene from a seed. Times are drawn first, then things and events are fitted into them.

The promises of a training scene, held by tests: 2 to 4 things, 3 to 7 events of 3 to 25 % of the video (at
least 0.5 s, nearly half of them under 8 %), at most two at once and never two of one thing, things that touch
only when they collide, and nothing that orbits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from types import MappingProxyType

import numpy as np

from litakit.data.synthetic.scene import (
    ALL_KINDS,
    COLOURS,
    HELD_OUT_KINDS,
    SHAPES,
    TRAINING_KINDS,
    Background,
    Scene,
    SceneEvent,
    Thing,
)
from litakit.data.synthetic.stage import LARGE, SLOTS, SMALL, Actor, Stage, near
from litakit.spans import Span

FRAME_SIZES = ((320, 240), (426, 240), (240, 320), (256, 256), (480, 270), (640, 360))
FRAME_RATES = (*map(Fraction, (10, 12, 15, 24, 25)), Fraction(30000, 1001), Fraction(30))
DURATIONS = (8.0, 120.0)
"""Shortest and longest video, in seconds."""
SHARES = (0.031, 0.25)
"""Shortest and longest event, as shares of its video."""
MIN_SECONDS = 0.52
"""No event is shorter, in seconds."""
BACKGROUNDS = ("flat", "gradient", "stripes", "checker", "clouds")
WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"appears": 2.0, "collides": 2.0, "orbits": 8.0, "moves": 1.5, "jumps": 1.7, "grows": 1.4, "shrinks": 1.4}
)
"""How gladly a kind is chosen where it is possible at all (1 where it is not named)."""


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
        kinds: the kinds of events that may happen, out of `ALL_KINDS`; one that is held out of training
            happens at least once where it is named.

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
    for number in range(400):
        attempt = _Attempt(np.random.Generator(np.random.PCG64([seed, number])), tuple(kinds))
        events = attempt.play()
        if events is not None:
            return attempt.scene(seed, events)
    raise ValueError(f"no scene can be made of the kinds {', '.join(kinds)} alone; allow more kinds")


class _Attempt:
    """One attempt at a scene."""

    def __init__(self, rng: np.random.Generator, kinds: tuple[str, ...]) -> None:
        self.rng = rng
        self.kinds = kinds
        self.width, self.height = FRAME_SIZES[rng.integers(len(FRAME_SIZES))]
        self.rate = FRAME_RATES[rng.integers(len(FRAME_RATES))]
        wished = math.exp(rng.uniform(*np.log(DURATIONS)))
        fewest, most = math.ceil(DURATIONS[0] * self.rate), math.floor(DURATIONS[1] * self.rate)
        self.num_frames = min(max(round(wished * self.rate), fewest), most)
        self.duration = float(self.num_frames / self.rate)
        self.background = _background(rng)
        self.actors = self._cast()
        upright = ("upright",) if self.width >= self.height else ()
        sideways = ("sideways",) if self.width <= self.height else ()
        self.stage = Stage(rng, self.duration, self.actors, upright + sideways)
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

    def _cast(self) -> list[Actor]:
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
        if "orbits" in self.kinds:  # one in the middle, one beside it, and room for a whole ring
            count, present, slots = 2, [True, True], np.array([4, rng.choice((1, 3, 5, 7))])
        actors = []
        for i in range(count):
            colour, shape = picked[i]
            word = ("large " if large[i] else "small ") if twins and i < 2 else ""
            x, y = near(rng, SLOTS[slots[i]])
            size = round(float(rng.uniform(*(LARGE if large[i] else SMALL))), 3)
            thing = Thing(f"{word}{colour} {shape}", colour, shape, large[i], size, x, y, present[i])
            actors.append(Actor(thing, x, y, size, present[i], way=((x, y),), reach=size))
        return actors

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
        seen = all(actor.thing.present_at_start or i in acting for i, actor in enumerate(self.actors))
        held_out = [kind for kind in self.kinds if kind in HELD_OUT_KINDS]
        shown = all(any(event.kind == kind for event in self.events) for kind in held_out)
        if not 3 <= len(self.events) <= 7 or len(unique) < 3 or not (seen and shown):
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
        crowded = any(a.start < b.end and b.start < a.end for a, b in combinations(touching, 2))
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
        self.stage.settle(span.start)
        if slot.leaver is not None:
            self.actors[slot.leaver].reserved = False
            return self.stage.act("leaves", slot.leaver, span)
        if self.events and self.rng.random() < 0.15:
            again = self.events[self.rng.integers(len(self.events))]
            event = self.stage.act(again.kind, again.thing, span)
            if event is not None:
                return event
        weights = np.array([WEIGHTS.get(kind, 1.0) for kind in self.kinds])
        order = self.rng.choice(len(self.kinds), len(self.kinds), replace=False, p=weights / weights.sum())
        for kind in (self.kinds[i] for i in order):
            for index in self.rng.permutation(len(self.actors)):
                event = self.stage.act(kind, int(index), span)
                if event is not None:
                    return event
        return None


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
