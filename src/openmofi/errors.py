"""The errors that users see: what happened, to which file or row, and what to do next."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import unquote, urlsplit

_PASSWORD = re.compile(
    r"(postgres(?:ql)?://[^/\s:@]*):\S*(?=@)|(://[^/?#\s:@]*):[^/?#\s@]*(?=@)|([?&]password=)[^&\s]*"
)


def without_passwords(text: str) -> str:
    """A message or command without the passwords of addresses such as `postgresql://USER:PASSWORD@HOST`."""
    return _PASSWORD.sub(lambda found: found[1] or found[2] or found[3], text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean …?` with the name that is nearest to a mistyped one; nothing where none is near."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def first_line(error: BaseException) -> str:
    """The beginning of a library's message, fit for one sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:300] or type(error).__name__


class OpenMofiError(Exception):
    """Something that the user can act on; the command line prints it as one sentence and exits with 1. Passwords of
    addresses are taken out.

    Args:
        message: what happened, naming the file, row or setting.
        hint: what to do next; printed after the message.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(without_passwords(message))
        self.message = without_passwords(message)
        self.hint = without_passwords(hint)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[type[OpenMofiError], tuple[str, str]]:
        # Errors travel between worker processes; the default would lose the hint.
        return (type(self), (self.message, self.hint))


class UsageError(OpenMofiError):
    """An invalid argument or setting; exits with 2."""

    exit_code = 2


class UnknownEntityError(OpenMofiError, KeyError):
    """An identifier that a knowledge base does not have; a `KeyError` too, as mappings raise it."""


class MissingExtraError(OpenMofiError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, package: str, extra: str = "") -> MissingExtraError:
        """The error for a missing `package`, which `pip install openmofi[extra]` brings: the smallest extra that does
        where none is given, or none.
        """
        package = package.partition(".")[0]
        extra = extra or _extra_with(package)
        return cls(
            f"This needs the package '{package}', which is not installed.",
            f"Install it with: {install_command(extra) if extra else f'pip install {package}'}",
        )


def _extra_with(package: str) -> str:
    """The extra of this installation that brings a package and least else; "" where none does."""
    from importlib.metadata import PackageNotFoundError, requires

    extras, wanted = dict[str, set[str]](), ""
    with suppress(PackageNotFoundError):
        wanted = "\n".join(requires("openmofi") or ())
    for name, extra in re.findall(r"^([\w.-]+).*extra == ['\"]([\w-]+)", wanted, re.M):
        extras.setdefault(extra, set()).add(name.lower())
    name = {"open_clip": "open-clip-torch"}.get(package, package.replace("_", "-").lower())
    bringing = [extra for extra in extras if name in extras[extra] and extra not in ("bench", "dev", "docs", "release")]
    return min(bringing, key=lambda extra: len(extras[extra]), default="")


def install_command(extras: str) -> str:
    """Return the command that adds extras such as `serve,map` to this installation, from the checkout, wheel or
    repository that it was installed from, else from the package index.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        origin = json.loads(distribution("openmofi").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    requirement, url = f"openmofi[{extras}]", origin.get("url", "")
    if url.startswith("file://") and "dir_info" in origin:
        requirement = f"{unquote(urlsplit(url).path)}[{extras}]"
    elif url:
        vcs = origin.get("vcs_info", {})
        requirement += f" @ {vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else f" @ {url}"
    return f"pip install {'-e ' if origin.get('dir_info', {}).get('editable') else ''}{shlex.quote(requirement)}"
