"""Encoders on the image boards of `mteb` (MIEB, arXiv 2504.10471), and its results as ours.

mteb brings tasks, data and measures; it downloads its data from the Hugging Face hub. `as_mteb` makes an encoder
what mteb calls one; `run_tasks` runs tasks and returns a `Result` for each, which `openmofi eval compare` reads.
An input of image and text is embedded as the sum of both, as mteb's own wrappers of CLIP do.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openmofi.arrays import Floats
from openmofi.encoders import Encoder, normalised
from openmofi.errors import OpenMofiError, UsageError, install_command
from openmofi.evaluation.result import Result, write_result
from openmofi.storage import package_versions


def as_mteb(encoder: Encoder) -> Any:
    """Wrap an encoder as mteb's `EncoderProtocol`, with its metadata.

    Raises:
        UsageError: mteb is not installed, or the encoder has no joint space, nor features that compare.
    """
    meta_class, base = _mteb_classes()

    class Adapter(base):  # type: ignore[misc, valid-type]  # mteb is imported when it is used
        """Calls the encoder; similarities are the base's, by cosine."""

        def __init__(self) -> None:
            self.model = encoder
            self.mteb_model_meta = _metadata(meta_class, encoder)

        def encode(self, inputs: Any, **_: Any) -> Floats:
            """Batches with `image` or `text`, or both → (n, d) float32, L2-normalised."""
            return np.concatenate([_embedded(encoder, batch) for batch in inputs])

    return Adapter()


def _embedded(encoder: Encoder, batch: Mapping[str, Any]) -> Floats:
    sides = []
    if "image" in batch:
        pixels = encoder.batch([encoder.preprocess(image.convert("RGB")) for image in batch["image"]])
        features = encoder.image_features(pixels)
        sides.append(encoder.project_images(features) if encoder.has_joint_space else normalised(features))
    if "text" in batch:
        if not encoder.has_texts:
            raise UsageError(
                f"The task has texts, and the encoder {encoder.spec!r} embeds none.",
                "Choose tasks of images alone, or an image–text encoder.",
            )
        sides.append(encoder.embed_texts(list(batch["text"])))
    if not sides:
        raise OpenMofiError(f"The task has inputs of {', '.join(batch)}; images and texts can be embedded.")
    return np.asarray(normalised(np.sum(sides, axis=0, dtype=np.float32)), np.float32)


def _metadata(meta_class: Any, encoder: Encoder) -> Any:
    dim = encoder.dim if encoder.has_joint_space else encoder.feature_dim
    return meta_class(
        loader=None,
        name=f"openmofi/{encoder.spec.replace('/', '--')}",
        revision=encoder.fingerprint,
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets=None,
        modalities=["image", "text"] if encoder.has_texts else ["image"],
    )


def run_tasks(
    encoder: Encoder, tasks: Sequence[Any], *, out: str | Path | None = None, batch_size: int = 32
) -> list[Result]:
    """Run tasks of mteb.

    Args:
        encoder: an open encoder.
        tasks: mteb's tasks, or names of tasks and benchmarks, e.g. `CIFAR10ZeroShot` or `MIEB(lite)`.
        out: folder for a JSON of each result; nothing is written without.
        batch_size: images or texts of a forward pass.

    Returns:
        A result for each task, split and language subset; the protocol is `mteb-TASK`, the headline mteb's main score.

    Raises:
        UsageError: mteb is not installed, a task is unknown, or the encoder cannot run it.
    """
    adapter = as_mteb(encoder)
    import mteb

    try:
        evaluated = mteb.evaluate(
            adapter, [*_tasks(tasks)], cache=None, show_progress_bar=False, encode_kwargs={"batch_size": batch_size}
        )
    except ValueError as error:
        # So mteb says that a task has inputs which the encoder does not take.
        raise UsageError(
            f"mteb cannot run {encoder.spec!r}: {error}", "Choose tasks of images alone, or an image–text encoder."
        ) from error
    results = [result for each in evaluated.task_results for result in results_of(each, encoder)]
    for result in results if out else ():
        write_result(str(out), result, None)
    return results


def _tasks(tasks: Sequence[Any]) -> Iterator[Any]:
    import mteb

    for task in tasks:
        if not isinstance(task, str):
            yield task
            continue
        try:
            yield from mteb.get_benchmark(task).tasks
        except (KeyError, ValueError):
            try:
                yield mteb.get_task(task)
            except (KeyError, ValueError) as error:
                raise UsageError(
                    f"mteb has no task or benchmark {task!r}.",
                    "Its lists: mteb available-tasks, mteb available-benchmarks.",
                ) from error


def results_of(task_result: Any, encoder: Encoder) -> list[Result]:
    """Convert a task's result to ours, one for each split and subset; scores that are no numbers are left out."""
    results = []
    for split, scores in task_result.scores.items():
        for of_subset in scores:
            subset = str(of_subset["hf_subset"])
            numbers = {
                name: float(value)
                for name, value in of_subset.items()
                if isinstance(value, int | float) and not isinstance(value, bool)
            }
            protocol = f"mteb-{task_result.task_name}"
            data = {
                "path": task_result.task_name,
                "fingerprint": str(task_result.dataset_revision),
                "split": split,
                "subset": subset,
            }
            results.append(
                Result(
                    protocol=protocol,
                    version=1,
                    metrics={f"{protocol}/{name}": value for name, value in numbers.items()},
                    intervals={},
                    encoder=encoder.describe(),
                    features={},
                    data=data,
                    settings={"split": split, "subset": subset, "mteb": str(task_result.mteb_version)},
                    counts={},
                    excluded={},
                    headline=f"{protocol}/main_score",
                    rule="As mteb handles them.",
                    interval_over="",
                    seconds={"protocol": round(float(task_result.evaluation_time or 0), 3)},
                    versions=package_versions(),
                )
            )
    return results


def _mteb_classes() -> tuple[Any, Any]:
    try:
        from mteb.models.abs_encoder import AbsEncoder
        from mteb.models.model_meta import ModelMeta
    except ImportError as error:
        raise UsageError(f"mteb cannot be imported ({error}).", f"Install it: {install_command('mteb')}") from error
    return ModelMeta, AbsEncoder
