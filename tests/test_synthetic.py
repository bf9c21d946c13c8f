"""The shape world keeps its promises: laws over many seeds, a second reader of its questions, real videos."""

import collections
import json
import math
import re
import time
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from litakit.data.synthetic import (
    ALL_KINDS,
    COLOURS,
    ENCODERS,
    EVAL_SEEDS,
    HELD_OUT_KINDS,
    QA,
    SHAPES,
    TRAIN_SEEDS,
    TRAINING_KINDS,
    Renderer,
    Scene,
    captions,
    make_scene,
    questions,
    quotable,
    render_frame,
    sample_questions,
    sample_video,
    scene_state,
    video_id,
    write_dataset,
    write_video,
)
from litakit.spans import Span, temporal_iou
from tests._world_reader import spans_meant

SEEDS = [*range(150), *range(EVAL_SEEDS.start, EVAL_SEEDS.start + 150)]
TIMED = ("event_loc", "rtl")


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [make_scene(seed) for seed in SEEDS]


@pytest.fixture(scope="module")
def asked(scenes: list[Scene]) -> list[list[QA]]:
    return [questions(scene) for scene in scenes]


@pytest.fixture(scope="module")
def short_scene() -> Scene:
    """The scene of the fewest frames among some, so that writing it is quick."""
    return min((make_scene(seed) for seed in range(900_000, 900_300)), key=lambda scene: scene.num_frames)


# --- scenes


def test_a_scene_is_a_pure_function_of_its_seed() -> None:
    assert make_scene(5) == make_scene(5)
    assert make_scene(5) != make_scene(6)
    assert questions(make_scene(5)) == questions(make_scene(5))
    assert questions(make_scene(5), variant=1) != questions(make_scene(5))


def test_seeds_for_measuring_are_not_seeds_for_training() -> None:
    assert not set(TRAIN_SEEDS) & set(EVAL_SEEDS)
    assert len(TRAIN_SEEDS) == 900_000
    assert len(EVAL_SEEDS) == 100_000


def test_a_scene_that_was_made_when_the_world_was_frozen_is_still_the_same() -> None:
    scene = make_scene(901_655)
    assert (scene.width, scene.height, scene.fps, scene.num_frames) == (426, 240, 25.0, 679)
    assert [(event.span, event.caption) for event in captions(scene)] == [
        (Span(0.89, 2.95), "The green circle collides with the yellow star."),
        (Span(8.6, 10.19), "The green circle grows."),
        (Span(12.9, 17.39), "The green triangle flashes."),
        (Span(14.79, 15.79), "The blue triangle spins."),
        (Span(20.26, 23.34), "The yellow star collides with the green triangle."),
        (Span(23.71, 25.01), "The yellow star leaves."),
    ]


def test_names_are_many_unique_and_clear(scenes: list[Scene]) -> None:
    looks = {(thing.colour, thing.shape) for scene in scenes for thing in scene.things}
    assert len(looks) == len(COLOURS) * len(SHAPES) == 24
    twins = 0
    for scene in scenes:
        names = [thing.name for thing in scene.things]
        assert 2 <= len(names) <= 4
        assert len(set(names)) == len(names)
        same = collections.Counter((thing.colour, thing.shape) for thing in scene.things)
        for thing in scene.things:
            word = "large" if thing.large else "small"
            plain = f"{thing.colour} {thing.shape}"
            assert thing.name == (f"{word} {plain}" if same[thing.colour, thing.shape] > 1 else plain)
        twins += max(same.values()) > 1
    assert 0.03 < twins / len(scenes) < 0.2


def test_videos_vary_in_length_rate_size_and_background(scenes: list[Scene]) -> None:
    assert all(8.0 <= scene.duration <= 120.0 for scene in scenes)
    assert min(s.duration for s in scenes) < 10
    assert max(s.duration for s in scenes) > 100
    assert {scene.rate for scene in scenes} >= {
        Fraction(10),
        Fraction(25),
        Fraction(30000, 1001),
        Fraction(30),
    }
    shapes = {np.sign(scene.width - scene.height) for scene in scenes}
    assert shapes == {-1, 0, 1}
    assert len({scene.background.kind for scene in scenes}) == 5


