"""An independent reader of shape-world questions: from the words alone, every span that could be meant.

It shares no code with the makers of the questions. It takes English as loosely as a person might ("move" is
also what a thing does that jumps or leaves), so a question is unambiguous only if a single span comes out.
"""

import re
from collections.abc import Iterable

from litakit.data.synthetic import Scene, SceneEvent

Pair = tuple[float, float]

VERBS = {
    "appear": "appears",
    "show up": "appears",
    "come into view": "appears",
    "grow": "grows",
    "get bigger": "grows",
    "become larger": "grows",
    "shrink": "shrinks",
    "get smaller": "shrinks",
    "become smaller": "shrinks",
    "spin": "spins",
    "turn around": "spins",
    "rotate": "spins",
    "keep spinning": "spins",
    "jump": "jumps",
    "hop": "jumps",
    "bounce": "jumps",
    "keep jumping": "jumps",
    "flash": "flashes",
    "glow": "flashes",
    "light up": "flashes",
    "keep flashing": "flashes",
    "leave": "leaves",
    "disappear": "leaves",
    "go out of view": "leaves",
    "move": "moves",
    "collide with": "collides",
    "bump into": "collides",
    "hit": "collides",
    "orbit": "orbits",
    "circle around": "orbits",
}
VERBS |= {re.sub(r"^(\w+)", r"\1s", verb): kind for verb, kind in VERBS.items() if verb != "go out of view"}
VERBS |= {"flashes": "flashes"}
CORNERS = {
    "no corners": "circle",
    "three corners": "triangle",
    "four corners": "square",
    "five points": "star",
}


def pair(event: SceneEvent) -> Pair:
    return event.span.start, event.span.end


def could_be_called(event: SceneEvent, kind: str) -> bool:
    """Whether a person might use a kind's verb for an event."""
    if kind == "moves":
        return event.kind in ("moves", "jumps", "leaves", "collides", "orbits") or event.style == "slide"
    return event.kind == kind


def things_meant(scene: Scene, phrase: str) -> set[int]:
    """Every thing that a phrase could mean."""
    everything = range(len(scene.things))
    if phrase in ("something", "one thing", "another"):
        return set(everything)
    words = phrase.removeprefix("the ")
    if words.startswith("thing that "):
        kind = VERBS[words.removeprefix("thing that ")]
        return {i for e in scene.events if could_be_called(e, kind) for i in e.things}
    if words.startswith("thing with "):
        return {i for i in everything if scene.things[i].shape == CORNERS[words.removeprefix("thing with ")]}
    needed = [word for word in words.split() if word != "thing"]
    return {
        i
        for i in everything
        if all(
            word in (scene.things[i].colour, scene.things[i].shape)
            or word == ("large" if scene.things[i].large else "small")
            for word in needed
        )
    }


NAME = (
    r"(?:something|one thing|the (?:\w+ )*?(?:thing (?:that|with \w+) \w+|thing|circle|square|triangle|star))"
)
CLAUSE = re.compile(
    rf"(?P<subject>{NAME}) (?P<verb>{'|'.join(sorted(VERBS, key=len, reverse=True))})"
    rf"(?: (?P<object>{NAME}|another))?$"
)


def events_meant(scene: Scene, clause: str) -> list[SceneEvent]:
    """Every event that a clause could mean: "the red circle spins", "the thing that leaves grow"."""
    found = CLAUSE.fullmatch(clause)
    assert found, f"cannot read the clause {clause!r}"
    subjects, kind = things_meant(scene, found["subject"]), VERBS[found["verb"]]
    objects = things_meant(scene, found["object"]) if found["object"] else None
    if not found["subject"].startswith(("something", "one")):
        assert len(subjects) == 1, f"{found['subject']!r} could be {len(subjects)} things"
    meant = []
    for event in scene.events:
        if not could_be_called(event, kind):
            continue
        acts = set(event.things) if event.kind == "collides" else {event.thing}
        if acts & subjects and (
            objects is None or (set(event.things) - subjects) & objects or objects == {0, 1}
        ):
            meant.append(event)
    return meant


def spans_meant(scene: Scene, question: str) -> set[Pair]:
    """Every span that could answer a question that asks for a time."""
    quoted = re.search(r'"(.+)"', question)
    if quoted:
        return {pair(event) for event in events_meant(scene, quoted[1])}
    ask = question.removesuffix("?")
    for read in (_order, _lengths, _cause, _counts, _collide):
        spans = read(scene, ask)
        if spans is not None:
            return spans
    times = re.fullmatch(r"(.+) for the (first|second) time", ask)
    clause = re.sub(
        r"^(When|At what time|When exactly|From when to when) does ", "", times[1] if times else ask
    )
    meant = sorted(pair(event) for event in events_meant(scene, clause))
    return {meant[("first", "second").index(times[2])]} if times else set(meant)


