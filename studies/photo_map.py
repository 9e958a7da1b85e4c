"""A map from texts to the features of photographs, in closed form, and its joint space with the sample world's heads.

ImageNet's classifier lies beside the backbone's weights: its 1,000 rows are prototypes of WordNet's synsets in the very
features that the backbone gives. A ridge regression from MiniLM's vectors of names and glosses to these prototypes,
and to those of hypernyms (the means of their descendants), says where the photographs of any other text would lie. No
photograph is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm

from openmofi.arrays import Array
from openmofi.encoders import Encoder, Head
from openmofi.encoders.encoder import Heads
from openmofi.encoders.folder import encoder_with_heads
from openmofi.plugins.encoders.backbones import imagenet_classes
from openmofi.plugins.starter.wordnet import Synset, read_nouns

RIDGE, HYPERNYM_WEIGHT, NAME_WEIGHT, DIM = 0.03, 0.25, 0.3, 384
"""Of squared errors; chosen by the photographs of benchmarks/photo.py, with a fifth of the classes at a time unseen."""
LIMIT, SLOPE, SHRINKAGE = 4.0, 2.0, 0.01
"""Of the gate, see `drawings_gate`: standard deviations of the world's drawings above their mean where both parts weigh
the same (one drawing in a hundred is above), log odds a deviation, and the part of the mean variance on the diagonal.
"""
LAST_LAYER = 1280
_MOST_DESCENDANTS = 400
_INFO = Path(timm.__file__).parent / "data/_info"


@dataclass(frozen=True)
class Concepts:
    """What the map learns.

    Attributes:
        names, glosses: (n,) texts: a synset's first lemma, and `lemma: definition`.
        prototypes: (n, 1280) float32, centred; of a class of unit length, of a hypernym the mean of its descendants'.
        weights: (n,) of their squared errors.
    """

    names: Sequence[str]
    glosses: Sequence[str]
    prototypes: Array
    weights: Array


@dataclass(frozen=True)
class PhotoMap:
    """Linear maps of both sides to one space of `k` dimensions, without their normalisation.

    Attributes:
        image: (k, 1280) of the backbone's last layer.
        text: (k, 384) of MiniLM's vectors.
        bias: (k,) added to texts.
    """

    image: Array
    text: Array
    bias: Array


def classes() -> tuple[list[str], list[str], list[str]]:
    """Return the ids (`n01440764`), first lemmas and definitions of ImageNet's 1,000 classes, in their order."""
    ids, said = (_INFO / "imagenet_synsets.txt").read_text("utf-8").split(), synsets()
    return ids, [said[each][0] for each in ids], [said[each][1] for each in ids]


def synsets() -> dict[str, tuple[str, str]]:
    """Return id → first lemma and definition of the 21,843 synsets that have images in ImageNet."""
    lemmas, definitions = (
        dict(line.split("\t", 1) for line in (_INFO / f"imagenet_synset_to_{part}.txt").read_text("utf-8").splitlines())
        for part in ("lemma", "definition")
    )
    return {each: (lemma.split(", ")[0], definitions[each]) for each, lemma in lemmas.items()}


def concepts(wordnet: str | Path, without: Collection[int] = ()) -> Concepts:
    """Return classes and their hypernyms.

    Args:
        wordnet: folder of WordNet's files, see `openmofi.plugins.starter.wordnet.read_nouns`.
        without: numbers of classes that are left out, hypernyms' means included.
    """
    _, names, definitions = classes()
    prototypes = imagenet_classes()
    prototypes = prototypes - prototypes.mean(0)
    prototypes /= np.linalg.norm(prototypes, axis=1, keepdims=True)
    kept = [number for number in range(len(names)) if number not in set(without)]
    nouns = {noun.id: noun for noun in read_nouns(wordnet)}
    above = _hypernyms(nouns, names, definitions, kept)
    texts = [(names[number], definitions[number]) for number in kept]
    texts += [(nouns[each].lemmas[0][0], nouns[each].definition) for each in above]
    means = [prototypes[members].mean(0) for members in above.values()]
    return Concepts(
        [name for name, _ in texts],
        [f"{name}: {definition}" for name, definition in texts],
        np.concatenate([prototypes[kept], np.stack(means)]),
        np.repeat(np.array([1.0, HYPERNYM_WEIGHT], np.float32), [len(kept), len(above)]),
    )


def _hypernyms(
    nouns: Mapping[str, Synset], names: Sequence[str], definitions: Sequence[str], kept: Sequence[int]
) -> dict[str, list[int]]:
    """Return id → the classes below; classes are found by lemma and definition, since versions have other offsets."""
    of_class = {(noun.lemmas[0][0].casefold(), noun.definition): noun.id for noun in nouns.values()}
    below: dict[str, list[int]] = {}
    for number in kept:
        ahead, seen = [of_class.get((names[number].casefold(), definitions[number]), "")], set[str]()
        while ahead:
            noun = nouns.get(ahead.pop())
            for relation, tail in noun.relations if noun else ():
                if relation in ("hypernym", "instance_hypernym") and tail not in seen:
                    seen.add(tail)
                    ahead.append(tail)
        for each in seen:
            below.setdefault(each, []).append(number)
    return {each: members for each, members in below.items() if 2 <= len(members) <= _MOST_DESCENDANTS}


