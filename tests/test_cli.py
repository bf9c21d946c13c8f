import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import litakit
from litakit.cli import app
from litakit.features import FeatureStore
from tests._small_lita import FRAMES, LONGER, QUESTION, SHORT, small_lita
from tests.conftest import GOLDEN

OTHER = "What happens after that?"
CHECKPOINT = GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal_spatial_pool"
BASE = GOLDEN / "ckpt" / "vicuna-v1-3-tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    model, processor = small_lita()
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    path = tmp_path / "home"
    monkeypatch.setenv("LITAKIT_HOME", str(path))
    return path


class Loaded:
    """What `litakit.load` was asked for and gave, and how many frames its vision towers saw."""

    def __init__(self):
        self.assistants = []
        self.frames = 0

    def count(self, module, args, kwargs):
        self.frames += len(kwargs["pixel_values"])


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    record, load = Loaded(), litakit.load

    def watched(*args, **kwargs):
        assistant = load(*args, **kwargs)
        assistant.model.vision_tower.register_forward_pre_hook(record.count, with_kwargs=True)
        record.assistants.append(assistant)
        return assistant

    monkeypatch.setattr(litakit, "load", watched)
    return record


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


def shell(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "litakit", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        **options,
    )


def ask(folder, *arguments, video=LONGER, questions=(QUESTION,)):
    result = run(
        "ask", video, *questions, "--model", folder, "--device", "cpu", "--max-new-tokens", "16", *arguments
    )
    assert result.exit_code == 0, result.stderr
    return result


def ask_json(folder, *arguments, **options):
    return json.loads(ask(folder, "--json", *arguments, **options).stdout)


def raw(result):
    """The raw answers that --debug shows."""
    return re.findall(r"^raw: (.*)$", result.stderr, re.MULTILINE)


def check_refused(result, *words):
    """Exit code 2 and one line on stderr that holds the words."""
    assert result.exit_code == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().split("\n")
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("litakit: ")
    for word in words:
        assert word in lines[0]


# --- ask ---


def test_json_is_what_the_library_says(folder):
    record = ask_json(folder, questions=(QUESTION, OTHER))
    session = litakit.load(folder, device="cpu", cache=False).open(LONGER)
    assert list(record) == ["video", "duration", "answers"]
    assert record["video"] == str(LONGER)
    assert record["duration"] == pytest.approx(12.0, abs=0.2)
    for question, said in zip((QUESTION, OTHER), record["answers"], strict=True):
        session.reset()
        answer = session.ask(question, max_new_tokens=16)
        assert list(said) == ["question", "text", "spans"]
        assert (said["question"], said["text"]) == (question, answer.text)
        assert [list(span) for span in said["spans"]] == [["start", "end", "confidence"]] * len(answer.spans)
        assert [(span["start"], span["end"]) for span in said["spans"]] == [
            (s.start, s.end) for s in answer.spans
        ]
        assert [span["confidence"] for span in said["spans"]] == pytest.approx(answer.confidence, abs=1e-4)
    assert record["answers"][0]["spans"]


def test_several_questions_are_asked_one_by_one_on_one_encoding(folder, loaded):
    together = ask_json(folder, "--no-cache", questions=(QUESTION, OTHER, QUESTION))
    assert loaded.frames == 8
    first, second, third = (answer["text"] for answer in together["answers"])
    assert first == third
    assert second == ask_json(folder, questions=(OTHER,))["answers"][0]["text"]


def test_the_plain_output_is_question_answer_and_seconds(folder):
    result = ask(folder)
    answer = ask_json(folder)["answers"][0]
    lines = result.stdout.split("\n")
    assert lines[0] == QUESTION
    assert lines[1].strip() == answer["text"]
    span = answer["spans"][0]
    assert f"{span['start']}-{span['end']} s  (confidence {span['confidence']:.2f})" in lines[2]
    assert "note: the answer was cut at the limit of 16 tokens" in result.stderr


def test_the_second_run_encodes_nothing_and_no_cache_keeps_nothing(folder, loaded, home):
    ask(folder, "--no-cache")
    assert not home.exists()
    first = ask_json(folder)
    assert loaded.frames == 16
    assert ask_json(folder) == first
    assert loaded.frames == 16


