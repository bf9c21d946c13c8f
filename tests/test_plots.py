"""Plots: what is drawn lies where the seconds say."""

from itertools import pairwise

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from litakit.assistant import Answer, Boundary
from litakit.data.annotations import Annotation, Pair, TimedCaption
from litakit.data.tasks import samples_of
from litakit.plots import (
    PREDICTED,
    TRUTH,
    clock,
    plot_boundaries,
    plot_sample_statistics,
    plot_samples,
    plot_spans,
)
from litakit.spans import Span
from litakit.video import FrameBatch, VideoInfo

DURATION = 40.0


def frames(duration: float | None = DURATION) -> FrameBatch:
    info = VideoInfo("made.mp4", "video", duration, 8, 0.2, 32, 18)
    pixels = np.stack([np.full((18, 32, 3), 20 * index, np.uint8) for index in range(8)])
    times = np.linspace(0, 35.0, 8)
    return FrameBatch(pixels, times, np.arange(8), info, "pyav", "index", duration, 0.0, ())


def answer(*spans: Span) -> Answer:
    grid = np.linspace(0, DURATION, 100)
    boundaries = []
    for span in spans:
        for seconds in (span.start, span.end):
            peak = np.exp(-0.5 * ((grid - seconds) / 0.8) ** 2)
            boundaries.append(
                Boundary(seconds, int(np.argmin(np.abs(grid - seconds))), peak / peak.sum(), grid)
            )
    return Answer(
        "When does it happen?", "then", spans, (0.5,) * len(spans), tuple(boundaries), "", (),
        DURATION / 99, bool(spans), False, (), "", 0.1,
    )  # fmt: skip


