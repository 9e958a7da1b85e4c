"""The log of a run, written to `log.jsonl` and to trackers: TensorBoard is here, packages add others."""

import importlib
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from openmofi.errors import MissingExtraError, UsageError
from openmofi.extensions import extension, extension_names
from openmofi.storage import read_json, write_json, write_text

# The number of a run at a tracker is stored in `trackers.json`, so that a resumed run goes on as the same one.

TENSORBOARD = "tensorboard"
NUMBERS = "trackers.json"
OUTPUTS = (NUMBERS, f"{TENSORBOARD}/events.out.*", "wandb/**/*", "mlflow/**/*")
"""Files of trackers in the folder of a run."""
_GROUP = "trackers"


class Tracker(Protocol):
    """Takes the scalars of a run."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add the scalars of an interval, or of an evaluation, that ended after `step` steps."""

    def close(self, *, finished: bool) -> None:
        """Flush and close; `finished` says whether the run came to its end."""


@dataclass(frozen=True)
class Tracked:
    """A run as trackers know it.

    Attributes:
        folder: of the run.
        name: of the recipe.
        project: groups runs.
        settings: dotted key → value of each setting.
        resume_step: the run goes on after this step; 0 is a new one.
    """

    folder: Path
    name: str = "run"
    project: str = "openmofi"
    settings: Mapping[str, Any] | None = None
    resume_step: int = 0

    def number(self, tracker: str, new: Callable[[], str]) -> str:
        """The run's number at a tracker: that of the run that is resumed, or a new one."""
        path = self.folder / NUMBERS
        numbers = read_json(path, dict[str, str], "Remove it; trackers then begin a new run.", missing={})
        if not self.resume_step or tracker not in numbers:
            numbers[tracker] = new()
            write_json(path, numbers)
        return numbers[tracker]


def check_trackers(names: tuple[str, ...]) -> None:
    """Check the names of trackers without opening them.

    Raises:
        UsageError: one is unknown.
    """
    available = [TENSORBOARD, *extension_names(_GROUP)]
    if unknown := [name for name in names if name not in available]:
        raise UsageError(f"Unknown tracker {unknown[0]!r}.", f"Use {', '.join(available)}.")


def open_tracker(name: str, run: Tracked) -> Tracker:
    """Open a tracker for a run.

    Args:
        name: `tensorboard`, or what a package adds to the entry points `openmofi.trackers`: a callable that takes the
            run and returns a `Tracker`.
        run: see there.

    Raises:
        UsageError: the name is unknown.
        MissingExtraError: it is not installed.
    """
    check_trackers((name,))
    return TensorBoard(run) if name == TENSORBOARD else extension(_GROUP, name)(run)


def imported(name: str, extra: str) -> Any:
    """Import a tracker's package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError.of(name.partition(".")[0] if extra != "train" else TENSORBOARD, extra) from error


class TensorBoard:
    """Writes `tensorboard/` in the folder of the run."""

    def __init__(self, run: Tracked) -> None:
        writer = imported("torch.utils.tensorboard", "train").SummaryWriter
        folder = run.folder / TENSORBOARD
        if not run.resume_step:
            shutil.rmtree(folder, ignore_errors=True)
        self._board = writer(str(folder), purge_step=run.resume_step + 1)

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add scalars."""
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def close(self, *, finished: bool) -> None:
        """Flush and close."""
        self._board.close()


LOG = "log.jsonl"


class Watcher(Protocol):
    """Follows a run; the command line draws what it is told."""

    def begin(self, total: int, done: int) -> None:
        """A run of `total` steps starts after `done` steps."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """An interval ends after `step` steps.

        The scalars of an interval: `loss`, `images_per_s`, `data_wait` (0 to 1), `memory_mib`, `lr`, and what the
        objectives have.
        """

    def say(self, message: str) -> None:
        """Show a message."""


class Unwatched:
    """A watcher that shows nothing."""

    def begin(self, total: int, done: int) -> None:
        """See `Watcher`."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """See `Watcher`."""

    def say(self, message: str) -> None:
        """See `Watcher`."""


class RunLog:
    """Writes the scalars of a run.

    A tracker that fails later on (its server is gone, say) is left out from then on: the run goes on.

    Args:
        run: its folder gets `log.jsonl`; later lines than its `resume_step`, of an interrupted run, are removed.
        trackers: which of `TRACKERS` get the scalars too.
        say: is told which tracker failed.

    Raises:
        MissingExtraError: a tracker is not installed.
        OpenMofiError: the folder cannot be written.
    """

    def __init__(
        self, run: Tracked, trackers: Sequence[str] = (TENSORBOARD,), say: Callable[[str], None] = lambda message: None
    ) -> None:
        self._path, self._say = run.folder / LOG, say
        write_text(
            self._path,
            "".join(line for line in _whole_lines(self._path) if json.loads(line)["step"] <= run.resume_step),
        )
        self._trackers: dict[str, Tracker] = {name: open_tracker(name, run) for name in trackers}
        self._file = self._path.open("a", encoding="utf-8")

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add a line; a number that is not finite becomes `null`, since JSON has no NaN, and trackers do not get it."""
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        self._file.write(json.dumps({"step": step, **values}, allow_nan=False) + "\n")
        self._file.flush()
        finite = {name: value for name, value in values.items() if value is not None}
        self._each(lambda tracker: tracker.log(step, finite))

    def close(self, *, finished: bool = True) -> None:
        """Flush and close the files."""
        self._file.close()
        self._each(lambda tracker: tracker.close(finished=finished))

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                work(tracker)
            except Exception as error:  # whatever the tracker's library raises
                del self._trackers[name]
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                self._say(f"The tracker {name} failed and gets no more: {reason}. {LOG} has everything.")


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of a run's log, oldest first; a line that a crash cut off is left out."""
    return [json.loads(line) for line in _whole_lines(Path(folder) / LOG)]


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n")]
