"""What the front door takes as `**changes`; made of the fields of settings by tools/changes.py."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from openmofi.config import Settings

class BuildDatasetChanges(TypedDict, total=False):
    min_images: int
    max_images: int | None
    near_duplicates: int | None
    max_images_by: Literal["random", "probability", "metaclip"]
    semantic_duplicates: float | None

class BuildIndexChanges(TypedDict, total=False):
    text_column: str | Sequence[str]
    image_column: str | Sequence[str]
    key_column: str | Sequence[str]
    image_root: str
    encoding: str

class BuildKbChanges(TypedDict, total=False):
    candidates: int
    id_column: str
    name_column: str
    description_column: str
    types_column: str
    popularity_column: str
    aliases_column: str
    encoding: str
    tables: Mapping[str, Any] | Settings

class CheckPairsChanges(TypedDict, total=False):
    max_text_chars: int
    max_image_bytes: int
    on_damage: Literal["stop", "keep"]
    max_unpack_ratio: int
    text_column: str | Sequence[str]
    image_column: str | Sequence[str]
    key_column: str | Sequence[str]
    url_column: str | Sequence[str]
    image_root: str
    encoding: str

class CompareEncodersChanges(TypedDict, total=False):
    detector: str
    linker: str
    max_candidates: int
    boilerplate: bool
    read_text: bool
    template: str
    batch_size: int
    max_image_pixels: int
    max_text_chars: int
    max_image_bytes: int
    on_damage: Literal["stop", "keep"]
    max_unpack_ratio: int
    text_column: str | Sequence[str]
    image_column: str | Sequence[str]
    key_column: str | Sequence[str]
    url_column: str | Sequence[str]
    image_root: str
    encoding: str
    seed: int
    text: Mapping[str, Any] | Settings
    selection: Mapping[str, Any] | Settings
    read: Mapping[str, Any] | Settings

class ExplainChanges(TypedDict, total=False):
    detector: str
    linker: str
    max_candidates: int
    boilerplate: bool
    read_text: bool
    template: str
    threshold: float
    top_k: int
    sibling_margin: float
    selection: Mapping[str, Any] | Settings

class ExportChanges(TypedDict, total=False):
    format: str
    precision: Literal["fp32", "bf16", "int8"]
    max_loss: float

class ExportDatasetChanges(TypedDict, total=False):
    images: Literal["auto", "embed", "reference"]
    min_probability: float
    licence: str

class FetchChanges(TypedDict, total=False):
    shard_size: int
    url_column: str
    text_column: str
    license_column: str
    creator_column: str
    keep_columns: Sequence[str]
    encoding: str
    max_bytes: int
    ignore_robots: bool
    allow_noai: bool
    allow_private: bool
    user_agent: str
    concurrency: int
    per_host: int
    host_interval: float
    connect_timeout: float
    read_timeout: float
    timeout: float
    retries: int

class LabelChanges(TypedDict, total=False):
    detector: str
    linker: str
    max_candidates: int
    boilerplate: bool
    read_text: bool
    template: str
    threshold: float
    target_precision: float | None
    confidence: float | None
    trust_anyway: bool
    top_k: int
    sibling_margin: float
    judge: str
    judge_model: str
    judge_questions: int
    adapt: bool
    rescue: bool
    batch_size: int
    max_image_pixels: int
    max_text_chars: int
    max_image_bytes: int
    on_damage: Literal["stop", "keep"]
    max_unpack_ratio: int
    text_column: str | Sequence[str]
    image_column: str | Sequence[str]
    key_column: str | Sequence[str]
    url_column: str | Sequence[str]
    image_root: str
    encoding: str
    seed: int
    text: Mapping[str, Any] | Settings
    selection: Mapping[str, Any] | Settings
    asking: Mapping[str, Any] | Settings
    read: Mapping[str, Any] | Settings

class RecogniseChanges(TypedDict, total=False):
    limit: int
    batch_size: int
    max_image_pixels: int
    on_damage: Literal["stop", "keep"]
    max_unpack_ratio: int
    text_column: str | Sequence[str]
    image_column: str | Sequence[str]
    key_column: str | Sequence[str]
    image_root: str
    encoding: str
    unnamed: float
    read: Mapping[str, Any] | Settings

class ReinforceChanges(TypedDict, total=False):
    augmentations: int
    captions: int
    precision: Literal["fp16", "bf16", "int8"]
    size: int
    captioner: str
    batch_size: int
    seed: int
    entity_scores: int
