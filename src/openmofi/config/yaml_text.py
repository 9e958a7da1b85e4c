"""YAML as recipes are written in: safe, no key twice, and `3e-4` is a number."""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

from openmofi.errors import MissingExtraError, UsageError

# YAML 1.1, which PyYAML reads, takes 3e-4 for a text: it wants 3.0e-4. YAML 1.2 has it as people write it.
_ODD_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")
_FLOAT = re.compile(r"^[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$")


def parse_yaml(text: str, source: str) -> Any:
    """The value that `text` holds.

    Raises:
        UsageError: it is no YAML, holds a key twice, or what is not plain data; names `source` and the line.
        MissingExtraError: PyYAML is not installed.
    """
    yaml = _yaml()
    try:
        return yaml.load(text, Loader=_loader())  # of a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark is not None and "\n" in text.strip() else ""
        raise UsageError(f"{source}{where}: {error.problem or error.context or 'this is no YAML'}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{source}: this is no YAML: {error}.") from error


def yaml_text(value: Any) -> str:
    """`value` (dicts, lists, numbers, texts) as YAML, keys in their order."""
    text: str = _yaml().dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=120)
    return text


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError.of("pyyaml", "train") from error
    return yaml


@lru_cache(maxsize=1)
def _loader() -> Any:
    yaml = _yaml()

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined]
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
            names = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for place, key in enumerate(names):
                if any(key.value == earlier.value for earlier in names[:place]):
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} is there twice", key.start_mark)
            found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
            return found

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    return Loader


@lru_cache(maxsize=1)
def _dumper() -> Any:
    yaml = _yaml()

    class Dumper(yaml.SafeDumper):  # type: ignore[name-defined]
        pass

    # Short lists stand on one line, as people write them; what the loader takes for a number is quoted as a text.
    Dumper.add_representer(list, lambda dumper, value: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", value, flow_style=True))
    # Unquoted, these would be read back as a blank, or not at all; PyYAML escapes them only where it is told to quote.
    Dumper.add_representer(str, lambda dumper, value: dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style='"' if _ODD_BREAKS.search(value) else None))
    Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
    return Dumper