def _order(scene: Scene, ask: str) -> set[Pair] | None:
    after = re.fullmatch(
        r"What happens right after (.+)|What comes next after (.+)|After (.+), what happens next", ask
    )
    before = re.fullmatch(r"What happens right before (.+)|What is the last thing to happen before (.+)", ask)
    during = re.fullmatch(r"What else happens while (.+)|What happens at the same time, while (.+)", ask)
    found = after or before or during
    if not found:
        return None
    (known,) = events_meant(scene, next(group for group in found.groups() if group))
    others = [event for event in scene.events if event is not known]
    close = 0.03 * scene.duration
    if after:
        later = [e for e in others if e.span.end > known.span.end]
        first = min(max(e.span.start, known.span.end) for e in later)
        return {pair(e) for e in later if e.span.start < first + close - 1e-9}
    if before:
        earlier = [e for e in others if e.span.start < known.span.start]
        last = max(min(e.span.end, known.span.start) for e in earlier)
        return {pair(e) for e in earlier if e.span.end > last - close + 1e-9}
    return {pair(e) for e in others if e.span.start < known.span.end and known.span.start < e.span.end}


def _lengths(scene: Scene, ask: str) -> set[Pair] | None:
    if ask in (
        "When does nothing happen for the longest time",
        "When is the longest pause, in which nothing changes",
        "When does everything stay still for the longest time",
    ):
        return _most(_pauses(scene), 1)
    thing = re.fullmatch(r"When does (the .+) do something for the (longest|shortest) time", ask)
    if thing:
        (index,) = things_meant(scene, thing[1])
        mine = [pair(event) for event in scene.events if index in event.things]
        return _most(mine, 1 if thing[2] == "longest" else -1)
    overall = re.fullmatch(
        r"Which event lasts the (longest|shortest)|What takes the (longest|shortest) time", ask
    )
    if overall:
        return _most([pair(event) for event in scene.events], 1 if "longest" in ask else -1)
    return None


def _most(pairs: Iterable[Pair], sign: int) -> set[Pair]:
    """The longest (or shortest), with all that come so near that a person could err."""
    lengths = {each: each[1] - each[0] for each in pairs}
    if sign > 0:
        return {each for each, length in lengths.items() if length * 1.29 > max(lengths.values())}
    return {each for each, length in lengths.items() if length < min(lengths.values()) * 1.29}


def _pauses(scene: Scene) -> list[Pair]:
    """Stretches without any event, found by looking at every hundredth of a second."""
    end = int(scene.duration * 100)
    busy = [False] * end
    for event in scene.events:
        for tick in range(round(event.span.start * 100), min(round(event.span.end * 100), end)):
            busy[tick] = True
    marks = "".join("x" if each else "." for each in busy)
    return [(run.start() / 100, run.end() / 100) for run in re.finditer(r"\.+", marks)]


def _cause(scene: Scene, ask: str) -> set[Pair] | None:
    found = re.fullmatch(
        r"What made (.+) leave|Why does (.+) leave|What happens to (.+) that makes it leave", ask
    )
    if not found:
        return None
    (index,) = things_meant(scene, next(group for group in found.groups() if group))
    (leaving,) = [e for e in scene.events if e.kind == "leaves" and e.thing == index]
    since = leaving.span.start - 0.05 * scene.duration
    return {
        pair(e)
        for e in scene.events
        if e is not leaving
        and e.span.end >= since
        and e.span.start < leaving.span.start
        and index in e.things
    }


def _counts(scene: Scene, ask: str) -> set[Pair] | None:
    kinds = {
        "When does the number of things go up": "appears",
        "When do the things become more": "appears",
        "When does the number of things go down": "leaves",
        "When do the things become fewer": "leaves",
    }
    return {pair(e) for e in scene.events if e.kind == kinds[ask]} if ask in kinds else None


def _collide(scene: Scene, ask: str) -> set[Pair] | None:
    if ask == "When do two things collide":
        return {pair(e) for e in scene.events if e.kind == "collides"}
    found = re.fullmatch(r"When do (.+) and (.+) collide", ask)
    if not found:
        return None
    both = {next(iter(things_meant(scene, found[1]))), next(iter(things_meant(scene, found[2])))}
    return {pair(e) for e in scene.events if e.kind == "collides" and set(e.things) == both}
