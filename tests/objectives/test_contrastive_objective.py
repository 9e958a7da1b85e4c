"""The contrastive objective in one process: against a naive version in float64, open_clip, and itself in chunks."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_expit, logsumexp
from torch.nn.functional import normalize

from openmofi.errors import UsageError
from openmofi.objectives.contrastive import POSITIVES, Contrastive, Positives
from openmofi.objectives.objective_settings import ContrastiveSettings

ROWS, DIM = 13, 5
LOSSES = ("infonce", "sigmoid")
every_loss_and_rule = pytest.mark.parametrize(("loss", "rule"), [(a, b) for a in LOSSES for b in POSITIVES])


def settings_of(loss: str, rule: str = "none", chunk: int = 0) -> ContrastiveSettings:
    return ContrastiveSettings(weight=1.0, loss=loss, positives=rule, scale=8.0, bias=-2.0, chunk=chunk)


def embeddings_of(rows: int = ROWS, dtype: torch.dtype = torch.float64, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        side: normalize(torch.randn(rows, DIM, dtype=dtype, generator=generator), dim=1).requires_grad_()
        for side in ("image", "text")
    }


def batch_of(rows: int = ROWS, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(-2, rows // 2, (rows, 3), generator=generator).clamp(min=-1)
    return {"labels": labels, "text_id": torch.randint(-4, rows // 2, (rows,), generator=generator)}


def positive_by_definition(rule: str, batch: dict[str, torch.Tensor]) -> np.ndarray:
    labels = [set(row) - {-1} for row in batch["labels"].tolist()]
    texts = batch["text_id"].tolist()
    found = np.eye(len(texts), dtype=bool)
    for i in range(len(texts)):
        for j in range(len(texts)):
            found[i, j] |= "entity" in rule and bool(labels[i] & labels[j])
            found[i, j] |= "text" in rule and texts[i] == texts[j]
    return found


def naive(loss: str, embeddings: dict[str, torch.Tensor], positive: np.ndarray, scale: float, bias: float) -> float:
    image, text = (embeddings[side].detach().double().numpy() for side in ("image", "text"))
    logits = scale * image @ text.T
    if loss == "sigmoid":
        return -log_expit(np.where(positive, 1, -1) * (logits + bias)).sum() / len(logits)
    total = 0.0
    for side in (logits, logits.T):
        log_softmax = side - logsumexp(side, axis=1, keepdims=True)
        total -= np.mean([row[mask].mean() for row, mask in zip(log_softmax, positive, strict=True)])
    return total / 2


def gradients(module: Contrastive, embeddings: dict[str, torch.Tensor], batch) -> list[torch.Tensor]:
    inputs = [*embeddings.values(), *module.parameters()]
    return list(torch.autograd.grad(module(embeddings, batch).loss, inputs))


@every_loss_and_rule
def test_loss_is_the_definition(loss, rule):
    embeddings, batch = embeddings_of(), batch_of()
    found = Contrastive(settings_of(loss, rule)).double()(embeddings, batch)
    positive = positive_by_definition(rule, batch)
    assert found.loss.item() == pytest.approx(naive(loss, embeddings, positive, 8.0, -2.0), abs=1e-6)
    assert found.metrics["positives"].item() == pytest.approx(positive.sum() / ROWS)
    assert rule == "none" or positive.sum() > ROWS


@every_loss_and_rule
@pytest.mark.parametrize("chunk", [0, 3])
def test_gradient_is_that_of_finite_differences(loss, rule, chunk):
    module = Contrastive(settings_of(loss, rule, chunk)).double()
    embeddings, batch = embeddings_of(6), batch_of(6)
    parameters = dict(module.named_parameters())

    def call(image, text, *values):
        given = dict(zip(parameters, values, strict=True))
        return torch.func.functional_call(module, given, ({"image": image, "text": text}, batch)).loss

    inputs = (*embeddings.values(), *(parameter.detach().requires_grad_() for parameter in parameters.values()))
    assert torch.autograd.gradcheck(call, inputs)


@every_loss_and_rule
@pytest.mark.parametrize("chunk", [1, 4, ROWS, ROWS + 1])
def test_chunks_change_nothing(loss, rule, chunk):
    embeddings, batch = embeddings_of(), batch_of()
    whole, parts = (Contrastive(settings_of(loss, rule, size)).double() for size in (0, chunk))
    for expected, found in zip(gradients(whole, embeddings, batch), gradients(parts, embeddings, batch), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    expected, found = whole(embeddings, batch), parts(embeddings, batch)
    assert found.loss.item() == pytest.approx(expected.loss.item(), abs=1e-12)
    assert found.metrics == expected.metrics


def saved_numbers(chunk: int, rows: int) -> int:
    """Numbers that the forward pass keeps for the backward pass, each storage counted once."""
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    module, embeddings = Contrastive(settings_of("infonce", "text", chunk)), embeddings_of(rows, torch.float32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = module(embeddings, batch_of(rows))
    assert result.loss.requires_grad
    return sum(storage.nbytes() // 4 for storage in kept.values())


def test_chunks_keep_no_square_of_the_batch():
    assert saved_numbers(0, 256) > 256 * 256
    assert saved_numbers(8, 256) < 10 * 256 * DIM


def test_infonce_is_open_clips():
    from open_clip.loss import ClipLoss

    embeddings = embeddings_of(dtype=torch.float32)
    module = Contrastive(settings_of("infonce"))
    ours = gradients(module, embeddings, {})
    expected = ClipLoss()(embeddings["image"], embeddings["text"], module.log_scale.exp())
    theirs = torch.autograd.grad(expected, [*embeddings.values(), module.log_scale])
    assert module(embeddings, {}).loss.item() == pytest.approx(expected.item(), abs=1e-6)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_sigmoid_is_open_clips():
    from open_clip.loss import SigLipLoss

    embeddings = embeddings_of(dtype=torch.float32)
    module = Contrastive(settings_of("sigmoid"))
    ours = gradients(module, embeddings, {})
    expected = SigLipLoss()(embeddings["image"], embeddings["text"], module.log_scale.exp(), module.bias)
    theirs = torch.autograd.grad(expected, [*embeddings.values(), module.log_scale, module.bias])
    assert module(embeddings, {}).loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_positives_are_those_of_the_definition(data):
    rows, slots = data.draw(st.integers(1, 7)), data.draw(st.integers(0, 4))
    number = st.integers(-1, data.draw(st.integers(0, 9)))
    labels = torch.tensor([[data.draw(number) for _ in range(slots)] for _ in range(rows)], dtype=torch.int64)
    batch = {"labels": labels.reshape(rows, slots), "text_id": torch.tensor([data.draw(number) for _ in range(rows)])}
    start = data.draw(st.integers(0, rows - 1))
    for rule in POSITIVES:
        mask = Positives(rule, batch, rows, torch.device("cpu")).mask(start, rows, rows)
        np.testing.assert_array_equal(mask.numpy(), positive_by_definition(rule, batch)[start:])


def test_accuracies_count_any_positive():
    image = torch.eye(4)
    text = image[[1, 0, 2, 3]]
    alone = Contrastive(settings_of("infonce"))({"image": image, "text": text}, {}).metrics
    same = Contrastive(settings_of("infonce", "text"))(
        {"image": image, "text": text}, {"text_id": torch.tensor([5, 5, 6, 7])}
    ).metrics
    assert (alone["accuracy/image_to_text"], alone["accuracy/text_to_image"]) == (0.5, 0.5)
    assert (same["accuracy/image_to_text"], same["accuracy/text_to_image"]) == (1.0, 1.0)
    assert same["positives"] == 1.5


def test_scale_starts_as_set_and_stays_below_its_greatest():
    module = Contrastive(replace(settings_of("sigmoid"), scale=10.0, max_scale=20.0, bias=-10.0))
    assert module.log_scale.item() == pytest.approx(math.log(10))
    assert module.bias.item() == -10
    with torch.no_grad():
        module.log_scale.fill_(7.0)
    module.after_step()
    assert module.log_scale.exp().item() == pytest.approx(20)
    assert module.sharded_parameters() == {}
    with pytest.raises(UsageError, match="scale is 500, above max_scale = 100"):
        replace(settings_of("infonce"), scale=500.0)


def test_under_autocast_the_loss_is_that_of_float32():
    embeddings, module = embeddings_of(dtype=torch.float32), Contrastive(settings_of("infonce"))
    expected = module(embeddings, {}).loss
    with torch.autocast("cpu", torch.bfloat16):
        found = module(embeddings, {}).loss
    assert found.dtype == torch.float32
    assert found.item() == expected.item()


@pytest.mark.parametrize("changed", [{"loss": "softmax"}, {"positives": "entities"}])
def test_unknown_names_are_told(changed):
    with pytest.raises(UsageError, match=f"unknown value .* for {next(iter(changed))}"):
        Contrastive(replace(ContrastiveSettings(), **changed))


def test_wrong_shapes_are_told():
    embeddings, module = embeddings_of(), Contrastive(settings_of("infonce"))
    for image, text in ((embeddings["image"], embeddings["text"][:3]), (torch.zeros(0, 4), torch.zeros(0, 4))):
        with pytest.raises(ValueError, match="must both be"):
            module({"image": image, "text": text}, {})


def with_hard(rows: int = ROWS) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Embeddings and a batch with hard texts, of which some are of a class of their row, or of none."""
    embeddings, batch = embeddings_of(rows), batch_of(rows)
    embeddings["hard"] = embeddings_of(rows, seed=4)["text"]
    batch["hard_class"] = torch.randint(-1, rows // 2, (rows,), generator=torch.Generator().manual_seed(7))
    return embeddings, batch


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("chunk", [0, 4])
def test_hard_texts_are_negatives_of_images_without_their_class(loss, chunk):
    embeddings, batch = with_hard()
    found = Contrastive(settings_of(loss, "entity", chunk)).double()(embeddings, batch).loss.item()
    positive = positive_by_definition("entity", batch)
    image, text, hard = (embeddings[name].detach().numpy() for name in ("image", "text", "hard"))
    labels = [set(row) - {-1} for row in batch["labels"].tolist()]
    negative = np.array([[c >= 0 and c not in own for c in batch["hard_class"].tolist()] for own in labels])
    assert 0 < negative.sum() < negative.size
    if loss == "sigmoid":
        more = -log_expit(-(8.0 * image @ hard.T - 2.0))[negative].sum() / ROWS
        assert found == pytest.approx(naive(loss, embeddings, positive, 8.0, -2.0) + more, abs=1e-6)
        return
    total = 0.0
    for row in range(ROWS):
        logits = np.concatenate([8.0 * text @ image[row], 8.0 * hard[negative[row]] @ image[row]])
        total -= (logits[:ROWS][positive[row]] - logsumexp(logits)).mean()
        back = 8.0 * image @ text[row]
        total -= (back[positive[row]] - logsumexp(back)).mean()
    assert found == pytest.approx(total / 2 / ROWS, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_with_hard_texts_is_that_of_finite_differences(loss):
    module = Contrastive(settings_of(loss, "entity", 4)).double()
    embeddings, batch = with_hard(6)

    def call(image, text, hard):
        return module({"image": image, "text": text, "hard": hard}, batch).loss

    assert torch.autograd.gradcheck(call, tuple(embeddings.values()))