def test_lengths_of_events(scenes: list[Scene]) -> None:
    shares = []
    for scene in scenes:
        assert 3 <= len(scene.events) <= 7
        assert list(scene.events) == sorted(scene.events, key=lambda event: event.span.start)
        for event in scene.events:
            assert 0 <= event.span.start < event.span.end <= scene.duration
            assert event.span.duration >= 0.5
            shares.append(event.span.duration / scene.duration)
    assert min(shares) >= 0.03
    assert max(shares) <= 0.4
    assert np.mean(np.array(shares) < 0.08) >= 0.25


def test_a_thing_does_one_thing_at_a_time_and_a_scene_two(scenes: list[Scene]) -> None:
    for scene in scenes:
        for a, b in combinations(scene.events, 2):
            assert not (set(a.things) & set(b.things)) or temporal_iou(a.span, b.span) == 0
        for event in scene.events:
            going_on = [e for e in scene.events if e.span.start <= event.span.start < e.span.end]
            assert len(going_on) <= 2


def test_every_kind_occurs_and_none_dominates(scenes: list[Scene]) -> None:
    counts = collections.Counter(event.kind for scene in scenes for event in scene.events)
    total = sum(counts.values())
    assert set(counts) == set(TRAINING_KINDS)
    assert all(0.05 < count / total < 0.25 for count in counts.values())


def test_what_is_held_out_is_never_in_a_training_scene_and_always_where_it_is_asked_for() -> None:
    assert HELD_OUT_KINDS == ("orbits",)
    assert not set(HELD_OUT_KINDS) & set(TRAINING_KINDS)
    words = re.compile(r"\borbit|circle around")
    for seed in range(2000):
        scene = make_scene(seed)
        assert all(event.kind not in HELD_OUT_KINDS for event in scene.events)
        if seed < 300:
            assert not any(words.search(qa.question + qa.answer) for qa in questions(scene))
    for seed in range(30):
        assert any(event.kind == "orbits" for event in make_scene(seed, ALL_KINDS).events)


def test_positions_of_events_are_spread_over_the_video(scenes: list[Scene]) -> None:
    centres = [(e.span.start + e.span.end) / 2 / s.duration for s in scenes for e in s.events]
    shares = np.histogram(centres, bins=5, range=(0, 1))[0] / len(centres)
    assert shares.min() > 0.12
    assert shares.max() < 0.28


def test_a_wrong_seed_or_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        make_scene(-1)
    with pytest.raises(ValueError, match=r"kinds must be some of .*, got flies"):
        make_scene(1, ("spins", "flies"))
    with pytest.raises(ValueError, match="no scene can be made of the kinds orbits alone"):
        make_scene(1, ("orbits",))


# --- what is seen


def test_things_touch_only_when_they_collide_and_stay_inside_the_square(scenes: list[Scene]) -> None:
    for scene in scenes[::3]:
        for seconds in np.linspace(0, scene.duration, 80, endpoint=False):
            states = scene_state(scene, float(seconds))
            active = [e for e in scene.events if e.span.start <= seconds < e.span.end]
            colliding = [set(e.things) for e in active if e.kind == "collides"]
            passing = {e.thing for e in active if e.kind == "leaves" or e.style == "slide"}
            for index, state in enumerate(states):
                radius = state.size / 2
                free = math.inf if index in passing else 0.0
                assert state.visible == 0 or 0.139 <= state.size <= 0.3
                for value, ends_with_frame in (
                    (state.x, scene.width <= scene.height),
                    (state.y, scene.width >= scene.height),
                ):
                    spare = free if ends_with_frame else 0.0
                    assert state.visible == 0 or radius - spare - 1e-6 <= value <= 1 - radius + spare + 1e-6
            for a, b in combinations(range(len(states)), 2):
                if states[a].visible > 0 and states[b].visible > 0 and {a, b} not in colliding:
                    apart = math.dist((states[a].x, states[a].y), (states[b].x, states[b].y))
                    assert apart > (states[a].size + states[b].size) / 2


