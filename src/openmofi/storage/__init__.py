"""Files: shards, manifests, atomic writes, fsspec paths. Knows nothing of what a row means."""

from openmofi.storage.addresses import require_local
from openmofi.storage.atomic import (
    atomic_path,
    exists,
    locked,
    make_folder,
    read_arrow,
    read_parquet,
    write_arrow,
    write_bytes,
    write_json,
    write_table,
    write_text,
)
from openmofi.storage.claiming.claims import Outputs, claimed, written_together
from openmofi.storage.fingerprints.fingerprint import digits64, fingerprint, hash64
from openmofi.storage.manifest import (
    Manifest,
    claim_folder,
    finish_manifest,
    package_versions,
    read_manifest,
    require_claimable,
)
from openmofi.storage.shards import Shard, expand_shards, file_fingerprint
from openmofi.storage.typed_json import as_type, parse_json, read_json

__all__ = [
    "Manifest",
    "Outputs",
    "Shard",
    "as_type",
    "atomic_path",
    "claim_folder",
    "claimed",
    "digits64",
    "exists",
    "expand_shards",
    "file_fingerprint",
    "fingerprint",
    "finish_manifest",
    "hash64",
    "locked",
    "make_folder",
    "package_versions",
    "parse_json",
    "read_arrow",
    "read_json",
    "read_manifest",
    "read_parquet",
    "require_claimable",
    "require_local",
    "write_arrow",
    "write_bytes",
    "write_json",
    "write_table",
    "write_text",
    "written_together",
]
