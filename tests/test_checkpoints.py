"""Published checkpoints, adapters and parts: loaded as they are, or refused with tensor and file."""

import functools
import json
import math
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from litakit.messages import Message
from litakit.modeling import LitaConfig, LitaForConditionalGeneration
from litakit.modeling.checkpoints import convert, load_model, read_published
from litakit.modeling.published import EMBEDDING, HEAD, KNOWN_TOWERS, PROJECTOR, VISION
from litakit.modeling.weights import read_file
from tests._published import CHECKPOINT, GOLDEN, golden_json, golden_model, golden_pixels, places

TEMPORAL = GOLDEN / "ckpt" / "lita-vicuna-v1-3-tiny-temporal"
VICUNA = GOLDEN / "ckpt" / "vicuna-v1-3-tiny"
CLIP = GOLDEN / "ckpt" / "clip-tiny-patch14-224"
WEIGHTS = "pytorch_model.bin"
TIME_IDS = list(range(900, 1000))


@functools.cache
def published():
    return read_file(CHECKPOINT / WEIGHTS)


def save_torch(tensors, path):
    torch.save({name: tensor.clone() for name, tensor in tensors.items()}, path)


def variant(tmp_path, weights=None, drop=(), **fields):
    """The golden checkpoint's folder with other weights or other fields of its configuration."""
    folder = tmp_path / "lita"
    shutil.copytree(CHECKPOINT, folder, ignore=shutil.ignore_patterns(WEIGHTS))
    config = json.loads((folder / "config.json").read_text()) | {"mm_vision_tower": str(CLIP)} | fields
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k not in drop}))
    if weights is None:
        shutil.copy(CHECKPOINT / WEIGHTS, folder)
    elif weights:
        save_torch(weights, folder / WEIGHTS)
    return folder


def refusal(error, folder, **options):
    with pytest.raises(error) as caught:
        load_model(folder, device="cpu", **options)
    return str(caught.value)


def assert_same_weights(model, other):
    mine, theirs = model.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name, tensor in theirs.items():
        rows = slice(0, 1000) if name.endswith(("embed_tokens.weight", "lm_head.weight")) else slice(None)
        assert torch.equal(mine[name][rows], tensor[rows]), name


@pytest.mark.parametrize("folder", [CHECKPOINT, TEMPORAL], ids=lambda folder: folder.name)
def test_the_published_folder_gives_the_published_logits_and_answer(folder):
    model, processor = load_model(folder, device="cpu")
    layout = model.config.visual_layout
    golden, tensors = golden_json("model.json"), load_file(GOLDEN / "model.safetensors")
    assert folder.name.endswith(layout)
    assert model.dtype == torch.float32
    assert not model.training
    assert model.config.video_token_id == 1000
    assert processor.num_visual_tokens == model.config.num_visual_tokens
    ids = places(golden["input_ids"], model.config.num_visual_tokens)
    with torch.no_grad():
        logits = model(input_ids=ids, pixel_values_videos=golden_pixels("frames_b")).logits[0, -8:, :1000]
    key = next(key for key in tensors if "logits" in key and f"/{layout}/frames_b" in key)
    assert (logits - tensors[key][..., :1000]).abs().max() < 7e-5
    row = model.get_input_embeddings().weight[1000]
    assert torch.allclose(row, published()[EMBEDDING].float().mean(0), atol=1e-4)


def test_the_models_own_door_takes_published_folders_too(tmp_path, converted):
    model = LitaForConditionalGeneration.from_pretrained(CHECKPOINT)
    assert model.dtype == torch.float16  # kept as published
    for again in (model.float(), LitaForConditionalGeneration.from_pretrained(converted, dtype="float32")):
        assert_same_weights(again, golden_model())
    model = LitaForConditionalGeneration.from_pretrained(CHECKPOINT, dtype=torch.float32)
    assert model.dtype == torch.float32
    folder = adapter(tmp_path, projector())
    model = LitaForConditionalGeneration.from_pretrained(folder, base=CHECKPOINT, dtype="float32")
    assert_same_weights(model, golden_model())