def test_two_things_that_collide_touch_in_the_middle_and_go_back(scenes: list[Scene]) -> None:
    collisions = [(s, e) for s in scenes for e in s.events if e.kind == "collides"]
    assert len(collisions) > 50
    for scene, event in collisions:
        a, b = event.things
        before, middle, after = (
            scene_state(scene, second)
            for second in (event.span.start, (event.span.start + event.span.end) / 2, event.span.end)
        )
        assert (
            math.dist((middle[a].x, middle[a].y), (middle[b].x, middle[b].y))
            < (middle[a].size + middle[b].size) / 2
        )
        assert middle[a].spark is not None
        assert (after[a].x, after[a].y) == pytest.approx((before[a].x, before[a].y))


def test_every_event_shows_in_single_frames_and_nothing_else_does(scenes: list[Scene]) -> None:
    for scene in scenes[:60]:
        renderer = Renderer(scene, (64, 64), crop=True)
        for event in scene.events:
            rest = renderer.frame(event.span.start - 1e-6).astype(int)
            for progress in (0.3, 0.6):
                now = renderer.frame(event.span.start + progress * event.span.duration).astype(int)
                assert (np.abs(now - rest).max(axis=2) > 24).sum() >= 4, (scene.seed, event)
        edges = sorted({0.0, scene.duration, *(t for e in scene.events for t in (e.span.start, e.span.end))})
        for start, end in pairwise(edges):
            if not any(e.span.start < end and start < e.span.end for e in scene.events):
                moments = np.linspace(start + 1e-6, end - 1e-6, 3)
                still = [renderer.frame(float(moment)) for moment in moments]
                assert (still[0] == still[1]).all()
                assert (still[1] == still[2]).all()


def test_a_state_says_what_the_picture_shows(scenes: list[Scene]) -> None:
    for scene in scenes[:60]:
        frame = Renderer(scene, (256, 256), crop=True).frame(0.0)
        for thing, state in zip(scene.things, scene_state(scene, 0.0), strict=True):
            x, y = round(state.x * 256), round((state.y + 0.14 * state.size) * 256)
            seen = frame[y, x].astype(int)
            distance = np.abs(seen - np.array(COLOURS[thing.colour])).max()
            assert (distance <= 2) == (state.visible == 1.0), (scene.seed, thing)


def test_backgrounds_are_never_the_colour_of_a_thing(scenes: list[Scene]) -> None:
    for scene in scenes:
        behind = Renderer(scene, (48, 48))._background.reshape(-1, 3).astype(int)
        for colour in COLOURS.values():
            assert np.linalg.norm(behind - np.array(colour), axis=1).min() > 60
    for a, b in combinations(COLOURS.values(), 2):
        assert math.dist(a, b) > 90


def test_a_frame_is_a_pure_function_of_time_and_any_resolution_shows_the_same(scenes: list[Scene]) -> None:
    scene = next(s for s in scenes if (s.width, s.height) == (640, 360))
    seconds = (scene.events[0].span.start + scene.events[0].span.end) / 2
    renderer = Renderer(scene)
    renderer.frame(0.0)
    assert (renderer.frame(seconds) == render_frame(scene, seconds)).all()
    full = render_frame(scene, seconds)
    assert full.shape == (360, 640, 3)
    assert full.dtype == np.uint8
    crop = Renderer(scene, crop=True).frame(seconds)
    assert crop.shape == (360, 360, 3)
    assert np.abs(full[:, 140:500].astype(int) - crop).max() <= 1
    half = Renderer(scene, (180, 180), crop=True).frame(seconds)
    pooled = crop.reshape(180, 2, 180, 2, 3).mean(axis=(1, 3))
    assert np.abs(pooled - half).mean() < 1.0
    with pytest.raises(ValueError, match="size must be a width and a height of at least 1 px"):
        Renderer(scene, (0, 10))


