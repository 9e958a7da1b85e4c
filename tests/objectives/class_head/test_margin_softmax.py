import math

import pytest
import torch
from hypothesis import given, settings, strategies
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from openmofi.errors import UsageError
from openmofi.objectives.margin_softmax import (
    MarginSoftmax,
    draw_classes,
    join_classes,
    sample_size,
    seeded,
    thirds_by_count,
)
from openmofi.objectives.objective_settings import MarginSoftmaxSettings
from openmofi.objectives.tiles import arcface, cosface

CLASSES, DIM = 23, 6


def a_head(classes=CLASSES, dim=DIM, seed=0, dtype=torch.float64, **changed):
    chosen = {"implementation": "exact", "min_sampled": 1, "chunk": 7} | changed
    return MarginSoftmax(classes, dim, MarginSoftmaxSettings(**chosen), seed=seed).to(dtype)


def a_batch(rows=9, labels=3, classes=CLASSES, dim=DIM, seed=0, dtype=torch.float64):
    """Embeddings and labels of which some are padding, some out of range, one row without any."""
    generator = torch.Generator().manual_seed(seed)
    images = normalize(torch.randn(rows, dim, generator=generator, dtype=dtype), dim=1).requires_grad_()
    columns = torch.stack([torch.randperm(classes, generator=generator)[:labels] for _ in range(rows)])
    columns[torch.rand(columns.shape, generator=generator) < 0.3] = -1
    columns[0], columns[1, 0], columns[2, 0] = -1, classes, columns[2, 0].clamp(min=0)
    weights = torch.rand(columns.shape, generator=generator, dtype=dtype) + 0.1
    return images, {"labels": columns, "label_weights": weights}


def naive(head, images, batch, looked_at=None, log_probability=None):
    """The mean loss as the definition reads, image by image and label by label, by autograd."""
    chosen = head.settings
    unit = normalize(head.weight.view(len(head.weight), chosen.sub_centers, head.dim), dim=2)
    cosines = torch.einsum("bd,ckd->bck", images, unit).amax(2)
    looked_at = range(head.classes) if looked_at is None else looked_at
    losses = []
    for row, cosine in enumerate(cosines):
        own = {
            int(c): float(w)
            for c, w in zip(batch["labels"][row], batch["label_weights"][row], strict=True)
            if 0 <= c < head.classes
        }
        if chosen.label_weights == "uniform":
            own = dict.fromkeys(own, 1.0)
        negatives = [
            chosen.scale * cosine[c] - (0 if log_probability is None else log_probability[c])
            for c in looked_at
            if c not in own and cosine[c] <= chosen.negative_filter
        ]
        terms = []
        for label, weight in own.items():
            if chosen.margin_type == "cosface":
                target = cosine[label] - chosen.margin
            else:
                angle = torch.acos(cosine[label])
                target = (
                    torch.cos(angle + chosen.margin)
                    if angle + chosen.margin <= math.pi
                    else cosine[label] - chosen.margin * math.sin(chosen.margin)
                )
            logits = torch.stack([chosen.scale * target, *negatives])
            terms.append(weight / sum(own.values()) * (logits.logsumexp(0) - logits[0]))
        if terms:
            losses.append(torch.stack(terms).sum())
    return torch.stack(losses).mean()


def gradients(head, loss, images):
    found = torch.autograd.grad(loss, [images, head.weight])
    return found[0], found[1].to_dense()


VARIANTS = [
    {},
    {"chunk": 100},
    {"chunk": 1},
    {"margin_type": "arcface", "margin": 0.5},
    {"margin_type": "arcface", "margin": 2.5},
    {"scale": 64.0, "margin": 0.4},
    {"negative_filter": 0.3},
    {"sub_centers": 3},
    {"label_weights": "score"},
    {"sub_centers": 2, "negative_filter": 0.2, "label_weights": "score", "margin_type": "arcface", "chunk": 5},
]


