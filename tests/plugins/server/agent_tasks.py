"""Twenty tasks for an assistant over the index of colours, and models that choose tools by their descriptions alone."""

import base64
import json
import re
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from search_world import coloured

ME = "agent:tester"


@dataclass(frozen=True)
class Task:
    """Words for the model, one call a sentence, and a check of the answers and of the index afterwards.

    Attributes:
        words: sentences; what is in quotes, numbers and the picture are the values.
        done: answers, index → whether the end state is the wanted one.
        picture: encoded, that the model was given with the words.
    """

    words: tuple[str, ...]
    done: Callable[[list[Any], Any], bool]
    picture: bytes = b""


def labels_of(answer):
    return {label["entity"] for each in answer.structured_content["images"] for label in each["labels"]}


def said(index, entity):
    return [each for each in index.verdicts(entity) if each.who == ME]


def shows_pictures(answer):
    pictures = [each for each in answer.content if each.type == "image"]
    return bool(pictures) and all(base64.b64decode(each.data)[8:12] == b"WEBP" for each in pictures)


def counted(answer, name):
    return {each["value"]: each["images"] for each in answer.structured_content["values"][name]}


def tasks_over(index):
    """The tasks; images are numbered as the index has them."""
    red, green, blue = (
        index.entity_images(f"c:{name}", accepted=True)[0].image.id for name in ("red", "green", "blue")
    )
    first = lambda answer: answer.structured_content["entities"][0]["entity"]  # noqa: E731
    return [
        Task(("Find images with the text 'red'.",), lambda a, _: labels_of(a[0]) >= {"c:red"}),
        Task(
            ("Find images of the entity 'crimson' and list 3 as results.",), lambda a, _: labels_of(a[0]) == {"c:red"}
        ),
        Task((f"Find images that are similar to the image {blue}.",), lambda a, _: labels_of(a[0]) >= {"c:blue"}),
        Task(
            ("Find images that are similar to this picture of my own.",),
            lambda a, _: a[0].structured_content["images"][0]["labels"][0]["entity"] == "c:green",
            coloured("green", 77),
        ),
        Task(
            ("Find images by the text 'yellow' until results are right with precision 0.9.",),
            lambda a, _: labels_of(a[0]) >= {"c:yellow"},
        ),
        Task(
            ("Search images of the entity 'grey' with a least probability of the label of 0.95.",),
            lambda a, _: len(a[0].structured_content["images"]) == 2,
        ),
        Task(("Find images for the text 'white' and show 2 small pictures.",), lambda a, _: shows_pictures(a[0])),
        Task(("Count how many images there are by 'type'.",), lambda a, _: counted(a[0], "type")["colour"] == 24),
        Task(("Count all images by 'entity'.",), lambda a, _: counted(a[0], "entity")["c:red"] == 4),
        Task(
            ("How many images of the entity 'blue' are there, counted by 'min_probability'?",),
            lambda a, _: a[0].structured_content["images"] > 0 and "0.95" in counted(a[0], "min_probability"),
        ),
        Task(
            (f"Look at the image {red}.",),
            lambda a, _: shows_pictures(a[0]) and a[0].structured_content["image"] == red,
        ),
        Task(
            (f"Why were the labels of image {green} believed or rejected?",),
            lambda a, _: {each["accepted"] for each in a[0].structured_content["candidates"]} == {True, False},
        ),
        Task((f"Recognise which entities the image {blue} may show.",), lambda a, _: first(a[0]) == "c:blue"),
        Task(("Identify what is in my picture.",), lambda a, _: first(a[0]) == "c:yellow", coloured("yellow", 78)),
        Task(
            (f"Recognise the part, the region '0,0,0.5,1', of the image {red}.",), lambda a, _: first(a[0]) == "c:red"
        ),
        Task(("Explain what is known of the entity 'grey'.",), lambda a, _: a[0].structured_content["id"] == "c:grey"),
        Task(
            ("What may the entity 'white' be mistaken for?",), lambda a, _: len(a[0].structured_content["similar"]) > 0
        ),
        Task(
            (f"Judge the images {red} to be 'right' for the entity 'red'.",),
            lambda _, index: [each.verdict for each in said(index, "c:red")] == ["y"],
        ),
        Task(
            (f"Store the verdict 'wrong' for the entity 'green' on the images {green}; instead they show 'blue'.",),
            lambda _, index: [(each.verdict, each.instead) for each in said(index, "c:green")] == [("n", "c:blue")],
        ),
        Task(
            (
                f"Judge the images {blue} 'wrong' for the entity 'blue'.",
                "Undo these verdicts, take them back.",
            ),
            lambda a, index: a[1].structured_content == {"undone": 1} and said(index, "c:blue") == [],
        ),
    ]