def test_the_processor_is_the_published_one():
    _, processor = load_model(CHECKPOINT, device="cpu")
    ids = processor.encode_prompt([Message("user", "When?", video=True)])
    assert ids.count(1000) == 356
    assert processor.tokenizer.convert_tokens_to_ids(["<t0>", "<t99>"]) == [900, 999]
    assert processor.frame_transform.size == 224


def shards(folder, suffix, save):
    tensors = {name: tensor.contiguous() for name, tensor in published().items()}
    names = sorted(tensors)
    where = {}
    for number, part in enumerate((names[:30], names[30:]), start=1):
        stem = "model" if suffix == "safetensors" else "pytorch_model"
        file = f"{stem}-0000{number}-of-00002.{suffix}"
        save({name: tensors[name] for name in part}, folder / file)
        where |= dict.fromkeys(part, file)
    index = folder / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return where, index


@pytest.mark.parametrize("layout", ["safetensors", "torch shards", "safetensors shards", "without index"])
def test_every_way_to_write_weights_loads_the_same(tmp_path, layout):
    folder = variant(tmp_path, weights={})
    if layout == "safetensors":
        save_file(
            {name: tensor.contiguous() for name, tensor in published().items()}, folder / "model.safetensors"
        )
    elif layout == "torch shards":
        shards(folder, "bin", save_torch)
    else:
        _, index = shards(folder, "safetensors", save_file)
        if layout == "without index":
            index.unlink()
    assert_same_weights(load_model(folder, device="cpu")[0], golden_model())


def test_a_lost_shard_and_a_lost_tensor_of_a_shard_are_named(tmp_path):
    folder = variant(tmp_path, weights={})
    where, index = shards(folder, "bin", save_torch)
    first = folder / where[HEAD]
    tensors = read_file(first)
    save_torch({name: tensor for name, tensor in tensors.items() if name != HEAD}, first)
    assert refusal(ValueError, folder) == (
        f"{first}: the tensor lm_head.weight is missing, which {index.name} says is there"
    )
    first.unlink()
    assert refusal(FileNotFoundError, folder) == (
        f"{first}: {index.name} names this shard, but it is not there"
    )
    index.write_text("{")
    assert refusal(ValueError, folder).startswith(f"{index}: cannot be read as an index of weights (")


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
def test_a_file_cut_off_is_named(tmp_path, suffix):
    folder = variant(tmp_path, weights={})
    file = folder / (WEIGHTS if suffix == "bin" else "model.safetensors")
    (save_torch if suffix == "bin" else save_file)(
        {name: tensor.contiguous() for name, tensor in published().items()}, file
    )
    file.write_bytes(file.read_bytes()[:-5000])
    assert refusal(ValueError, folder).startswith(f"{file}: cannot be read as weights, is it cut off? (")


def test_missing_foreign_and_misshapen_tensors_are_named(tmp_path):
    missing = "model.layers.1.mlp.up_proj.weight"
    folder = variant(tmp_path / "a", {k: v for k, v in published().items() if k != missing})
    assert refusal(ValueError, folder) == f"{folder}: lacks 1 tensors of the model: {missing}"
    folder = variant(tmp_path / "b", {k: v for k, v in published().items() if k != HEAD})
    assert refusal(ValueError, folder) == (
        f"{folder}: lacks the tensor lm_head.weight, is it a Llama's or a LITA's folder?"
    )
    folder = variant(tmp_path / "c", published() | {PROJECTOR + "weight": torch.zeros(64, 32)})
    assert refusal(ValueError, folder) == (
        f"{folder / WEIGHTS}: expected model.mm_projector.weight of shape (64, 64), got (64, 32)"
    )
    folder = variant(tmp_path / "d", published() | {"model.layers.7.strange": torch.zeros(1)})
    assert refusal(ValueError, folder) == (
        f"{folder / WEIGHTS}: the model has no place for the tensor model.layers.7.strange"
    )
    folder = variant(tmp_path / "e", weights={})
    assert refusal(FileNotFoundError, folder) == (
        f"{folder}: expected weights (model*.safetensors or pytorch_model*.bin), found none"
    )


