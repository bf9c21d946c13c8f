"""Readers: the published formats by their own examples, and what is said about a broken file."""

import json
import os
import re

import pytest

from litakit.data.annotations import Annotation, AnnotationError, Pair, TimedCaption
from litakit.data.readers import READERS, read_annotations
from litakit.data.synthetic import write_dataset

ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2026-11-25T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/films/my%20film.mp4" MIME_TYPE="video/mp4"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1500"/>
    <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="4000"/>
    <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="250"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="default" TIER_ID="actions">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>He stirs.</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts1">
      <ANNOTATION_VALUE>He pours.</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""
VTT = """\ufeffWEBVTT - steps

NOTE made by hand

1
00:01.000 --> 00:02.500 align:start
<v Ann>He pours
the milk.

01:00:00.000 --> 01:00:01.250
He stirs.
"""
EXAMPLES = {
    "captions_json": (
        (
            '{"v_a": {"duration": 20, "timestamps": [[1.5, 4], [9, 2]], "sentences": ["He pours.", " "]},'
            ' "b": {"duration": 3, "timestamps": [], "sentences": [], "image": "x/b.mp4"}}'
        ),
        [
            Annotation(
                "v_a", "v_a", 20.0, (TimedCaption(1.5, 4.0, "He pours."), TimedCaption(9.0, 2.0, " "))
            ),
            Annotation("b", "x/b.mp4", 3.0),
        ],
    ),
    "qa_json": (
        '[{"video": "a.mp4", "QA": [{"q": "who runs", "a": "a man"}, {"q": "why", "a": "late"}]}]',
        [Annotation("a.mp4", "a.mp4", None, (), (Pair("who runs", "a man"), Pair("why", "late")))],
    ),
    "conversations_json": (
        (
            '[{"id": "7", "image": "7.jpg", "conversations": [{"from": "human",'
            ' "value": "What is it?\\n<image>"}, {"from": "gpt", "value": "A bus."}]}]'
        ),
        [Annotation("7", "7.jpg", None, (), (Pair("What is it?", "A bus."),))],
    ),
    "rtl_train_json": (
        (
            '{"v_a": {"duration": 60, "QA": [{"q": "When is he tired?",'
            ' "a": "<10.0> <32.5> because he sits."}]}}'
        ),
        [Annotation("v_a", "v_a", 60.0, (), (Pair("When is he tired?", "<10.0> <32.5> because he sits."),))],
    ),
    "rtl_val_json": (
        (
            '[{"question_id": "v_abcdefghi_0", "vid": "v_abcdefghi", "duration": 60, "question": "When?",'
            ' "answer": "<1> <2> so."}]'
        ),
        [Annotation("v_abcdefghi_0", "v_v_abcdefghi", 60.0, (), (Pair("When?", "<1> <2> so."),))],
    ),
    "charades_sta": (
        "AO8RW 0.0 6.9##a person is putting a book on a shelf.\n\nAO8RW 7 3##b ## c\n",
        [
            Annotation(
                "AO8RW_1", "AO8RW", None, (TimedCaption(0.0, 6.9, "a person is putting a book on a shelf."),)
            ),
            Annotation("AO8RW_3", "AO8RW", None, (TimedCaption(7.0, 3.0, "b ## c"),)),
        ],
    ),
    "qvhighlights": (
        (
            '{"qid": 9, "query": "They play.", "duration": 126, "vid": "x_6.0_9.0", "relevant_windows":'
            ' [[0, 16], [20, 22]], "relevant_clip_ids": [0], "saliency_scores": [[4, 1, 1]]}\n'
            '{"qid": 10, "query": "Q", "duration": 2, "vid": "y"}\n'
        ),
        [
            Annotation(
                "9",
                "x_6.0_9.0",
                126.0,
                (TimedCaption(0.0, 16.0, "They play."), TimedCaption(20.0, 22.0, "They play.")),
            ),
            Annotation("10", "y", 2.0, (), (Pair("Q", ""),)),
        ],
    ),
    "csv": (
        'video,start,end,caption,duration\na.mp4,1,2.5,"He runs, fast",\nb,0,1,x,9\na.mp4,4,5,He stops,20\n',
        [
            Annotation(
                "a.mp4",
                "a.mp4",
                20.0,
                (TimedCaption(1.0, 2.5, "He runs, fast"), TimedCaption(4.0, 5.0, "He stops")),
            ),
            Annotation("b", "b", 9.0, (TimedCaption(0.0, 1.0, "x"),)),
        ],
    ),
    "jsonl": (
        (
            '{"video": "a", "question": "Who?", "answer": "Ann"}\n'
            '{"video": "a", "question": "When?", "answer": "so", "start": 1, "end": 2.5}\n'
        ),
        [Annotation("a", "a", None, (), (Pair("Who?", "Ann"), Pair("When?", "<1.0> <2.5> so")))],
    ),
    "webvtt": (
        VTT,
        [
            Annotation(
                "file",
                "file",
                None,
                (TimedCaption(1.0, 2.5, "He pours the milk."), TimedCaption(3600.0, 3601.25, "He stirs.")),
            )
        ],
    ),
    "elan": (
        ELAN,
        [
            Annotation(
                "file",
                "my film",
                None,
                (TimedCaption(0.25, 1.5, "He pours."), TimedCaption(1.5, 4.0, "He stirs.")),
            )
        ],
    ),
}