def test_a_small_frame_takes_about_a_millisecond(scenes: list[Scene]) -> None:
    renderer = Renderer(scenes[2], (128, 128), crop=True)
    seconds = [float(second) for second in np.linspace(0, scenes[2].duration, 200, endpoint=False)]
    start = time.process_time()
    for second in seconds:
        renderer.frame(second)
    assert (time.process_time() - start) / len(seconds) < 0.004  # 0.0002 s on a quiet machine


# --- what is said


def test_captions_are_dense_and_in_order(scenes: list[Scene]) -> None:
    for scene in scenes:
        told = captions(scene)
        assert [event.span for event in told] == [event.span for event in scene.events]
        assert all(re.fullmatch(r"The [a-z ]+\.", event.caption) for event in told)


def test_every_question_for_a_time_has_exactly_one_right_span(
    scenes: list[Scene], asked: list[list[QA]]
) -> None:
    count = 0
    for scene, qas in zip(scenes, asked, strict=True):
        for qa in qas:
            if qa.task in TIMED:
                count += 1
                (span,) = qa.spans
                meant = spans_meant(scene, qa.question)
                assert meant == {(span.start, span.end)}, (scene.seed, qa)
    assert count > 5000


def test_the_second_reader_sees_what_is_ambiguous(scenes: list[Scene]) -> None:
    doubtful = 0
    for scene in scenes:
        for event in scene.events:
            caption = next(told.caption for told in captions(scene) if told.span == event.span)
            question = f'When does "{caption[0].lower()}{caption[1:-1]}" happen?'
            if event not in quotable(scene):
                doubtful += 1
                assert len(spans_meant(scene, question)) > 1, (scene.seed, question)
    assert doubtful > 100


def test_held_out_events_are_asked_for_without_doubt_too() -> None:
    seen = 0
    for seed in range(60):
        scene = make_scene(seed, ALL_KINDS)
        for qa in questions(scene):
            if qa.task in TIMED:
                assert spans_meant(scene, qa.question) == {(qa.spans[0].start, qa.spans[0].end)}, (seed, qa)
                seen += "orbit" in qa.question or "circle around" in qa.question
    assert seen > 60


def test_no_question_is_asked_twice_with_two_answers(asked: list[list[QA]]) -> None:
    for qas in asked:
        answers: dict[tuple[str, str, float | None], str] = {}
        for qa in qas:
            assert answers.setdefault((qa.task, qa.question, qa.seconds), qa.answer) == qa.answer


def test_answers_hold_the_times_of_their_spans(scenes: list[Scene], asked: list[list[QA]]) -> None:
    for scene, qas in zip(scenes, asked, strict=True):
        for qa in qas:
            times = [float(number) for number in re.findall(r"<([\d.]+)>", qa.answer)]
            assert times == [second for span in qa.spans for second in (span.start, span.end)]
            if qa.task == "event_loc":
                assert re.fullmatch(r"<[\d.]+> <[\d.]+>", qa.answer)
            elif qa.task == "rtl":
                assert re.fullmatch(r"<[\d.]+> <[\d.]+> [A-Z][a-z ,]+\.", qa.answer)
            elif qa.task == "dvc":
                assert len(qa.spans) == len(scene.events)
            else:
                assert not times


def test_quoted_events_are_captions_without_their_stop_and_capital(
    scenes: list[Scene], asked: list[list[QA]]
) -> None:
    for scene, qas in zip(scenes, asked, strict=True):
        told = {event.span: event.caption for event in captions(scene)}
        quotes = [qa for qa in qas if qa.kind == "quoted"]
        assert len(quotes) == len(quotable(scene)) >= 1
        for qa in quotes:
            caption = told[qa.spans[0]]
            assert f'"{caption[0].lower()}{caption[1:-1]}"' in qa.question


def test_there_is_enough_to_ask(asked: list[list[QA]]) -> None:
    kinds = collections.Counter(qa.kind for qas in asked for qa in qas if qa.task == "rtl")
    for qas in asked:
        assert {qa.task for qa in qas} == {"dvc", "event_loc", "vidqa", "imgqa", "rtl"}
        assert sum(qa.task in TIMED for qa in qas) >= 8
    needed = (
        "right_after",
        "second_time",
        "longest_of_thing",
        "longest_of_all",
        "quiet",
        "cause",
        "linked",
        "while",
    )
    assert all(kinds[kind] >= 30 for kind in needed), kinds


