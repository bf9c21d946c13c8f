"""What a scene of the shape world is: things, events, and where everything stands at any second.

A scene is data. Positions and sizes are in *crop units*: the central square of a frame, whose side is the
shorter side of the frame, is [0, 1] x [0, 1], x to the right and y downwards. All the action stays inside
that square, because that is what a model sees after its centre crop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from litakit.spans import Span

COLOURS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "red": (222, 32, 38),
        "yellow": (248, 216, 24),
        "green": (28, 168, 52),
        "cyan": (32, 208, 226),
        "blue": (36, 60, 224),
        "pink": (244, 72, 200),
    }
)
SHAPES = ("circle", "square", "triangle", "star")

TRAINING_KINDS = ("appears", "moves", "grows", "shrinks", "spins", "jumps", "flashes", "collides", "leaves")
HELD_OUT_KINDS = ("orbits",)
ALL_KINDS = TRAINING_KINDS + HELD_OUT_KINDS
PAIR_KINDS = ("collides", "orbits")

TRAIN_SEEDS = range(900_000)
"""Seeds a model may be trained on."""
EVAL_SEEDS = range(900_000, 1_000_000)
"""Seeds kept for measuring; nothing is ever trained on them. The sample video comes from here too."""


@dataclass(frozen=True)
class Thing:
    """One named shape: `name` is unique in its scene, without an article ("red circle")."""

    name: str
    colour: str
    shape: str
    large: bool
    size: float
    x: float
    y: float
    present_at_start: bool


@dataclass(frozen=True)
class SceneEvent:
    """Something that one thing does, or two things do together, during `span` (seconds).

    `thing` and `other` are indices into the scene's things; `other` is None unless two things act. A thing
    goes from `origin` to `target`, its size from `sizes[0]` to `sizes[1]`, in `cycles` turns, hops or pulses.
    """

    kind: str
    thing: int
    span: Span
    origin: tuple[float, float]
    target: tuple[float, float]
    sizes: tuple[float, float]
    cycles: int = 1
    style: str = ""
    other: int | None = None
    other_origin: tuple[float, float] = (0.0, 0.0)
    other_target: tuple[float, float] = (0.0, 0.0)

    @property
    def things(self) -> tuple[int, ...]:
        """Indices of all the things that act."""
        return (self.thing,) if self.other is None else (self.thing, self.other)

    @property
    def key(self) -> tuple[str, frozenset[int]]:
        """What the event is, whenever it happens: events of one key cannot be told apart in words."""
        return self.kind, frozenset(self.things)


@dataclass(frozen=True)
class Background:
    """What lies behind the things: `kind`, two muted colours, and the numbers that kind is drawn from."""

    kind: str
    colours: tuple[tuple[int, int, int], tuple[int, int, int]]
    numbers: tuple[float, ...]


@dataclass(frozen=True)
class Scene:
    """A whole video before it is drawn: `num_frames` frames, frame i shown at second i / fps."""

    seed: int
    width: int
    height: int
    rate: Fraction
    num_frames: int
    background: Background
    things: tuple[Thing, ...]
    events: tuple[SceneEvent, ...]

    @property
    def fps(self) -> float:
        """Frames a second."""
        return float(self.rate)

    @property
    def duration(self) -> float:
        """Length in seconds: frames / rate."""
        return float(self.num_frames / self.rate)

    def events_of(self, thing: int) -> tuple[SceneEvent, ...]:
        """The events in which a thing acts, by start."""
        return tuple(event for event in self.events if thing in event.things)


@dataclass(frozen=True)
class ThingState:
    """How one thing looks at one moment.

    `visible` is the share of it that can be seen inside the central square (0 when it is not there), `alpha`
    its opacity, `x`, `y`, `size` in crop units, `angle` in radians (0 at rest), `glow` from 0 to 1 while it
    flashes, `lift` the height above its shadow while it jumps (None otherwise), `spark` the point of contact
    while it touches another thing.
    """

    visible: float
    alpha: float
    x: float
    y: float
    size: float
    angle: float = 0.0
    glow: float = 0.0
    lift: float | None = None
    spark: tuple[float, float] | None = None


def scene_state(scene: Scene, seconds: float) -> tuple[ThingState, ...]:
    """Where every thing of a scene stands at a second, in the order of `scene.things`."""
    return tuple(_state_of(scene, index, seconds) for index in range(len(scene.things)))


def _state_of(scene: Scene, index: int, seconds: float) -> ThingState:
    thing = scene.things[index]
    present, x, y, size = thing.present_at_start, thing.x, thing.y, thing.size
    for event in scene.events:
        if event.span.start > seconds:
            break
        if index != event.thing and index != event.other:
            continue
        if seconds < event.span.end:
            return _acting(event, index, (seconds - event.span.start) / event.span.duration, x, y, size)
        if event.kind == "appears":
            present, (x, y) = True, event.target
        elif event.kind == "leaves":
            present = False
        elif event.kind == "moves":
            x, y = event.target
        elif event.kind in ("grows", "shrinks"):
            size = event.sizes[1]
    alpha = 1.0 if present else 0.0
    return ThingState(visible=alpha, alpha=alpha, x=x, y=y, size=size)


def _acting(event: SceneEvent, index: int, progress: float, x: float, y: float, size: float) -> ThingState:
    """A thing in the middle of an event; progress in [0, 1). Everything changes from the first moment on."""
    if event.kind == "appears" and event.style == "fade":
        alpha = 0.25 + 0.75 * progress
        return ThingState(visible=alpha, alpha=alpha, x=event.target[0], y=event.target[1], size=size)
    if event.kind in ("appears", "leaves", "moves"):
        x, y = _between(event.origin, event.target, progress)
        return ThingState(visible=_inside(x, y, size), alpha=1.0, x=x, y=y, size=size)
    if event.kind in ("grows", "shrinks"):
        size = event.sizes[0] + (event.sizes[1] - event.sizes[0]) * progress
        return ThingState(visible=1.0, alpha=1.0, x=x, y=y, size=size)
    if event.kind == "spins":
        angle = (2 * math.pi * event.cycles * progress) % (2 * math.pi)
        return ThingState(visible=1.0, alpha=1.0, x=x, y=y, size=size, angle=angle)
    if event.kind == "jumps":
        lift = (event.origin[1] - event.target[1]) * abs(math.sin(math.pi * event.cycles * progress))
        return ThingState(visible=1.0, alpha=1.0, x=x, y=y - lift, size=size, lift=lift)
    if event.kind == "flashes":
        glow = 0.7 - 0.3 * math.cos(2 * math.pi * event.cycles * progress)
        return ThingState(visible=1.0, alpha=1.0, x=x, y=y, size=size, glow=glow)
    if event.kind == "orbits":
        return _orbiting(event, index, progress, x, y, size)
    return _colliding(event, index, progress, size)


def _colliding(event: SceneEvent, index: int, progress: float, size: float) -> ThingState:
    near = 1.0 if 0.4 <= progress <= 0.6 else min(progress, 1.0 - progress) / 0.4
    if index != event.thing and event.other is not None:
        x, y = _between(event.other_origin, event.other_target, near)
        return ThingState(visible=1.0, alpha=1.0, x=x, y=y, size=size)
    x, y = _between(event.origin, event.target, near)
    spark = None
    if near == 1.0:
        share = event.sizes[0] / (event.sizes[0] + event.sizes[1])
        spark = _between(event.target, event.other_target, share)
    return ThingState(visible=1.0, alpha=1.0, x=x, y=y, size=size, spark=spark)


def _orbiting(event: SceneEvent, index: int, progress: float, x: float, y: float, size: float) -> ThingState:
    if index != event.thing:
        return ThingState(visible=1.0, alpha=1.0, x=x, y=y, size=size)
    centre_x, centre_y = event.other_origin
    dx, dy = event.origin[0] - centre_x, event.origin[1] - centre_y
    turn = 2 * math.pi * event.cycles * progress
    cos, sin = math.cos(turn), math.sin(turn)
    return ThingState(
        visible=1.0, alpha=1.0, x=centre_x + dx * cos - dy * sin, y=centre_y + dx * sin + dy * cos, size=size
    )


def _between(a: tuple[float, float], b: tuple[float, float], share: float) -> tuple[float, float]:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _inside(x: float, y: float, size: float) -> float:
    """Share of a thing's bounding square that lies inside the central square."""
    width = min(x + size / 2, 1.0) - max(x - size / 2, 0.0)
    height = min(y + size / 2, 1.0) - max(y - size / 2, 0.0)
    return max(width, 0.0) * max(height, 0.0) / (size * size)
