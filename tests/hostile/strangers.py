"""A sound folder for every spec, and ways to make it a stranger's: code, pickles and links wherever they may stand."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import openmofi
from hostile.workbench import Workbench, command, small_records
from openmofi.encoders import graphs, open_encoder
from openmofi.encoders.folder import Side, read_description
from openmofi.encoders.towers import image_trunk, rebuilt
from openmofi.encoders.trained import save_trained_encoder
from openmofi.knowledge import KnowledgeBase
from openmofi.linking import open_linker
from openmofi.mentions import open_detector

MODULE = "evil_of_a_stranger"
SIZE = 32
_PYTHON = (
    "evil",
    "conftest",
    "sitecustomize",
    "usercustomize",
    "setup",
    "__init__",
    "modeling_evil",
    "tokenization_evil",
    "configuration_evil",
    MODULE,
)
_TEXT = {
    "context_length": 16,
    "vocab_size": 49408,
    "width": 32,
    "heads": 2,
    "layers": 1,
    "tokenizer_kwargs": {},
    "hf_tokenizer_name": "someone/words",
}


@dataclass(frozen=True)
class Spec:
    """One way to open what others made.

    Attributes:
        make: writes a sound folder.
        use: opens and uses it.
    """

    make: Callable[[Workbench, Path], object]
    use: Callable[[Workbench, Path], object]


class _Pickled:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_code(self.marker),)


def _code(marker: Path) -> str:
    return f"open({str(marker)!r}, 'a').write('ran')\nclass Evil:\n    pass\n"


def evil_pickle(marker: Path) -> bytes:
    return pickle.dumps({"state_dict": _Pickled(marker)})


# Sound folders.


def _make_hf(bench: Workbench, folder: Path) -> None:
    shutil.copytree(bench.clip, folder)


def _make_st(bench: Workbench, folder: Path) -> None:
    shutil.copytree(bench.clip, folder)
    rows = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.CLIPModel"}]
    (folder / "modules.json").write_text(json.dumps(rows))


def _make_open_clip(_: Workbench, folder: Path) -> None:
    import open_clip
    from safetensors.torch import save_file

    from tests.encoders.conftest import save_tokenizer

    folder.mkdir()
    vision = {"image_size": SIZE, "layers": 1, "width": 64, "patch_size": 16}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": {"embed_dim": 16, "vision_cfg": vision, "text_cfg": _TEXT}, "preprocess_cfg": {}})
    )
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    save_tokenizer(folder, length=16)


def _make_timm(_: Workbench, folder: Path) -> None:
    import timm
    from safetensors.torch import save_file

    folder.mkdir()
    save_file(timm.create_model("test_vit").state_dict(), folder / "weights.safetensors")


def _make_run(_: Workbench, folder: Path) -> None:
    from tests.encoders.conftest import save_tokenizer

    image = image_trunk("timm:test_vit", size=SIZE)
    text = rebuilt(
        {"kind": "open_clip", "name": "ViT-B-32", "side": "text", "dim": 16, "config": _TEXT, "quick_gelu": False}
    )
    tensors = {f"image.trunk.{name}": value for name, value in image.module.state_dict().items()}
    tensors |= {f"text.trunk.{name}": value for name, value in text.module.state_dict().items()}
    for side, trunk in (("image", image), ("text", text)):
        weight = np.random.default_rng(0).normal(size=(4, trunk.dim)).astype(np.float32)
        tensors |= {f"{side}.head.weight": _tensor(weight), f"{side}.head.bias": _tensor(np.zeros(4, np.float32))}
    save_trained_encoder(
        folder,
        image=Side("linear", image.architecture),
        text=Side("linear", text.architecture),
        tensors=tensors,
        dim=4,
        logit_scale=2.0,
        preprocessing=openmofi.encoders.Preprocessing(SIZE, (0.5,) * 3, (0.5,) * 3),
        tokens=None,
        recipe={},
    )
    save_tokenizer(folder / "tokenizer", length=16)


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(values)


def _make_onnx(_: Workbench, folder: Path) -> None:
    shutil.copytree(Path(openmofi.__file__).parent / "encoders" / "tiny", folder)


def _make_openvino(bench: Workbench, folder: Path) -> None:
    import openvino

    _make_onnx(bench, folder)
    for graph in list(folder.glob("*.onnx")):
        openvino.save_model(openvino.convert_model(graph), graph.with_suffix(".xml"))
        graph.unlink()
    raw = read_description(folder)
    raw |= {"files": graphs.digests(folder), "format": "openvino"}
    made = graphs.Graphs(**{name: raw[name] for name in graphs.Graphs.__dataclass_fields__})
    raw["fingerprint"] = graphs._fingerprint("openvino", raw["dim"], made)
    (folder / "encoder.json").write_text(json.dumps(raw))


def _make_gliner(_: Workbench, folder: Path) -> None:
    import gliner

    from tests.encoders.conftest import save_tokenizer

    save_tokenizer(folder / "words")
    encoder = {
        "model_type": "bert",
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    }
    made = gliner.GLiNER.from_config(
        {
            "model_name": str(folder / "words"),
            "hidden_size": 16,
            "max_width": 4,
            "max_len": 16,
            "span_mode": "markerV0",
            "dropout": 0.0,
            "encoder_config": encoder,
        },
        backbone_from_pretrained=False,
    )
    made.save_pretrained(folder, safe_serialization=True)


def _make_spacy(_: Workbench, folder: Path) -> None:
    import spacy

    pipeline = spacy.blank("en")
    pipeline.add_pipe("entity_ruler").add_patterns([{"label": "BIRD", "pattern": "crane"}])
    pipeline.to_disk(folder)


def _make_fusion(_: Workbench, folder: Path) -> None:
    from fusion_world import tiny

    from openmofi.plugins.fusion.store import build_fusion, save_fusion

    save_fusion(folder, build_fusion(tiny(folder.with_name("words"))))


def _make_index(bench: Workbench, folder: Path) -> None:
    from search_world import colour_encoder, write_images

    from openmofi.search import build

    build([str(write_images(folder.with_name("images"), 1))], colour_encoder(), folder)


def _make_saved(_: Workbench, folder: Path) -> None:
    import datasets

    records = small_records()[:4]
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    rows = {
        "image": [{"bytes": each.image, "path": None} for each in records],
        "caption": [each.text for each in records],
    }
    datasets.Dataset.from_dict(rows, features).save_to_disk(folder)


def _make_checkpoint(_: Workbench, folder: Path) -> None:
    from openmofi.training.checkpoint import Checkpoints, Progressed
    from tests.training.test_checkpoint import a_state

    Checkpoints(folder, keep=2, best="-loss").save(a_state(), Progressed(7, {"loss": 0.25}))


def _make_store(_: Workbench, folder: Path) -> None:
    from small_stores import sample, write_store

    write_store(folder, {"a": [sample(str(number), 2, 2) for number in range(3)]})


def _make_recipe(_: Workbench, folder: Path) -> None:
    folder.mkdir()
    shutil.copyfile(
        Path(openmofi.__file__).parent / "training" / "recipes" / "clip_vit_b16.yaml", folder / "recipe.yaml"
    )


# Their use.


def _embed(spec: str) -> None:
    encoder = open_encoder(spec)
    encoder.embed_images([record.image for record in small_records()[:2]])
    if encoder.text_projection is not None:
        encoder.embed_texts(["a crane", "a red apple"])


def _use_timm(_: Workbench, folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        if file.stem in ("weights", "pytorch_model") and file.suffix != ".ckpt":
            _embed(f"timm:test_vit/{file}")


def _detect(spec: str, bench: Workbench) -> None:
    open_detector(spec, bench.open_kb()).detect(["a crane on a tower"])


def _use_index(_: Workbench, folder: Path) -> None:
    from search_world import colour_encoder

    from openmofi.search import Index, Query

    index = Index.open(folder, colour_encoder())
    index.search(Query(text="red"))
    index.close()


def _use_saved(bench: Workbench, folder: Path) -> None:
    bench.label(folder, folder.with_name("labels"))


def _use_checkpoint(_: Workbench, folder: Path) -> None:
    from openmofi.training.checkpoint import Checkpoints
    from tests.training.test_checkpoint import a_state

    Checkpoints(folder, keep=2, best="-loss").load(a_state(seed=1, steps=0), 7)


def _use_store(_: Workbench, folder: Path) -> None:
    from openmofi.plugins.reinforcement.recall import Knowledge

    Knowledge.open(folder).take(["a"], ["0"], np.zeros(1, np.int64), np.zeros(1, np.int64))


def _use_recipe(_: Workbench, folder: Path) -> None:
    from openmofi.training.recipe.rules import load_recipe

    load_recipe(folder / "recipe.yaml")


SPECS = {
    "hf": Spec(_make_hf, lambda _, folder: _embed(f"hf:{folder}")),
    "st": Spec(_make_st, lambda _, folder: _embed(f"st:{folder}")),
    "mofi": Spec(_make_hf, lambda _, folder: _embed(f"mofi:{folder}")),
    "open_clip": Spec(_make_open_clip, lambda _, folder: _embed(f"open_clip:local-dir:{folder}")),
    "timm": Spec(_make_timm, _use_timm),
    "run": Spec(_make_run, lambda _, folder: _embed(f"run:{folder}")),
    "onnx": Spec(_make_onnx, lambda _, folder: _embed(f"onnx:{folder}")),
    "openvino": Spec(_make_openvino, lambda _, folder: _embed(f"openvino:{folder}")),
    "gliner": Spec(_make_gliner, lambda bench, folder: _detect(f"gliner:{folder}?types=bird", bench)),
    "spacy": Spec(_make_spacy, lambda bench, folder: _detect(f"spacy:{folder}", bench)),
    "fusion": Spec(_make_fusion, lambda bench, folder: open_linker(f"fusion:{folder}", bench.open_kb())),
    "index": Spec(_make_index, _use_index),
    "kb": Spec(
        lambda bench, folder: shutil.copytree(bench.kb, folder),
        lambda _, folder: KnowledgeBase.open(folder).candidates("orange"),
    ),
    "dataset": Spec(
        lambda bench, folder: shutil.copytree(bench.dataset, folder),
        lambda bench, folder: command("dataset", "audit", folder, "--truth", bench.truth, "--json"),
    ),
    "save_to_disk": Spec(_make_saved, _use_saved),
    "checkpoint": Spec(_make_checkpoint, _use_checkpoint),
    "store": Spec(_make_store, _use_store),
    "recipe": Spec(_make_recipe, _use_recipe),
}
MODELS = ("hf", "st", "mofi", "open_clip", "run", "onnx", "openvino", "gliner", "spacy", "fusion")
"""Folders that are refused where a link leads out of them."""


# What makes them a stranger's.


def python_beside(folder: Path, marker: Path) -> None:
    """Python under every name that somebody might import, beside each file."""
    for parent in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        for name in _PYTHON:
            (parent / f"{name}.py").write_text(_code(marker))
        (parent / "evil.pth").write_text(f"import {MODULE}\n")


def auto_map(folder: Path, marker: Path) -> None:
    """`trust_remote_code` and `auto_map` in every object of every JSON file, and the Python that they name."""
    python_beside(folder, marker)
    classes = (
        "AutoConfig",
        "AutoModel",
        "AutoProcessor",
        "AutoImageProcessor",
        "AutoModelForSeq2SeqLM",
        "AutoModelForImageTextToText",
        "AutoModelForCausalLM",
    )
    names: dict[str, Any] = dict.fromkeys(classes, "evil.Evil") | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}

    def poisoned(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                **{name: poisoned(inner) for name, inner in value.items()},
                "auto_map": names,
                "trust_remote_code": True,
            }
        return [poisoned(inner) for inner in value] if isinstance(value, list) else value

    for path in folder.rglob("*.json"):
        path.write_text(json.dumps(poisoned(json.loads(path.read_text()))))


def only_auto_map(folder: Path, marker: Path) -> None:
    """As `auto_map`, with no other word for which a file could be refused: in configurations of libraries alone."""
    python_beside(folder, marker)
    for path in folder.rglob("*.json"):
        raw = json.loads(path.read_text())
        if not isinstance(raw, dict) or path.name in ("encoder.json", "fusion.json", "manifest.json"):
            continue
        for inner in [raw, *(value for value in raw.values() if isinstance(value, dict) and "model_type" in value)]:
            inner["auto_map"] = {
                "AutoConfig": "evil.Evil",
                "AutoModel": "evil.Evil",
                "AutoTokenizer": ["evil.Evil", "evil.Evil"],
            }
            if path.name == "tokenizer_config.json":
                inner["tokenizer_class"] = "Evil"
        path.write_text(json.dumps(raw))


def trusted(folder: Path, marker: Path) -> None:
    """The attack that ran: `tokenizer_kwargs` that trust the code of the tokenizer beside."""
    only_auto_map(folder, marker)
    for path in [*folder.glob("open_clip_config.json"), *folder.glob("encoder.json")]:
        text = path.read_text()
        path.write_text(text.replace('"tokenizer_kwargs": {}', '"tokenizer_kwargs": {"trust_remote_code": true}'))


def pickles(folder: Path, marker: Path) -> None:
    """A pickle in the place of every file that holds weights, arrays or an index, under every name of weights."""
    content = evil_pickle(marker)
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.suffix == ".safetensors":
            path.unlink()
            for name in (
                "pytorch_model.bin",
                "open_clip_pytorch_model.bin",
                "weights.pt",
                "weights.pth",
                "weights.ckpt",
                "model.bin",
            ):
                (path.parent / name).write_bytes(content)
        elif path.suffix not in (".json", ".yaml", ".xml", ".cfg"):
            path.write_bytes(content)


def objects(folder: Path, marker: Path) -> None:
    """Arrays of objects, which NumPy would unpickle, for every array."""
    for path in [*folder.rglob("*.npy"), *folder.rglob("*.npz"), folder / "gallery.npz"]:
        save = np.savez if path.suffix == ".npz" else np.save
        save(path, np.array([_Pickled(marker)], object), allow_pickle=True)


def headers(folder: Path, marker: Path) -> None:
    """A header that does not fit the file's size."""
    for path in [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".npy", ".onnx", ".bin")]:
        path.write_bytes((2**62).to_bytes(8, "little") + path.read_bytes()[8:])


def links(folder: Path, marker: Path) -> None:
    """Every file a link to a file outside, which is sound."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        moved = marker.parent / "outside" / path.relative_to(folder)
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.rename(moved)
        path.symlink_to(moved)


def zips(folder: Path, marker: Path) -> None:
    """Archives whose member leads out of the folder, under names of weights, arrays and vocabularies."""
    for name in ("pytorch_model.bin", "weights.pt", "gallery.npz", "tokenizer.model", "vocab.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(f"../{marker.name}", "ran")
    for path in folder.rglob("*.safetensors"):
        path.unlink()


def tags(folder: Path, marker: Path) -> None:
    """YAML that calls Python, in every YAML file and in the place of every JSON file's content."""
    call = f"!!python/object/apply:builtins.exec [{json.dumps(_code(marker))}]\n"
    for path in [*folder.rglob("*.yaml"), *folder.rglob("*.json"), *folder.rglob("*.cfg")]:
        path.write_text(f"{path.read_text() if path.suffix == '.yaml' else ''}seed: {call}")


POISONS = {
    poison.__name__: poison
    for poison in (python_beside, auto_map, only_auto_map, trusted, pickles, objects, headers, links, zips, tags)
}
