"""What of a tower is trained: low-rank adapters against the sums that they stand for, and what is frozen at first."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d, linear

from openmofi.encoders import open_encoder
from openmofi.errors import UsageError
from openmofi.plugins.low_rank import LowRank, merge
from openmofi.training.model import parameter_groups, save_encoder
from openmofi.training.model.adaptation import frozen_first, frozen_names, frozen_print, start_weights
from openmofi.training.recipe import Lora, OptimizerSettings

from .conftest import TEXTS, batch_of, built

TOWERS = ("resnet", "vit", "open_clip", "clip", "siglip", "lite0", "mobile")
LORA = Lora(rank=2, alpha=6.0)


def with_sides(settings, **values):
    sides = {name: dataclasses.replace(getattr(settings, name), **values) for name in ("image", "text")}
    return dataclasses.replace(settings, **sides)


def trained(model):
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def stirred_adapters(model):
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in trained(model).items():
            if "parametrizations" in name:
                value += 0.1 * torch.randn(value.shape, generator=draw)
    return model


@pytest.mark.parametrize("kind", TOWERS)
def test_adapters_change_nothing_before_training_and_are_plain_weights_after_it(kind, settings_of):
    plain, inputs = built(settings_of(kind))
    adapted, _ = built(with_sides(settings_of(kind), lora=LORA))
    batch = batch_of(inputs)
    for mode in (False, True):
        # A seed for dropout and stochastic depth; batch statistics of both move alike.
        found = []
        for model in (plain, adapted):
            torch.manual_seed(5)
            found.append(model.train(mode and kind not in ("resnet", "lite0", "mobile"))(batch))
        assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    with torch.no_grad():
        expected = stirred_adapters(adapted).eval()(batch)
        assert not torch.allclose(expected["image"], plain.eval()(batch)["image"], atol=1e-3)
        merge(adapted)
        merged = adapted(batch)
    assert adapted.state_dict().keys() == plain.state_dict().keys()
    for name, values in expected.items():
        assert torch.allclose(merged[name], values, atol=1e-5)


@pytest.mark.parametrize("kind", TOWERS)
def test_adapters_and_heads_alone_are_trained(kind, settings_of):
    model, inputs = built(with_sides(settings_of(kind), lora=LORA))
    before, sizes = built(settings_of(kind))[0].state_dict(), []
    names = trained(model)
    for name, value in names.items():
        place, _, part = name.partition(".parametrizations.")
        if not part:
            assert ".head." in name
            continue
        weight = before[f"{place}.{part.split('.')[0]}"]
        rows, columns = len(weight), weight[0].numel()
        assert tuple(value.shape) == ((2, columns) if part.endswith(".a") else (rows, 2))
        assert 2 * (rows + columns) < weight.numel()
        sizes.append(value.numel())
    assert sizes
    tables = ("token_embedding.", "position_embedding.", "embed_tokens.", "positional_embedding")
    assert not any(table in name for table in tables for name in names if "parametrizations" in name)
    found = model(batch_of(inputs))
    sum(values[:, 0].sum() for values in found.values()).backward()
    assert [name for name, value in names.items() if value.grad is None] == []
    assert not any(value.grad is not None for name, value in model.named_parameters() if name not in names)
    groups = parameter_groups(model, with_sides(settings_of(kind), lora=LORA, layer_decay=0.5), OptimizerSettings())
    scales = {name: group["lr_scale"] for group in groups for name in group["names"]}
    assert sorted(scales) == sorted(names)
    assert len({scale for name, scale in scales.items() if "parametrizations" in name}) > 1


def test_a_start_is_all_that_training_changes(settings_of):
    plain, _ = built(settings_of("resnet"))
    start, names = start_weights(plain), set(trained(plain))
    assert names < set(start)
    statistics = set(start) - names
    assert {name.rpartition(".")[2] for name in statistics} == {"running_mean", "running_var"}
    state = plain.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in start.items())
    assert not any(value.data_ptr() == state[name].data_ptr() for name, value in start.items())
    # A start of adapters is that of B alone: A is no weight of the encoder that is written.
    adapted, _ = built(with_sides(settings_of("vit"), lora=LORA))
    start, names = start_weights(adapted), {name for name in trained(adapted) if "parametrizations" in name}
    assert {name for name in names if name.endswith(".b")} == {name for name in start if "parametrizations" in name}
    assert not any(start[name].any() for name in names if name.endswith(".b"))


@given(
    shape=st.sampled_from([(6, 5), (9, 4, 3, 3), (12, 7)]),
    rank=st.integers(1, 3),
    alpha=st.floats(0.5, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_an_adapter_is_a_way_around_the_weight(shape, rank, alpha, seed):
    """As LoRA is written down: the input goes through W, and through A and then B beside it."""
    torch.manual_seed(seed)
    weight = torch.randn(shape, dtype=torch.float64)
    adapter = LowRank(weight, Lora(rank, alpha)).eval()
    assert torch.equal(adapter(weight), weight)
    with torch.no_grad():
        adapter.b.normal_()
        if len(shape) == 2:
            inputs = torch.randn(8, shape[1], dtype=torch.float64)
            expected = linear(inputs, weight) + alpha / rank * linear(linear(inputs, adapter.a), adapter.b)
            found = linear(inputs, adapter(weight))
        else:
            inputs = torch.randn(2, shape[1], 5, 5, dtype=torch.float64)
            around = conv2d(inputs, adapter.a.view(rank, *shape[1:]))
            expected = conv2d(inputs, weight) + alpha / rank * conv2d(around, adapter.b[:, :, None, None])
            found = conv2d(inputs, adapter(weight))
    assert torch.allclose(found, expected, atol=1e-9)


def test_dropout_is_of_training_alone():
    weight = torch.randn(8, 6)
    adapter = LowRank(weight, Lora(2, dropout=0.5))
    with torch.no_grad():
        adapter.b.normal_()
        expected = weight + 8.0 * adapter.b @ adapter.a
        assert torch.allclose(adapter.eval()(weight), expected, atol=1e-5)
        assert not torch.allclose(adapter.train()(weight), expected, atol=1e-3)


def test_targets_choose_weights(settings_of):
    chosen = Lora(2, targets=("trunk.*.in_proj_weight", "trunk.*.out_proj.weight"))
    model, _ = built(with_sides(settings_of("open_clip"), lora=chosen))
    places = {name.partition(".parametrizations.")[0].rpartition(".")[2] for name in trained(model)}
    assert places == {"attn", "out_proj"}
    for wrong, told in (("blocks.*", "matches no parameter"), ("trunk.*.bias", "matches no parameter")):
        with pytest.raises(UsageError, match=r"^model\.image\.lora\.targets: ") as caught:
            built(with_sides(settings_of("open_clip"), lora=Lora(2, targets=(wrong,))))
        assert told in caught.value.message
    with pytest.raises(UsageError, match="matches no parameter"):
        built(with_sides(settings_of("locked_image"), lora=Lora(2)))


@pytest.mark.parametrize("kind", ["vit", "open_clip", "siglip"])
def test_the_encoder_that_is_written_opens_as_any_other(kind, settings_of, tmp_path):
    wanted = with_sides(settings_of(kind), lora=LORA)
    model, inputs = built(wanted)
    batch = batch_of(inputs)
    with torch.no_grad():
        expected = stirred_adapters(model).eval()(batch)
    save_encoder(tmp_path / "encoder", model, wanted, inputs, logit_scale=20.0, recipe={})
    encoder = open_encoder(f"run:{tmp_path / 'encoder'}")
    images = encoder.project_images(encoder.image_features(batch["image"].numpy()))
    np.testing.assert_allclose(images, expected["image"].numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.embed_texts(TEXTS), expected["text"].numpy(), atol=1e-5)


def test_frozen_weights_are_known_by_their_values(settings_of):
    frozen = with_sides(settings_of("vit"), lora=LORA)
    model, again, other = built(frozen)[0], built(frozen)[0], built(frozen, seed=1)[0]
    assert frozen_print(built(settings_of("vit"))[0]) == {}
    assert frozen_print(model) == frozen_print(again)
    assert frozen_print(model) != frozen_print(other)
    names = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen_names(model) == names
    assert not any(".head." in name for name in names)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_what_is_frozen_first_has_no_gradient_and_keeps_its_statistics(kind, settings_of):
    wanted = dataclasses.replace(
        settings_of(kind), image=dataclasses.replace(settings_of(kind).image, freeze_steps=2, freeze=())
    )
    model, inputs = built(wanted)
    (first,) = frozen_first(model, wanted)
    batch, statistics = batch_of(inputs), []
    for step in range(3):
        first.before(step)
        model.zero_grad()
        model(batch)["image"][:, 0].sum().backward()
        first.after(step)
        none = {name for name, value in model.image.named_parameters() if value.grad is None}
        assert none == (
            {name for name in dict(model.image.named_parameters()) if "trunk" in name} if step < 2 else set()
        )
        statistics.append({name: value.clone() for name, value in model.image.trunk.named_buffers()})
    for name, value in statistics[0].items():
        assert torch.equal(value, statistics[1][name])
        assert not (name.endswith("running_mean") and torch.equal(value, statistics[2][name]))
    assert bool(first.norms) == (kind == "resnet")


def test_what_was_frozen_for_good_stays_so(settings_of):
    image = dataclasses.replace(settings_of("resnet").image, freeze=("trunk.layer1.*",), freeze_steps=3, lora=LORA)
    wanted = dataclasses.replace(settings_of("resnet"), image=image)
    model, _ = built(wanted)
    (first,) = frozen_first(model, wanted)
    held = {name for name, value in model.image.named_parameters() if any(value is each for each in first.parameters)}
    assert held
    assert all(name.startswith("trunk.layer1.") and name.endswith((".a", ".b")) for name in held)
    assert first.norms == ()
    assert all(not module.training for module in model.image.modules() if isinstance(module, nn.BatchNorm2d))
    with pytest.raises(UsageError, match=r"^model\.image\.freeze: 'blocky\*'"):
        frozen_first(model, with_sides(wanted, freeze=("blocky*",), freeze_steps=1))