def columns_of(figure: Figure, colour: str, rows: slice) -> tuple[int, int, int]:
    """First and last pixel column of a colour in some rows of a figure, and the figure's width."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[rows, :, :3].astype(int)
    wanted = np.array([round(255 * part) for part in matplotlib.colors.to_rgb(colour)])
    found = np.where((np.abs(pixels - wanted).max(axis=2) <= 2).sum(axis=0) >= 5)[0]
    return int(found[0]), int(found[-1]), pixels.shape[1]


@pytest.mark.parametrize(("start", "end"), [(10.0, 20.0), (0.0, 1.0), (39.0, 40.0), (3.3, 36.6)])
def test_a_span_is_drawn_where_its_seconds_lie(start: float, end: float) -> None:
    figure = plot_spans(frames(), [answer(Span(start, end))], truth=[Span(5.0, 25.0)])
    FigureCanvasAgg(figure).draw()
    lane = figure.axes[1]
    to_pixels = lane.transData.transform
    # above the legend, which shows the colours too
    rows = slice(0, int(figure.bbox.height - lane.get_window_extent().y0))
    for colour, span in ((PREDICTED, Span(start, end)), (TRUTH, Span(5.0, 25.0))):
        first, last, _ = columns_of(figure, colour, rows)
        assert first == pytest.approx(to_pixels((span.start, 0))[0], abs=1.6)
        assert last == pytest.approx(to_pixels((span.end, 0))[0], abs=1.6)


def test_lanes_say_their_seconds_and_iou() -> None:
    figure = plot_spans(frames(), [answer(Span(10, 20)), answer()], truth=[Span(15, 25), None])
    words = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert words == ["0:10.0 – 0:20.0  IoU 0.33", "no span in the answer"]
    assert [figure.axes[1].get_title(loc="left")] == ["When does it happen?"]


def test_the_strip_shows_each_frame_at_its_time() -> None:
    figure = plot_spans(frames(), [answer(Span(10, 20))])
    shown = [(image.get_extent(), int(image.get_array()[0, 0, 0]) // 20) for image in figure.axes[0].images]
    assert [index for _, index in shown] == [0, 1, 2, 3, 4, 5, 6, 7] or len(shown) == 8
    for (left, right, _, _), index in shown:
        assert abs((left + right) / 2 - 5.0 * index) <= 2.5


def test_boundaries_mark_the_chosen_second() -> None:
    figure = plot_boundaries(answer(Span(10, 20)))
    assert [axis.lines[0].get_xdata()[0] for axis in figure.axes] == [10, 20]
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert sum(heights) == pytest.approx(1.0)
    assert len(heights) == 100


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(ValueError, match="got a still image, which has no time axis"):
        plot_spans(frames(None), [answer(Span(1, 2))])
    with pytest.raises(ValueError, match=r"expected one true span \(or None\) for each answer: 1, got 2"):
        plot_spans(frames(), [answer(Span(1, 2))], truth=[None, None])
    with pytest.raises(ValueError, match="holds no time token"):
        plot_boundaries(answer())


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (59.96, "1:00.0"), (61.25, "1:01.2"), (7322.5, "2:02:02.5")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_an_answer_of_many_times_shows_the_first_ones_and_says_so() -> None:
    figure = plot_boundaries(answer(*(Span(start, start + 1) for start in range(10))))
    assert len(figure.axes) == 8
    assert figure.axes[0].get_title(loc="left").endswith("(the first 8 of 20 time tokens)")


def test_a_notebook_shows_a_figure_by_itself() -> None:
    """Without pyplot and without `%matplotlib inline`, which this process does not have."""
    from IPython.core.formatters import DisplayFormatter

    for figure in (plot_spans(frames(), [answer(Span(10, 20))]), plot_boundaries(answer(Span(10, 20)))):
        shown, _ = DisplayFormatter().format(figure)
        assert shown["image/png"].startswith(b"\x89PNG") or shown["image/png"].startswith("iVBOR")


TOLD = Annotation(
    "a",
    "a",
    DURATION,
    (TimedCaption(4.0, 12.0, "He runs."), TimedCaption(20.0, 36.0, "He sits.")),
    (Pair("When?", "<8> <28> because he is tired"),),
)


def samples(task: str) -> list:
    return samples_of(TOLD, task, source="s", split="t")[0]


@pytest.mark.parametrize(("task", "spans"), [("dvc", [(4, 12), (20, 36)]), ("rtl", [(8, 28)])])
def test_samples_are_drawn_where_their_seconds_lie(task: str, spans: list[tuple[int, int]]) -> None:
    figure = plot_samples(frames(), samples(task))
    axis = figure.axes[1]
    bars = [collection.get_paths()[0].get_extents() for collection in axis.collections]
    assert [(bar.x0, bar.x1) for bar in bars] == spans
    assert axis.get_xlim() == (0.0, DURATION)
    assert all(lower.y1 < upper.y0 for upper, lower in pairwise(bars))
    words = " ".join(text.get_text() for text in axis.texts)
    assert ("He sits." in words) == (task == "dvc")
    assert ("because he is tired" in words) == (task == "rtl")
    assert axis.get_title(loc="left").startswith(f"{task}: ")


def test_answers_without_times_are_words() -> None:
    figure = plot_samples(frames(), samples("vidqa"))
    assert [text.get_text() for text in figure.axes[1].texts] == ["When? <8> <28> because he is tired"]
    assert len(figure.axes[1].collections) == 0


def test_statistics_count_every_span_and_sample() -> None:
    many = [*samples("dvc"), *samples("event_loc"), *samples("vidqa")]
    figure = plot_sample_statistics(many, [400, 380, 380, 390])
    counted = [sum(patch.get_height() for patch in figure.axes[panel].patches) for panel in (0, 1, 3)]
    assert counted[:2] == [1, 4]  # one video; two spans as one account and as two events
    assert counted[2] == 4
    inside = figure.axes[2].collections[0].get_paths()[0].vertices
    share = {round(x, 1): y for x, y in inside if y > 0}
    assert share[20.5] == 50.0  # 4 to 12 s of 40 s: half of the spans
    assert 42.5 not in share
    assert plot_sample_statistics(many).axes[3].axison is False


def test_what_samples_cannot_be_drawn_is_said() -> None:
    with pytest.raises(ValueError, match="needs a video's frames and samples, got a still image"):
        plot_samples(frames(None), samples("dvc"))
    with pytest.raises(ValueError, match="a number of tokens for each, got 1 and 2 numbers of tokens"):
        plot_sample_statistics(samples("dvc"), [1, 2])
