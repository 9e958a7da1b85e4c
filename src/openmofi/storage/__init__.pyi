from .addresses import require_local as require_local
from .atomic import (
    atomic_path as atomic_path,
    exists as exists,
    locked as locked,
    make_folder as make_folder,
    read_arrow as read_arrow,
    read_parquet as read_parquet,
    write_arrow as write_arrow,
    write_bytes as write_bytes,
    write_json as write_json,
    write_table as write_table,
    write_text as write_text,
)
from .claims import Outputs as Outputs, claimed as claimed, written_together as written_together
from .digests import digits64 as digits64, fingerprint as fingerprint, hash64 as hash64
from .manifest import (
    Manifest as Manifest,
    claim_folder as claim_folder,
    finish_manifest as finish_manifest,
    package_versions as package_versions,
    read_manifest as read_manifest,
    require_claimable as require_claimable,
)
from .shards import Shard as Shard, expand_shards as expand_shards, file_fingerprint as file_fingerprint
from .typed_json import as_type as as_type, parse_json as parse_json, read_json as read_json