def test_rows_that_do_not_belong_together_are_named(tmp_path):
    short = {name: published()[name][:900] for name in (EMBEDDING, HEAD)}
    folder = variant(tmp_path / "head", published() | {HEAD: short[HEAD]})
    assert refusal(ValueError, folder) == (
        f"{folder}: lm_head.weight has 900 rows, model.embed_tokens.weight 1000: one of them is cut off, or "
        "of another model"
    )
    folder = variant(tmp_path / "both", published() | short)
    assert refusal(ValueError, folder) == (
        f"{folder}: model.embed_tokens.weight has 900 rows, the time_token_ids of {folder / 'config.json'} "
        "go up to 999"
    )


def test_safetensors_count_even_where_an_index_of_torch_files_was_left(tmp_path):
    folder = variant(tmp_path, weights={})
    save_file(
        {name: tensor.contiguous() for name, tensor in published().items()}, folder / "model.safetensors"
    )
    left = {"weight_map": {EMBEDDING: "pytorch_model-00001-of-00002.bin"}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(left))
    assert_same_weights(load_model(folder, device="cpu")[0], golden_model())


def test_spare_rows_of_the_embedding_stay(tmp_path):
    padded = {name: torch.cat([published()[name], published()[name][:24]]) for name in (EMBEDDING, HEAD)}
    model, processor = load_model(variant(tmp_path, published() | padded), device="cpu")
    assert model.config.video_token_id == processor.video_token_id == 1024
    assert_same_weights(model, golden_model())


def test_tied_weights_need_no_head_of_their_own(tmp_path):
    untied = {name: tensor for name, tensor in published().items() if name != HEAD}
    model, _ = load_model(variant(tmp_path, untied, tie_word_embeddings=True), device="cpu")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert torch.equal(model.get_output_embeddings().weight[:1000], published()[EMBEDDING].float())


def test_the_language_models_settings_are_the_checkpoints(tmp_path):
    folder = variant(tmp_path, rope_theta=5e5, rope_scaling={"type": "linear", "factor": 2.0})
    text = read_published(folder)[0].text_config
    assert (text.rope_parameters["rope_theta"], text.rope_parameters["factor"]) == (5e5, 2.0)
    assert text.rope_parameters["rope_type"] == "linear"


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, writer):
    folder, trace = variant(tmp_path, weights={}), tmp_path / "ran"
    file = folder / WEIGHTS
    if writer == "torch":
        torch.save({EMBEDDING: Bomb(trace)}, file)
    else:
        file.write_bytes(pickle.dumps({EMBEDDING: Bomb(trace)}, protocol=2))
    assert refusal(ValueError, folder) == (
        f"{file}: refused, it holds more than tensors and could run code when it is loaded"
    )
    assert not trace.exists()


@pytest.mark.parametrize("absent", ["left out", "null"])
def test_absent_fields_mean_what_they_mean_in_the_published_code(tmp_path, absent):
    names = (
        "video_arch",
        "input_type",
        "mm_vision_select_feature",
        "image_aspect_ratio",
        "max_sequence_length",
    )
    folder = variant(tmp_path, **({"drop": names} if absent == "left out" else dict.fromkeys(names)))
    config, _, processor = read_published(folder)
    assert config.visual_layout == "temporal"
    assert config.input_type == "image"
    assert config.vision_feature_select == "patch"
    assert config.image_aspect_ratio == "square"
    assert config.max_sequence_length == 2048
    assert processor.num_visual_tokens == 100 * 256


