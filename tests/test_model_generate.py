"""Generation: batches, beams, streaming, caches; proven by hooks on the vision tower and the embedding."""

from contextlib import contextmanager
from threading import Thread

import pytest
import torch
from transformers import DynamicCache, TextIteratorStreamer

from litakit.modeling import build_tokenizer
from tests._published import CHECKPOINT, golden_json, golden_model, places, synthetic_pixels
from tests._tiny import tiny_ids, tiny_model, tiny_pixels


@contextmanager
def watched(model):
    """Count the frames that the vision tower sees and the ids that are embedded."""
    seen = {"frames": [], "ids": []}

    def on_vision(_, args, kwargs, __):
        seen["frames"].append(len(kwargs["pixel_values"]))

    def on_embedding(_, args, __):
        seen["ids"].append(tuple(args[0].shape))

    hooks = [
        model.vision_tower.register_forward_hook(on_vision, with_kwargs=True),
        model.get_input_embeddings().register_forward_hook(on_embedding),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def left_padded(rows):
    length = max(map(len, rows))
    ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def new_ids(out, length):
    """Generated ids up to and with the end token, without what pads them."""
    ids = out[length:].tolist()
    return ids[: ids.index(2) + 1] if 2 in ids else ids


@pytest.mark.parametrize(("vision", "text"), [("clip", "llama"), ("siglip", "qwen2")])
def test_left_padded_batch_equals_one_by_one(vision, text):
    model = tiny_model(vision, text)
    rows = [
        tiny_ids(model, 7),
        [1, 9, 8, 7],
        tiny_ids(model, 11, 12, 13, 14, 15, 16),
        tiny_ids(model, 20, 21),
    ]
    videos = tiny_pixels(3)
    ids, mask = left_padded(rows)
    together = model.generate(ids, attention_mask=mask, pixel_values_videos=videos, max_new_tokens=20)
    video = iter(videos)
    for row, out in zip(rows, together, strict=True):
        pixels = next(video)[None] if model.config.video_token_id in row else None
        alone = model.generate(torch.tensor([row]), pixel_values_videos=pixels, max_new_tokens=20)
        assert new_ids(out, ids.shape[1]) == new_ids(alone[0], len(row))


def test_left_padded_batch_of_the_golden_model():
    model = golden_model()
    prompt = golden_json("model.json")["input_ids"]
    rows = [prompt, [*prompt[:-6], 351, 428, 275], golden_json("model.json")["text_only"]["input_ids"]]
    rows = [places(row, 356)[0].tolist() for row in rows]
    video = synthetic_pixels((1, 100, 3, 224, 224), seed=1)
    with torch.no_grad():
        features = model.get_video_features(video).repeat(2, 1, 1)
    ids, mask = left_padded(rows)
    together = model.generate(ids, attention_mask=mask, video_features=features, max_new_tokens=30)
    for row, out in zip(rows, together, strict=True):
        one = features[:1] if 1000 in row else None
        alone = model.generate(torch.tensor([row]), video_features=one, max_new_tokens=30)
        assert new_ids(out, ids.shape[1]) == new_ids(alone[0], len(row))
    golden = golden_json("model.json")
    assert (
        new_ids(together[0], ids.shape[1])
        == golden["archs"]["temporal_spatial_pool"]["synthetic"]["generated_ids"]
    )
    assert new_ids(together[2], ids.shape[1]) == golden["text_only"]["generated_ids"]


def test_padding_on_either_side_leaves_logits_alone():
    model = tiny_model()
    row = tiny_ids(model, 7, 8)
    pixels = tiny_pixels()
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([row]), pixel_values_videos=pixels).logits
        for left, right in ((3, 0), (0, 3), (2, 1)):
            ids = torch.tensor([[0] * left + row + [0] * right])
            mask = torch.tensor([[0] * left + [1] * len(row) + [0] * right])
            logits = model(input_ids=ids, attention_mask=mask, pixel_values_videos=pixels).logits
            torch.testing.assert_close(logits[:, left : left + len(row)], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_beams": 3},
        {"use_cache": False},
        {"do_sample": True, "temperature": 0.7, "num_return_sequences": 2},
    ],
)
def test_vision_runs_once(options):
    model = tiny_model()
    with watched(model) as seen:
        model.generate(
            torch.tensor([tiny_ids(model, 7)]), pixel_values_videos=tiny_pixels(), max_new_tokens=5, **options
        )
    assert seen["frames"] == [6]