@pytest.mark.parametrize("changed", VARIANTS)
def test_exact_and_sampled_at_rate_one_equal_the_definition(changed):
    images, batch = a_batch()
    for implementation in ("exact", "sampled"):
        head = a_head(implementation=implementation, sample_rate=1.0, **changed)
        expected = naive(head, images, batch)
        result = head({"image": images}, batch)
        assert result.loss.item() == pytest.approx(expected.item(), rel=1e-12)
        for ours, theirs in zip(gradients(head, result.loss, images), gradients(head, expected, images), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("changed", [{}, {"logq": False}, {"chunk": 100}, {"negative_filter": 0.3, "sub_centers": 2}])
def test_sampled_equals_the_definition_over_the_classes_it_looked_at(changed):
    images, batch = a_batch()
    head = a_head(implementation="sampled", sample_rate=0.3, **changed)
    drawn, log_probability = draw_classes(CLASSES, 7, seeded(0, 0, 1))
    own = batch["labels"][(batch["labels"] >= 0) & (batch["labels"] < CLASSES)].unique()
    looked_at, corrections = join_classes(drawn, log_probability, own)
    logs = dict(zip(looked_at.tolist(), corrections.tolist(), strict=True)) if head.settings.logq else None
    expected = naive(head, images, batch, looked_at.tolist(), logs)
    result = head({"image": images}, batch)
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-7)
    assert result.metrics["sampled"] == 7
    (of_images, of_weight), theirs = gradients(head, result.loss, images), gradients(head, expected, images)
    torch.testing.assert_close(of_images, theirs[0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(of_weight, theirs[1], rtol=1e-6, atol=1e-9)


def test_sampled_gradient_is_sparse_over_the_rows_it_looked_at():
    images, batch = a_batch()
    head = a_head(implementation="sampled", sample_rate=0.3)
    head({"image": images}, batch).loss.backward()
    assert head.weight.grad.is_sparse
    rows = head.weight.grad.coalesce().indices()[0]
    own = batch["labels"][(batch["labels"] >= 0) & (batch["labels"] < CLASSES)].unique()
    assert len(rows) < CLASSES
    assert set(own.tolist()) <= set(rows.tolist())
    assert rows.tolist() == sorted(set(rows.tolist()))


@pytest.mark.parametrize("changed", [{}, {"margin_type": "arcface", "margin": 0.5}, {"sub_centers": 2}])
def test_gradcheck(changed):
    images, batch = a_batch(rows=5, classes=11, dim=4)
    head = a_head(classes=11, dim=4, scale=8.0, chunk=4, **changed)

    def loss(images, weight):
        return torch.func.functional_call(head, {"weight": weight}, ({"image": images}, batch)).loss

    assert torch.autograd.gradcheck(loss, (images, head.weight))


@pytest.mark.parametrize("theirs", ["cosface", "arcface"])
def test_equals_pytorch_metric_learning(theirs):
    images, _ = a_batch(rows=32)
    labels = torch.arange(32) % CLASSES
    head = a_head(margin_type=theirs, margin=0.4, scale=30.0)
    peer = (
        CosFaceLoss(CLASSES, DIM, margin=0.4, scale=30.0)
        if theirs == "cosface"
        else ArcFaceLoss(CLASSES, DIM, margin=math.degrees(0.4), scale=30.0)
    )
    peer.W = torch.nn.Parameter(head.weight.detach().T.clone())
    expected = peer(images, labels)
    result = head({"image": images}, {"labels": labels[:, None]})
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-6)
    of_images, of_peer = torch.autograd.grad(expected, [images, peer.W])
    ours = gradients(head, result.loss, images)
    # They normalise the images once more, so their gradient has no part along them.
    along = (ours[0] * images).sum(1, keepdim=True)
    torch.testing.assert_close(ours[0] - along * images, of_images, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours[1], of_peer.T, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("margin", [cosface, arcface])
def test_margin_slopes_are_the_derivatives_and_positive_past_pi(margin):
    cosine = torch.linspace(-0.999, 0.999, 201, dtype=torch.float64, requires_grad=True)
    value, slope = margin(cosine, 0.5)
    angle = torch.acos(cosine.detach())
    expected = (
        cosine - 0.5
        if margin is cosface
        else torch.where(angle < math.pi - 0.5, torch.cos(angle + 0.5), cosine - 0.5 * math.sin(0.5))
    )
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope, torch.autograd.grad(value.sum(), cosine)[0])
    assert (slope > 0).all()
    assert margin(torch.ones(1), 0.5)[1].isfinite().all()


@given(
    order=strategies.permutations(range(3)),
    rows=strategies.permutations(range(9)),
    padding=strategies.lists(strategies.sampled_from([-1, -7, CLASSES, 10**9]), max_size=3),
)
@settings(max_examples=20, deadline=None)
def test_order_and_padding_of_labels_change_nothing(order, rows, padding):
    images, batch = a_batch()
    head = a_head(label_weights="score")
    expected = head({"image": images}, batch).loss
    order, rows = list(order), list(rows)
    extra = torch.tensor(padding, dtype=torch.int64).expand(9, -1)
    changed = {
        "labels": torch.cat([batch["labels"][rows][:, order], extra], 1),
        "label_weights": torch.cat([batch["label_weights"][rows][:, order], torch.ones(extra.shape)], 1),
    }
    assert head({"image": images[rows]}, changed).loss.item() == pytest.approx(expected.item(), rel=1e-12)


def test_rows_without_labels_do_not_count_and_none_at_all_gives_zero():
    images, batch = a_batch()
    head = a_head()
    with_label = (((batch["labels"] >= 0) & (batch["labels"] < CLASSES)).any(1)).nonzero().flatten()
    fewer = head({"image": images[with_label]}, {"labels": batch["labels"][with_label]}).loss
    assert len(with_label) < 9
    assert head({"image": images}, batch).loss.item() == pytest.approx(fewer.item(), rel=1e-12)
    nothing = head({"image": images}, {"labels": torch.full((9, 2), -1)}).loss
    assert nothing.item() == 0
    assert all((gradient == 0).all() for gradient in gradients(head, nothing, images))


def test_a_label_of_weight_zero_is_neither_target_nor_negative():
    images = a_batch()[0].detach()[:1].requires_grad_()
    head = a_head(label_weights="score")
    loss = head({"image": images}, {"labels": torch.tensor([[3, 5]]), "label_weights": torch.tensor([[1.0, 0.0]])}).loss
    of_weight = gradients(head, loss, images)[1]
    assert (of_weight[5] == 0).all()
    assert (of_weight[3] != 0).any()


def test_one_class_and_a_label_given_twice():
    images, _ = a_batch(rows=4)
    assert a_head(classes=1)({"image": images}, {"labels": torch.zeros(4, 1, dtype=torch.int64)}).loss.item() == 0
    head = a_head()
    once, twice = (head({"image": images}, {"labels": torch.full((4, n), 2)}).loss for n in (1, 2))
    assert once.item() == pytest.approx(twice.item(), rel=1e-12)
    for ours, theirs in zip(gradients(head, once, images), gradients(head, twice, images), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_half_precision_embeddings_and_autocast_are_computed_in_float32():
    images, batch = a_batch(dtype=torch.float32)
    head = a_head(dtype=torch.float32)
    expected = head({"image": images}, batch).loss
    with torch.autocast("cpu", torch.bfloat16):
        loss = head({"image": images}, batch).loss
        loss.backward()
    assert loss.dtype == torch.float32
    assert loss.item() == expected.item()
    assert head({"image": images.bfloat16()}, batch).loss.dtype == torch.float32


def test_huge_scale_stays_finite():
    images, batch = a_batch(dtype=torch.float32)
    head = a_head(dtype=torch.float32, scale=1000.0, margin=0.9)
    loss = head({"image": images}, batch).loss
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(head, loss, images))


def test_class_vectors_start_where_they_are_told_and_others_at_random():
    head = MarginSoftmax(3, 4, MarginSoftmaxSettings(sub_centers=2), seed=0)
    before = head.weight.detach().clone()
    vectors = torch.tensor([[1.0, 2, 3, 4], [0, 0, 0, 0], [0, 0, 0, 5]])
    head.start_at(vectors)
    assert torch.equal(head.weight[[0, 2], :4], vectors[[0, 2]])
    assert torch.equal(head.weight[1], before[1])
    assert torch.equal(head.weight[:, 4:], before[:, 4:])
    assert head.weight.requires_grad


def test_metrics():
    head = a_head()
    labels = torch.tensor([[4], [9], [2], [-1]])
    rows = torch.tensor([4, 9, 7, 1])
    images = normalize(head.weight.detach()[rows], dim=1)
    metrics = head({"image": images}, {"labels": labels}).metrics
    assert metrics["accuracy"].item() == pytest.approx(2 / 3)
    cosine = (images[:3] * normalize(head.weight.detach()[labels[:3, 0]], dim=1)).sum(1).mean()
    assert metrics["target_cosine"].item() == pytest.approx(cosine.item())


def test_accuracy_of_frequent_and_rare_classes_apart():
    counts = torch.tensor([5, 1, 9, 5, 2, 7, 1])
    assert thirds_by_count(counts).tolist() == [0, 2, 0, 1, 1, 0, 2]
    head = MarginSoftmax(7, DIM, MarginSoftmaxSettings(implementation="exact"), seed=0, counts=counts)
    images = normalize(head.weight.detach()[[2, 5, 1, 3]], dim=1)
    metrics = head({"image": images}, {"labels": torch.tensor([[2, -1], [-1, 5], [0, 6], [-1, -1]])}).metrics
    assert metrics["accuracy/head"].item() == pytest.approx(2 / 3)
    assert metrics["accuracy"].item() == pytest.approx(2 / 3)
    assert not {"accuracy/middle", "accuracy/tail"} & set(metrics)
    assert "thirds" not in head.state_dict()


def gradient_cosines(logq):
    """Of the sampled gradient (a tenth of 40,000 classes) to the full one, at images and at rows.

    Each image lies near its class, as after some training; the corrected sum then weighs against the target.
    """
    classes, dim, generator = 40_000, 128, torch.Generator().manual_seed(5)
    sampled = a_head(
        classes, dim, dtype=torch.float32, implementation="sampled", sample_rate=0.1, logq=logq, chunk=10_000
    )
    full = a_head(classes, dim, dtype=torch.float32, chunk=10_000)
    labels = torch.randint(classes, (256, 1), generator=generator)
    near = normalize(full.weight.detach()[labels[:, 0]], dim=1) + torch.randn(256, dim, generator=generator) * 0.14
    images, found = normalize(near, dim=1).requires_grad_(), []
    for head in (full, sampled):
        found.append(gradients(head, head({"image": images}, {"labels": labels}).loss, images))
    return [
        torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0).item()
        for ours, theirs in zip(*found, strict=True)
    ]


