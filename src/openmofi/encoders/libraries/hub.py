"""The one place that may reach for the Hugging Face hub: the cache first, then a short knock, then the download."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from openmofi.errors import OpenMofiError

_KNOCK_SECONDS = 5.0
_ALTERNATIVES = ("Use a local checkpoint (hf:FOLDER, open_clip:ARCH/FILE.safetensors), an encoder of your own "
                 "(run:FOLDER), or `sample`; or try again with a connection.")
_Found = TypeVar("_Found")


def hub_file(repository: str, names: Sequence[str]) -> Path:
    """The first of `names` that the repository has. A cached file is used without asking the hub.

    Raises:
        OpenMofiError: the hub cannot be reached, or has no such repository or file.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names:
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    _knock(repository)
    for name in names:
        try:
            return Path(_asked(repository, lambda name=name: hf_hub_download(repository, name)))  # type: ignore[misc]
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):
                raise _unreachable(repository) from error
    raise OpenMofiError(f"{repository} on the Hugging Face hub has none of {', '.join(names)}.", _ALTERNATIVES)


def hub_folder(repository: str, patterns: Sequence[str], needed: Sequence[str]) -> Path:
    """A local copy of the files of a repository that match `patterns`.

    A cached copy that has a file for each pattern in `needed` is used without asking the hub.

    Raises:
        OpenMofiError: the hub cannot be reached, or has no such repository.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        cached = Path(snapshot_download(repository, allow_patterns=list(patterns), local_files_only=True))
        if all(any(cached.glob(pattern)) for pattern in needed):
            return cached
    except HFValidationError as error:
        raise OpenMofiError(f"{repository!r} is neither a folder nor a repository name on the Hugging Face hub.",
                            "Check the path.") from error
    except LocalEntryNotFoundError:
        pass
    _knock(repository)
    try:
        return Path(_asked(repository, lambda: snapshot_download(repository, allow_patterns=list(patterns))))
    except LocalEntryNotFoundError as error:
        raise _unreachable(repository) from error


def _asked(repository: str, download: Callable[[], _Found]) -> _Found:
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return download()
    except EntryNotFoundError:
        raise
    except GatedRepoError as error:
        raise OpenMofiError(f"{repository} on the Hugging Face hub asks for a login or an agreement.",
                            "Accept its terms and run `hf auth login`, or use another encoder.") from error
    except RepositoryNotFoundError as error:
        raise OpenMofiError(f"The Hugging Face hub has no repository {repository!r} (or it is private).",
                            "Check the name.") from error
    except (HfHubHTTPError, OSError) as error:
        raise _unreachable(repository) from error


def _knock(repository: str) -> None:
    # The hub's own client retries for most of a minute and logs each try; a person should know at once.
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise _unreachable(repository)
    try:
        urllib.request.urlopen(constants.ENDPOINT, timeout=_KNOCK_SECONDS).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError) as error:
        raise _unreachable(repository) from error


def _unreachable(repository: str) -> OpenMofiError:
    return OpenMofiError(f"The Hugging Face hub cannot be reached, and {repository} is not in the local cache.",
                         _ALTERNATIVES)