def test_features_give_what_pixels_give_and_run_no_vision():
    model = tiny_model()
    ids = torch.tensor([tiny_ids(model, 7)])
    with torch.no_grad():
        features = model.get_video_features(tiny_pixels())
    by_pixels = model.generate(ids, pixel_values_videos=tiny_pixels(), max_new_tokens=12)
    with watched(model) as seen:
        by_features = model.generate(ids, video_features=features, max_new_tokens=12)
    assert torch.equal(by_pixels, by_features)
    assert seen["frames"] == []


def test_a_cached_prefix_is_not_read_again():
    model = tiny_model()
    first, second = tiny_ids(model, 7, 8, 9), tiny_ids(model, 7, 8, 20, 21, 22)
    pixels = tiny_pixels()
    fresh = model.generate(torch.tensor([second]), pixel_values_videos=pixels, max_new_tokens=12)
    cache = DynamicCache()
    model.generate(
        torch.tensor([first]), pixel_values_videos=pixels, max_new_tokens=12, past_key_values=cache
    )
    kept = len(first) - 1
    cache.crop(kept - cache.get_seq_length())
    with watched(model) as seen:
        again = model.generate(
            torch.tensor([second]), pixel_values_videos=pixels, max_new_tokens=12, past_key_values=cache
        )
    assert torch.equal(fresh, again)
    assert seen["frames"] == []
    assert seen["ids"][0] == (1, len(second) - kept)
    assert set(seen["ids"][1:]) == {(1, 1)}


def test_a_cached_prefix_with_a_full_mask_needs_no_video():
    model = tiny_model()
    ids = torch.tensor([tiny_ids(model, 7, 8)])
    cache = DynamicCache()
    with torch.no_grad():
        model(input_ids=ids[:, :-1], pixel_values_videos=tiny_pixels(), past_key_values=cache, use_cache=True)
    fresh = model.generate(ids, pixel_values_videos=tiny_pixels(), max_new_tokens=8)
    again = model.generate(ids, attention_mask=torch.ones_like(ids), past_key_values=cache, max_new_tokens=8)
    assert torch.equal(fresh, again)


def test_only_the_new_ids_with_a_mask_over_everything():
    model = tiny_model()
    ids = torch.tensor([tiny_ids(model, 7, 8, 9)])
    fresh = model.generate(ids, pixel_values_videos=tiny_pixels(), max_new_tokens=8)
    cache = DynamicCache()
    with torch.no_grad():
        model(input_ids=ids[:, :-2], pixel_values_videos=tiny_pixels(), past_key_values=cache, use_cache=True)
        step = model(input_ids=ids[:, -2:], past_key_values=cache, use_cache=True).logits[:, -1]
    assert step.argmax(-1).item() == fresh[0, ids.shape[1]].item()
    cache.crop(-2)
    mask = torch.ones_like(ids)
    again = model.generate(ids[:, -2:], attention_mask=mask, past_key_values=cache, max_new_tokens=8)
    assert again[0, 2:].tolist() == fresh[0, ids.shape[1] :].tolist()


def test_a_cache_that_ends_before_the_video():
    model = tiny_model()
    ids = torch.tensor([tiny_ids(model, 7, 8)])
    cache = DynamicCache()
    with torch.no_grad():
        model(input_ids=ids[:, :2], past_key_values=cache, use_cache=True)
    with watched(model) as seen:
        again = model.generate(
            ids, pixel_values_videos=tiny_pixels(), past_key_values=cache, max_new_tokens=8
        )
    assert torch.equal(again, model.generate(ids, pixel_values_videos=tiny_pixels(), max_new_tokens=8))
    assert seen["ids"][0] == (1, ids.shape[1] - 2)


def test_questions_of_one_video_share_its_cached_prefix():
    model = tiny_model()
    prefix, questions = tiny_ids(model, 7), [[8], [20, 21, 22, 23], [9, 10]]
    pixels = tiny_pixels()
    cache = DynamicCache()
    with torch.no_grad():
        model(
            input_ids=torch.tensor([prefix]),
            pixel_values_videos=pixels,
            past_key_values=cache,
            use_cache=True,
        )
    cache.batch_repeat_interleave(3)
    ids, mask = left_padded(questions)  # padding stands between the prefix and the question
    ids = torch.cat([torch.tensor([prefix] * 3), ids], dim=1)
    mask = torch.cat([torch.ones(3, len(prefix), dtype=torch.long), mask], dim=1)
    with watched(model) as seen:
        together = model.generate(ids, attention_mask=mask, past_key_values=cache, max_new_tokens=12)
    assert seen["frames"] == []
    assert seen["ids"][0] == (3, 4)
    for question, out in zip(questions, together, strict=True):
        alone = torch.tensor([prefix + question])
        expected = model.generate(alone, pixel_values_videos=pixels, max_new_tokens=12)
        assert new_ids(out, ids.shape[1]) == new_ids(expected[0], alone.shape[1])


