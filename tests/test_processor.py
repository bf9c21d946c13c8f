import functools
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoProcessor, CLIPImageProcessorPil

from litakit.messages import TEMPLATES, Message, from_conversation
from litakit.modeling import LitaProcessor, build_tokenizer
from litakit.time_tokens import SecondsText, TimeTokenizer
from litakit.video import decode_frames
from tests._published import (
    CHECKPOINT,
    GOLDEN,
    VISION,
    golden_config,
    golden_json,
    golden_model,
    golden_pixels,
    places,
)

PLACE = 1000
MASKS = golden_json("label_masks.json")
QUESTION = Message("user", "At what moment do we see the man run?", video=True)


@functools.cache
def built(**changes):
    config = golden_config(**changes)
    image_processor = CLIPImageProcessorPil.from_pretrained(VISION)
    return LitaProcessor.from_config(config, image_processor, build_tokenizer(CHECKPOINT))


@pytest.fixture(params=["built", "saved and loaded"])
def processor(request, tmp_path):
    if request.param == "built":
        return built()
    built().save_pretrained(tmp_path)
    return AutoProcessor.from_pretrained(tmp_path)


def folded(ids, labels=None):
    """The video's 356 places as the one published placeholder, -200 (label -100)."""
    labels = labels or [-100] * len(ids)
    kept, marks = [], []
    for at, (token, mark) in enumerate(zip(ids, labels, strict=True)):
        if token != PLACE:
            kept.append(token)
            marks.append(mark)
        elif at == 0 or ids[at - 1] != PLACE:
            assert ids[at : at + 356] == [PLACE] * 356
            kept.append(-200)
            marks.append(-100)
    return kept, marks


def dialog_of(turns):
    speakers = {"u": "human", "a": "gpt"}
    return from_conversation([(speakers[who], words) for who, words in turns if words is not None])


@pytest.mark.parametrize("template", golden_json("prompts.json")["templates"])
def test_golden_prompts(processor, template):
    golden = golden_json("prompts.json")
    for name, turns in golden["dialogs"].items():
        ids = processor.encode_prompt(dialog_of(turns), template)
        assert folded(ids)[0] == golden["templates"][template]["prompts"][name]["ids"], name


def test_the_golden_model_prompt_is_made_by_the_default_template(processor):
    golden = golden_json("model.json")
    assert folded(processor.encode_prompt([QUESTION]))[0] == golden["input_ids"]
    text = [Message("user", "At what moment do we see the man run?")]
    assert PLACE not in processor.encode_prompt(text)


@pytest.mark.parametrize("template", MASKS["results"])
@pytest.mark.parametrize("im_start_end", [False, True])
def test_golden_label_masks(template, im_start_end):
    processor = built(use_im_start_end=im_start_end)
    checked = 0
    for key, golden in MASKS["results"][template].items():
        if ("im_start_end" in key) != im_start_end:
            continue
        turns = MASKS["conversations"][key.split("|")[0]]
        if "no_image" in key:  # the placeholder stays words
            words = golden["after_preprocess_multimodal"]
            roles = ["user" if who == "human" else "assistant" for who, _ in turns]
            messages = [Message(role, said) for role, said in zip(roles, words, strict=True)]
        else:
            messages = from_conversation([tuple(turn) for turn in turns])
        ids, labels = folded(*processor.encode_sample(messages, template))
        assert ids == golden["input_ids"], key
        if not golden["printed"]:
            assert labels == golden["labels"], key
            checked += 1
    assert checked >= {"v1": 11, "llama_2": 0 if im_start_end else 13}[template]


@pytest.mark.parametrize(
    ("answer", "learned"),
    [
        ("He said ASSISTANT: yes [/INST] no", " He said ASSISTANT: yes [/INST] no</s>"),
        ("an <unk> token", " an <unk>  token</s>"),
    ],
)
@pytest.mark.parametrize("template", ["v1", "llama_2"])
def test_answers_that_published_code_masks_whole_are_learned(answer, learned, template):
    processor = built()
    ids, labels = processor.encode_sample([QUESTION, Message("assistant", answer)], template)
    learned = learned if template == "v1" else learned.replace("</s>", " </s>")
    kept = [label for label in labels if label != -100]
    assert kept == ids[-len(kept) :]
    assert processor.tokenizer.decode(kept) == learned


def test_an_open_answer_has_no_labels():
    ids, labels = built().encode_sample([QUESTION, Message("assistant", None)])
    assert set(labels) == {-100}
    assert len(ids) == len(labels)