def test_spans_that_are_asked_for_are_short_and_trivial_answers_are_bad(
    scenes: list[Scene], asked: list[list[QA]]
) -> None:
    rng = np.random.default_rng(0)
    shares, whole, centre, chance = [], [], [], []
    for scene, qas in zip(scenes, asked, strict=True):
        d = scene.duration
        for qa in qas:
            if qa.task in TIMED:
                (span,) = qa.spans
                shares.append(span.duration / d)
                whole.append(temporal_iou(span, Span(0, d)))
                centre.append(temporal_iou(span, Span(d / 3, 2 * d / 3)))
                chance.append(temporal_iou(span, Span(*sorted(rng.uniform(0, d, 2).tolist()))))
    assert min(shares) >= 0.03
    assert max(shares) <= 0.4
    assert np.mean(np.array(shares) < 0.08) >= 0.25
    assert np.mean(whole) < 0.15
    assert np.mean(centre) < 0.15
    assert np.mean(chance) < 0.15


PLACES = re.compile(
    r"\b(left|right(?! (?:after|before))|top|bottom|upper|lower|centre|center|middle|above|below|under|over|"
    r"beside|corner|edge|side|near|far|beginning|half|third|quarter|early|late|start of|end of|"
    r"at the (?:start|end))\b"
)


def test_no_word_names_a_place_or_a_part_of_the_video(asked: list[list[QA]]) -> None:
    words = collections.Counter()
    for qas in asked:
        for qa in qas:
            assert not PLACES.search(f"{qa.question} {qa.answer}"), qa
            assert not re.search(r"\d", re.sub(r"<[\d.]+>", "", qa.question + qa.answer))
            words.update(re.findall(r"[a-z]+", f"{qa.question} {qa.answer}".lower()))
    assert 100 < len(words) < 220


def _doers(scene: Scene, kind: str) -> list[int]:
    return [index for event in scene.events if event.kind == kind for index in event.things]


KIND_OF = {"flash": "flashes", "flashes": "flashes"} | {
    word: kind for kind in ALL_KINDS if kind != "flashes" for word in (kind, kind.removesuffix("s"))
}


def test_answers_in_words_are_true(scenes: list[Scene], asked: list[list[QA]]) -> None:
    often = ("never", "once", "twice", "three times", "four times")
    checked = collections.Counter()
    for scene, qas in zip(scenes, asked, strict=True):
        names = {f"the {thing.name}": index for index, thing in enumerate(scene.things)}
        for qa in (qa for qa in qas if qa.task == "vidqa"):
            checked[qa.kind] += 1
            words = qa.question.removesuffix("?")
            if qa.kind in ("colour", "shape"):
                (doer,) = _doers(scene, KIND_OF[words.split()[-1]])
                assert qa.answer == getattr(scene.things[doer], qa.kind)
            elif qa.kind == "who" and "collides with" in words:
                partner = names[words.removeprefix("Which thing collides with ")]
                assert {names[qa.answer], partner} == set(_doers(scene, "collides"))
            elif qa.kind == "who":
                assert [names[qa.answer]] == _doers(scene, KIND_OF[words.split()[-1]])
            elif qa.kind in ("does", "how_many_times"):
                subject = re.search(r"(the .+) (\w+)$", words)
                assert subject is not None
                count = _doers(scene, KIND_OF[subject[2]]).count(names[subject[1]])
                assert qa.answer == (("yes" if count else "no") if qa.kind == "does" else often[count])
            elif qa.kind == "how_many_things":
                assert qa.answer == ("none", "one", "two", "three", "four")[len(scene.things)]
            else:
                found = re.match(r"What does (the .+?) do(?: after it (\w+)(?: with (.+))?)?$", words)
                assert found is not None
                mine = scene.events_of(names[found[1]])
                known = [
                    event
                    for event in mine
                    if event.kind == KIND_OF[found[2] or "spin"]
                    and (not found[3] or names[found[3]] in event.things)
                ]
                assert len(known if found[2] else mine) == 1
                expected = mine[mine.index(known[0]) + 1] if found[2] else mine[0]
                assert KIND_OF[qa.answer.split()[1]] == expected.kind
    assert len(checked) == 8
    assert min(checked.values()) > 20