def test_other_caches_and_embeddings():
    model = tiny_model()
    ids = torch.tensor([tiny_ids(model, 7)])
    options = {"pixel_values_videos": tiny_pixels(), "max_new_tokens": 8}
    plain = model.generate(ids, **options)
    assert torch.equal(
        model.generate(ids, cache_implementation="static", disable_compile=True, **options), plain
    )
    with torch.no_grad():
        embeds = model.get_input_embeddings()(torch.tensor([[1, 5, 6]]))
    by_embeds = model.generate(inputs_embeds=embeds, max_new_tokens=8)
    assert by_embeds.tolist() == model.generate(torch.tensor([[1, 5, 6]]), max_new_tokens=8)[:, 3:].tolist()


def test_caches_that_cannot_be_continued():
    model = tiny_model()
    ids = torch.tensor([tiny_ids(model, 7, 8)])
    pixels = tiny_pixels()
    cache = DynamicCache()
    with torch.no_grad():
        model(input_ids=ids, pixel_values_videos=pixels, past_key_values=cache, use_cache=True)
    length = ids.shape[1]
    with pytest.raises(
        ValueError, match=rf"hold {length} positions of {length} input_ids, at least one id must be new"
    ):
        model.generate(ids, pixel_values_videos=pixels, past_key_values=cache, max_new_tokens=2)
    cache.crop(5 - length)
    number = model.config.num_visual_tokens
    with pytest.raises(ValueError, match=f"3 of {number} places are cached and {number - 3} are new"):
        model.generate(ids, pixel_values_videos=pixels, past_key_values=cache, max_new_tokens=2)


@pytest.mark.parametrize("options", [{}, {"num_beams": 4}, {"do_sample": True, "temperature": 50.0}])
def test_the_place_of_a_video_is_never_generated(options):
    model = tiny_model()
    place = model.config.video_token_id
    with torch.no_grad():
        model.get_output_embeddings().weight[place] = 100 * model.get_output_embeddings().weight[7]
    torch.manual_seed(0)
    ids = torch.tensor([[1, 5, 6]] * 8)
    out = model.generate(ids, max_new_tokens=40, **options)
    assert place not in out[:, 3:]
    with torch.no_grad():
        logits = model(input_ids=ids).logits
    others = [index for index in range(logits.shape[-1]) if index != place]
    assert torch.equal(logits.logsumexp(-1), logits[..., others].logsumexp(-1))


def test_sampling_is_repeatable_and_acts():
    model = tiny_model()
    ids = torch.tensor([tiny_ids(model, 7)])

    def sample(seed, **options):
        torch.manual_seed(seed)
        options = {"do_sample": True, "max_new_tokens": 20, "top_k": 0, **options}
        return model.generate(ids, pixel_values_videos=tiny_pixels(), **options).tolist()

    assert sample(1, temperature=2.0) == sample(1, temperature=2.0)
    assert sample(1, temperature=2.0) != sample(2, temperature=2.0)
    greedy = model.generate(ids, pixel_values_videos=tiny_pixels(), max_new_tokens=20).tolist()
    assert sample(1, temperature=1e-4) == greedy
    assert sample(3, top_p=1e-6) == greedy


def test_streaming_gives_the_same_words():
    model, tokenizer = golden_model(), build_tokenizer(CHECKPOINT)
    ids = torch.tensor([golden_json("model.json")["text_only"]["input_ids"]])
    whole = model.generate(ids, max_new_tokens=20)[0, ids.shape[1] :]
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    thread = Thread(target=model.generate, args=(ids,), kwargs={"max_new_tokens": 20, "streamer": streamer})
    thread.start()
    pieces = list(streamer)
    thread.join()
    assert len(pieces) > 5
    assert "".join(pieces) == tokenizer.decode(whole, skip_special_tokens=True)


def test_generation_defaults():
    config = golden_model().generation_config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (1, 2, 0)
    assert config.do_sample in (None, False)
    assert config.num_beams in (None, 1)