def test_a_users_own_image_word_stays_a_word(processor):
    said = Message("user", "What do <image> and <video> mean?", video=True)
    ids = processor.encode_prompt([said])
    assert ids.count(PLACE) == 356
    after = ids[max(i for i, token in enumerate(ids) if token == PLACE) + 1 :]
    assert "<image> and <video> mean?" in processor.tokenizer.decode(after)


def test_answers_are_decoded_as_published(processor):
    codec = processor.time_codec
    for case in golden_json("rtl_scripted.json")["cases"]:
        text = processor.decode_answer(case["output_ids"])
        shown = codec.display(text, case["duration"], style="published")
        # the published evaluator leaves a time token that ends the answer as it is
        expected = codec.display(case["outputs"], case["duration"], style="published")
        assert shown == expected.strip(), case["name"]
    assert processor.decode_answer(torch.tensor([905, 909, 2, 0, 0])) == "<t5> <t9>"


def test_settings_are_saved(processor):
    assert isinstance(processor, LitaProcessor)
    assert processor.to_dict() == built().to_dict()
    assert processor.time_codec == TimeTokenizer(100)
    assert processor.template is TEMPLATES["llava_v1"]
    transform = processor.frame_transform
    assert (transform.size, transform.aspect) == (224, "square")
    assert transform.mean == (0.48145466, 0.4578275, 0.40821073)
    assert transform.std == (0.26862954, 0.26130258, 0.27577711)


def test_other_settings_are_saved_too(tmp_path):
    config = golden_config(
        time_codec="seconds",
        chat_template="llama_2",
        image_aspect_ratio="pad",
        visual_layout="temporal",
        num_frames=8,
    )
    made = LitaProcessor.from_config(config, CLIPImageProcessorPil.from_pretrained(VISION), built().tokenizer)
    made.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert loaded.to_dict() == made.to_dict()
    assert isinstance(loaded.time_codec, SecondsText)
    assert loaded.template.name == "llama_2"
    assert loaded.frame_transform.aspect == "pad"
    assert loaded.encode_prompt([QUESTION]).count(PLACE) == 8


def test_a_batch_goes_through_the_model():
    processor, model = built(), golden_model()
    text = [Message("user", "Say hello.")]
    pixels = golden_pixels("synthetic")[0]
    inputs = processor([[QUESTION], text], videos=[pixels, None])
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape
    assert inputs["pixel_values_videos"].shape == (1, 100, 3, 224, 224)
    assert inputs["input_ids"][1, 0] == 0
    assert inputs["attention_mask"].sum(dim=1).tolist() == [470, len(processor.encode_prompt(text))]
    out = model.generate(**inputs, max_new_tokens=30)
    golden = golden_json("model.json")["archs"]["temporal_spatial_pool"]["synthetic"]
    answer = out[0, inputs["input_ids"].shape[1] :]
    assert answer.tolist() == golden["generated_ids"]
    assert processor.tokenizer.decode(answer, skip_special_tokens=True) == golden["generated_text"]
    right = processor([[QUESTION], text], padding_side="right")
    assert right["input_ids"][1, -1] == 0
    assert "pixel_values_videos" not in right
    one = processor([QUESTION])
    assert torch.equal(one["input_ids"], places(golden_json("model.json")["input_ids"], 356))