def test_logq_brings_the_sampled_gradient_nearer_to_the_full_one():
    for corrected, plain in zip(gradient_cosines(True), gradient_cosines(False), strict=True):
        assert corrected > plain
        assert corrected > 0.9


def test_draws_are_unique_sorted_uniform_and_their_probabilities_right():
    counts, weighted = torch.zeros(30), torch.zeros(30)
    for seed in range(4000):
        drawn, log_probability = draw_classes(30, 13, seeded(seed))
        assert drawn.tolist() == sorted(set(drawn.tolist()))
        counts[drawn] += 1
        weighted[drawn] += (-log_probability).exp()
    assert len(drawn) == 13
    assert (counts / 4000 - 13 / 30).abs().max() < 0.04
    assert (weighted / 4000 - 1).abs().max() < 0.1


@given(classes=strategies.integers(1, 300), share=strategies.floats(0.01, 1), seed=strategies.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_draws_stay_in_range_and_join_with_the_batch(classes, share, seed):
    count = sample_size(classes, share, 3)
    drawn, log_probability = draw_classes(classes, count, seeded(seed))
    assert len(set(drawn.tolist())) == count
    certain = torch.randint(classes, (5,), generator=seeded(seed)).unique()
    joined, logs = join_classes(drawn, log_probability, certain)
    assert joined.tolist() == sorted({*drawn.tolist(), *certain.tolist()})
    assert (logs[torch.isin(joined, certain)] == 0).all()


def test_sampling_follows_seed_and_step_and_evaluation_looks_at_all():
    images, batch = a_batch()
    head, again = (a_head(implementation="sampled", sample_rate=0.3) for _ in range(2))
    first, second = (head({"image": images}, batch).loss.item() for _ in range(2))
    assert first != second
    again.load_state_dict({"weight": head.weight.detach(), "step": torch.tensor(1)})
    assert again({"image": images}, batch).loss.item() == second
    again.eval()
    assert again({"image": images}, batch).loss.item() == pytest.approx(naive(head, images, batch).item())
    assert again.step == 2


class Largest(TorchDispatchMode):
    """Remembers the largest number of elements that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        returned = function(*args, **(kwargs or {}))
        for tensor in returned if isinstance(returned, tuple | list) else [returned]:
            if isinstance(tensor, torch.Tensor) and not tensor.is_sparse and not function.is_view:
                self.elements = max(self.elements, tensor.numel())
        return returned


@pytest.mark.parametrize(
    ("changed", "most"),
    [
        # The dense gradient is all that is as large as the weight; batch × classes would be 512,000.
        ({"implementation": "exact", "chunk": 200}, 8000 * 16),
        ({"implementation": "sampled", "sample_rate": 0.02}, 20_000),
    ],
)
def test_nothing_of_forbidden_size_is_ever_held(changed, most):
    images, batch = a_batch(rows=64, labels=1, classes=8000, dim=16, dtype=torch.float32)
    head = a_head(classes=8000, dim=16, dtype=torch.float32, **changed)
    with Largest() as largest:
        head({"image": images}, batch).loss.backward()
    assert 0 < largest.elements <= most


def test_initial_rows_depend_on_seed_and_row_alone():
    small, large = a_head(classes=1100), a_head(classes=3000)
    assert torch.equal(small.weight, large.weight[:1100])
    assert not torch.equal(small.weight, a_head(classes=1100, seed=1).weight)
    assert large.sharded_parameters() == {"weight": 3000}
    assert large.weight.norm(dim=1).mean().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"implementation": "fast"},
        {"margin_type": "sphere"},
        {"label_weights": "all"},
        {"scale": 0},
        {"sample_rate": 0},
        {"chunk": 0},
        {"sub_centers": 0},
        {"negative_filter": 2},
    ],
)
def test_wrong_settings_are_named(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        a_head(**wrong)


def test_shapes_that_do_not_fit_are_refused():
    images, batch = a_batch()
    with pytest.raises(ValueError, match="must be"):
        a_head()({"image": images[:3]}, batch)
    with pytest.raises(UsageError, match="no class"):
        a_head(classes=0)


@pytest.mark.parametrize("changed", [{}, {"sub_centers": 3}, {"chunk": 100, "margin_type": "arcface", "margin": 0.5}])
@pytest.mark.parametrize("implementation", ["exact", "sampled"])
def test_prefixes_of_embeddings_meet_prefixes_of_class_vectors(implementation, changed):
    images, batch = a_batch(dim=4)
    head = a_head(implementation=implementation, sample_rate=1.0, **changed)
    short = a_head(dim=4, implementation="exact", **changed)
    centers = head.weight.detach().view(CLASSES, -1, DIM)
    short.weight.data.copy_(centers[:, :, :4].reshape(CLASSES, -1))
    expected = naive(short, images, batch)
    result = head({"image": images}, batch)
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    (of_images, of_weight), theirs = gradients(head, result.loss, images), gradients(short, expected, images)
    torch.testing.assert_close(of_images, theirs[0])
    of_centers = of_weight.view(CLASSES, -1, DIM)
    torch.testing.assert_close(of_centers[:, :, :4].reshape(CLASSES, -1), theirs[1])
    assert not of_centers[:, :, 4:].any()


@pytest.mark.parametrize("changed", [{}, {"implementation": "sampled", "sample_rate": 1.0}, {"label_weights": "score"}])
def test_a_text_is_of_its_first_label_alone(changed):
    images, batch = a_batch()
    texts = a_batch(seed=5)[0]
    head = a_head(**{"texts": 0.7, **changed})
    first = {"labels": batch["labels"][:, :1], "label_weights": torch.ones(len(texts), 1)}
    expected = naive(head, images, batch) + 0.7 * naive(head, texts, first)
    result = head({"image": images, "text": texts}, batch)
    assert result.loss.item() == pytest.approx(expected.item(), rel=1e-12)
    inputs = [images, texts, head.weight]
    for ours, theirs in zip(
        torch.autograd.grad(result.loss, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        torch.testing.assert_close(ours.to_dense(), theirs, rtol=1e-10, atol=1e-12)


def test_forced_negatives_are_scored_in_any_case():
    images, batch = a_batch()
    head = a_head(implementation="sampled", sample_rate=0.05, logq=False)
    batch["hard_class"] = torch.tensor([7, 8, -1, CLASSES, 9, 7, 7, 7, 7])
    drawn, _ = draw_classes(CLASSES, 2, seeded(0, 0, 1))
    own = batch["labels"][(batch["labels"] >= 0) & (batch["labels"] < CLASSES)]
    looked_at = sorted({*drawn.tolist(), *own.tolist(), 7, 8, 9})
    assert {7, 8, 9} - {*drawn.tolist(), *own.tolist()}
    result = head({"image": images}, batch)
    assert result.loss.item() == pytest.approx(naive(head, images, batch, looked_at).item(), rel=1e-7)
    result.loss.backward()
    assert head.weight.grad.coalesce().indices()[0].tolist() == looked_at
