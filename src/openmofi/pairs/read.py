"""Reads shards of every kind."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from typing import IO, Any

from openmofi.engine import Engine, Job, Progress, Quiet, WorkFactory
from openmofi.errors import OpenMofiError, UsageError
from openmofi.pairs.read_settings import ReadSettings, open_source, report_damage
from openmofi.schema import Pair
from openmofi.storage import TABLES, Shard, filesystem_of
from openmofi.storage.addresses import in_object_store
from openmofi.storage.digests import digits_of
from openmofi.storage.layouts import TARS
from openmofi.storage.shards import take_fingerprints


def read_pairs(
    shard: Shard, settings: ReadSettings = ReadSettings(), *, paths_only: bool = False, texts: bool = False
) -> Iterator[Pair]:
    """Yield the pairs of a shard in its order, streaming; nothing is dropped, `status` says what cannot be used.

    Every string that comes out is valid UTF-8 and can go into an Arrow table. Where several things are wrong, the
    status is the first of: duplicate key, image, text.

    Args:
        shard: of any kind.
        settings: how it is read.
        paths_only: where images are files of their own, an image's content is its path (as of `os.fsencode`), and no
            image is opened.
        texts: with `paths_only`, read the texts beside images all the same.

    Raises:
        OpenMofiError: the shard does not exist, is of an unknown kind, or damaged; see `read_tar`, `read_parquet`,
            `read_folder`. Whatever else a reader raises is damage too. Its fingerprint was taken before, and is another
            now: of an object that is fetched whole before its first pair, else at the end.
        OSError: reading failed on the way; trying again may help.
    """
    try:
        yield from _rows(shard, settings, paths_only, texts)
    except (OpenMofiError, OSError, MemoryError):
        raise
    except Exception as error:  # a library's, on bytes that nobody has thought of: the other shards go on
        report_damage(f"{shard.path} cannot be read any further ({type(error).__name__}: {error}).", settings, error)
    # What was read goes into tables that are named by the fingerprint; they appear after the last pair.
    if not (in_object_store(shard.path) and shard.path.endswith(_FETCHED)):
        shard.require_unchanged()


_FETCHED = (*TARS, ".parquet")


def _opened(shard: Shard, path: str) -> IO[bytes]:
    file = open_source(path)
    if in_object_store(path):
        # A look at what has come spares the store a request, and sees what changed while it came.
        shard.require_unchanged(digits_of(file))
        file.seek(0)
    return file


def _rows(shard: Shard, settings: ReadSettings, paths_only: bool, texts: bool) -> Iterator[Pair]:
    path, opening = shard.path, partial(_opened, shard)
    # A reader is imported where a shard is of its kind.
    if path.endswith(TARS):
        from openmofi.pairs.formats.tar import read_tar

        return read_tar(path, settings, opening)
    if path.endswith(".parquet"):
        from openmofi.pairs.formats.parquet import read_parquet

        return read_parquet(path, settings, opening, paths_only=paths_only)
    if path.endswith(".json"):
        from openmofi.pairs.formats.listings import read_listing

        return read_listing(path, settings, paths_only=paths_only)
    from openmofi.pairs.formats.folder import read_folder, read_table

    if path.endswith(TABLES):
        return read_table(path, settings, paths_only=paths_only)
    filesystem, root = filesystem_of(path)
    if not filesystem.isdir(root):
        raise UsageError(
            f"{path} is not a shard that can be read.",
            f"Give {', '.join(TARS)}, .parquet, {', '.join(TABLES)}, .json of COCO or FiftyOne, or a folder.",
        )
    return read_folder(path, settings, paths_only=paths_only, texts=texts)


def job_of(shards: Sequence[Shard], settings: ReadSettings, device: str, carried: Any) -> Job:
    """Describe a job over shards of pairs, by which an engine is chosen; damaged shards count 0. See `Job`."""

    def readable(shard: Shard) -> Iterator[Pair]:
        with suppress(OpenMofiError, OSError):  # `read_pairs` raises no other; the shard's own task says so
            yield from read_pairs(shard, settings)

    return Job(device, lambda most: sum(1 for _ in islice(chain.from_iterable(map(readable, shards)), most)), carried)


def identify(shards: Sequence[Shard], engine: Engine, job: Job, progress: Progress) -> None:
    """Take the fingerprints of a job's shards, on its engine where they are many: they say whether there is anything
    to do, before the job has its place. All is read that was not read before, which `progress` shows where it is much.

    Raises:
        OpenMofiError: a shard cannot be read.
    """

    def run(factory: WorkFactory, tasks: Sequence[Any]) -> list[dict[str, Any]]:
        progress.begin("check", len(tasks))
        with engine.suited(job, Quiet()).session() as session:
            return session.run(factory, tasks, progress)

    def watch(fingerprints: Iterator[str], total: int) -> Iterator[str]:
        progress.begin("check", total)
        for fingerprint in fingerprints:
            yield fingerprint
            progress.advance({})

    take_fingerprints(shards, run, watch)
