import functools
import json
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers import decoders as tokenizer_decoders
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from litakit.modeling import LitaTokenizer, build_tokenizer
from tests._published import CHECKPOINT, GOLDEN, golden_json

BASE = GOLDEN / "ckpt" / "vicuna-v1-3-tiny"


@functools.cache
def built(which):
    return build_tokenizer(CHECKPOINT if which == "published" else BASE)


@pytest.fixture(params=["published", "base", "saved and loaded"])
def tokenizer(request, tmp_path):
    if request.param != "saved and loaded":
        return built(request.param)
    built("base").save_pretrained(tmp_path)
    return AutoTokenizer.from_pretrained(tmp_path)


def test_ids_and_pieces_of_the_golden_strings(tokenizer):
    golden = golden_json("tokenizer.json")
    assert len(tokenizer) == golden["len"]
    assert tokenizer.vocab_size == golden["vocab_size"]
    names = ("bos", "eos", "unk", "pad")
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id)
    assert ids == tuple(golden[name] for name in names)
    assert len(golden["strings"]) == 69
    for string in golden["strings"]:
        text = string["text"]
        assert tokenizer(text).input_ids == string["ids"], text
        assert tokenizer(text).input_ids == string["train_tokenizer_ids"], text
        assert tokenizer(text, add_special_tokens=False).input_ids == string["ids_no_special"], text
        assert tokenizer.tokenize(text) == string["pieces"], text


def test_golden_decodings(tokenizer):
    golden = golden_json("tokenizer.json")
    for entry in golden["strings"] + golden["random_decodes"]:
        assert tokenizer.decode(entry["ids"]) == entry["decode"]
        assert tokenizer.decode(entry["ids"], skip_special_tokens=True) == entry["decode_skip_special"]
    for index, text in enumerate(golden["single_id_decode"]):
        if not 3 <= index <= 258:  # the golden data has piece names for single bytes
            assert tokenizer.decode([index]) == text


def test_golden_prompts_around_the_placeholder(tokenizer):
    prompts = golden_json("tokenizer.json")["tokenizer_image_token"]
    assert len(prompts) == 10
    for prompt in prompts:
        first, *rest = prompt["prompt"].split("<image>")
        ids = tokenizer(first).input_ids
        for stretch in rest:
            ids += [-200, *tokenizer(stretch, add_special_tokens=False).input_ids]
        assert ids == prompt["ids"], prompt["prompt"]


def test_time_tokens_are_the_last_rows(tokenizer):
    ids = [tokenizer.convert_tokens_to_ids(f"<t{index}>") for index in range(100)]
    assert ids == list(range(900, 1000))
    published = json.loads((CHECKPOINT / "config.json").read_text())["time_token_ids"]
    assert ids == published


def test_the_place_of_a_video_is_no_token(tokenizer):
    assert max(tokenizer("<video>").input_ids) < 900
    assert max(tokenizer("<image> <video>").input_ids) < 900
    assert tokenizer.decode([1000, 428, 1000]) == tokenizer.decode([428])


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_words_come_back(text):
    tokenizer = built("base")
    added = [token.content for token in tokenizer.added_tokens_decoder.values()]
    if any(token in text for token in added) or text.startswith("▁") or "▁" in text:
        return
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text


def test_im_tokens_come_before_time_tokens(tmp_path):
    tokenizer = build_tokenizer(BASE, num_time_tokens=10, use_im_patch=True, use_im_start_end=True)
    names = ["<im_patch>", "<im_start>", "<im_end>", "<t0>", "<t9>"]
    assert [tokenizer.convert_tokens_to_ids(name) for name in names] == [900, 901, 902, 903, 912]
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).get_vocab() == tokenizer.get_vocab()
    # as around the other added tokens, white space is swallowed
    assert tokenizer("<im_end>\nhi", add_special_tokens=False).input_ids == [
        902,
        *tokenizer("hi", add_special_tokens=False).input_ids,
    ]


def test_another_number_of_time_tokens_than_the_folder_has(tmp_path):
    assert len(build_tokenizer(BASE, num_time_tokens=0)) == 900
    shutil.copytree(BASE, tmp_path / "a")
    (tmp_path / "a" / "added_tokens.json").write_text(json.dumps({"<t0>": 900, "<other>": 901}))
    with pytest.raises(ValueError, match=r"expected 3 time tokens with ids in a row, got \[900, 902, 903\]"):
        build_tokenizer(tmp_path / "a", num_time_tokens=3)


def test_a_byte_level_tokenizer_keeps_its_own_ways(tmp_path):
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: index for index, letter in enumerate(letters)} | {"<|end|>": 256, "he": 257}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[("h", "e")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizer_decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>").save_pretrained(tmp_path)
    tokenizer = build_tokenizer(tmp_path, num_time_tokens=10)
    assert isinstance(tokenizer, LitaTokenizer)
    assert tokenizer.pad_token == "<|end|>"
    ids = tokenizer("<t3> <t7> he runs, 日本").input_ids
    assert ids[:2] == [261, 265]
    assert ids[2] == 257  # white space after a time token is swallowed
    assert tokenizer.decode(ids) == "<t3> <t7> he runs, 日本"
    tokenizer.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved")("<t3> <t7> he runs, 日本").input_ids == ids


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected tokenizer.model or tokenizer.json, found neither"):
        build_tokenizer(tmp_path)
