"""How the tools of assistants are called: with the arguments that they have, and our errors are answers."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, ToolAnnotations
from pydantic import create_model

from openmofi.errors import OpenMofiError
from openmofi.plugins.server.messages import logger
from openmofi.search.store.connection import UnavailableError

_SHOWN = 100
"""Characters of an argument's name that an error repeats."""


class _StrictTool(Tool):
    """A tool that refuses the first argument that it lacks, before a list of all of them is made."""

    async def run(self, arguments: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """See `Tool.run`."""
        unknown = next((name for name in arguments if name not in self.parameters["properties"]), None)
        if unknown is not None:
            raise ToolError(f"Extra inputs are not permitted: {self.name} has no argument {unknown[:_SHOWN]!r}.")
        return await super().run(arguments, *args, **kwargs)


def strict_tool(function: Callable[..., Awaitable[CallToolResult]], annotations: ToolAnnotations) -> Tool:
    """A function as a tool; our errors are answers, and arguments that it lacks are refused."""

    @functools.wraps(function)
    async def answered(*args: Any, **kwargs: Any) -> CallToolResult:
        try:
            return await function(*args, **kwargs)
        except UnavailableError as error:  # why, and where it is, is for the log alone
            logger.error("the index's database cannot be reached: %s", error)
            raise ToolError("The index's database cannot be reached at the moment. Try again later.") from error
        except OpenMofiError as error:
            raise ToolError(str(error)) from error

    tool = _StrictTool.from_function(answered, annotations=annotations)
    model = tool.fn_metadata.arg_model  # as the library makes it, a misspelt filter would be ignored
    strict = create_model(model.__name__, __base__=model, __cls_kwargs__={"extra": "forbid"})
    tool.fn_metadata.arg_model, tool.parameters = strict, strict.model_json_schema(by_alias=True)
    return tool
