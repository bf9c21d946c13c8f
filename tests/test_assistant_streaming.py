import pytest
from hypothesis import given
from hypothesis import strategies as st

from litakit.assistant import Assistant
from litakit.assistant.answer import TimeAxis
from litakit.assistant.streaming import PieceMaker
from litakit.time_tokens import SecondsText
from tests._small_lita import LIMIT, LONGER, OTHER, QUESTION, ask, small_lita, watching


@pytest.fixture(scope="module")
def assistant():
    return Assistant(*small_lita())


@pytest.fixture
def session(assistant):
    return assistant.open(LONGER)


@pytest.mark.parametrize("options", [{}, {"temperature": 1.5, "seed": 3}, {"num_beams": 2}])
def test_pieces_are_the_answer_without_half_a_time(assistant, options):
    expected = ask(assistant.open(LONGER), **options)
    session = assistant.open(LONGER)
    stream = session.stream(QUESTION, max_new_tokens=LIMIT, **options)
    pieces = list(stream)
    assert "".join(pieces) == expected.text
    assert stream.answer.token_ids == expected.token_ids
    assert session.history[-1].content == expected.raw_text
    assert not any("<t" in piece for piece in pieces)
    if "num_beams" not in options:
        assert len(pieces) > 2


def test_a_stream_comes_while_it_is_generated(assistant):
    session = assistant.open(LONGER)
    stream = session.stream(QUESTION, max_new_tokens=400)
    with watching(assistant.model) as seen:
        next(stream)
        stream.close()
    assert 0 < len(seen.ids) < 350


def test_a_stream_that_is_left_is_not_remembered_and_harms_nothing(assistant):
    expected = ask(assistant.open(LONGER)).token_ids
    session = assistant.open(LONGER)
    stream = session.stream(OTHER, max_new_tokens=400)
    next(stream)
    with pytest.raises(RuntimeError, match="still answering"):
        ask(session)
    with pytest.raises(RuntimeError, match="the answer is not complete"):
        _ = stream.answer
    stream.close()
    assert session.history == ()
    with watching(assistant.model) as seen:
        assert ask(session).token_ids == expected
    assert seen.ids[0] < 25  # the video stayed read


def test_an_error_in_a_stream_comes_out_of_it(assistant):
    session = assistant.open(LONGER)

    def fail(*args):
        raise RuntimeError("out of memory")

    hook = assistant.model.language_model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(session.stream(QUESTION, max_new_tokens=LIMIT))
    hook.remove()


@given(
    st.lists(
        st.sampled_from(["a", " ", "1", "2.", ".5", " s", "s", "<t", "<t7>", "7>", "\n", "é"]), max_size=25
    )
)
def test_pieces_join_to_the_whole_whatever_comes(parts):
    axis = TimeAxis(SecondsText(), duration=60.0, start=100.0)
    maker = PieceMaker(lambda ids: "".join(parts[i] for i in ids).strip(), axis.show)
    pieces = [maker.add(index) for index in range(len(parts))]
    whole = axis.show("".join(parts).strip())
    assert "".join(pieces) + maker.rest(whole) == whole


def test_plain_seconds_are_shown_whole_and_moved(assistant):
    axis = TimeAxis(SecondsText(), duration=60.0, start=100.0)
    parts = ["from", " 1", "2", ".", "5", " s", " to", " 30", " s"]
    maker = PieceMaker(lambda ids: "".join(parts[i] for i in ids), axis.show)
    pieces = [maker.add(index) for index in range(len(parts))]
    assert pieces == ["", "from ", "", "", "", "", "112.5s ", "to ", ""]
    assert maker.rest("from 112.5s to 130.0s") == "130.0s"