def test_pixels_of_frames_are_the_golden_ones():
    import av

    processor = built()
    with av.open(str(GOLDEN / "videos" / "d_short_320x240_25fps_3s.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    native = np.stack([frames[i] for i in np.round(np.linspace(0, len(frames) - 1, 100)).astype(int)])
    pixels = processor.pixel_values(native)
    assert pixels.shape == (1, 100, 3, 224, 224)
    reference = CLIPImageProcessorPil.from_pretrained(VISION)(list(native), return_tensors="np")[
        "pixel_values"
    ]
    assert np.array_equal(pixels[0].numpy(), np.stack(reference))
    shrunk = np.stack([processor.frame_transform.apply(frame) for frame in native])
    assert torch.equal(processor.pixel_values(shrunk), pixels)
    assert torch.equal(processor.pixel_values(pixels[0]), pixels)


@pytest.mark.parametrize(
    ("name", "path", "options"),
    [
        ("video_a", "a_testsrc2_640x360_25fps_60s.mp4", {}),
        ("frames_b", "frames/v_bbbbbbbbbb2", {"fps": 5.0}),
    ],
)
def test_from_a_file_to_the_golden_answer(name, path, options):
    processor, model = built(), golden_model()
    frames = decode_frames(GOLDEN / "videos" / path, 100, transform=processor.frame_transform, **options)
    inputs = processor([QUESTION], videos=frames)
    assert torch.equal(inputs["pixel_values_videos"], golden_pixels(name))
    out = model.generate(**inputs, max_new_tokens=30)[0, inputs["input_ids"].shape[1] :]
    assert out.tolist() == golden_json("model.json")["archs"]["temporal_spatial_pool"][name]["generated_ids"]


def test_a_conversation_that_is_too_long(caplog):
    processor = built(max_sequence_length=480)
    messages = [QUESTION, Message("assistant", "the man runs and runs and runs")]
    ids, labels = built().encode_sample(messages)
    length = len(ids)
    assert length > 480
    with pytest.raises(ValueError, match=rf"takes {length} tokens, the model reads 480: shorten it"):
        processor.encode_sample(messages)
    with caplog.at_level(logging.WARNING):
        cut = processor.encode_sample(messages, too_long="cut")
    assert cut == (ids[:480], labels[:480])
    assert f"its last {length - 480} tokens were cut" in caplog.text
    assert processor.encode_prompt(messages, too_long="keep") == ids
    with pytest.raises(ValueError, match="cutting it would cut the video"):
        built(max_sequence_length=200).encode_sample(messages, too_long="cut")


def test_refusals():
    processor = built()
    pixels = torch.zeros(100, 3, 224, 224)
    with pytest.raises(ValueError, match="the messages speak of 1 videos, got 2"):
        processor([QUESTION], videos=[pixels, pixels])
    with pytest.raises(
        ValueError,
        match=r"expected 100 frames of a video.* got torch.float32 of the shape \(5, 3, 224, 224\)",
    ):
        processor.pixel_values(pixels[:5])
    with pytest.raises(ValueError, match="expected a chat template out of"):
        processor.encode_prompt([QUESTION], template="chatml")
    with pytest.raises(ValueError, match="return_tensors must be 'pt', got 'np'"):
        processor([QUESTION], return_tensors="np")


def test_frames_of_another_kind_are_refused():
    processor = built()
    for frames, kind in [
        (np.zeros((100, 30, 40, 4), np.uint8), r"torch.uint8 of the shape \(100, 30, 40, 4\)"),
        (torch.zeros(100, 3, 30, 40, dtype=torch.uint8), r"torch.uint8 of the shape \(100, 3, 30, 40\)"),
        (np.zeros((100, 30, 40, 3), np.float32), r"torch.float32 of the shape \(100, 30, 40, 3\)"),
        (np.zeros((100, 30, 40, 3), np.int64), r"torch.int64 of the shape \(100, 30, 40, 3\)"),
    ]:
        with pytest.raises(ValueError, match=rf"^expected 100 frames of a video, as .*, got {kind}$"):
            processor.pixel_values(frames)


def test_pixels_may_be_arrays_too():
    pixels = np.random.default_rng(0).normal(size=(100, 3, 4, 4)).astype(np.float32)
    assert np.array_equal(built().pixel_values(pixels)[0].numpy(), pixels)


@settings(max_examples=20)
@given(answer=st.text(max_size=30), time=st.integers(0, 99), template=st.sampled_from(["v1", "llama_2"]))
def test_what_is_learned_is_what_follows_the_prompt(answer, time, template):
    """The ids that a model generates from are those before the first label, whatever the answer holds."""
    processor = built()
    for words in (
        f"{answer}.",
        f"<t{time}>{answer}",
        f"{answer}<t{time}>",
        f"{answer} </s> ASSISTANT: <unk>",
    ):
        prompt = processor.encode_prompt([QUESTION], template)
        ids, labels = processor.encode_sample([QUESTION, Message("assistant", words)], template)
        assert ids[: len(prompt)] == prompt
        assert labels == [-100] * len(prompt) + ids[len(prompt) :]
        assert ids[-1] == processor.tokenizer.eos_token_id


def test_rows_are_padded_as_published():
    golden = MASKS["collator"]["event_loc+two_rounds"]
    names = ("event_loc", "two_rounds")
    samples = [MASKS["results"]["v1"][name] for name in names]
    padded = built().pad(
        [sample["input_ids"] for sample in samples], [sample["labels"] for sample in samples]
    )
    for name in ("input_ids", "labels"):
        assert padded[name].tolist() == golden[name]
    assert padded["attention_mask"].bool().tolist() == golden["attention_mask"]


def test_rows_and_labels_are_padded_apart():
    padded = built().pad([[5, 6, 7], [8]], labels=[[-100, 6, 7], [8]], padding_side="right")
    assert padded["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert padded["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert padded["labels"].tolist() == [[-100, 6, 7], [8, -100, -100]]
    left = built().pad([[5, 6, 7], [8]], padding_side="left")
    assert left["input_ids"].tolist() == [[5, 6, 7], [0, 0, 8]]
    assert set(left["labels"].flatten().tolist()) == {-100}