@pytest.mark.parametrize("reader", sorted(READERS))
def test_each_format(tmp_path, reader):
    content, expected = EXAMPLES[reader]
    path = tmp_path / "file.x"
    path.write_text(content, encoding="utf-8")
    assert list(read_annotations(path, reader)) == expected


@pytest.mark.parametrize(
    ("reader", "content", "words"),
    [
        ("captions_json", "[]", ': expected an object, {"<video>": ...}, got []'),
        ("captions_json", '{\n"a": {"duration": 1,\n}', ":3: not JSON: "),
        ("captions_json", '{"a": {"duration": 1, "timestamps": []}}', ': a: expected a field "sentences"'),
        (
            "captions_json",
            '{"a": {"duration": 1, "timestamps": [], "sentences": ["x"]}}',
            ": a: 0 timestamps and 1 sentences",
        ),
        (
            "captions_json",
            '{"a": {"duration": 1, "timestamps": [[1]], "sentences": ["x"]}}',
            ": a: timestamps[0]: expected [start, end] in seconds, got [1]",
        ),
        (
            "captions_json",
            '{"a": {"duration": NaN, "timestamps": [], "sentences": []}}',
            ": a: duration: expected a number of seconds, got NaN",
        ),
        (
            "qa_json",
            '[{"video": "a", "QA": [{"q": 5, "a": "x"}]}]',
            ": entry 0: QA[0]: q: expected text, got 5",
        ),
        ("qa_json", '[{"video": "a"}, 7]', ': entry 0: expected a field "QA", got only video'),
        (
            "conversations_json",
            '[{"image": "a", "conversations": [{"from": "gpt", "value": "x"}]}]',
            ': entry 0: conversations[0]: expected "from": "human", got "gpt"',
        ),
        (
            "conversations_json",
            '[{"image": "a", "conversations": [{"from": "human", "value": "x"}]}]',
            ": entry 0: expected an answer to each question",
        ),
        ("rtl_val_json", '[{"vid": "a", "duration": true}]', ": entry 0: duration: expected a number"),
        ("charades_sta", "A 0 1##x\nA 0##x\n", ":2: expected 'VIDEO START END##sentence', got 'A 0##x'"),
        ("charades_sta", "A 0 one##x\n", ':1: expected a number of seconds, got "one"'),
        ("qvhighlights", '{"query": "x"}\n', ':1: expected a field "vid"'),
        (
            "jsonl",
            '{"video": "a", "start": 1, "end": 2, "caption": "x"}\n{"video": "a"\n',
            ":2: not JSON: ",
        ),
        ("jsonl", '{"video": "a"}\n', ":1: expected video, start, end, caption"),
        ("csv", "file,start\n", ":1: expected the columns video, start, end, caption"),
        ("csv", "video,start,end,caption\na,1,2,x,y\n", ":2: expected 4 values, as the header has, got 5; "),
        ("csv", 'video,start,end,caption\na,1,2,"x\n', ":2: not CSV: "),
        ("csv", "video,start,end,caption\na,1,,x\n", ":2: end: expected a number of seconds, got nothing"),
        (
            "csv",
            "video,start,end,caption,duration\na,1,2,x,9\na,1,2,x,8\n",
            ":3: a lasts 8.0 s here and 9.0 s further up",
        ),
        ("webvtt", "WEBVTTX\n", ":1: expected WEBVTT in the first line"),
        ("webvtt", "WEBVTT\n\n1:00 --> 2:00\nx\n", ":3: expected 'HH:MM:SS.mmm --> HH:MM:SS.mmm'"),
        ("elan", "<a>", ":1: not XML: "),
        ("elan", "<a/>", ": expected an ANNOTATION_DOCUMENT, as ELAN writes, got a"),
        ("elan", ELAN.replace(' TIME_VALUE="1500"', ""), ": annotation a1: its TIME_SLOT_REF1 has no time"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_place(tmp_path, reader, content, words):
    path = tmp_path / "file.x"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=re.escape(f"{path}{words}")):
        list(read_annotations(path, reader))


CAPTIONS = '{"a": {"duration": %s, "timestamps": [[%s, 2]], "sentences": ["x"]}}'
QUESTION = '{"video": "a", "question": "When?", "start": %s, "end": %s}'
LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "%s">'
    + "".join(f'<!ENTITY {new} "{f"&{old};" * 50}">' for old, new in zip("abcde", "bcdef", strict=True))
    + "]><a>&f;</a>"
) % ("ha" * 50)


@pytest.mark.parametrize(
    ("reader", "content", "words"),
    [
        # numbers that are none, or too large to be any
        (
            "captions_json",
            CAPTIONS % ("1e999", 1),
            ": a: duration: expected a number of seconds, got Infinity",
        ),
        ("captions_json", CAPTIONS % ("null", 1), ": a: duration: expected a number of seconds, got nothing"),
        (
            "captions_json",
            CAPTIONS % (9, "true"),
            ": a: timestamps[0]: expected a number of seconds, got true",
        ),
        (
            "captions_json",
            CAPTIONS % (9, "1" + "0" * 400),
            ": a: timestamps[0]: expected a number of seconds, got 1000",
        ),
        (
            "captions_json",
            CAPTIONS % (9, "-Infinity"),
            ": a: timestamps[0]: expected a number of seconds, got -Infinity",
        ),
        ("captions_json", CAPTIONS % (9, "9" * 5000), ":1: not readable as JSON: Exceeds the limit"),
        ("charades_sta", "A nan 1##x\n", ':1: expected a number of seconds, got "nan"'),
        (
            "csv",
            "video,start,end,caption\na,1,1e400,x\n",
            ':2: end: expected a number of seconds, got "1e400"',
        ),
        ("jsonl", QUESTION % ("null", 2), ":1: start: expected a number of seconds, got nothing"),
        ("jsonl", QUESTION % ("true", 2), ":1: start: expected a number of seconds, got true"),
        ("jsonl", QUESTION % (-1, 2), ":1: expected times from 0 s on in an answer, got -1.0 s"),
        (
            "elan",
            ELAN.replace('"1500"', '"-5"'),
            ': annotation a1: expected milliseconds at its TIME_SLOT_REF1, got "-5"',
        ),
        (
            "elan",
            ELAN.replace('"1500"', '"\u00b2"'),
            ": annotation a1: expected milliseconds at its TIME_SLOT_REF1",
        ),
        ("elan", ELAN.replace('"1500"', f'"{"9" * 5000}"'), ": annotation a1: expected milliseconds"),
        (
            "elan",
            ELAN.replace('"milliseconds"', '"PAL-frames"'),
            ": expected times in milliseconds, got PAL-frames",
        ),
        ("webvtt", "WEBVTT\n\n9999999:00:00.000 --> 9999999:00:01.000\nx\n", ":3: expected 'HH:MM:SS.mmm"),
        # other things than expected
        (
            "captions_json",
            '{"a": {"duration": 1, "timestamps": null}}',
            ": a: timestamps: expected a list, got nothing",
        ),
        (
            "captions_json",
            '{"a": {"duration": 1, "timestamps": [[0, 1]], "sentences": [null]}}',
            ": a: sentences[0]: expected text, got nothing",
        ),
        (
            "captions_json",
            (CAPTIONS % (9, 1)).replace('"x"', '"\\ud83d"'),
            ": a: sentences[0]: expected text, got half a character, \\ud83d",
        ),
        (
            "captions_json",
            '{"\\ud83d": {"duration": 1, "timestamps": [], "sentences": []}}',
            ': "\\ud83d": expected text, got half',
        ),
        ("captions_json", '{"a": 7}', ": a: expected an object, got 7"),
        ("captions_json", "[" * 200_000, ":1: not readable as JSON: it is nested too deeply"),
        (
            "qa_json",
            '[{"video": "a", "id": {}, "QA": []}]',
            ": entry 0: id: expected text or a whole number, got {}",
        ),
        ("qa_json", '[{"video": "a", "QA": [["q", "a"]]}]', ": entry 0: QA[0]: expected an object, got ["),
        (
            "conversations_json",
            '[{"image": "a", "conversations": [7]}]',
            ": entry 0: conversations[0]: expected an object, got 7",
        ),
        (
            "conversations_json",
            '[{"image": null, "conversations": []}]',
            ": entry 0: image: expected text, got nothing",
        ),
        ("rtl_val_json", '[{"vid": 5}]', ": entry 0: vid: expected text, got 5"),
        ("rtl_train_json", '{"a": {"duration": 5, "QA": {}}}', ": a: QA: expected a list, got {}"),
        (
            "qvhighlights",
            '{"query": "x", "vid": "y", "duration": 2, "relevant_windows": 5}',
            ":1: relevant_windows: expected a list, got 5",
        ),
        (
            "qvhighlights",
            '{"query": "x", "vid": "y", "duration": 2, "relevant_windows": [3]}',
            ":1: relevant_windows: expected [start, end], got 3",
        ),
        ("jsonl", '{"video": null, "question": "x"}', ':1: expected a field "video", got only question'),
        (
            "csv",
            "video,start,end\na,1,2\n",
            ":1: expected the columns video, start, end, caption or video, question, answer; got video",
        ),
        (
            "csv",
            "video,start,end,caption\n,1,2,x\n",
            ':2: expected a field "video", got only start, end, caption',
        ),
        # other formats, encodings, and XML that is a trap
        ("webvtt", "1\n00:01.000 --> 00:02.000\nx\n", ":1: expected WEBVTT in the first line, got '1'"),
        ("elan", "WEBVTT\n", ":1: not XML: "),
        ("elan", '<?xml version="1.0" encoding="klingon"?><a/>', ": not "),
        (
            "elan",
            '<?xml version="1.0" encoding="big5"?><a/>',
            ": not readable XML: multi-byte encodings are not supported",
        ),
        ("elan", LAUGHS, ":1: not XML: limit on input amplification factor"),
        ("elan", b"<a>\n\xe9</a>", ":2: not XML: not well-formed"),
        (
            "captions_json",
            b'{\n"\xe9": 1}',
            ":2: expected UTF-8 text, got the byte 0xe9 in column 2; save the file as UTF-8",
        ),
        ("jsonl", b'{}\n"\xe9"\n', ":1: expected a field"),
        (
            "csv",
            b"video,start,end,caption\na,1,2,caf\xe9\n",
            ":2: expected UTF-8 text, got the byte 0xe9 in column 10",
        ),
        ("charades_sta", b"A 0 1##x\nA 0 1##\xe9\n", ":2: expected UTF-8 text, got the byte 0xe9"),
        ("webvtt", b"WEBVTT\n\n\xe9\n", ":3: expected UTF-8 text, got the byte 0xe9"),
        *[(reader, "", ": expected annotations, got an empty file (0 bytes)") for reader in sorted(READERS)],
    ],
)
def test_bad_input_is_an_error_that_says_what(tmp_path, reader, content, words):
    path = tmp_path / "file.x"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(AnnotationError) as caught:
        list(read_annotations(path, reader))
    assert str(caught.value).startswith(f"{path}{words}")
    assert len(str(caught.value)) < len(str(path)) + 250


def test_one_broken_line_in_a_large_file_is_named_by_its_number(tmp_path):
    path = tmp_path / "large.jsonl"
    line = json.dumps({"video": "a", "start": 1, "end": 2, "caption": "x" * 200}) + "\n"
    path.write_text(line * 20_000 + line.replace(",", "", 1) + line * 10_000)
    with pytest.raises(AnnotationError, match=re.escape(f"{path}:20001: not JSON: ")):
        list(read_annotations(path, "jsonl"))


@pytest.mark.parametrize(
    ("reader", "content", "expected"),
    [
        # what the data check reports is no matter of form
        ("captions_json", CAPTIONS % (-9, -1), [Annotation("a", "a", -9.0, (TimedCaption(-1.0, 2.0, "x"),))]),
        (
            "captions_json",
            CAPTIONS % (0, 1e308),
            [Annotation("a", "a", 0.0, (TimedCaption(1e308, 2.0, "x"),))],
        ),
        (
            "captions_json",
            CAPTIONS % ('"9.5"', 1),
            [Annotation("a", "a", 9.5, (TimedCaption(1.0, 2.0, "x"),))],
        ),
        ("captions_json", "{}", []),
        (
            "charades_sta",
            "\ufeffA 0 1##x\r\n",
            [Annotation("A_1", "A", None, (TimedCaption(0.0, 1.0, "x"),))],
        ),
        ("qa_json", '[{"video": "a", "id": null, "QA": []}]', [Annotation("a", "a")]),
        ("qa_json", '[{"video": "a", "id": 7, "QA": []}]', [Annotation("7", "a")]),
        ("jsonl", QUESTION % ("null", "null"), [Annotation("a", "a", None, (), (Pair("When?", ""),))]),
        (
            "jsonl",
            QUESTION % (1e-7, 2),
            [Annotation("a", "a", None, (), (Pair("When?", "<0.0000001> <2.0>"),))],
        ),
        (
            "qvhighlights",
            '{"query": "x", "vid": "y", "duration": 2, "relevant_windows": null}',
            [Annotation("1", "y", 2.0, (), (Pair("x", ""),))],
        ),
        (
            "webvtt",
            "WEBVTT\r\n\r\n00:01.000 --> 00:02.000\r\none\u2028line",
            [Annotation("file", "file", None, (TimedCaption(1.0, 2.0, "one\u2028line"),))],
        ),
    ],
)
def test_what_is_odd_and_yet_read(tmp_path, reader, content, expected):
    path = tmp_path / "file.x"
    path.write_bytes(content.encode())
    assert list(read_annotations(path, reader)) == expected


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    with pytest.raises(AnnotationError, match="absent: cannot be read"):
        list(read_annotations(tmp_path / "absent", "csv"))
    with pytest.raises(AnnotationError, match="expected an annotation file, got a folder"):
        list(read_annotations(tmp_path, "csv"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AnnotationError, match="pipe: expected an annotation file, got a pipe or device"):
        list(read_annotations(tmp_path / "pipe", "csv"))


def test_a_video_that_comes_twice_is_not_lost(tmp_path):
    path = tmp_path / "a.json"
    entry = '{"duration": 1, "timestamps": [], "sentences": []}'
    path.write_text(f'{{"a": {entry}, "b": {entry}, "a": {entry}}}')
    assert [annotation.id for annotation in read_annotations(path, "captions_json")] == ["a", "b", "a"]


def test_the_shape_world_is_read_by_the_same_readers(tmp_path):
    write_dataset(tmp_path, [5, 6], videos=False)
    readers = {
        "dvc": "captions_json",
        "event_loc": "captions_json",
        "vidqa": "qa_json",
        "imgqa": "conversations_json",
        "rtl_train": "rtl_train_json",
        "rtl_val": "rtl_val_json",
    }
    read = {name: list(read_annotations(tmp_path / f"{name}.json", kind)) for name, kind in readers.items()}
    dense = json.loads((tmp_path / "dvc.json").read_text())
    assert [(a.video, a.duration, len(a.captions)) for a in read["dvc"]] == [
        (video, entry["duration"], len(entry["sentences"])) for video, entry in dense.items()
    ]
    assert {a.video for a in read["vidqa"]} == {f"{a.video}.mp4" for a in read["dvc"]}
    assert [pair for a in read["rtl_train"] for pair in a.pairs] == [
        pair for a in read["rtl_val"] for pair in a.pairs
    ]
    assert {a.video for a in read["rtl_val"]} == {a.video for a in read["dvc"]}
