"""A vision server that speaks as OpenAI's do, as an `ImageJudge`."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openmofi.errors import OpenMofiError
from openmofi.plugins.json_server import TOKEN, JsonServer, Reply, client, looked_up

_MOST_TOKENS = 32


def open_server(address: str, model: str) -> VisionServer:
    """Open the server at an address.

    Args:
        address: what `/chat/completions` is appended to.
        model: asks for this one; the first that the server lists where it is "".

    Raises:
        MissingExtraError: httpx2 is not installed.
        OpenMofiError: nobody answers there, or the server names no model.
    """
    server = VisionServer(address.rstrip("/"), client(), "judge", model)
    response = server.send("GET", "models")
    if not model:
        models = looked_up(response, "data", 0, "id") if response.is_success else None
        if not isinstance(models, str) or not models:
            raise OpenMofiError(
                f"The judge {server.address} names no model; GET /models has status {response.status_code}.",
                "Name one with --judge-model, and check the address: it mostly ends in /v1.",
            )
        server.model = models
    elif response.status_code in (401, 403):
        raise server.refused(response)
    return server


@dataclass
class VisionServer(JsonServer):
    """A server and its model; see `openmofi.labeling.answers.ImageJudge`.

    Attributes:
        model: that answers.
        structured: whether the server is asked to decode nothing but a choice; off where it refuses that.
    """

    model: str = ""
    structured: bool = True

    def ask(self, image: bytes, question: str, choices: Sequence[str]) -> str:
        """See `ImageJudge.ask`."""
        url = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": _MOST_TOKENS,
        }
        structured = self.structured
        response = self.send("POST", "chat/completions", body | (_one_of(choices) if structured else {}))
        if structured and response.status_code in (400, 422):
            response = self.send("POST", "chat/completions", body)
            self.structured = self.structured and not response.is_success
        if not response.is_success:
            raise self.refused(response)
        return parsed(looked_up(response, "choices", 0, "message", "content"), choices)

    def refused(self, response: Reply) -> OpenMofiError:
        """The error for a response that is none."""
        return self.refusal(
            response, f"Check the model {self.model!r}, which has to see images, and the token in {TOKEN}."
        )


def parsed(said: object, choices: Sequence[str]) -> str:
    """Return the choice that a reply is: alone, or as `{"answer": …}`; "" for anything else."""
    text = said.strip() if isinstance(said, str) else ""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text.rstrip(".")
    answer = str(value.get("answer") if isinstance(value, dict) else value).strip()
    return answer if answer in choices else ""


def _one_of(choices: Sequence[str]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"answer": {"type": "string", "enum": list(choices)}},
        "required": ["answer"],
        "additionalProperties": False,
    }
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "choice", "strict": True, "schema": schema},
        }
    }
