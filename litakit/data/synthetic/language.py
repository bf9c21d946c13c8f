"""Words for a scene: names, captions, and the pieces of which questions and answers are made.

A thing is named by colour and shape, with its size where two share both. No word says where a thing is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from litakit.data.synthetic.scene import PAIR_KINDS, Scene, SceneEvent
from litakit.spans import Event, Span

VERBS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "appears": ("appears", "appear"),
        "moves": ("moves", "move"),
        "grows": ("grows", "grow"),
        "shrinks": ("shrinks", "shrink"),
        "spins": ("spins", "spin"),
        "jumps": ("jumps", "jump"),
        "flashes": ("flashes", "flash"),
        "collides": ("collides with", "collide with"),
        "leaves": ("leaves", "leave"),
        "orbits": ("orbits", "orbit"),
    }
)
"""What a kind of event is called, with "it" and with "does it"."""

OTHER_VERBS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "appears": ("show up", "come into view"),
        "grows": ("get bigger", "become larger"),
        "shrinks": ("get smaller", "become smaller"),
        "spins": ("turn around", "rotate"),
        "jumps": ("hop", "bounce"),
        "flashes": ("glow", "light up"),
        "collides": ("bump into", "hit"),
        "leaves": ("disappear", "go out of view"),
        "orbits": ("circle around",),
    }
)
"""Other ways to ask for a kind, as they follow "does it"."""

GERUNDS: Mapping[str, str] = MappingProxyType(
    {"spins": "spinning", "jumps": "jumping", "flashes": "flashing"}
)
"""Kinds that go round and round, so that their second time could be taken for the second turn."""

TRAVELLING = ("moves", "jumps", "collides", "leaves", "orbits")
"""Kinds of which a person could also say that the thing moves."""

CORNERS: Mapping[str, str] = MappingProxyType(
    {
        "circle": "with no corners",
        "triangle": "with three corners",
        "square": "with four corners",
        "star": "with five points",
    }
)


def captions(scene: Scene) -> list[Event]:
    """What happens in a scene, densely: one sentence an event, by start.

    Example:
        >>> from litakit.data.synthetic import make_scene
        >>> captions(make_scene(7))[0].caption.startswith("The ")
        True
    """
    return [Event(event.span, sentence(scene, event)) for event in scene.events]


def name(scene: Scene, thing: int) -> str:
    """A thing's name with its article, as it stands inside a sentence: "the red circle"."""
    return f"the {scene.things[thing].name}"


def clause(scene: Scene, event: SceneEvent) -> str:
    """An event as a clause: "the red circle collides with the blue square"."""
    words = f"{name(scene, event.thing)} {VERBS[event.kind][0]}"
    return words if event.other is None else f"{words} {name(scene, event.other)}"


def sentence(scene: Scene, event: SceneEvent) -> str:
    """An event as a sentence: "The red circle spins."."""
    return raised(clause(scene, event)) + "."


def asked(scene: Scene, event: SceneEvent, verb: str | None = None) -> str:
    """An event as it follows "When does": "the red circle collide with the blue square"."""
    words = f"{name(scene, event.thing)} {verb or VERBS[event.kind][1]}"
    return words if event.other is None else f"{words} {name(scene, event.other)}"


def predicate(scene: Scene, event: SceneEvent, thing: int) -> str:
    """What one thing does in an event, a pair's event said from its side: "collides with the red circle"."""
    if event.kind not in PAIR_KINDS:
        return VERBS[event.kind][0]
    other = next(index for index in event.things if index != thing)
    return f"{VERBS[event.kind][0]} {name(scene, other)}"


def stamped(spans: Sequence[Span], words: str = "") -> str:
    """Times in front of words: "<12.5> <14.0> The red circle spins."."""
    times = " ".join(f"<{round(span.start, 2)}> <{round(span.end, 2)}>" for span in spans)
    return f"{times} {words}".strip()


def raised(words: str) -> str:
    """The words with their first letter raised."""
    return words[:1].upper() + words[1:]