def test_without_time_tokens_times_are_seconds(tmp_path):
    rows = {name: published()[name][:900] for name in (EMBEDDING, HEAD)}
    folder = variant(tmp_path, published() | rows, drop=("num_time_tokens", "time_token_ids"), vocab_size=900)
    (folder / "added_tokens.json").unlink()
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(VICUNA / name, folder)
    model, processor = load_model(folder, device="cpu")
    assert model.config.time_codec == processor.time_codec_name == "seconds"
    assert model.config.time_token_ids == []
    assert model.config.video_token_id == 900


def test_every_switch_of_a_published_config_acts(tmp_path):
    rows = {
        name: torch.cat([t[:900], t[:3], t[900:]]) for name in (EMBEDDING, HEAD) for t in [published()[name]]
    }
    marks = {"<im_patch>": 900, "<im_start>": 901, "<im_end>": 902}
    folder = variant(
        tmp_path,
        published() | rows,
        mm_use_im_start_end=True,
        mm_use_im_patch_token=True,
        time_token_ids=list(range(903, 1003)),
        vocab_size=1003,
        mm_vision_select_feature="cls_patch",
        image_aspect_ratio="pad",
        video_arch="spatial",
        mm_vision_select_layer=-1,
        num_frames=7,
        max_sequence_length=4096,
    )
    added = marks | {f"<t{index}>": 903 + index for index in range(100)}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    model, processor = load_model(folder, device="cpu")
    ids = processor.encode_prompt([Message("user", "When?", video=True)])
    first = ids.index(1003)
    assert model.config.video_token_id == 1003
    assert (ids[first - 1], ids[first + 257], ids.count(1003)) == (901, 902, 257)
    assert processor.tokenizer.convert_tokens_to_ids(["<im_patch>", "<t0>", "<t99>"]) == [900, 903, 1002]
    assert processor.frame_transform.aspect == "pad"
    assert processor.max_sequence_length == 4096
    assert model.config.vision_feature_layer == -1
    assert model.get_video_features(torch.zeros(1, 7, 3, 224, 224)).shape == (1, 257, 64)


def test_fields_that_do_not_fit_are_refused_with_the_file(tmp_path):
    folder = variant(tmp_path / "a", image_aspect_ratio="anyres")
    assert refusal(ValueError, folder) == (
        f"{folder / 'config.json'}: image_aspect_ratio must be one of square, pad, got 'anyres'"
    )
    folder = variant(tmp_path / "b", drop=("mm_vision_tower",))
    assert refusal(ValueError, folder) == (
        f"{folder / 'config.json'}: it names no mm_vision_tower, so this is no LITA"
    )
    folder = variant(tmp_path / "c", time_token_ids=list(range(800, 900)))
    assert refusal(ValueError, folder).startswith(f"{folder}: the tokenizer has ")
    (folder / "config.json").write_text("[1]")
    assert refusal(ValueError, folder) == f"{folder / 'config.json'}: expected fields, got list"
    (folder / "config.json").unlink()
    assert refusal(FileNotFoundError, folder) == (
        f"{folder / 'config.json'}: expected a model's configuration, found no such file"
    )


def test_vision_weights_are_the_checkpoints_own_else_the_towers(tmp_path):
    changed = published() | {VISION + "vision_model.pre_layrnorm.bias": torch.full((64,), 0.5)}
    model, _ = load_model(variant(tmp_path / "own", changed), device="cpu")
    assert model.vision_tower.state_dict()["pre_layrnorm.bias"].eq(0.5).all()
    bare = {name: tensor for name, tensor in published().items() if not name.startswith(VISION)}
    model, _ = load_model(variant(tmp_path / "bare", bare), device="cpu")
    assert_same_weights(model, golden_model())
    hub = "openai/clip-vit-large-patch14"
    folder = variant(tmp_path / "hub", bare, mm_vision_tower=hub)
    assert refusal(FileNotFoundError, folder) == (
        f"{folder}: the checkpoint holds no vision weights and its mm_vision_tower '{hub}' is neither a "
        f"folder nor in the hub's cache: download it (huggingface-cli download {hub})"
    )
    folder = variant(tmp_path / "unknown", mm_vision_tower="some/tower")
    assert refusal(FileNotFoundError, folder) == (
        f"{folder}: its vision tower 'some/tower' is not a folder here, not in the hub's cache and not one "
        f"of {', '.join(KNOWN_TOWERS)}: download it and set mm_vision_tower in config.json to its folder"
    )


