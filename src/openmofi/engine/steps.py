"""A job is a list of steps: each makes one file a shard, and does only what is missing.

The footer of a file holds a summary of it, so that the process that drives a job reads no rows.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Self, TypeVar

import msgspec

from openmofi.engine.loop import reason_of
from openmofi.engine.protocol import Engine, Progress, WorkFactory
from openmofi.errors import OpenMofiError
from openmofi.storage import Shard
from openmofi.storage.table_files import Footer, footers


class Summary(msgspec.Struct, frozen=True):
    """The summary of a file. Summaries add up field by field, lists of rows by their first column.

    Attributes:
        NOTE: names the note in the footer that holds a summary as JSON.
    """

    NOTE: ClassVar[str] = ""

    def __add__(self, other: Self) -> Self:
        mine, others = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return type(self)(*(_added(first, second) for first, second in zip(mine, others, strict=True)))

    def notes(self) -> dict[str, str]:
        """Return the note for the footer of a table."""
        return {self.NOTE: json.dumps(msgspec.to_builtins(self))}

    @classmethod
    def of(cls, footer: Footer | None) -> Self | None:
        """Read what `notes` wrote; return `None` where it is missing or damaged."""
        try:
            return msgspec.json.decode(footer.notes[cls.NOTE], type=cls) if footer else None
        except (KeyError, msgspec.DecodeError):
            return None


def _added(first: Any, second: Any) -> Any:
    if isinstance(first, dict):
        return {key: first.get(key, 0) + second.get(key, 0) for key in sorted({*first, *second})}
    if isinstance(first, list):
        rows = {key: values for key, *values in first}
        for key, *values in second:
            rows[key] = [a + b for a, b in zip(rows[key], values, strict=True)] if key in rows else values
        return [(key, *rows[key]) for key in sorted(rows)]
    return first + second


Noted = TypeVar("Noted", bound=Summary)
Said = Mapping[Shard, str | bytes]
"""What the files of shards say: `Summary` as JSON, a quarter of its memory."""


@dataclass(frozen=True)
class Step(Generic[Noted]):
    """A step of a job: the file that it makes of each shard.

    Attributes:
        name: for the progress.
        output: shard → path of its file, which appears when it is whole.
        run: opens what is heavy, once a worker, and makes the file of a shard.
        summary: the kind of summary that the file's footer holds.
    """

    name: str
    output: Callable[[Shard], str]
    run: WorkFactory
    summary: type[Noted]

    def summaries(self, shards: Sequence[Shard]) -> Iterator[Noted | None]:
        """Read what the file of each shard says; `None` where it is missing or was cut off."""
        return map(self.summary.of, footers([self.output(shard) for shard in shards]))

    def missing(self, shards: Sequence[Shard], take: Callable[[Shard, Noted], object] | None = None) -> list[Shard]:
        """Return the shards whose files have still to be made; `take` gets what the others' files say."""
        missing = []
        for shard, noted in zip(shards, self.summaries(shards), strict=True):
            if noted is None:
                missing.append(shard)
            elif take:
                take(shard, noted)
        return missing

    def finished(self, shards: Sequence[Shard], said: Mapping[Shard, str | bytes] = {}) -> Iterator[Noted]:
        """Read what the file of each shard says, but of those of which it has been said.

        Raises:
            OpenMofiError: one is missing or damaged.
        """
        others = self.summaries([shard for shard in shards if shard not in said])
        for shard in shards:
            noted = msgspec.json.decode(said[shard], type=self.summary) if shard in said else next(others)
            if noted is None:
                path = self.output(shard)
                raise OpenMofiError(f"{path} cannot be read.", "Start the same command again: it is made again.")
            yield noted


@dataclass(frozen=True)
class Running:
    """A job on an engine.

    Attributes:
        engine, progress: how it runs.
        failed: the shards that were set aside, and why.
    """

    engine: Engine
    progress: Progress
    failed: dict[Shard, Exception] = field(default_factory=dict)

    def do(self, name: str, factory: WorkFactory, tasks: Sequence[Any]) -> list[dict[str, Any]]:
        """Do every task, and return what they return; one that fails for good is an error."""
        self.progress.begin(name, len(tasks))
        return self.engine.run(factory, tasks, self.progress)

    def do_shards(self, name: str, factory: WorkFactory, shards: Sequence[Shard]) -> list[dict[str, Any]]:
        """Do every shard, and return what their tasks return; those that fail for good are set aside."""
        if not shards:
            return []
        self.progress.begin(name, len(shards))
        return self.engine.run(factory, shards, self.progress, self.failed.__setitem__)

    def complete(self, step: Step[Noted], shards: Sequence[Shard]) -> Iterator[Noted]:
        """Make the files that are missing, and read what those of all shards say that did not fail."""
        said: dict[Shard, str | bytes] = {}
        missing = step.missing(shards, lambda shard, noted: said.update({shard: msgspec.json.encode(noted)}))
        said |= self.said(step, missing, self.do_shards(step.name, step.run, missing))
        return step.finished(self.left(shards), said)

    def said(self, step: Step[Noted], shards: Sequence[Shard], results: Iterable[Mapping[str, Any]]) -> Said:
        """Return what the tasks of `do_shards` said of the files that they made."""
        made = zip((shard for shard in shards if shard not in self.failed), results, strict=True)
        return {shard: result[step.summary.NOTE] for shard, result in made if step.summary.NOTE in result}

    def left(self, shards: Sequence[Shard]) -> list[Shard]:
        """Return the shards that did not fail.

        Raises:
            Exception: all did; that of the first.
        """
        left = [shard for shard in shards if shard not in self.failed]
        if self.failed and not left:
            raise next(iter(self.failed.values()))
        return left

    def reasons(self) -> dict[str, str]:
        """Return the name of each shard that failed → why."""
        return {shard.name: reason_of(error) for shard, error in self.failed.items()}
