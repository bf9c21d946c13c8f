"""Tasks: what each makes of an annotation, by hand-written examples, and their ways of asking."""

import json

import pytest

from litakit.data.annotations import Annotation, Pair, TimedCaption
from litakit.data.paraphrases import NUM_PARAPHRASES, PARAPHRASES, SHORT_ANSWERS
from litakit.data.readers import read_annotations
from litakit.data.synthetic import write_dataset
from litakit.data.tasks import TASKS, samples_of
from litakit.spans import Span
from litakit.time_tokens import TimeTokenizer
from litakit.timestamps import find_timestamps

TOLD = Annotation(
    "v_a", "v_a", 20.0, (TimedCaption(1.5, 4.0, "A man pours milk. "), TimedCaption(4.0, 20.0, "He Stirs"))
)
ASKED = Annotation("a.mp4", "a.mp4", None, (), (Pair("who runs", "a man "), Pair("Why?", "late")))


def made(annotation, task, style="free"):
    samples, left_out = samples_of(annotation, task, source="mine", split="train", style=style)
    assert not left_out
    return samples


def test_dense_captions_are_one_account_in_file_order():
    (sample,) = made(TOLD, "dvc")
    assert sample.answers == ("<1.5> <4.0> A man pours milk. <4.0> <20.0> He Stirs",)
    assert sample.spans == (Span(1.5, 4.0), Span(4.0, 20.0))
    assert (sample.id, sample.video, sample.duration, sample.source, sample.split) == (
        "v_a",
        "v_a",
        20.0,
        "mine",
        "train",
    )
    tokens = TimeTokenizer(100).render(sample.answers[0], sample.duration)
    assert tokens == "<t7> <t20> A man pours milk. <t20> <t99> He Stirs"


def test_event_localization_asks_for_each_event_by_its_words():
    first, second = made(TOLD, "event_loc")
    assert (first.id, second.id) == ("v_a#0", "v_a#1")
    assert first.subjects == ("a man pours milk",)
    assert second.subjects == ("he Stirs",)
    assert first.answers == ("<1.5> <4.0>",)
    question, answer = first.paraphrased(1).messages
    assert question.content == (
        'Find the part of the video that shows "a man pours milk". Answer with its start and end time only.'
    )
    assert question.video
    assert answer.content == "<1.5> <4.0>"


def test_what_happens_several_times_is_one_question_with_all_its_times():
    windows = (
        TimedCaption(2, 4, "a dog runs"),
        TimedCaption(0, 1, "a cat"),
        TimedCaption(8, 10, "a dog runs"),
    )
    dog, cat = made(Annotation("q1", "v", 20.0, windows), "event_loc")
    assert (dog.id, cat.id) == ("q1#0", "q1#1")
    assert dog.answers == ("<2.0> <4.0> <8.0> <10.0>",)
    assert dog.spans == (Span(2, 4), Span(8, 10))


def test_video_qa_is_one_conversation_and_asks_for_short_answers_where_they_are_short():
    (sample,) = made(ASKED, "vidqa", "word")
    said = [message.content for message in sample.messages]
    assert said == [
        "Who runs? One word or one phrase is enough.",
        "a man",
        "Why? One word or one phrase is enough.",
        "late",
    ]
    assert [message.video for message in sample.messages] == [True, False, False, False]
    (free,) = made(ASKED, "vidqa")
    assert [message.content for message in free.messages][::2] == ["who runs", "Why?"]


def test_image_qa_keeps_the_words():
    (sample,) = made(ASKED, "imgqa")
    assert sample.subjects == ("who runs", "Why?")
    assert sample.spans == ()


def test_a_conversation_in_words_alone_has_no_video_and_is_put_as_it_stands(tmp_path):
    said = [{"from": "human", "value": "What is a cup?"}, {"from": "gpt", "value": "A thing to drink from."}]
    (tmp_path / "a.json").write_text(json.dumps([{"id": "w", "conversations": said}]))
    (annotation,) = read_annotations(tmp_path / "a.json", "conversations_json")
    assert annotation.video is None
    (sample,) = made(annotation, "imgqa")
    assert sample.video is None
    assert [message.video for message in sample.messages] == [False, False]
    assert sample.messages[0].content == "What is a cup?"
    assert sample.paraphrased(3).messages == sample.messages


