"""Seconds to tokens and back: the published tables, the laws, and the second codec under the same laws."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litakit.spans import Event, Span
from litakit.time_tokens import ParsedAnswer, SecondsText, TimeTokenizer, make_time_codec
from tests.conftest import GOLDEN

TABLES = json.loads((GOLDEN / "time_tables.json").read_text())
ENTRIES = [
    (row["num_time_tokens"], row["duration"], seconds, token)
    for row in TABLES["encode"]
    for seconds, token in zip(row["seconds"], row["tokens"], strict=True)
]
CODECS = [TimeTokenizer(2), TimeTokenizer(10), TimeTokenizer(100), TimeTokenizer(256), SecondsText()]
DURATIONS = st.floats(min_value=0.04, max_value=90_000)
SHARES = st.floats(min_value=0, max_value=1)


def test_every_published_time_has_its_token():
    assert len(ENTRIES) == 1032
    for num_time_tokens, duration, seconds, token in ENTRIES:
        codec = TimeTokenizer(num_time_tokens)
        assert f"<t{codec.encode(seconds, duration, out_of_range='keep')}>" == token, (duration, seconds)


def test_times_outside_the_video_are_clamped_by_default():
    outside = [entry for entry in ENTRIES if not 0 <= entry[2] <= entry[1]]
    assert len(outside) >= 66
    for num_time_tokens, duration, seconds, token in ENTRIES:
        codec = TimeTokenizer(num_time_tokens)
        expected = token
        if not 0 <= seconds <= duration:
            expected = codec.token(0 if seconds < 0 else num_time_tokens - 1)
        assert codec.token(codec.encode(seconds, duration)) == expected, (duration, seconds)


def test_times_outside_the_video_are_refused_on_request():
    for num_time_tokens, duration, seconds, token in ENTRIES:
        codec = TimeTokenizer(num_time_tokens)
        if 0 <= seconds <= duration:
            assert codec.token(codec.encode(seconds, duration, out_of_range="refuse")) == token
        else:
            with pytest.raises(ValueError) as error:
                codec.encode(seconds, duration, out_of_range="refuse")
            assert str(error.value) == (
                f"expected a time in [0, {duration}] s, got {seconds} s; out_of_range='clamp' takes the edge"
            )


def test_every_token_is_printed_as_published():
    assert len(TABLES["decode_eval"]) == 27
    for row in TABLES["decode_eval"]:
        codec = TimeTokenizer(row["num_time_tokens"])
        shown = [codec.display(token, row["duration"], style="published") for token in codec.tokens]
        assert shown == [f"<{text}>" for text in row["strings"]], row["duration"]
        assert [codec.display(token, row["duration"]) for token in codec.tokens] == [
            f"{text}s" for text in row["strings"]
        ]
        assert codec.display(" ".join(codec.tokens), row["duration"], style="published") == row["outputs"]


def test_the_grid_by_hand():
    codec = TimeTokenizer(100)
    assert codec.tokens[:2] == ("<t0>", "<t1>")
    assert codec.tokens[-1] == "<t99>"
    assert len(codec.tokens) == 100
    assert [codec.encode(seconds, 118.0) for seconds in (0, 59, 118)] == [0, 50, 99]  # 49.5 goes to the even
    assert codec.decode(99, 118.0) == 118.0
    assert codec.resolution_seconds(3600) == pytest.approx(36.36, abs=0.01)
    assert SecondsText().resolution_seconds(3600) == 0.1


def test_a_word_that_is_no_token_of_the_grid_stays():
    codec = TimeTokenizer(10)
    text = f"<t10> <t010> <t-1> <t> <T1> <t1 > t1 <t{'9' * 5000}>"
    assert codec.display(text, 60.0, style="published") == text
    assert codec.display("<<t9>>", 60.0, style="published") == "<<60.0>>"


def test_timestamps_become_tokens_and_nothing_else_does():
    codec = TimeTokenizer(100)
    text = "<0> x<60.0>y <.5> <t3> <-5> <5s> < 5> <1e3>"
    assert codec.render(text, 60.0) == "<t0> x<t99>y <t1> <t3> <-5> <5s> < 5> <1e3>"
    assert codec.render("<72>", 60.0) == "<t99>"
    assert codec.render("<72>", 60.0, out_of_range="keep") == "<t119>"
    with pytest.raises(ValueError, match=r"expected a time in \[0, 60.0\] s, got 72.0 s"):
        codec.render("<72>", 60.0, out_of_range="refuse")


def test_an_answer_of_tokens_is_read():
    codec = TimeTokenizer(100)
    assert codec.parse("<t10> <t25>", 120.0) == ParsedAnswer("", (Span(12.12, 30.3),), parsed=True)
    assert codec.parse("<t25> to <t10>", 120.0).spans == (Span(12.12, 30.3),)
    assert codec.parse("<t5> <7> mixed", 60.0).spans == (Span(3.03, 7.0),)
    assert codec.parse("only <t5>", 60.0) == ParsedAnswer(
        "only <3.03>", (), parsed=False, notes=("expected two times, found 1",)
    )
    assert codec.parse("only <t5>", 60.0, policy="whole_video").spans == (Span(0, 60),)
    assert not codec.parse("<t9> <t5>", 60.0, reversed_times="unparsed").parsed
    assert not codec.parse("<5> <61>", 60.0, out_of_range="unparsed").parsed


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_the_last_time_is_not_blamed_for_its_rounding(codec):
    for duration in (123.456, 12.37, 8.005):
        text = codec.render_span(Span(0, duration), duration)
        answer = codec.parse(text, duration, out_of_range="unparsed")
        assert answer.notes == ()
        assert answer.spans[0].end == pytest.approx(duration, abs=0.05)
        assert answer.spans[0].end <= duration


def test_dense_captions_of_tokens_are_read():
    text = "<t0> <t10> A man runs. <t10> <t99> He stops."
    events = (Event(Span(0, 10), "A man runs."), Event(Span(10, 99), "He stops."))
    assert TimeTokenizer(100).parse_events(text, 99.0) == events
    assert SecondsText().parse_events("0.0 s 10.0 s A man runs. 10 s 99.0 s He stops.", 99.0) == events


def test_seconds_in_words():
    codec = SecondsText()
    assert codec.tokens == ()
    assert codec.render("<12.34> and <0>, <99> or <-5>", 60.0) == "12.3 s and 0.0 s, 60.0 s or <-5>"
    assert codec.display("12.3 s to 30.0 s", 60.0) == "12.3s to 30.0s"
    assert codec.display("12.3 s to 30.0 s", 60.0, style="published") == "<12.3> to <30.0>"
    assert (
        codec.display("-3 s, 3 sheep, 5,5 s, v2 s, 12 seconds", 60.0)
        == "-3 s, 3 sheep, 5,5 s, v2 s, 12 seconds"
    )
    assert codec.parse("3.0 s-5.0 s", 60.0).spans == (Span(3, 5),)
    aged = "in his 30s, in the 1990s: 3.0 s 5.0 s"
    assert codec.parse(aged, 60.0) == ParsedAnswer("in his 30s, in the 1990s:", (Span(3, 5),), parsed=True)
    assert codec.parse("12.3 s 30.0s because", 60.0) == ParsedAnswer(
        "because", (Span(12.3, 30),), parsed=True
    )


@pytest.mark.parametrize("codec", CODECS, ids=repr)
class TestLaws:
    @given(duration=DURATIONS, share=SHARES)
    def test_a_time_comes_back_within_half_a_step(self, codec, duration, share):
        seconds = share * duration
        step = codec.resolution_seconds(duration)
        back = codec.decode(codec.encode(seconds, duration), duration)
        assert 0 <= back <= duration
        assert abs(back - seconds) <= step / 2 * (1 + 1e-9) + 1e-9 * duration

    @given(duration=DURATIONS, shares=st.tuples(SHARES, SHARES))
    def test_order_is_kept(self, codec, duration, shares):
        first, second = (codec.encode(share * duration, duration) for share in sorted(shares))
        assert first <= second
        assert codec.decode(first, duration) <= codec.decode(second, duration)

    @given(duration=DURATIONS, share=SHARES)
    def test_a_grid_time_encodes_to_itself(self, codec, duration, share):
        index = codec.encode(share * duration, duration)
        assert codec.encode(codec.decode(index, duration), duration) == index

    @given(duration=DURATIONS, seconds=st.floats(allow_nan=False))
    def test_clamped_times_are_on_the_grid(self, codec, duration, seconds):
        index = codec.encode(seconds, duration)
        assert 0 <= codec.decode(index, duration) <= duration

    @given(duration=DURATIONS, shares=st.tuples(SHARES, SHARES), words=st.text(alphabet="abc .,é\n"))
    def test_what_is_rendered_is_parsed(self, codec, duration, shares, words):
        start, end = (share * duration for share in sorted(shares))
        tolerance = codec.resolution_seconds(duration) / 2 * (1 + 1e-9) + 0.0051
        rendered = f"{codec.render_span(Span(start, end), duration)} {words}"
        answer = codec.parse(rendered, duration)
        assert answer.parsed
        assert answer.text == words.strip()
        assert abs(answer.spans[0].start - start) <= tolerance
        assert abs(answer.spans[0].end - end) <= tolerance
        assert codec.parse(codec.render(f"<{start:.20f}> <{end:.20f}> {words}", duration), duration) == answer

    @given(words=st.text(alphabet="ab <>t1.", max_size=20))
    def test_text_without_timestamps_is_left_alone(self, codec, words):
        plain = codec.display(words, 60.0, style="published")
        if "<" not in plain:
            assert codec.render(words, 60.0) == words

    @pytest.mark.parametrize("duration", [0, 0.0, -1, math.nan, math.inf])
    def test_a_video_without_length_is_refused(self, codec, duration):
        for call in (
            lambda: codec.encode(1.0, duration),
            lambda: codec.decode(1, duration),
            lambda: codec.render("no times", duration),
            lambda: codec.render_span(Span(0, 1), duration),
            lambda: codec.display("no times", duration),
            lambda: codec.parse("no times", duration),
            lambda: codec.parse_events("no times", duration),
            lambda: codec.resolution_seconds(duration),
        ):
            with pytest.raises(ValueError, match=r"^duration must be positive and finite, got .* s$"):
                call()

    def test_a_time_that_is_no_number_is_refused(self, codec):
        with pytest.raises(ValueError, match=r"^expected a time in seconds, got nan$"):
            codec.encode(math.nan, 60.0)
        with pytest.raises(ValueError, match=r"^expected a time in \[0, 60.0\] s, got inf s"):
            codec.encode(math.inf, 60.0, out_of_range="keep")

    def test_an_index_outside_the_video_is_refused(self, codec):
        for index in (-1, codec.encode(60.0, 60.0) + 1):
            with pytest.raises(ValueError, match=rf"^expected .* in \[0, \d+\], got {index}$"):
                codec.decode(index, 60.0)

    @pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
    def test_numbers_of_numpy_count_as_pythons(self, codec, kind):
        seconds, duration = kind(12.3), kind(59.9)
        plain = float(seconds), float(duration)
        assert codec.encode(seconds, duration) == codec.encode(*plain)
        assert type(codec.encode(seconds, duration)) is int
        assert type(codec.decode(np.int64(1), duration)) is float
        text = codec.render_span(Span(seconds, duration), duration)
        assert text == codec.render_span(Span(*plain), plain[1])
        assert codec.display(text, duration) == codec.display(text, plain[1])
        assert codec.parse(text, duration) == codec.parse(text, plain[1])

    def test_unknown_choices_are_refused(self, codec):
        for call in (
            lambda: codec.encode(9.0, 60.0, out_of_range="wrap"),
            lambda: codec.render("no times", 60.0, out_of_range="wrap"),
            lambda: codec.parse("<1> <2>", 60.0, policy="wrap"),
            lambda: codec.parse("<1> <2>", 60.0, reversed_times="wrap"),
            lambda: codec.parse("<1> <2>", 60.0, out_of_range="wrap"),
        ):
            with pytest.raises(ValueError, match=r"^expected .* or '\w+', got 'wrap'$"):
                call()
        with pytest.raises(ValueError) as error:
            codec.encode(99.0, 60.0, out_of_range="wrap")
        assert str(error.value) == "expected out_of_range 'clamp', 'keep' or 'refuse', got 'wrap'"
        with pytest.raises(ValueError) as error:
            codec.display("x", 60.0, style="pretty")
        assert str(error.value) == "expected style 'seconds' or 'published', got 'pretty'"


def test_the_config_chooses_the_codec():
    assert make_time_codec("tokens", 50) == TimeTokenizer(50)
    assert make_time_codec("seconds", 0) == SecondsText()
    for codec in CODECS:
        assert type(make_time_codec(codec.name)) is type(codec)
    with pytest.raises(ValueError) as error:
        make_time_codec("sundial")
    assert str(error.value) == "expected a time codec out of ('tokens', 'seconds'), got 'sundial'"


def test_a_grid_needs_two_ends():
    with pytest.raises(ValueError) as error:
        TimeTokenizer(1)
    assert str(error.value) == "expected at least 2 time tokens, got 1"
    with pytest.raises(ValueError) as error:
        TimeTokenizer(100).token(100)
    assert str(error.value) == "expected a time token index in [0, 99], got 100"