def test_answers_about_still_frames_are_true(scenes: list[Scene], asked: list[list[QA]]) -> None:
    numbers = ("none", "one", "two", "three", "four")
    checked = collections.Counter()
    for scene, qas in zip(scenes, asked, strict=True):
        for qa in (qa for qa in qas if qa.task == "imgqa"):
            assert qa.seconds is not None
            assert 0 <= qa.seconds < scene.duration
            assert all(not e.span.start < qa.seconds < e.span.end for e in scene.events)
            shown = [
                (thing, state)
                for thing, state in zip(scene.things, scene_state(scene, qa.seconds), strict=True)
                if state.visible == 1
            ]
            checked[qa.kind] += 1
            asked_for = [
                (thing, state)
                for thing, state in shown
                if all(
                    (word not in COLOURS or word == thing.colour)
                    and (word not in SHAPES or word == thing.shape)
                    for word in re.findall(r"[a-z]+?(?=s?\b)", qa.question.lower())
                )
            ]
            said = qa.answer.removesuffix(".").split()[-1]
            if qa.kind in ("count", "count_some"):
                assert said == numbers[len(asked_for)]
            elif qa.kind == "exists":
                assert said == ("Yes" if asked_for else "No")
            else:
                ((thing, state),) = asked_for
                size = "large" if state.size > 0.2 else "small"
                assert said == {"colour": thing.colour, "shape": thing.shape, "size": size}[qa.kind]
    assert set(checked) == {"count", "count_some", "exists", "colour", "shape", "size"}


# --- files


def _read(path: Path) -> tuple[list[np.ndarray], list[float]]:
    with av.open(str(path)) as container:
        frames = [
            (f.to_ndarray(format="rgb24"), float(f.pts * f.time_base)) for f in container.decode(video=0)
        ]
    return [pixels for pixels, _ in frames], [second for _, second in frames]