def test_reasoning_has_the_span_of_its_first_two_times():
    pairs = (Pair("When is he tired?", "<9> <2.5> as he sits at <4>."), Pair("When?", "<1> <2> so."))
    first, second = made(Annotation("v_a", "v_a", 60.0, (), pairs), "rtl")
    assert first.spans == (Span(2.5, 9.0),)
    assert first.answers == ("<2.5> <9.0> as he sits at <4.0>.",)  # in order, as a span is
    assert second.answers == ("<1> <2> so.",)
    assert (first.id, second.id) == ("v_a#0", "v_a#1")
    (alone,) = made(Annotation("q7", "v_a", 60.0, (), pairs[:1]), "rtl")
    assert alone.id == "q7"


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_six_ways_to_ask(task):
    ways = PARAPHRASES[task]
    assert len(set(ways)) == len(ways) == NUM_PARAPHRASES >= 6
    assert all(way.count("{}") == (task != "dvc") for way in ways)
    annotation = TOLD if task in ("dvc", "event_loc") else ASKED
    if task == "rtl":
        annotation = Annotation("a", "a", 9.0, (), (Pair("When {}?", "<1> <2> so"),))
    sample = made(annotation, task)[0]
    asked = {sample.paraphrased(way).messages[0].content for way in range(NUM_PARAPHRASES)}
    assert len(asked) == NUM_PARAPHRASES
    assert sample.paraphrased(NUM_PARAPHRASES) == sample.paraphrased(0) == sample
    assert sample.paraphrased(2).answers == sample.answers
    assert all(sample.subjects[0] in question for question in asked)
    assert all(len(set(ways)) == NUM_PARAPHRASES for style, ways in SHORT_ANSWERS.items() if style != "free")


@pytest.mark.parametrize("task", sorted(TASKS))
def test_an_annotation_without_anything_for_the_task_makes_nothing(task):
    assert made(Annotation("v_a", "v_a", 20.0), task) == []


def test_what_cannot_be_used_is_left_out_alone_and_named():
    told = Annotation(
        "x",
        "x",
        9.0,
        (TimedCaption(5, 2, "He runs."), TimedCaption(1, 2, " "), TimedCaption(0, 3, "He sits.")),
        (Pair("When?", "<1> so"), Pair("", "<1> <2>"), Pair("Why?", " "), Pair("When?", "<1> <2> so")),
    )
    samples, left_out = samples_of(told, "event_loc", source="mine", split="train")
    assert [sample.id for sample in samples] == ["x#2"]
    assert left_out == [
        ("x#0", "a span must not end before it starts, got 5.0 s to 2.0 s"),
        ("x#1", "a text without words"),
    ]
    (account,), left_out = samples_of(told, "dvc", source="mine", split="train")
    assert account.answers == ("<0.0> <3.0> He sits.",)
    assert len(left_out) == 2
    (reasoned,), left_out = samples_of(told, "rtl", source="mine", split="train")
    assert reasoned.id == "x#3"
    assert left_out == [
        ("x#0", "expected two times in the answer '<1> so'"),
        ("x#1", "question without words"),
        ("x#2", "answer without words"),
    ]
    outside = Annotation("x", "x", 9.0, (TimedCaption(9.5, 12, "He runs."), TimedCaption(8, 12, "He sits.")))
    (kept,), left_out = samples_of(outside, "event_loc", source="mine", split="train")
    assert kept.spans == (Span(8, 12),)  # its beginning is in the video: the time tokens end with it
    assert left_out == [("x#0", "9.5-12.0 s lies outside its video of 9 s")]
    (said,), left_out = samples_of(told, "vidqa", source="mine", split="train")
    assert [message.content for message in said.messages] == ["When?", "<1> so", "When?", "<1> <2> so"]
    assert [name for name, _ in left_out] == ["x#1", "x#2"]


def test_times_are_written_so_that_they_can_be_read():
    (sample,) = made(Annotation("x", "x", 9.0, (TimedCaption(1e-5, 1e16, "He runs."),)), "event_loc")
    assert sample.answers == ("<0.00001> <10000000000000000>",)
    assert find_timestamps(sample.answers[0]) == [1e-5, 1e16]


def test_the_shape_world_makes_samples_of_all_five_tasks(tmp_path):
    write_dataset(tmp_path, [31, 32, 33], videos=False)
    read = {
        "dvc": ("dvc", "captions_json"),
        "event_loc": ("event_loc", "captions_json"),
        "vidqa": ("vidqa", "qa_json"),
        "imgqa": ("imgqa", "conversations_json"),
        "rtl": ("rtl_val", "rtl_val_json"),
    }
    for task, (name, reader) in read.items():
        samples = [
            sample
            for annotation in read_annotations(tmp_path / f"{name}.json", reader)
            for sample in made(annotation, task)
        ]
        assert samples
        ids = [sample.id for sample in samples]
        assert len(set(ids)) == len(ids)
        timed = task in ("dvc", "event_loc", "rtl")
        assert all(bool(sample.spans) == timed for sample in samples)
