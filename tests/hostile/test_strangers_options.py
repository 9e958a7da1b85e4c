"""What a stranger's file says to a library: an option that would run, fetch or read something is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hostile.strangers import SPECS, evil_pickle, python_beside
from openmofi.encoders import open_encoder
from openmofi.errors import OpenMofiError

EVIL = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil", "AutoTokenizer": ["evil.Evil", "evil.Evil"]}


def changed(file, *keys, **values):
    """Sets keys of the object at the path `keys` in a JSON file."""

    def change(folder):
        raw = inner = json.loads((folder / file).read_text())
        for key in keys:
            inner = inner[key]
        inner |= {name: str(folder / "evil.pth") if value is Path else value for name, value in values.items()}
        (folder / file).write_text(json.dumps(raw))

    return change


def replaced(file, old, new):
    def change(folder):
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return change


def indexed(folder):
    """Its weights lie beside the folder, where an index names them."""
    (folder / "model.safetensors").rename(folder.parent / "weights.safetensors")
    (folder / "model-1.safetensors").touch()
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"logit_scale": "../weights.safetensors"}})
    )


MODEL, TEXT, VISION = ("model_cfg",), ("model_cfg", "text_cfg"), ("model_cfg", "vision_cfg")
TOWER, WORDS = ("image", "architecture", "options"), ("text", "architecture", "config")
CASES = {
    "open_clip: code of a tokenizer": (
        "open_clip",
        changed("open_clip_config.json", *TEXT, tokenizer_kwargs={"trust_remote_code": True}),
        "sets 'trust_remote_code'",
    ),
    "open_clip: a tokenizer of this machine": (
        "open_clip",
        changed("open_clip_config.json", *TEXT, hf_tokenizer_name="/etc"),
        "hf_tokenizer_name is '/etc'",
    ),
    "open_clip: a text tower of this machine": (
        "open_clip",
        changed("open_clip_config.json", *TEXT, hf_model_name=Path),
        "hf_model_name is '/",
    ),
    "open_clip: a text tower of the hub": (
        "open_clip",
        changed("open_clip_config.json", *TEXT, hf_model_name="stranger/code"),
        "which is not in the hub's cache",
    ),
    "open_clip: timm's models of the hub": (
        "open_clip",
        changed("open_clip_config.json", *VISION, timm_model_name="hf-hub:stranger/code"),
        "timm has no model 'hf-hub:",
    ),
    "open_clip: an option of nobody": (
        "open_clip",
        changed("open_clip_config.json", *VISION, checkpoint_path=Path),
        "vision_cfg sets 'checkpoint_path'",
    ),
    "open_clip: an option of the model": (
        "open_clip",
        changed("open_clip_config.json", *MODEL, pretrained_hf=True),
        "model_cfg sets 'pretrained_hf'",
    ),
    "run: code of a tokenizer": (
        "run",
        changed("encoder.json", *WORDS, tokenizer_kwargs={"trust_remote_code": True}),
        "sets 'trust_remote_code'",
    ),
    "run: a checkpoint of timm": (
        "run",
        changed("encoder.json", *TOWER, checkpoint_path=Path),
        "sets 'checkpoint_path'",
    ),
    "run: a configuration of timm": (
        "run",
        changed("encoder.json", *TOWER, pretrained_cfg={"file": "x"}),
        "sets 'pretrained_cfg'",
    ),
    "run: a model of timm's hub": (
        "run",
        changed("encoder.json", "image", "architecture", name="hf-hub:stranger/code"),
        "timm has no model 'hf-hub:",
    ),
    "gliner: an option of nobody": ("gliner", changed("gliner_config.json", auto_map=EVIL), "sets 'auto_map'"),
    "gliner: a backbone of the hub": (
        "gliner",
        changed("gliner_config.json", model_name="stranger/code", encoder_config=None),
        "stands on stranger/code, which is",
    ),
    "gliner: a splitter that fetches": (
        "gliner",
        changed("gliner_config.json", words_splitter_type="stanza"),
        "splits words by 'stanza'",
    ),
    "gliner: a backbone of code": (
        "gliner",
        changed("gliner_config.json", encoder_config={"model_type": "evil", "auto_map": EVIL}),
        "transformers has no model of the type 'evil'",
    ),
    "spacy: a callback": (
        "spacy",
        replaced(
            "config.cfg",
            "before_creation = null",
            'before_creation = {"@callbacks": "spacy.copy_from_base_model.v1", "tokenizer": "evil"}',
        ),
        "sets 'before_creation'",
    ),
    "spacy: a part of another model": (
        "spacy",
        replaced("config.cfg", 'factory = "entity_ruler"', 'source = "evil"'),
        "of another model, 'evil'",
    ),
    "spacy: a function of nobody": (
        "spacy",
        replaced("config.cfg", '"spacy.Tokenizer.v1"', '"evil.Tokenizer.v1"'),
        "calls 'evil.Tokenizer.v1'",
    ),
    "spacy: a reader of any file": (
        "spacy",
        replaced(
            "config.cfg",
            '@scorers = "spacy.entity_ruler_scorer.v1"',
            '@readers = "spacy.read_labels.v1"\npath = "/etc"',
        ),
        "calls 'spacy.read_labels.v1' of '@readers'",
    ),
    "run: a base in a store": (
        "run",
        changed("encoder.json", "image", encoder="run:http://127.0.0.1:9/base"),
        "be fetched because a file names it",
    ),
    "run: a base of the hub": (
        "run",
        changed("encoder.json", "image", encoder="hf:stranger/code"),
        "be fetched because a file names it",
    ),
    "hf: weights elsewhere": ("hf", indexed, "names '../weights.safetensors'"),
    "hf: a vocabulary elsewhere": ("hf", changed("tokenizer_config.json", vocab="/etc/passwd"), "names '/etc/passwd'"),
    "hf: a vocabulary file elsewhere": (
        "hf",
        changed("tokenizer_config.json", vocab_file="/etc/passwd"),
        "names '/etc/passwd'",
    ),
    "open_clip: a vocabulary elsewhere": (
        "open_clip",
        changed("tokenizer_config.json", init_inputs=["/etc/passwd"]),
        "names '/etc/passwd'",
    ),
    "run: a vocabulary elsewhere": (
        "run",
        changed("tokenizer/tokenizer_config.json", vocab="/etc/passwd"),
        "names '/etc/passwd'",
    ),
    "gliner: a vocabulary elsewhere": (
        "gliner",
        changed("tokenizer_config.json", vocab="/etc/passwd"),
        "names '/etc/passwd'",
    ),
    "hf: a model of code": ("hf", changed("config.json", model_type="evil", auto_map=EVIL), "is a 'evil' model"),
    "fusion: a model of code": (
        "fusion",
        changed("fusion.json", "configs", "t5", model_type="evil", auto_map=EVIL),
        "no model of the type 'evil'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_option_is_refused_by_its_name(case, sound, bench, tmp_path):
    name, change, message = CASES[case]
    folder, marker = tmp_path / "stranger", tmp_path / "ran"
    shutil.copytree(sound(name), folder)
    python_beside(folder, marker)
    (folder / "evil.pth").write_bytes(evil_pickle(marker))
    change(folder)
    with pytest.raises(OpenMofiError) as raised:
        SPECS[name].use(bench, folder)
    assert message in str(raised.value)
    assert not marker.exists()


def test_what_a_configuration_says_besides_changes_nothing(sound, tmp_path):
    """What the class of a configuration does not declare is left out, and the model is the same."""
    from openmofi.plugins.hub.checkpoints import plain_config

    folder = tmp_path / "clip"
    shutil.copytree(sound("hf"), folder)
    raw = json.loads((folder / "config.json").read_text())
    odd = {
        "auto_map": EVIL,
        "quantization_config": {"quant_method": "evil"},
        "_attn_implementation": "stranger/kernel",
        "attn_implementation": "stranger/kernel",
        "transformers_weights": "../model.safetensors",
    }
    (folder / "config.json").write_text(json.dumps({**raw, **odd, "text_config": {**raw["text_config"], **odd}}))
    assert plain_config(json.loads((folder / "config.json").read_text()), "") == plain_config(raw, "")
    before, after = (open_encoder(f"hf:{each}").embed_texts(["a crane", "two"]) for each in (sound("hf"), folder))
    assert np.array_equal(before, after)


@pytest.mark.parametrize("kind", ["clip", "siglip", "t5", "bert", "deberta-v2", "blip", "vision-encoder-decoder"])
def test_a_configuration_that_transformers_wrote_is_passed_whole(kind):
    from transformers import AutoConfig, BertConfig, ViTConfig
    from transformers.models.vision_encoder_decoder import VisionEncoderDecoderConfig

    from openmofi.plugins.hub.checkpoints import config_of

    config = (
        VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(), BertConfig())
        if kind == "vision-encoder-decoder"
        else AutoConfig.for_model(kind)
    )
    assert config_of(json.loads(config.to_json_string(use_diff=False)), "").to_dict() == config.to_dict()


@pytest.mark.parametrize("location", ["../outside.bin", "absolute"])
def test_weights_of_a_graph_outside_of_its_folder(sound, tmp_path, location):
    onnx = pytest.importorskip("onnx")
    from openmofi.encoders import graphs
    from openmofi.encoders.folder import read_description

    folder, outside = tmp_path / "stranger", tmp_path / "outside.bin"
    shutil.copytree(sound("onnx"), folder)
    model = onnx.load(folder / "image.onnx")
    onnx.save_model(model, folder / "image.onnx", save_as_external_data=True, location="outside.bin")
    (folder / "outside.bin").rename(outside)
    model = onnx.load(folder / "image.onnx", load_external_data=False)
    for entry in (entry for tensor in model.graph.initializer for entry in tensor.external_data):
        if entry.key == "location":
            entry.value = str(outside) if location == "absolute" else location
    (folder / "image.onnx").write_bytes(model.SerializeToString())
    raw = read_description(folder)
    raw["files"] = graphs.digests(folder)
    made = graphs.Graphs(**{name: raw[name] for name in graphs.Graphs.__dataclass_fields__})
    raw["fingerprint"] = graphs._fingerprint("onnx", raw["dim"], made)
    (folder / "encoder.json").write_text(json.dumps(raw))
    with pytest.raises(OpenMofiError, match=r"image\.onnx cannot be opened"):
        open_encoder(f"onnx:{folder}")