def fit_map(known: Concepts, names: Array, glosses: Array, dim: int = DIM) -> PhotoMap:
    """Fit the map.

    Args:
        known: see `Concepts`.
        names, glosses: (n, 384) float32, MiniLM's vectors of its texts.
        dim: of the space; its axes are the principal ones of what the map makes of the glosses.
    """
    texts, weights = (
        np.concatenate([names, glosses]).astype(np.float64),
        np.concatenate([NAME_WEIGHT * known.weights, known.weights])[:, None],
    )
    targets = np.tile(known.prototypes, (2, 1))
    mean = (weights * texts).sum(0) / weights.sum()
    centred, goals = texts - mean, targets - (weights * targets).sum(0) / weights.sum()
    moments = (weights * centred).T @ centred + RIDGE * np.eye(texts.shape[1])
    mapping = np.linalg.solve(moments, (weights * centred).T @ goals)
    _, _, axes = np.linalg.svd((glosses - mean) @ mapping, full_matrices=False)
    text = axes[:dim] @ mapping.T
    return PhotoMap(axes[:dim].astype(np.float32), text.astype(np.float32), (-text @ mean).astype(np.float32))


def map_heads(fitted: PhotoMap, features: int) -> tuple[Head, Head]:
    """Return the map as heads on the backbones, whose images have so many `features`: the last layer's first."""
    dim, width = fitted.image.shape
    weight = np.zeros((dim, features), np.float32)
    weight[:, :width] = fitted.image
    return (
        Head({"weight": weight, "bias": np.zeros(dim, np.float32)}),
        Head({"weight": fitted.text, "bias": fitted.bias}),
    )


def joined_encoder(
    base: Encoder, world: tuple[Head, Head], fitted: PhotoMap, gate: tuple[Array, float], scale: float
) -> Encoder:
    """Return an encoder of two parts side by side: heads of the world's drawings, and the map.

    Args:
        base: the backbones.
        world: linear heads for images and texts.
        fitted: the map.
        gate: weights and bias of the log odds that the heads speak for an image, see `drawings_gate`.
        scale: factor on cosines.
    """
    first, second = world, map_heads(fitted, base.feature_dim)
    image = _side_by_side(first[0], second[0], *gate)
    text = _side_by_side(first[1], second[1], np.zeros(world[1].in_dim, np.float32), 0.0)
    return encoder_with_heads("photo", Heads(base, _rounded(image), _rounded(text), False), scale)


def drawings_gate(features: Array) -> tuple[Array, float]:
    """Return weights (k,) and bias of the log odds that an image is one of the kind of these (n, k).

    Photographs excite more of the backbone's last layer than drawings do. How much more is measured in the drawings'
    own spread: the sum of an image's activations, whitened by their covariance. No photograph is read.
    """
    values = features[:, :LAST_LAYER].astype(np.float64)
    covariance = np.cov(values.T)
    ridge = SHRINKAGE * np.trace(covariance) / LAST_LAYER
    direction = np.linalg.solve(covariance + ridge * np.eye(LAST_LAYER), np.ones(LAST_LAYER))
    sums = values @ direction
    weights = np.zeros(features.shape[1], np.float32)
    weights[:LAST_LAYER] = -SLOPE * direction / sums.std()
    return weights, SLOPE * (LIMIT + float(sums.mean() / sums.std()))


def narrowed(heads: tuple[Head, Head], texts: Array, dim: int) -> tuple[Head, Head]:
    """Return linear heads projected to the `dim` principal axes of the embeddings of (n, 384) vectors of texts."""
    embedded = _linear(heads[1], texts)
    embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
    _, _, axes = np.linalg.svd(embedded, full_matrices=False)
    image, text = (
        Head({name: axes[:dim] @ values for name, values in _without_statistics(head).parameters.items()})
        for head in heads
    )
    return image, text


def _linear(head: Head, features: Array) -> Array:
    plain = _without_statistics(head).parameters
    return np.asarray(features @ plain["weight"].T + plain["bias"], np.float32)


def _side_by_side(first: Head, second: Head, gate: Array, bias: float) -> Head:
    plain = [_without_statistics(head).parameters for head in (first, second)]
    parameters = {name: np.concatenate([each[name] for each in plain]) for name in ("weight", "bias")}
    parts = np.array([first.dim], np.float32)
    return Head({**parameters, "parts": parts, "gate": gate, "gate_bias": np.array([bias], np.float32)})


def _rounded(head: Head) -> Head:
    """The head with the precision of float16, so that a wheel compresses it to half."""
    return Head({name: values.astype(np.float16).astype(np.float32) for name, values in head.parameters.items()})


def _without_statistics(head: Head) -> Head:
    """The same linear head with its standardisation folded into weight and bias."""
    parameters = head.parameters
    if set(parameters) - {"weight", "bias", "mean", "std"}:
        raise ValueError("Only linear heads can be joined.")
    if "mean" not in parameters:
        return head
    weight = np.asarray(parameters["weight"] / parameters["std"], np.float32)
    return Head({"weight": weight, "bias": parameters["bias"] - weight @ parameters["mean"]})
