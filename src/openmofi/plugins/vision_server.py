"""A judge beyond the encoder: a vision server that speaks as OpenAI's do, such as vLLM, Ollama and llama.cpp.

- Entry points: `openmofi.judges` `http`, `https`
- Needs: `pip install 'openmofi[judge]'`, and a server; its token, if it wants one, as `OPENAI_API_KEY`
- Use: `openmofi label … --judge http://localhost:8000/v1`
- Never: decides a label (`labeling/witness.py` weighs its answers), follows redirects, or writes the token anywhere
- Tests: `tests/plugins/test_vision_server.py`
- Documentation: `docs/labels.md`
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from openmofi.errors import MissingExtraError, OpenMofiError

TOKEN = "OPENAI_API_KEY"
SECONDS = 60.0
TRIES, WAIT = 3, 1.0
"""A request is sent so often; so many seconds pass before the second time, twice as many before the third."""
_BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_MOST_TOKENS, _MOST_BYTES = 32, 1 << 20


def open_server(address: str, model: str) -> VisionServer:
    """Open the server at an address.

    Args:
        address: what `/chat/completions` is appended to.
        model: asks for this one; the first that the server lists where it is "".

    Raises:
        MissingExtraError: httpx2 is not installed.
        OpenMofiError: nobody answers there, or the server names no model.
    """
    try:
        import httpx2
    except ImportError as error:
        raise MissingExtraError.of("httpx2", "judge") from error
    token = os.environ.get(TOKEN)
    # Redirects are not followed: the token is for this server alone.
    client = httpx2.Client(timeout=SECONDS, headers={"Authorization": f"Bearer {token}"} if token else {})
    server = VisionServer(address.rstrip("/"), model, client)
    response = server.send("GET", "models")
    if not model:
        models = _looked_up(response, "data", 0, "id") if response.is_success else None
        if not isinstance(models, str) or not models:
            raise OpenMofiError(
                f"The judge {server.address} names no model; GET /models has status {response.status_code}.",
                "Name one with --judge-model, and check the address: it mostly ends in /v1.",
            )
        server.model = models
    elif response.status_code in (401, 403):
        raise server.refused(response)
    return server


@dataclass(frozen=True)
class Reply:
    """A server's response.

    Attributes:
        status_code: of HTTP.
        text: its body, at most 1 MiB.
    """

    status_code: int
    text: str

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status_code < 300


@dataclass
class VisionServer:
    """A server and its model; see `openmofi.labeling.answers.ImageJudge`.

    Attributes:
        address: what `/chat/completions` is appended to.
        model: that answers.
        client: httpx2's.
        structured: whether the server is asked to decode nothing but a choice; off where it refuses that.
    """

    address: str
    model: str
    client: Any = field(repr=False)
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
        return parsed(_looked_up(response, "choices", 0, "message", "content"), choices)

    def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Reply:
        """Return the server's response, of whatever status; a server that is busy is asked again.

        Raises:
            OpenMofiError: there is none.
        """
        import httpx2

        url, reason = f"{self.address}/{path}", ""
        response: Reply | None = None
        for number in range(TRIES):
            if number:
                time.sleep(WAIT * 2 ** (number - 1))
            try:
                response = self._received(method, url, body)
            except (httpx2.RequestError, httpx2.InvalidURL) as error:
                reason = str(error) or type(error).__name__
                continue
            if response is None:
                reason = f"it takes more than {SECONDS:g} s, or says more than {_MOST_BYTES:,} bytes"
                continue
            if response.status_code not in _BUSY:
                break
        if response is None:
            raise OpenMofiError(
                f"The judge {self.address} does not answer: {reason.rstrip('.')}.",
                "Start the server, or check the address: it mostly ends in /v1.",
            )
        return response

    def _received(self, method: str, url: str, body: dict[str, Any] | None) -> Reply | None:
        """Return a whole response; `None` where it does not end in time, or is larger than any answer."""
        end, parts, size = time.monotonic() + SECONDS, [], 0
        with self.client.stream(method, url, json=body) as response:
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > _MOST_BYTES or time.monotonic() > end:
                    return None
            return Reply(response.status_code, b"".join(parts).decode("utf-8", "replace"))

    def refused(self, response: Reply) -> OpenMofiError:
        """The error for a response that is none."""
        said = shorten(response.text, 200) or "nothing"
        return OpenMofiError(
            f"The judge {self.address} refuses with status {response.status_code}: {said}",
            f"Check the model {self.model!r}, which has to see images, and the token in {TOKEN}.",
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


def _looked_up(response: Reply, *path: str | int) -> object:
    """What lies at a path in a response's JSON; `None` where there is nothing."""
    try:
        value = json.loads(response.text)
        for step in path:
            value = value[step]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return value