@pytest.mark.parametrize(("tower", "size", "patches"), [("", 224, 256), ("-336", 336, 576)])
def test_the_towers_of_openai_need_no_download(tmp_path, tower, size, patches):
    from litakit.modeling.published import published_config

    folder = variant(tmp_path, mm_vision_tower=f"openai/clip-vit-large-patch14{tower}")
    config = published_config(folder, 1000)
    vision = config.vision_config
    assert (vision.image_size, vision.hidden_size, vision.num_hidden_layers) == (size, 1024, 24)
    assert math.prod(config.vision_grid) == patches
    assert vision.hidden_act == "quick_gelu"
    copy = f"/data/weights/clip-vit-large-patch14{tower}"  # of the author's disk
    folder = variant(tmp_path / "copy", mm_vision_tower=copy)
    assert published_config(folder, 1000).vision_config.to_dict() == vision.to_dict()


def adapter(tmp_path, tensors, file="mm_projector.bin", **fields):
    folder = variant(tmp_path, weights={}, **fields)
    if tensors:
        save_torch(tensors, folder / file)
    return folder


def projector():
    return {name: tensor for name, tensor in published().items() if name.startswith(PROJECTOR)}


def test_an_adapter_brings_the_projector_and_only_the_rows_of_the_time_tokens(tmp_path):
    whole = {name: published()[name] + 1 for name in (EMBEDDING, HEAD)}
    folder = adapter(tmp_path, projector() | whole)
    model, _ = load_model(folder, base=VICUNA, device="cpu")
    base = read_file(VICUNA / WEIGHTS)
    for name in (EMBEDDING, HEAD):
        rows = model.state_dict()["language_model." + name]
        assert torch.equal(rows[:900], base[name].float())
        assert torch.equal(rows[900:1000], whole[name][900:].float())
        assert rows.shape == (1001, 64)
    assert torch.equal(model.projector.weight, published()[PROJECTOR + "weight"].float())
    assert refusal(ValueError, folder) == (
        f"{folder} holds an adapter only: name the folder of its base model (base=, --base)"
    )
    assert refusal(ValueError, CHECKPOINT, base=VICUNA) == (
        f"{CHECKPOINT} holds a whole model: leave out the base {VICUNA}"
    )


def test_an_adapter_that_holds_only_the_projector_says_which_rows_are_missing(tmp_path):
    folder = adapter(tmp_path, projector())
    assert refusal(ValueError, folder, base=VICUNA) == (
        f"{folder / 'mm_projector.bin'}: rows 900 to 999 of model.embed_tokens.weight, the time tokens' "
        "rows, are missing: neither the adapter nor the base model (900 rows) has them, so no time can be "
        "said. Save embed_tokens and lm_head with the projector when training"
    )
    model, _ = load_model(folder, base=CHECKPOINT, device="cpu")  # a base that has them
    assert_same_weights(model, golden_model())


def test_a_projector_in_safetensors_is_an_adapter_too(tmp_path):
    folder = adapter(tmp_path, {})
    save_file({name: t.contiguous() for name, t in projector().items()}, folder / "mm_projector.safetensors")
    assert_same_weights(load_model(folder, base=CHECKPOINT, device="cpu")[0], golden_model())


def test_a_base_that_is_no_language_model_is_refused(tmp_path, converted):
    folder = adapter(tmp_path, projector())
    for base in (CLIP, converted):
        assert refusal(ValueError, folder, base=base) == (
            f"{base}: lacks the tensor model.embed_tokens.weight: the base of an adapter is the folder of a "
            "Llama or Vicuna, or a published LITA's"
        )