def test_the_default_is_greedy_and_temperature_and_seed_act(folder):
    greedy = raw(ask(folder, "--debug"))
    assert raw(ask(folder, "--debug")) == greedy
    drawn = [raw(ask(folder, "--debug", "--temperature", "2", "--seed", seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert greedy not in drawn


def test_top_p_acts(folder):
    greedy = raw(ask(folder, "--debug"))
    drawn = ("--debug", "--temperature", "2", "--seed", "1")
    assert raw(ask(folder, *drawn, "--top-p", "1e-6")) == greedy
    assert raw(ask(folder, *drawn)) != greedy


def test_num_beams_acts(folder):
    assert raw(ask(folder, "--debug", "--num-beams", "4")) != raw(ask(folder, "--debug"))


def test_max_new_tokens_acts(folder):
    result = ask(folder, "--debug", "--max-new-tokens", "3")
    assert len(re.findall(r"^ids: (.*)$", result.stderr, re.MULTILINE)[0].split()) == 3
    assert "cut at the limit of 3 tokens" in result.stderr


def test_template_and_debug_act(folder):
    ours, v1 = ask(folder, "--debug"), ask(folder, "--debug", "--template", "v1")
    assert "prompt: A chat between a curious human" in ours.stderr
    assert "prompt: A chat between a curious user" in v1.stderr
    assert f"USER: <image>\n{QUESTION} ASSISTANT:" in v1.stderr
    assert raw(ours) != raw(v1)
    assert re.search(r"<t\d+>", raw(ours)[0])
    assert "prompt:" not in ask(folder).stderr
    assert "prompt:" not in ours.stdout


def test_start_and_end_act(folder):
    record = ask_json(folder, "--start", "4", "--end", "10")
    assert record["duration"] == pytest.approx(12.0, abs=0.2)
    spans = record["answers"][0]["spans"]
    assert spans
    assert all(4 <= span["start"] <= span["end"] <= 10 for span in spans)
    assert record != ask_json(folder)


def test_refine_acts(folder):
    result = ask(folder, "--debug", "--refine")
    said = "no second look" in result.stderr
    assert said or len(raw(result)) == 2


def test_fps_and_duration_act_on_a_folder_of_frames(folder):
    assert ask_json(folder, "--fps", "5", video=FRAMES)["duration"] == pytest.approx(8.0)
    assert ask_json(folder, "--duration", "16", video=FRAMES)["duration"] == pytest.approx(16.0)
    check_refused(run("ask", FRAMES, QUESTION, "--model", folder), "fps")


def test_an_image_has_no_spans(folder, tmp_path):
    Image.new("RGB", (60, 60), "blue").save(tmp_path / "blue.png")
    record = ask_json(folder, video=tmp_path / "blue.png")
    assert record["duration"] is None
    assert record["answers"][0]["spans"] == []


def test_dtype_and_device_act(folder, loaded):
    ask(folder, "--dtype", "bfloat16")
    assert loaded.assistants[-1].model.dtype == torch.bfloat16
    assert loaded.assistants[-1].model.device.type == "cpu"
    check_refused(run("ask", SHORT, QUESTION, "--model", folder, "--device", "nonsense"), "nonsense")


@pytest.mark.parametrize(("flag", "bits"), [("--load-4bit", 4), ("--load-8bit", 8)])
def test_quantised_weights_answer(folder, loaded, flag, bits):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    ask(folder, flag)
    kinds = {4: bitsandbytes.nn.Linear4bit, 8: bitsandbytes.nn.Linear8bitLt}
    language_model = loaded.assistants[-1].model.language_model
    assert any(isinstance(module, kinds[bits]) for module in language_model.modules())


def test_four_and_eight_bit_exclude_each_other(folder):
    check_refused(
        run("ask", SHORT, QUESTION, "--model", folder, "--load-4bit", "--load-8bit"), "exclude each other"
    )


@pytest.fixture
def adapter(tmp_path):
    """An adapter-only folder of the golden checkpoint: projector and time-token rows, for the golden base."""
    weights = torch.load(CHECKPOINT / "pytorch_model.bin", weights_only=True)
    path = tmp_path / "ckpt" / "lita-adapter"
    path.mkdir(parents=True)
    for name in ("config.json", "tokenizer.model", "tokenizer_config.json", "added_tokens.json"):
        shutil.copy(CHECKPOINT / name, path)
    shutil.copytree(CHECKPOINT.parent / "clip-tiny-patch14-224", tmp_path / "ckpt" / "clip-tiny-patch14-224")
    names = (
        "model.mm_projector.weight",
        "model.mm_projector.bias",
        "model.embed_tokens.weight",
        "lm_head.weight",
    )
    torch.save({name: weights[name] for name in names}, path / "mm_projector.bin")
    return path


def test_base_acts(adapter):
    result = run(
        "ask", SHORT, QUESTION, "--model", adapter, "--base", BASE, "--max-new-tokens", "4", "--debug"
    )
    assert result.exit_code == 0, result.stderr
    assert len(raw(result)) == 1
    check_refused(run("ask", SHORT, QUESTION, "--model", adapter), "base")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("expected a video and at least one question",)),
        ((SHORT,), ("expected a video and at least one question",)),
        ((SHORT, QUESTION, "--model", "no/such"), ("no model at no/such",)),
        ((SHORT, QUESTION, " "), ("got an empty one",)),
        ((SHORT, QUESTION, "--top-p", "0.5"), ("top_p 0.5 acts only",)),
        ((SHORT, QUESTION, "--temperature", "-1"), ("temperature must be 0 or more",)),
        ((SHORT, QUESTION, "--out", "x.jsonl"), ("--out belongs to --from",)),
        ((SHORT, "--from", "x.csv"), ("--from brings its own videos",)),
        (("--from", "no.csv"), ("no.csv",)),
        (("--from", "no.csv", "--start", "3"), ("--start is a column",)),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, words):
    check_refused(run("ask", *arguments), *words)


def test_unknown_options_are_exit_code_2():
    assert run("ask", SHORT, QUESTION, "--louder").exit_code == 2
    assert run("sing").exit_code == 2


def test_a_video_that_cannot_be_read_is_one_line_and_exit_code_2(folder, tmp_path):
    (tmp_path / "words.mp4").write_text("these are words")
    (tmp_path / "empty.mp4").write_bytes(b"")
    for name in ("missing.mp4", "words.mp4", "empty.mp4"):
        check_refused(run("ask", tmp_path / name, QUESTION, "--model", folder), name)


def test_a_damaged_model_is_one_line_and_exit_code_2(folder, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    check_refused(run("ask", SHORT, QUESTION, "--model", damaged), "model.safetensors")


def test_a_folder_that_cannot_be_written_costs_the_cache_only(folder, home):
    home.mkdir()
    (home / "features").write_text("in the way")
    assert ask_json(folder, questions=(QUESTION,))["answers"][0]["text"]


# --- ask --from ---


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
    return path


def ask_file(folder, source, *arguments):
    return run(
        "ask", "--from", source, "--model", folder, "--device", "cpu", "--max-new-tokens", "8", *arguments
    )


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


ROWS = [
    {"id": "a", "video": str(LONGER), "question": QUESTION},
    {"id": "b", "video": str(SHORT), "question": QUESTION},
    {"id": "c", "video": str(LONGER), "question": OTHER},
]


def test_a_csv_is_answered_with_one_encoding_a_video(folder, loaded, tmp_path):
    source = write_csv(tmp_path / "questions.csv", ROWS)
    result = ask_file(folder, source, "--no-cache")
    assert result.exit_code == 0, result.stderr
    records = {record["id"]: record for record in map(json.loads, result.stdout.splitlines())}
    assert list(records) == ["a", "c", "b"]  # video by video
    assert loaded.frames == 16
    session = litakit.load(folder, device="cpu").open(LONGER)
    for name, question in (("a", QUESTION), ("c", OTHER)):
        session.reset()
        answer = session.ask(question, max_new_tokens=8)
        assert records[name]["text"] == answer.text
        assert records[name]["raw_text"] == answer.raw_text
        assert [span["start"] for span in records[name]["spans"]] == [span.start for span in answer.spans]
        assert records[name]["question"] == question
        assert records[name]["schema_version"] == 1
        assert records[name]["truncated"] is True
    assert "3 answered, 0 failed" in result.stderr


def test_json_lines_with_parts_and_without_ids(folder, tmp_path):
    shutil.copy(LONGER, tmp_path / "beside.mp4")
    rows = [
        {"video": "beside.mp4", "question": QUESTION, "start": 4, "end": 10},
        {"video": str(FRAMES), "question": QUESTION, "fps": 5},
    ]
    source = tmp_path / "questions.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = [json.loads(line) for line in ask_file(folder, source).stdout.splitlines()]
    assert [record["id"] for record in records] == ["1", "2"]
    assert records[0]["video"] == str(tmp_path / "beside.mp4")
    assert all(4 <= span["start"] <= span["end"] <= 10 for span in records[0]["spans"])
    assert records[1]["duration"] == pytest.approx(8.0)


def test_a_run_goes_on_where_the_last_one_ended(folder, loaded, tmp_path):
    source, out = write_csv(tmp_path / "questions.csv", ROWS), tmp_path / "new" / "answers.jsonl"
    assert ask_file(folder, source, "--out", out).exit_code == 0
    whole = out.read_text()
    first, second, _ = whole.splitlines(keepends=True)
    out.write_text(first + second[:20])  # killed in the middle of a line
    result = ask_file(folder, source, "--out", out)
    assert result.exit_code == 0
    assert sorted(out.read_text().splitlines()) == sorted(whole.splitlines())
    whole = out.read_text()
    assert "2 answered, 1 from before, 0 failed" in result.stderr
    count = len(loaded.assistants)
    assert ask_file(folder, source, "--out", out).exit_code == 0
    assert len(loaded.assistants) == count  # nothing to do: no model was loaded
    assert out.read_text() == whole


def test_a_run_goes_on_after_half_a_character_and_odd_line_ends(folder, tmp_path):
    questions = ["Où est-il\u2028\x85 ?", "Où est-elle ?"]
    rows = [{"id": str(i), "video": str(LONGER), "question": words} for i, words in enumerate(questions)]
    source, out = tmp_path / "questions.jsonl", tmp_path / "answers.jsonl"
    source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    assert ask_file(folder, source, "--out", out).exit_code == 0
    whole = out.read_bytes()
    first, _, rest = whole.split(b"\n")
    assert rest == b""
    for left in (first, first + b"\n", whole[: whole.rindex("ù".encode()) + 1]):
        out.write_bytes(left)
        result = ask_file(folder, source, "--out", out)
        assert result.exit_code == 0, result.stderr
        assert "1 answered, 1 from before" in result.stderr
        assert out.read_bytes() == whole
    out.write_bytes(b"\xff\n" + whole)
    check_refused(ask_file(folder, source, "--out", out), "jsonl:1: expected UTF-8 text, got the byte 0xff")
    assert out.read_bytes() == b"\xff\n" + whole


def test_answers_to_a_device_are_not_read_from_it(folder, tmp_path):
    source = write_csv(tmp_path / "questions.csv", ROWS)
    assert ask_file(folder, source, "--out", "/dev/null").exit_code == 0
    check_refused(ask_file(folder, source, "--out", "/dev/full"), "No space left on device")
    check_refused(ask_file(folder, source, "--out", tmp_path), "Is a directory")


def test_another_part_of_a_video_is_another_question(folder, tmp_path):
    source, out = tmp_path / "questions.csv", tmp_path / "answers.jsonl"
    write_csv(source, [{**ROWS[0], "start": 4, "end": 10}])
    assert ask_file(folder, source, "--out", out).exit_code == 0
    assert (lines_of(out)[0]["start"], lines_of(out)[0]["end"]) == (4.0, 10.0)
    write_csv(source, [{**ROWS[0], "start": 4, "end": 11}])
    check_refused(ask_file(folder, source, "--out", out), "answers another question under the id 'a'")


def test_debug_acts_on_a_file_of_questions_too(folder, tmp_path):
    source = write_csv(tmp_path / "questions.csv", ROWS)
    result = ask_file(folder, source, "--debug")
    assert raw(result) == [json.loads(line)["raw_text"] for line in result.stdout.splitlines()]
    assert result.stderr.count("prompt: ") == 3


def test_failures_are_recorded_listed_and_tried_again(folder, tmp_path):
    gone = tmp_path / "gone.mp4"
    rows = [*ROWS, {"id": "d", "video": str(gone), "question": QUESTION}]
    source, out = write_csv(tmp_path / "questions.csv", rows), tmp_path / "answers.jsonl"
    result = ask_file(folder, source, "--out", out)
    assert result.exit_code == 1
    failed = [record for record in lines_of(out) if "error" in record]
    assert [(record["id"], record["question"]) for record in failed] == [("d", QUESTION)]
    assert "gone.mp4" in failed[0]["error"]
    assert "failed: d: " in result.stderr
    shutil.copy(SHORT, gone)
    assert ask_file(folder, source, "--out", out).exit_code == 0
    assert sorted(record["id"] for record in lines_of(out)) == ["a", "b", "c", "d"]
    assert not any("error" in record for record in lines_of(out))


def test_a_question_that_is_too_long_fails_alone(folder, tmp_path):
    rows = [ROWS[0], {"id": "long", "video": str(LONGER), "question": "why " * 2500}]
    result = ask_file(folder, write_csv(tmp_path / "questions.csv", rows))
    assert result.exit_code == 1
    good, bad = map(json.loads, result.stdout.splitlines())
    assert good["text"]
    assert "the model reads 2048" in bad["error"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("q.csv", "video,question\n", "holds no questions"),
        (
            "q.csv",
            "video,query\na.mp4,when?\n",
            "q.csv:1: expected the columns video, question; got video, query",
        ),
        ("q.csv", "", "q.csv:1: expected the columns video, question; got an empty file"),
        ("q.csv", "video,question,answer\na.mp4,when?,now\n", "q.csv:2: unknown fields ['answer']"),
        ("q.csv", "video,question\na.mp4,\n", "no question"),
        ("q.csv", "video,question\na.mp4,when?,more\n", "q.csv:2: expected 2 values"),
        ("q.csv", "video,question,start\na.mp4,when?,soon\n", "start is no number: 'soon'"),
        ("q.csv", "id,video,question\n1,a.mp4,when?\n1,b.mp4,when?\n", "the id '1' occurs twice"),
        ("q.jsonl", "\n", "holds no questions"),
        ("q.jsonl", '{"video": "a.mp4", "question": "when?"}\n{"video"', "q.jsonl:2: not JSON"),
        ("q.jsonl", '{"video": "a.mp4", "question": ["when?"]}', "q.jsonl:1: question is no text: ['when?']"),
        ("q.jsonl", '{"video": "a.mp4", "question": "when?", "start": true}', "start is no number: True"),
        (
            "q.jsonl",
            '{"video": "a.mp4", "question": "when?", "end": 1' + "0" * 400 + "}",
            "end is no number: 1000",
        ),
        (
            "q.jsonl",
            '{"video": "a.mp4", "question": "when?", "id": 1.5}',
            "id is neither text nor a whole number",
        ),
        ("q.jsonl", '{"video": "a.mp4", "question": "when?", "start": NaN}', "start is not finite: nan"),
        ("q.jsonl", "[1, 2]\n", "q.jsonl:1: expected a JSON object, got a list"),
    ],
)
def test_a_file_of_questions_that_is_wrong_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    check_refused(run("ask", "--from", tmp_path / name), words)


def test_a_file_of_other_answers_is_not_written_to(folder, tmp_path):
    source, out = write_csv(tmp_path / "questions.csv", ROWS), tmp_path / "answers.jsonl"
    assert ask_file(folder, source, "--out", out).exit_code == 0
    changed = write_csv(tmp_path / "changed.csv", [{**row, "question": "Why?"} for row in ROWS])
    check_refused(ask_file(folder, changed, "--out", out), "answers another question under the id 'a'")
    before = out.read_text()
    check_refused(run("ask", "--from", source, "--model", "tiny", "--out", out), "is of the model")
    for words in ("words\n" + before, "words\n", "words", '{"id": "a"\n', "[1]\n"):
        out.write_text(words)
        check_refused(ask_file(folder, source, "--out", out), f"{out}:1: ", "give another file to write to")
        assert out.read_text() == words
    out.write_text('{"id": "a"}\n')
    check_refused(ask_file(folder, source, "--out", out), "is no answer of `litakit ask`")
    out.write_text(before.replace('"schema_version": 1', '"schema_version": 0'))
    check_refused(ask_file(folder, source, "--out", out), "is of schema 0, expected 1")


# --- chat ---


def chat(folder, stdin, *arguments, video=LONGER):
    result = run(
        "chat", video, "--model", folder, "--device", "cpu", "--max-new-tokens", "12", *arguments, stdin=stdin
    )
    assert result.exit_code == 0, result.stderr
    return result


def test_a_chat_remembers_until_it_is_reset(folder):
    greedy = ("--temperature", "0")
    result = chat(folder, f"{QUESTION}\n\n{OTHER}\n/reset\n{OTHER}\n/quit\nnever read\n", *greedy)
    session = litakit.load(folder, device="cpu").open(LONGER)
    texts = [session.ask(question, max_new_tokens=12).text for question in (QUESTION, OTHER)]
    session.reset()
    texts.append(session.ask(OTHER, max_new_tokens=12).text)
    assert texts[1] != texts[2]
    places = [result.stdout.index(f"> {text}\n") for text in texts]
    assert places == sorted(places)
    assert result.stdout.count("> ") == 6  # the blank line, /reset and /quit too
    assert "forgotten" in result.stderr


def test_a_chat_draws_at_the_published_temperature(folder):
    default, same = (
        chat(folder, f"{QUESTION}\n", "--seed", "3", *more).stdout for more in ((), ("--temperature", "0.2"))
    )
    assert default == same
    hot = [chat(folder, f"{QUESTION}\n", "--temperature", "3", "--seed", seed).stdout for seed in ("1", "2")]
    assert hot[0] != hot[1]


def test_a_chat_takes_the_same_options(folder):
    result = chat(folder, f"{QUESTION}\n", "--debug", "--template", "v1", "--start", "4", "--end", "10")
    assert "curious user" in result.stderr
    assert "4.0-10.0 s" in result.stderr
    refined = chat(folder, f"{QUESTION}\n", "--debug", "--refine", "--num-beams", "2")
    assert "no second look" in refined.stderr or len(raw(refined)) == 2
    assert "(8.0" in chat(folder, "", "--fps", "5", video=FRAMES).stderr.replace("0.0-8.0", "(8.0")


def test_a_chat_says_what_cannot_be_asked_and_goes_on(folder):
    result = chat(folder, f"{'why ' * 2500}\n{QUESTION}\n", "--temperature", "0")
    assert "the model reads 2048" in result.stderr
    text = litakit.load(folder, device="cpu").open(LONGER).ask(QUESTION, max_new_tokens=12).text
    assert f"> {text}\n" in result.stdout


def test_a_chat_survives_what_is_no_text_and_explains_unknown_commands(folder):
    result = chat(folder, b"\xff\xfe?\n/what\n/quit\n")
    assert result.stdout.count("> ") == 3  # the bytes were asked, as far as they are text
    assert result.stderr.count("/reset forgets the conversation") == 2  # at the beginning, and for /what


def test_a_chat_with_nothing_to_talk_about_is_refused(folder):
    check_refused(run("chat", "missing.mp4", "--model", folder), "missing.mp4")
    check_refused(run("chat", LONGER, "--model", folder, "--top-p", "2"), "top_p must be above 0")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_stops_an_answer_and_not_the_chat(folder):
    arguments = ["chat", str(LONGER), "--model", str(folder), "--device", "cpu", "--temperature", "0"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # Whoever started the tests in the background may have had them ignore Ctrl-C, which a child inherits.
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    command = [sys.executable, "-m", "litakit", *arguments]
    with subprocess.Popen(command, bufsize=0, **pipes, **heeding) as process:
        try:
            process.stdin.write(f"{QUESTION}\n".encode())
            shown = b""
            while len(shown) < 6:  # the answer has begun
                shown += process.stdout.read(1)
            assert shown.startswith(b"> ")
            process.send_signal(signal.SIGINT)
            said = b""
            while b"stopped" not in said and process.poll() is None:
                said += process.stderr.readline()
            assert b"(stopped; this turn is not remembered)" in said
            assert process.poll() is None
            _, errors = process.communicate(b"/quit\n", timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert b"Traceback" not in said + errors


# --- the other verbs ---


def test_doctor_shows_what_is_here(home):
    result = run("doctor", "--json")
    report = json.loads(result.stdout)
    assert set(report) == {
        "versions",
        "decoders",
        "codecs",
        "devices",
        "attention",
        "models",
        "cache",
        "problems",
    }
    assert report["versions"]["torch"] == torch.__version__
    assert report["versions"]["litakit"] == litakit.__version__
    assert report["decoders"]["pyav"] == version("av")
    assert all(report["codecs"][name]["reads"] for name in ("h264", "hevc", "vp9", "av1", "mpeg4", "gif"))
    assert report["devices"]["cpu"]["threads"] == torch.get_num_threads()
    assert report["cache"]["folder"] == str(home)
    assert result.exit_code == (1 if report["problems"] else 0)
    plain = run("doctor")
    for words in ("versions", "decoders", "h264", "cpu", "attention", str(home), torch.__version__):
        assert words in plain.stdout


def test_doctor_names_what_is_wrong(monkeypatch):
    module = sys.modules["litakit.cli.doctor"]
    monkeypatch.setattr(module, "_decoders", lambda: dict.fromkeys(("pyav", "decord"), "not usable"))
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["problems"]["video"] == "no decoder is usable: pip install av decord"


def test_the_cache_is_listed_and_cleared(folder, home):
    assert "0 videos, 0.0 of 20000 MB" in run("cache", "list").stdout
    ask(folder)
    ask(folder, "--start", "4", "--end", "10")
    listed = run("cache", "list").stdout
    assert listed.count(str(LONGER)) == 2
    assert "4.0-10.0 s" in listed
    record = json.loads(run("cache", "list", "--json").stdout)
    assert record["folder"] == str(home / "features")
    assert sum(entry["num_bytes"] for entry in record["entries"]) == FeatureStore().num_bytes()
    assert "removed 2 videos" in run("cache", "clear").stdout
    assert FeatureStore().entries() == ()
    assert json.loads(run("cache", "list", "--json").stdout)["entries"] == []


def test_convert_writes_a_folder_that_answers_the_same(tmp_path):
    target = tmp_path / "converted"
    result = run("convert", CHECKPOINT, target)
    assert result.exit_code == 0, result.stderr
    assert str(target) in result.stdout
    both = [
        run(
            "ask", SHORT, QUESTION, "--model", model, "--dtype", "float32", "--max-new-tokens", "4", "--debug"
        )
        for model in (CHECKPOINT, target)
    ]
    assert [result.exit_code for result in both] == [0, 0], both[0].stderr + both[1].stderr
    assert raw(both[0]) == raw(both[1])
    check_refused(run("convert", tmp_path / "none", tmp_path / "other"), "none")


def test_audit_reports_the_worst_error():
    result = run("audit", LONGER, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert 0 <= report["worst_error_seconds"] <= 0.06
    assert run("audit", LONGER).stdout.strip()
    check_refused(run("audit", "missing.mp4"), "missing.mp4")


def test_help_loads_nothing_heavy():
    code = "import sys, litakit.cli; print(sorted({'torch', 'pandas', 'numpy', 'av'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_module_is_the_command():
    assert shell("--version").stdout.strip() == f"litakit {litakit.__version__}"
    helped = shell("--help")
    assert helped.returncode == 0
    for verb in ("ask", "chat", "audit", "convert", "doctor", "cache"):
        assert re.search(rf"^  {verb} ", helped.stdout, re.MULTILINE)


@pytest.mark.slow
def test_a_cold_start_answers_and_an_error_is_one_line(folder, home):
    environment = {**os.environ, "LITAKIT_HOME": str(home)}
    arguments = ("--model", folder, "--device", "cpu", "--max-new-tokens", "8")
    result = shell("ask", SHORT, QUESTION, "--json", *arguments, env=environment)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["answers"][0]["question"] == QUESTION
    assert "Traceback" not in result.stderr
    missing = shell("ask", "missing.mp4", QUESTION, *arguments, env=environment)
    assert missing.returncode == 2
    assert len(missing.stderr.strip().split("\n")) == 1
