from .addresses import (
    filesystem_of as filesystem_of,
    is_remote as is_remote,
    open_address as open_address,
    require_local as require_local,
)
from .atomic import (
    atomic_path as atomic_path,
    exists as exists,
    locked as locked,
    make_folder as make_folder,
    read_arrow as read_arrow,
    read_parquet as read_parquet,
    remove_leftovers as remove_leftovers,
    write_arrow as write_arrow,
    write_bytes as write_bytes,
    write_error as write_error,
    write_json as write_json,
    write_table as write_table,
    write_text as write_text,
)
from .claims import Outputs as Outputs, claimed as claimed, written_together as written_together
from .copies import cache_folder as cache_folder
from .digests import (
    TABLES as TABLES,
    digits64 as digits64,
    file_digest as file_digest,
    fingerprint as fingerprint,
    hash64 as hash64,
)
from .manifest import (
    MANIFEST as MANIFEST,
    Manifest as Manifest,
    claim_folder as claim_folder,
    finish_manifest as finish_manifest,
    package_versions as package_versions,
    read_manifest as read_manifest,
    require_claimable as require_claimable,
)
from .shards import Shard as Shard, expand_shards as expand_shards, file_fingerprint as file_fingerprint
from .table_files import read_table_blocks as read_table_blocks, table_blocks as table_blocks
from .typed_json import as_type as as_type, parse_json as parse_json, read_json as read_json
