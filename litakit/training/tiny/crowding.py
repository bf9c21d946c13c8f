"""Frames to learn to see by, in which everything happens at once.

In a frame of a real scene most things do nothing, so that what is rare (a turn, a glow, a shadow, a spark)
counts for nothing in the loss. Here each thing of a frame has a look, a place and a size of its own, and does
something.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import product

import numpy as np

from litakit.data import synthetic
from litakit.data.synthetic import Scene, SceneEvent
from litakit.spans import Span

SINGLE = ("still", "leaves", "appears", "spins", "spins", "jumps", "flashes")
"""What a thing by itself does; turning twice, for it is the hardest to see."""
SIZES = (0.14, 0.29)
HOP = 0.16
COLLIDING = 0.3
ABSENT = 0.12
CLEARANCE = 0.62
TRIES = 8

Point = tuple[float, float]


def crowded(scene: Scene, rng: np.random.Generator) -> Scene:
    """The scene with other things in it, of different colours, which all act during the first second.

    Example:
        >>> scene = crowded(synthetic.make_scene(7), np.random.default_rng(0))
        >>> len({thing.colour for thing in scene.things}) == len(scene.things)
        True
    """
    crowd = _Crowd(rng)
    looks = [(colour, shape) for colour, shape in product(synthetic.COLOURS, synthetic.SHAPES)]
    by_colour = {looks[i][0]: looks[i] for i in rng.permutation(len(looks))}
    picked = [list(by_colour.values())[i] for i in rng.permutation(len(by_colour))[: len(scene.things)]]
    waiting = len(picked)
    if waiting >= 2 and rng.random() < COLLIDING:
        crowd.collide()
        waiting -= 2
    for _ in range(waiting):
        if rng.random() > ABSENT:
            crowd.act(SINGLE[int(rng.integers(len(SINGLE)))])
    things = tuple(
        dataclasses.replace(
            scene.things[0], colour=colour, shape=shape, size=size, x=x, y=y, present_at_start=True
        )
        for (colour, shape), (x, y), size in zip(picked, crowd.places, crowd.sizes, strict=False)
    )
    return dataclasses.replace(scene, things=things, events=tuple(crowd.events))


class _Crowd:
    """Things placed so far, and what they do."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.span = Span(0.0, 1.0)
        self.places: list[Point] = []
        self.sizes: list[float] = []
        self.events: list[SceneEvent] = []

    def collide(self) -> None:
        """Place two things on their way to each other."""
        a, b = (float(size) for size in self.rng.uniform(*SIZES, 2))
        turn = float(self.rng.uniform(0, 2 * math.pi))
        x, y = (float(value) for value in self.rng.uniform(0.3, 0.7, 2))

        def along(distance: float) -> Point:
            return x + distance * math.cos(turn), y + distance * math.sin(turn)

        apart, run = 0.47 * (a + b) / 2, float(self.rng.uniform(0.06, 0.2))
        ends, others = (along(-apart - run), along(-apart)), (along(apart + run), along(apart))
        index = len(self.places)
        self.events.append(SceneEvent("collides", index, self.span, *ends, (a, b), 1, "", index + 1, *others))
        self.places += [ends[0], others[0]]
        self.sizes += [a, b]

    def act(self, kind: str) -> None:
        """Place a thing that does something by itself, where there is room."""
        size = float(self.rng.uniform(*SIZES))
        for _ in range(TRIES):
            place = self._edge(size) if kind == "leaves" else self._inside(size)
            pairs = zip(self.places, self.sizes, strict=True)
            if all(math.dist(place, other) > CLEARANCE * (size + reach) for other, reach in pairs):
                break
        else:
            return
        index = len(self.places)
        self.places.append(place)
        self.sizes.append(size)
        if kind != "still":
            target = (place[0], place[1] - HOP) if kind == "jumps" else place
            style = "fade" if kind == "appears" else ""
            self.events.append(SceneEvent(kind, index, self.span, place, target, (size, size), 1, style))

    def _inside(self, size: float) -> Point:
        x, y = (float(value) for value in self.rng.uniform(0.55 * size, 1 - 0.55 * size, 2))
        return x, y

    def _edge(self, size: float) -> Point:
        out, along = float(self.rng.uniform(-0.4, 0.5)) * size, float(self.rng.uniform(0.1, 0.9))
        out = out if self.rng.random() < 0.5 else 1 - out
        return (out, along) if self.rng.random() < 0.5 else (along, out)
