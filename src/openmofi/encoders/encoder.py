"""The one class of encoders: towers, whose features are kept, and light projections of these into the joint space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image

from openmofi.arrays import Array
from openmofi.encoders.arrays import batched, gathered, in_batches
from openmofi.encoders.companions import Companions
from openmofi.encoders.devices import RowLimit, autocast, check_precision, normalised_on
from openmofi.encoders.preprocess import ImageInput, Preprocessing, as_bytes, as_image, bounded, preprocess, several
from openmofi.encoders.probe import Probed, Side, require_distinct
from openmofi.errors import OpenMofiError, UsageError
from openmofi.storage import fingerprint
from openmofi.terminal import bar

if TYPE_CHECKING:
    from openmofi.encoders.heads import Head
    from openmofi.encoders.networks import Networks, OnArrays

BATCH = 64
_Projection = Callable[[Array], Array]
_OPENED: WeakValueDictionary[tuple[str, str, str, bool], Encoder] = WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class Heads:
    """Heads on a frozen encoder.

    Attributes:
        base: the encoder underneath.
        image, text: the heads; no text head after a training without texts.
        adapter: the heads' output is added to the base's embedding: normalise(e + head(e)).
    """

    base: Encoder
    image: Head
    text: Head | None
    adapter: bool


@dataclass(frozen=True, eq=False, repr=False)
class Encoder:
    """Embeds images and texts into one space; opened by `open_encoder`, or made of a user's object by `as_encoder`.

    It can be pickled: its pickle is its recipe (spec, device, precision and fingerprint). Unpickling opens it again and
    refuses an encoder of another fingerprint.

    Attributes:
        spec: how it was opened; for messages and manifests.
        fingerprint: names weights, preprocessing and projection; equal fingerprints give equal embeddings.
        feature_fingerprint: the same without the projection: names what `image_features` and `text_features` give.
        dim: of the joint space; 0 where it has none.
        feature_dim: of `image_features`.
        text_feature_dim: of `text_features`; 0 without a text side.
        logit_scale: the factor that its training put on cosines; `None` where it is unknown.
        preprocessing: see `Preprocessing`.
        image_tower: preprocessed images → features (n, feature_dim).
        text_tower: texts → features (n, text_feature_dim); `None` without a text side.
        image_projection, text_projection: features → joint space (n, dim), L2-normalised; `None` where there is none.
        device: `cpu`, `cuda`, `cuda:1` …
        precision: `fp32`, or `bf16` or `fp16` for autocast of the towers.
        compiles: whether its image tower is compiled, see `Encoder.compiled`.
        companions: what lies beside it on disk.
        networks: for export; `None` where it runs no network of PyTorch.
        heads: where it stands on another encoder.
        runs_graphs: whether an engine of graphs, such as ONNX Runtime, runs its towers, and not PyTorch.
        takes_images: its towers take PIL images, which `preprocess` only bounds to 4 megapixels.
        open_fold: opens a cross-fitted copy by its number; `None` where there are none.
        reopen: opens it again; can be pickled.
        exact: the same in fp32, where `precision` is another.
        calibrations: those that label jobs of this process fitted for it, by key; `openmofi.explain` finds them there.
        row_limit: images that its device holds at a time.
    """

    spec: str
    fingerprint: str
    feature_fingerprint: str
    dim: int
    feature_dim: int
    text_feature_dim: int
    logit_scale: float | None
    preprocessing: Preprocessing
    image_tower: Callable[[Any], Array]
    text_tower: Callable[[Sequence[str]], Array] | None
    image_projection: _Projection | None
    text_projection: _Projection | None
    device: str = "cpu"
    precision: str = "fp32"
    compiles: bool = False
    companions: Companions = Companions()
    networks: Networks | None = None
    heads: Heads | None = None
    runs_graphs: bool = False
    takes_images: bool = False
    open_fold: Callable[[int], Encoder] | None = None
    reopen: Callable[..., Encoder] | None = None
    exact: Encoder | None = None
    calibrations: dict[str, str | Path] = field(default_factory=dict)
    row_limit: RowLimit = field(default_factory=RowLimit)

    @property
    def has_joint_space(self) -> bool:
        """Whether it projects images; a pair of bare backbones does not."""
        return self.image_projection is not None

    @property
    def has_texts(self) -> bool:
        """Whether it compares images with texts."""
        return self.text_projection is not None

    def require_comparison(self) -> None:
        """Refuse, before long work, an encoder by which images cannot be compared with texts.

        Raises:
            OpenMofiError: it has no text side or no joint space, or embeds different texts or images alike.
        """
        self.project_texts(np.zeros((1, self.text_feature_dim), np.float32))
        self.project_images(np.zeros((1, self.feature_dim), np.float32))

    def require_distinct(self, side: Side) -> None:
        """Check that it embeds different images, or texts, differently, see `probe`.

        Raises:
            OpenMofiError: it does not, or gives values that are not finite.
        """
        texts = side == "texts"
        features = self.text_features if texts else self._features_of_images
        project = self.text_projection if texts else self.image_projection
        require_distinct(Probed(side, self.spec, self.fingerprint, self.feature_fingerprint, features, project))

    @property
    def normalises(self) -> bool:
        """Whether images go to its device as bytes and are normalised there, see `devices.normalised_on`."""
        return self.device != "cpu" and self.preprocessing.antialias and not (self.runs_graphs or self.takes_images)

    def preprocess(self, image: Image.Image) -> Any:
        """A PIL image → float32 (3, size, size), normalised; uint8 where the encoder `normalises`; the image, see
        `bounded`, where `takes_images`. Thread-safe.
        """
        if self.takes_images:
            return bounded(image)
        return as_bytes(image, self.preprocessing) if self.normalises else preprocess(image, self.preprocessing)

    def batch(self, preprocessed: Sequence[Any]) -> Any:
        """Results of `preprocess` → (n, 3, size, size) float32 or uint8; a list where it `takes_images`."""
        return list(preprocessed) if self.takes_images else np.stack(preprocessed)

    def image_features(self, pixels: Any) -> Array:
        """What `batch` gives, (n, 3, size, size) → the image tower's features, (n, feature_dim) float32, unnormalised.

        Raises:
            OpenMofiError: it embeds different images alike, see `probe`.
        """
        if len(pixels):
            self.require_distinct("images")
        with autocast(self.device, self.precision):
            return gathered(
                (self.row_limit.within(self._image_batch, batch) for batch in in_batches(pixels, BATCH)),
                self.feature_dim,
            )

    def text_features(self, texts: Sequence[str]) -> Array:
        """Texts → the text tower's features, float32 (n, text_feature_dim), in the order of `texts`.

        Each distinct text is encoded once.

        Raises:
            OpenMofiError: it has no text side, or embeds different texts alike, see `probe`.
        """
        if self.text_tower is None:
            raise self._lacks_texts()
        if len(texts):
            self.require_distinct("texts")
        with autocast(self.device, self.precision):
            return self.text_tower(list(texts))

    def project_images(self, features: Array) -> Array:
        """(n, feature_dim) → joint space, float32 (n, dim), L2-normalised.

        Raises:
            OpenMofiError: it has no joint space, or embeds different images alike.
        """
        if self.image_projection is None:
            raise self._lacks_space()
        if len(features):
            self.require_distinct("images")
        return self.image_projection(features)

    def project_texts(self, features: Array) -> Array:
        """(n, text_feature_dim) → joint space, float32 (n, dim), L2-normalised.

        Raises:
            OpenMofiError: it has no joint space, or no text side, or embeds different texts alike.
        """
        if self.text_projection is None:
            raise self._lacks_texts() if self.text_tower is None else self._lacks_space()
        if len(features):
            self.require_distinct("texts")
        return self.text_projection(features)

    def embed_texts(self, texts: str | Iterable[str], batch_size: int = 1024, progress: bool = False) -> Array:
        """Tokenise and embed a text, or several. Each distinct text is embedded once.

        Args:
            texts: one, or an iterable of them.
            batch_size: texts tokenised at a time; a tower takes at most 64 of these at once, of similar length.
            progress: draw a bar on standard error.

        Returns:
            float32 (n, dim), L2-normalised.

        Raises:
            UsageError: `batch_size` below 1.
            OpenMofiError: a text is not a `str`, or the encoder has no text side or no joint space.
        """
        if self.text_projection is None:
            self.project_texts(np.zeros((0, 0), np.float32))
        given = [texts] if isinstance(texts, str) else list(texts)
        for number, text in enumerate(given):
            if not isinstance(text, str):
                raise OpenMofiError(f"Text {number} is a {type(text).__name__}.", "Give texts as str.")
        ordered = sorted(set(given), key=lambda text: (len(text), text))
        with bar(ordered, "texts", progress) as shown:
            parts = batched(shown, batch_size)
            rows = gathered((self.project_texts(self.text_features(part)) for part in parts), self.dim)
        places = {text: row for row, text in enumerate(ordered)}
        return rows[[places[text] for text in given]]

    def embed_images(
        self, images: ImageInput | Iterable[ImageInput], batch_size: int = BATCH, progress: bool = False
    ) -> Array:
        """Decode, preprocess and embed images.

        Args:
            images: paths, encoded bytes, PIL images, uint8 arrays (height, width, 3), or an iterable of these.
            batch_size: images decoded at a time.
            progress: draw a bar on standard error.

        Returns:
            float32 (n, dim), L2-normalised.

        Raises:
            UsageError: `batch_size` below 1.
            OpenMofiError: an image cannot be read, or the encoder has no joint space.
        """
        if not self.has_joint_space:
            raise self._lacks_space()
        with bar(several(images), "images", progress) as shown:
            opened = (as_image(image, self.preprocessing, f"Image {row}") for row, image in enumerate(shown))
            parts = batched(map(self.preprocess, opened), batch_size)
            return gathered((self.project_images(self.image_features(self.batch(part))) for part in parts), self.dim)

    def fold(self, number: int) -> Encoder:
        """The cross-fitted copy `folds/NUMBER` beside it, over the same base object.

        Raises:
            OpenMofiError: it has no such fold, or the fold is damaged.
        """
        if self.open_fold is None:
            raise OpenMofiError(f"The encoder {self.spec!r} has no folds.", "Fit its heads with folds.")
        return self.open_fold(number).with_precision(self.precision)

    def with_precision(self, precision: str) -> Encoder:
        """The same encoder whose towers run in `precision`.

        Raises:
            UsageError: an unknown precision, or one that the encoder cannot run in.
        """
        check_precision(precision)
        if precision == self.precision:
            return self
        if self.exact is not None:
            return self.exact.with_precision(precision)
        if self.networks is None:
            raise UsageError(
                f"The encoder {self.spec!r} runs no network of PyTorch; precision {precision} needs one.", "Use fp32."
            )
        reopen = self.reopen and partial(_changed, self.reopen, "with_precision", precision)
        return replace(self._named_by(precision), precision=precision, reopen=reopen, exact=self)

    def compiled(self) -> Encoder:
        """The same encoder whose image tower `torch.compile` makes anew for this machine, at its first batch.

        It has the same fingerprints, since features differ by no more than those of another device do: by a thousandth
        of the greatest of them, in bf16 and fp16 by five hundredths, or they are refused (`UsageError`).

        Raises:
            UsageError: its image tower is no network of PyTorch.
        """
        if self.compiles:
            return self
        # By what it has: what was exported runs without PyTorch.
        if not hasattr(self.image_tower, "network"):
            raise UsageError(
                f"The encoder {self.spec!r} cannot be compiled: its image tower is no network of PyTorch.",
                "Leave out --compile.",
            )
        from openmofi.encoders.networks import CompiledTower

        reopen = self.reopen and partial(_changed, self.reopen, "compiled")
        return replace(
            self, image_tower=CompiledTower(cast("OnArrays", self.image_tower), self.spec), compiles=True, reopen=reopen
        )

    def with_preprocessing(self, preprocessing: Preprocessing) -> Encoder:
        """The same encoder that prepares images in another way; it cannot be sent to another process."""
        if preprocessing == self.preprocessing or self.takes_images:
            return self
        return replace(self._named_by(asdict(preprocessing)), preprocessing=preprocessing, reopen=None)

    def to(self, device: str) -> Encoder:
        """The same encoder on another device, opened there; itself where it is on that device.

        Raises:
            UsageError: an unknown device, or one that the encoder cannot run on.
        """
        if device == self.device or self.takes_images:
            return self
        if self.exact is not None:
            return self.exact.to(device).with_precision(self.precision)
        if self.reopen is None:
            raise UsageError(f"The encoder {self.spec!r} cannot be moved to {device}.", f"Use {self.device}.")
        return self.reopen(device=device)

    def describe(self) -> dict[str, Any]:
        """What identifies it and where it runs, as JSON values; `logit_scale` is `None` where it is unknown."""
        names = ("spec", "fingerprint", "feature_fingerprint", "dim", "feature_dim", "text_feature_dim")
        values = {name: getattr(self, name) for name in (*names, "logit_scale", "device", "precision", "compiles")}
        return values | {"preprocessing": asdict(self.preprocessing)}

    def __repr__(self) -> str:
        return f"Encoder({self.spec!r}, dim={self.dim}, device={self.device!r}, precision={self.precision!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.reopen is None:
            raise OpenMofiError(
                f"The encoder {self.spec!r} cannot be sent to another process.",
                "Open it with open_encoder or as_encoder.",
            )
        return _reopened, (self.reopen, self.spec, self.device, self.fingerprint, self.compiles)

    def _features_of_images(self, images: Sequence[Image.Image]) -> Array:
        return self.image_features(self.batch([self.preprocess(image) for image in images]))

    def _image_batch(self, pixels: Any) -> Array:
        if getattr(pixels, "dtype", None) == np.uint8:
            pixels = normalised_on(self.device, pixels, self.preprocessing)
        return self.image_tower(pixels)

    def _named_by(self, change: Any) -> Encoder:
        """Return a copy whose fingerprints say what was changed about it."""
        return replace(
            self,
            fingerprint=fingerprint([self.fingerprint, change]),
            feature_fingerprint=fingerprint([self.feature_fingerprint, change]),
        )

    def _lacks_texts(self) -> OpenMofiError:
        return OpenMofiError(
            f"The encoder {self.spec!r} is without texts: it embeds images only.",
            "Choose an image–text encoder, such as hf:FOLDER of a CLIP, or train one with a text tower (`model.text`).",
        )

    def _lacks_space(self) -> OpenMofiError:
        return OpenMofiError(
            f"The encoder {self.spec!r} is a pair of backbones without projection heads.",
            "Train heads first (`openmofi sample encoder`), or choose another encoder.",
        )


def _changed(reopen: Callable[..., Encoder], method: str, *arguments: str, **placed: str) -> Encoder:
    """Open an encoder again, perhaps on another `device`, and change it by one of its methods."""
    return getattr(reopen(**placed), method)(*arguments)


def _reopened(reopen: Callable[[], Encoder], spec: str, device: str, expected: str, compiles: bool) -> Encoder:
    """The encoder of a pickle: the one that this process has opened for an earlier pickle, as long as that is used."""
    if (opened := _OPENED.get((spec, device, expected, compiles))) is not None:
        return opened
    encoder = reopen()
    if encoder.fingerprint != expected:
        raise OpenMofiError(
            f"The encoder {encoder.spec!r} is not the same in this process: its fingerprint is "
            f"{encoder.fingerprint}, not {expected}.",
            "Put the same checkpoint on every machine, and leave it unchanged while a job runs.",
        )
    _OPENED[spec, device, expected, compiles] = encoder
    return encoder
