"""YAML as recipes are written in: safe, no key twice, and `3e-4` is a number."""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from openmofi.errors import UsageError

# YAML 1.1, which PyYAML reads, takes 3e-4 for text: it wants 3.0e-4. YAML 1.2 has it as people write it.
_FLOAT = re.compile(r"^[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)[eE][-+]?\d+$")
_ODD_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")


_MOST_VALUES = 100_000


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Count a node's values, an alias as often as it is used: a few lines of aliases may stand for billions."""
        event = self.peek_event()
        node = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent):
            children = [] if isinstance(node, yaml.ScalarNode) else node.value
            flat = [child for pair in children for child in pair] if isinstance(node, yaml.MappingNode) else children
            self._sizes[node] = 1 + sum(map(self._sizes.__getitem__, flat))
        if node not in self._sizes:
            raise yaml.composer.ComposerError(
                None, None, f"*{event.anchor} stands for a value that it is in", event.start_mark
            )
        if self._sizes[node] > _MOST_VALUES:
            raise yaml.composer.ComposerError(None, None, f"more than {_MOST_VALUES:,} values", event.start_mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
                keys.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    pass


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
# Short lists stand on one line, as people write them.
_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)
)
# Unquoted, these would be read back as a blank, or not at all; PyYAML escapes them only where it is told to quote.
_Dumper.add_representer(
    str,
    lambda dumper, value: dumper.represent_scalar(
        "tag:yaml.org,2002:str", value, style='"' if _ODD_BREAKS.search(value) else None
    ),
)


def parse_yaml(text: str, source: str) -> Any:
    """The value that `text` holds.

    Raises:
        UsageError: it is not YAML, holds a key twice, or more than plain data; names `source` and the line.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark is not None and "\n" in text.strip() else ""
        raise UsageError(f"{source}{where}: {error.problem or error.context or 'not YAML'}.") from error
    except RecursionError:
        raise UsageError(f"{source}: values are nested too deeply.", "Nest settings as deep as their groups.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{source}: not YAML: {error}.") from error


def yaml_text(value: Any) -> str:
    """`value` (dicts, lists, numbers, text) as YAML, keys in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