_WORD = re.compile(r"[a-z]+")
_VALUE = re.compile(r"'([^']*)'|(?<![\w.])(\d+(?:\.\d+)?)(?![\w.]*\d)")
_COMMON = frozenset(
    ["a", "an", "and", "are", "as", "at", "be", "by", "for", "how", "in", "is", "it", "its", "my", "of", "on", "or"]
    + ["that", "the", "there", "they", "this", "to", "was", "were", "what", "which", "with"]
)


def _words(text: str) -> set[str]:
    return {each.rstrip("s") for each in _WORD.findall(text.lower())} - _COMMON


@dataclass
class Overlap:
    """A model that knows no tool: it takes the one whose name and description share most words with the task, those
    that few tools have first, and gives each value to the argument that shares most with the words before it.
    """

    def call(self, tools, sentence: str, picture: bytes, before: list[Any]) -> tuple[str, dict[str, Any]]:
        texts = {tool.name: _words(f"{tool.name.replace('_', ' ')} {tool.description}") for tool in tools}
        heads = {tool.name: _words(f"{tool.name.replace('_', ' ')} {tool.description.split(':')[0]}") for tool in tools}
        task = _words(sentence)

        def fit(name: str) -> float:
            shared = sum(1 / sum(word in other for other in texts.values()) for word in task & texts[name])
            return shared + len(task & heads[name])

        tool = max(tools, key=lambda each: fit(each.name))
        return tool.name, self._arguments(tool.input_schema, sentence, picture, before)

    def _arguments(self, schema, sentence, picture, before):
        arguments: dict[str, Any] = {}
        properties = schema["properties"]
        if picture:
            name = next(name for name, each in properties.items() if each.get("contentEncoding") == "base64")
            arguments[name] = base64.b64encode(picture).decode()
        start = 0
        for found in _VALUE.finditer(sentence):
            value = found[1] if found[1] is not None else json.loads(found[2])
            near = _WORD.findall(sentence[start : found.start()].lower())
            free = {name: each for name, each in properties.items() if name not in arguments and _takes(each, value)}
            if free:
                name = max(free, key=lambda each: _nearness(near, each, free[each]))
                arguments[name] = [value] if properties[name].get("type") == "array" else value
            start = found.end()
        for name in schema.get("required", ()):  # what is still missing stands in an answer
            if name not in arguments and before:
                arguments[name] = [each["verdict"] for each in before[-1].structured_content[name]]
        return arguments


def _takes(schema, value) -> bool:
    if isinstance(value, str):
        if "enum" in schema:
            return value in schema["enum"]
        return schema.get("type") == "string" and "contentEncoding" not in schema
    kinds = {each.get("type") for each in (schema, *schema.get("anyOf", ()), schema.get("items", {}))}
    return bool(kinds & ({"integer", "number"} if isinstance(value, int) else {"number"}))


def _nearness(near, name, schema) -> float:
    known = _words(f"{name.replace('_', ' ')} {schema.get('description', '')}")
    own = _words(name.replace("_", " "))
    close = [word.rstrip("s") for word in near[-12:]][::-1]
    score = sum((1 + (word in own)) / (2 + place) for place, word in enumerate(close) if word in known)
    return score + (0.5 if "enum" in schema else 0)


@dataclass
class Chat:
    """A model behind an OpenAI-compatible server: `url` ends in /v1.

    Attributes:
        url, model, token: of the server.
        asked: bodies that were sent.
    """

    url: str
    model: str
    token: str = ""
    asked: list[dict] = field(default_factory=list)

    def call(self, tools, sentence, picture, before):
        functions = [
            {
                "type": "function",
                "function": {"name": each.name, "description": each.description, "parameters": each.input_schema},
            }
            for each in tools
        ]
        earlier = "".join(f"\nAnswer before: {each.content[0].text}" for each in before)
        sent = "\nThe picture is attached; write PICTURE where its base64 belongs." if picture else ""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": f"{sentence}{sent}{earlier}"}],
            "tools": functions,
            "tool_choice": "required",
            "temperature": 0,
        }
        self.asked.append(body)
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as response:
            chosen = json.load(response)["choices"][0]["message"]["tool_calls"][0]["function"]
        arguments = json.loads(chosen["arguments"])
        encoded = base64.b64encode(picture).decode()
        return chosen["name"], {name: encoded if each == "PICTURE" else each for name, each in arguments.items()}


async def perform(client, model, tasks, index) -> list[str]:
    """Let a model do tasks, each at the first try; return the words of those that failed, and how."""
    tools, failed = (await client.list_tools()).tools, []
    for task in tasks:
        answers, calls = [], []
        try:
            for sentence in task.words:
                calls.append(model.call(tools, sentence, task.picture, answers))
                answers.append(await client.call_tool(*calls[-1]))
            right = not any(each.is_error for each in answers) and task.done(answers, index)
        except (KeyError, IndexError, TypeError, StopIteration):
            right = False
        if not right:
            failed.append(f"{task.words}: {str(calls)[:300]} {[each.content[0].text[:200] for each in answers]}")
    return failed