def test_an_adapter_of_another_width_is_refused(tmp_path):
    wide = {name: torch.zeros(1000, 32) for name in (EMBEDDING, HEAD)}
    folder = adapter(tmp_path, projector() | wide)
    assert refusal(ValueError, folder, base=VICUNA) == (
        f"{folder / 'mm_projector.bin'}: model.embed_tokens.weight is 32 wide, the base model's 64"
    )


peft_reads_an_old_name = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")


def lora_folder(tmp_path):
    """What LoRA training on the golden model leaves, written by peft itself, and the merged model."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    whole = golden_model()
    settings = peft.LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"])
    tuned = peft.get_peft_model(whole.language_model, settings)
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
    folder = adapter(tmp_path, {})
    tuned.save_pretrained(folder)
    others = {f"base_model.model.{name}": tensor for name, tensor in projector().items()}
    others |= {f"base_model.model.{name}": published()[name] for name in (EMBEDDING, HEAD)}
    save_torch(others, folder / "non_lora_trainables.bin")
    whole.language_model = tuned.merge_and_unload()
    return folder, whole


@peft_reads_an_old_name
def test_a_lora_adapter_is_merged_as_peft_does_it(tmp_path):
    folder, merged = lora_folder(tmp_path)
    model, _ = load_model(folder, base=VICUNA, device="cpu")
    mine, theirs = model.state_dict(), merged.state_dict()
    base = read_file(VICUNA / WEIGHTS)
    golden = golden_model().state_dict()
    for name, tensor in theirs.items():
        if "language_model.model.layers" in name:
            start = base[name.removeprefix("language_model.")].float()
            change = tensor - golden[name]
            assert torch.allclose(mine[name], (start + change).half().float(), rtol=1e-3, atol=1e-6), name
    assert (
        theirs["language_model.model.layers.0.self_attn.q_proj.weight"]
        != golden["language_model.model.layers.0.self_attn.q_proj.weight"]
    ).any()
    assert torch.equal(mine["language_model.lm_head.weight"][900:1000], published()[HEAD][900:].float())


@peft_reads_an_old_name
def test_a_lora_adapter_that_does_not_fit_is_refused(tmp_path):
    folder, _ = lora_folder(tmp_path)
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    first = next(name for name in tensors if "lora_A" in name)
    save_file(tensors | {first.replace("lora_A.weight", "lora_magnitude_vector"): torch.ones(2)}, file)
    assert "is of no plain LoRA, only matrices A and B can be merged" in refusal(
        ValueError, folder, base=VICUNA
    )
    partner = first.replace("lora_A", "lora_B")
    save_file({name: tensor for name, tensor in tensors.items() if name != partner}, file)
    target = first.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
    assert refusal(ValueError, folder, base=VICUNA) == (
        f"{file}: {target}.lora_B.weight is missing, {target}.lora_A.weight is there"
    )
    file.unlink()
    assert refusal(FileNotFoundError, folder, base=VICUNA) == (
        f"{folder}: adapter_config.json is there, but none of adapter_model.safetensors, adapter_model.bin"
    )


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "native"
    assert convert(CHECKPOINT, folder) == folder
    return folder


def test_a_converted_folder_is_the_same_model_for_transformers_own_classes(converted):
    reference, first = load_model(CHECKPOINT, device="cpu")
    model, processor = load_model(converted, device="cpu")
    assert_same_weights(model, reference)
    assert model.config.to_dict()["time_token_ids"] == TIME_IDS
    auto = AutoModelForImageTextToText.from_pretrained(converted)
    assert auto.dtype == torch.float16  # kept as published
    assert_same_weights(auto.float(), reference)
    messages = [Message("user", "When does <image> appear, <12.5>?", video=True)]
    ids = first.encode_prompt(messages)
    assert (
        processor.encode_prompt(messages)
        == AutoProcessor.from_pretrained(converted).encode_prompt(messages)
        == ids
    )
    pixels = golden_pixels("frames_b")
    with torch.no_grad():
        both = [
            m(input_ids=torch.tensor([ids]), pixel_values_videos=pixels).logits for m in (model, reference)
        ]
    assert torch.equal(*both)


def test_converting_refuses_what_it_would_overwrite_and_leaves_nothing_half_done(tmp_path, converted):
    with pytest.raises(FileExistsError) as caught:
        convert(CHECKPOINT, converted)
    assert str(caught.value) == f"{converted} exists and is not empty: choose another folder, or remove it"
    with pytest.raises(ValueError) as refused:
        convert(converted, tmp_path / "again")
    assert str(refused.value) == f"{converted} is in the HF-native layout already: nothing to convert"
    broken = variant(tmp_path, {name: tensor for name, tensor in published().items() if "norm" not in name})
    with pytest.raises(ValueError):
        convert(broken, tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lita"]
    (tmp_path / "empty").mkdir()
    assert (convert(CHECKPOINT, tmp_path / "empty") / "config.json").is_file()


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (SafetensorError("No space left on device"), "cannot be written (No space left on device)"),
        (KeyboardInterrupt(), ""),
    ],
)
def test_converting_that_breaks_off_leaves_nothing(tmp_path, monkeypatch, raised, said):
    save = LitaForConditionalGeneration.save_pretrained

    def broken(model, folder, **options):
        save(model, folder, **options)
        raise raised

    monkeypatch.setattr(LitaForConditionalGeneration, "save_pretrained", broken)
    target = tmp_path / "target"
    with pytest.raises((OSError, KeyboardInterrupt)) as caught:
        convert(CHECKPOINT, target)
    assert str(caught.value) == (f"{target}: {said}" if said else "")
    assert not list(tmp_path.iterdir())


def test_a_native_folder_with_a_lost_or_cut_tensor_is_refused(tmp_path, converted):
    folder = tmp_path / "native"
    shutil.copytree(converted, folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    save_file({name: t for name, t in tensors.items() if name != "projector.bias"}, file, {"format": "pt"})
    assert refusal(ValueError, folder) == f"{folder}: lacks 1 tensors of the model: projector.bias"
    save_file(tensors | {"projector.bias": torch.zeros(3)}, file, {"format": "pt"})
    assert refusal(ValueError, folder) == f"{file}: expected projector.bias of shape (64,), got (3,)"
    file.write_bytes(file.read_bytes()[:-10])
    assert refusal(ValueError, folder).startswith(f"{file}: cannot be read as weights, is it cut off? (")


def test_a_model_with_tied_embeddings_comes_back(tmp_path, converted):
    config = LitaConfig.from_pretrained(converted)
    config.text_config.tie_word_embeddings = config.tie_word_embeddings = True
    model = LitaForConditionalGeneration(config)
    folder = tmp_path / "tied"
    shutil.copytree(converted, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    model.save_pretrained(folder)
    assert "language_model.lm_head.weight" not in load_file(folder / "model.safetensors")
    loaded, _ = load_model(folder, device="cpu")
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert torch.equal(loaded.get_output_embeddings().weight, model.get_output_embeddings().weight)


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}])
def test_a_device_map_places_the_model(device_map, converted):
    for folder in (CHECKPOINT, converted):
        model, _ = load_model(folder, device_map=device_map)
        assert_same_weights(model, golden_model())
    assert refusal(ValueError, CHECKPOINT, device_map=device_map) == (
        f"device 'cpu' and device_map {device_map!r} exclude each other: give one"
    )


def test_dtype_and_attention_are_as_asked():
    model, _ = load_model(CHECKPOINT, device="cpu", dtype="bfloat16", attention="eager")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.attention == "eager"
    assert load_model(CHECKPOINT, device="cpu")[0].attention == "sdpa"
