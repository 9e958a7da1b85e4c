"""timm's image models: encoders of images alone by `timm:NAME[/TAG-OR-FILE]`, and towers to train by `timm:NAME`."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch

from openmofi.encoders.arrays import weights_fingerprint
from openmofi.encoders.encoder import Encoder
from openmofi.encoders.networks import Networks, OnArrays
from openmofi.encoders.preprocess import Preprocessing, checked, three
from openmofi.encoders.towers import Trunk, encoder_of, options_of
from openmofi.errors import OpenMofiError, UsageError, first_line
from openmofi.plugins.hub import hub_file
from openmofi.plugins.hub.checkpoints import WEIGHT_FILES, loading
from openmofi.quiet import quiet_logging
from openmofi.storage import fingerprint
from openmofi.storage.foreign import allowed_options

_RESIZE = {"center": "shortest", "squash": "squash"}
_FILES = ["model.safetensors", "pytorch_model.bin"]


def open_timm(argument: str, device: str) -> Encoder:
    """Open `NAME[/WEIGHTS][?size=N]`: the model's pooled features, without a classifier.

    WEIGHTS: a tag of timm (`vit_base_patch14_dinov2/lvd142m`; by default the model's first), with or without
    `@REVISION` of its repository on the hub; a weights file; or `none` with `?seed=N` (untrained: tests, benchmarks).
    `size`: images of another size than the model's own, in pixels, as DINOv2 is evaluated at 224 and timm has it at
    518.

    Raises:
        UsageError: no such model, tag or option.
        OpenMofiError: the weights cannot be fetched, are damaged, do not fit, or would have to be unpickled.
    """
    spec, hint = f"timm:{argument}", "Use ?size=PIXELS, or /none?seed=N for random weights."
    location, options = options_of(spec, argument, ("size", "seed"), hint)
    name, _, source = location.partition("/")
    if source == "none":
        pretrained = ""
    elif Path(source).suffix in WEIGHT_FILES:
        pretrained = source
    else:
        name, at, revision = f"{name}.{source}".rstrip(".").partition("@")
        pretrained = f"default{at}{revision}"
    size = options.get("size", 0)
    with quiet_logging(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.get("seed", 0))
        trunk = image(name, pretrained, size, 0.0)
    module = trunk.module.eval().requires_grad_(False).to(device)
    settings = preprocessing(name, pretrained, size)

    weights = fingerprint([trunk.architecture, weights_fingerprint(module.state_dict())])
    networks = Networks(module)
    return encoder_of(
        spec, settings, None, image=OnArrays(module, device), dim=trunk.dim, weights=weights, networks=networks
    )


def preprocessing(name: str, _pretrained: str, size: int) -> Preprocessing:
    """As timm evaluates the model, at `size` pixels where it is given."""
    from timm.data import resolve_data_config

    config = resolve_data_config(pretrained_cfg=_config(name).to_dict(), verbose=False)
    side = size or int(config["input_size"][1])
    resize = _RESIZE.get(config["crop_mode"], config["crop_mode"])
    resized = int(side / config["crop_pct"]) if resize == "shortest" else side
    return checked(
        Preprocessing(
            side,
            three(config["mean"]),
            three(config["std"]),
            config["interpolation"],
            resize,
            resize_size=resized if resized != side else 0,
        ),
        f"timm:{name}",
    )


def image(name: str, pretrained: str, size: int, drop_path: float) -> Trunk:
    """See `towers.image_trunk`."""
    config = _config(name)
    options: dict[str, Any] = {}
    if size and config.fixed_input_size:
        options["img_size"] = size
    if drop_path:
        options["drop_path_rate"] = drop_path
    try:
        module = timm.create_model(name, pretrained=False, num_classes=0, **options)
    except (TypeError, AssertionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"timm:{name} cannot be built with {options}: {first_line(error)}",
            "Check model.image.size and model.image.drop_path.",
        ) from error
    if size:
        _check_size(module, name, size)
    if pretrained:
        module.load_state_dict(_weights(name, _file(name, pretrained), options), strict=True)
    return _trunk(module, {"kind": "timm", "name": name, "options": options})


def _check_size(module: Any, name: str, size: int) -> None:
    """Some models raise only in their forward pass when they cannot take images of a size."""
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"timm:{name} takes no images of {size} px: {first_line(error)}", "Choose another model.image.size."
        ) from error
    module.train(training)


def rebuilt(architecture: Mapping[str, Any]) -> Trunk:
    """See `towers.rebuilt`."""
    name = str(architecture["name"])
    if not timm.is_model(name.partition(".")[0]):
        raise ValueError(f"timm has no model {name!r}")
    options = allowed_options("timm.options", architecture["options"], f"The description of the tower timm:{name}")
    module = timm.create_model(name, pretrained=False, num_classes=0, **options)
    return _trunk(module, architecture)


def _trunk(module: Any, architecture: Mapping[str, Any]) -> Trunk:
    # Some families end in a layer after pooling, which widens `num_features` (MobileNet, EfficientNet's kin).
    return Trunk(module, int(getattr(module, "head_hidden_size", None) or module.num_features), architecture)


def _config(name: str) -> Any:
    if not timm.is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise UsageError(
            f"timm has no model {name!r}.", f"Did you mean {' or '.join(near)}?" if near else "See timm.list_models()."
        )
    try:
        return timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{name.partition('.')[0]}.*")
        raise UsageError(f"timm has no weights {name!r}.", f"There are: {', '.join(tags) or 'none'}.") from error


def _file(name: str, pretrained: str) -> Path:
    kind, at, revision = pretrained.partition("@")
    if kind == "default":
        repository = _config(name).hf_hub_id
        if not repository:
            raise OpenMofiError(f"timm has no weights of {name!r} on the hub.", "Give a weights file.")
        return hub_file(f"{repository}{at}{revision}", _FILES)
    path = Path(pretrained).expanduser()
    if not path.is_file():
        raise OpenMofiError(
            f"The weights file {path} of timm:{name} does not exist.",
            "Give a file, `default` for timm's own weights, or nothing for random ones.",
        )
    return path


def _weights(name: str, path: Path, options: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state of the model without its classifier, from a checkpoint in any layout that timm reads."""
    from timm.models import load_state_dict

    with loading(path, f"timm:{name}"):
        state = load_state_dict(str(path), device="cpu", weights_only=True)
        # timm loads strictly only where the number of classes is the one that it expects of the file.
        classifier = _config(name).classifier
        first = classifier if isinstance(classifier, str) else (classifier or ("",))[0]
        head = state.get(f"{first}.weight")
        classes = 0 if head is None else int(head.shape[0])
        overlay = {"state_dict": state, "num_classes": classes, "label_offset": 0, "custom_load": False}
        model: Any = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=classes, **options
        )
    model.reset_classifier(0)
    return dict(model.state_dict())