@pytest.mark.parametrize(
    ("codec", "suffix"), list(zip(ENCODERS, ("mp4", "mkv", "webm", "mp4", "avi"), strict=True))
)
def test_a_written_video_shows_what_render_frame_says(
    codec: str, suffix: str, short_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVT_LOG", "1")
    size = (192, 144)
    path = write_video(short_scene, tmp_path / f"a.{suffix}", codec, size)
    frames, seconds = _read(path)
    assert len(frames) == short_scene.num_frames
    expected = np.arange(len(frames)) / short_scene.fps
    assert np.abs(np.array(seconds) - seconds[0] - expected).max() < 0.001 + 1e-6
    renderer = Renderer(short_scene, size)
    drawn = [renderer.frame(float(index / short_scene.rate)).astype(int) for index in range(len(frames))]
    moving = [e for e in short_scene.events if e.kind in ("moves", "collides", "leaves", "jumps", "spins")]
    assert moving
    for index in range(0, len(frames), 7):
        assert np.abs(frames[index] - drawn[index]).mean() < 5
    for event in moving:
        index = round((event.span.start + 0.2 * event.span.duration) * short_scene.fps)
        around = range(max(index - 3, 0), min(index + 4, len(frames)))
        errors = {i: np.abs(frames[index] - drawn[i]).mean() for i in around}
        assert errors[index] <= min(errors.values()) + 0.02, (event.kind, errors)


def test_2997_frames_a_second_are_exact(tmp_path: Path) -> None:
    scene = min(
        (make_scene(seed) for seed in range(400) if make_scene(seed).rate == Fraction(30000, 1001)),
        key=lambda each: each.num_frames,
    )
    path = write_video(scene, tmp_path / "ntsc.mp4", size=(96, 96))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(30000, 1001)
        pts = [Fraction(frame.pts) * frame.time_base for frame in container.decode(stream)]
    assert pts == [Fraction(1001 * index, 30000) for index in range(scene.num_frames)]
    assert scene.duration == pytest.approx(scene.num_frames * 1001 / 30000, abs=1e-12)


def test_a_video_is_written_whole_or_not_at_all(short_scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"codec must be one of h264, .*, got 'divx'"):
        write_video(short_scene, tmp_path / "a.mp4", "divx")
    with pytest.raises(ValueError, match=r"width and height must be even .*, got 99 x 80 px"):
        write_video(short_scene, tmp_path / "a.mp4", size=(99, 80))
    with pytest.raises(ValueError, match="Could not determine output format"):
        write_video(short_scene, tmp_path / "a.nothing")
    assert not list(tmp_path.iterdir())


def test_the_sample_video_was_never_trained_on_and_asks_for_inference_too(tmp_path: Path) -> None:
    scene = sample_video(tmp_path / "sample.mp4")
    assert scene.seed in EVAL_SEEDS
    assert scene.seed not in TRAIN_SEEDS
    assert [qa.task for qa in sample_questions(scene)] == ["event_loc", "event_loc", "rtl"]
    frames, _ = _read(tmp_path / "sample.mp4")
    assert len(frames) == scene.num_frames


def _contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_data_set_is_the_same_bytes_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    seeds = sorted(
        range(900_000, 900_200), key=lambda seed: make_scene(seed).num_frames * make_scene(seed).width
    )[:2]
    first, second = tmp_path / "first", tmp_path / "second"
    write_dataset(first, seeds)
    write_dataset(second, seeds[:1])
    kept = second / "videos" / f"v_{video_id(make_scene(seeds[0]))}.mp4"
    stamp = kept.stat().st_mtime_ns
    write_dataset(second, seeds)
    assert kept.stat().st_mtime_ns == stamp
    assert _contents(first) == _contents(second)
    assert len(list((first / "videos").iterdir())) == len(list((first / "stills").iterdir())) == 2


def test_annotations_are_in_the_published_formats(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, range(40), videos=False)
    read = {path.stem: json.loads(path.read_text()) for path in root.iterdir()}
    assert set(read) == {"dvc", "event_loc", "vidqa", "imgqa", "rtl_train", "rtl_val"}
    for seed in range(40):
        scene = make_scene(seed)
        vid = video_id(scene)
        assert len(vid) == 11
        dense, single = read["dvc"][f"v_{vid}"], read["event_loc"][f"v_{vid}"]
        assert dense["duration"] == pytest.approx(scene.duration, abs=1e-6)
        assert dense["sentences"] == [event.caption for event in captions(scene)]
        assert dense["timestamps"] == [[event.span.start, event.span.end] for event in captions(scene)]
        assert len(set(single["sentences"])) == len(single["sentences"])
        assert set(single["sentences"]) <= set(dense["sentences"])
    for entry in read["vidqa"]:
        assert set(entry) == {"video", "QA"}
        assert entry["video"].endswith(".mp4")
        assert all(
            pair["q"][0].islower() and not pair["q"].endswith("?") and pair["a"] for pair in entry["QA"]
        )
    for entry in read["imgqa"]:
        turns = entry["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert turns[0]["value"].startswith("<image>\n")
        assert entry["image"] == f"{entry['id']}.jpg"
    pairs = [(key, qa["q"], qa["a"]) for key, value in read["rtl_train"].items() for qa in value["QA"]]
    listed = [(f"v_{entry['vid']}", entry["question"], entry["answer"]) for entry in read["rtl_val"]]
    assert pairs == listed
    assert len(pairs) > 300
    for entry in read["rtl_val"]:
        assert entry["question_id"][:11] == entry["vid"]
        assert re.match(r"<[\d.]+> <[\d.]+> ", entry["answer"])
    assert len({entry["question_id"] for entry in read["rtl_val"]}) == len(read["rtl_val"])


def test_seeds_of_a_data_set_must_differ(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"seeds must differ and lie in \[0, 999999\]"):
        write_dataset(tmp_path, [1, 1])
