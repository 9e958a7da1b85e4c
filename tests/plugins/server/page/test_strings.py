"""The tables of what the page says: of one shape, used throughout, and nothing for people is said past them."""

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[4] / "src" / "openmofi" / "plugins" / "server" / "page"
TABLES = {path.stem: json.loads(path.read_text("utf-8")) for path in (PAGE / "lib" / "strings").glob("*.json")}
SOURCES = {path.relative_to(PAGE).as_posix(): path.read_text("utf-8") for path in PAGE.rglob("*.js")}
FOR_PEOPLE = "aria-label|aria-roledescription|title|placeholder|alt|label|legend|what"
# Names that are the same in every language, and keys of the keyboard.
NAMES = {"OpenMOFI", "Esc", "Tab", "Parquet", "CSV", "English", "Deutsch"}
# What is not said to people, though it looks like it.
CODE = {
    "Entities", "Entity", "Review", "Images",  # components
    "Shift", "Escape", "Enter", "Home", "End", "Files",  # of the browser's events
    "input:not([type=checkbox]), textarea, select", "(prefers-color-scheme: dark)",
}  # fmt: skip


def parameters(text):
    return set(re.findall(r"\{(\w+)\}", text if isinstance(text, str) else " ".join(text.values())))


def closing_call(source, start):
    """Place behind the parenthesis that closes the one at `start`; those in strings are taken to be balanced."""
    depth = 0
    for place in range(start, len(source)):
        depth += (source[place] == "(") - (source[place] == ")")
        if not depth:
            return place + 1
    raise AssertionError(source[start : start + 80])


def literals(source):
    """All of a source's literals as (text, whether it is htm's); `\\0` is in place of expressions, whose own literals
    come as well, but for those of `class` and `style`."""
    place = 0
    while place < len(source):
        rest = source[place:]
        if skipped := re.match(r"//[^\n]*|/\*.*?\*/", rest, re.DOTALL):
            place += skipped.end()
        elif quoted := re.match(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'', rest):
            yield quoted[1] or quoted[2] or "", False
            place += quoted.end()
        elif rest[0] == "/" and re.search(r"[(,=:\[!&|?{};]\s*$|^$", source[:place]):
            place += re.match(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/", rest).end()
        elif rest[0] == "`":
            text, inside, end = "", [], place + 1
            while source[end] != "`":
                if source[end] == "\\":
                    end += 2
                elif source.startswith("${", end):
                    behind = closing_template(source, end + 1)
                    if not re.search(r"\b(class|style)=$", text):
                        inside.append(source[end + 2 : behind - 1])
                    text, end = text + "\0", behind
                else:
                    text, end = text + source[end], end + 1
            yield text, source.endswith("html", 0, place)
            for each in inside:
                yield from literals(each)
            place = end + 1
        else:
            place += 1


def closing_template(source, start):
    """Place behind the brace that closes the one at `start`, whatever strings and templates hold."""
    place = start + 1
    while source[place] != "}":
        if source[place] == "{":
            place = closing_template(source, place)
        elif source[place] == "`":
            place += 1
            while source[place] != "`":
                place = closing_template(source, place + 1) if source.startswith("${", place) else place + 1
            place += 1
        elif quoted := re.match(r'"(?:[^"\\\n]|\\.)*"', source[place:]):
            place += quoted.end()
        else:
            place += 1
    return place + 1


def said(source):
    """What a source says to people without a table."""
    for text, is_html in literals(source):
        if is_html:
            parts = re.sub(r"<[^>]*>", "\1", text).split("\1")
            parts += [match[2] for match in re.finditer(rf'\s({FOR_PEOPLE})="([^"]*)"', text)]
            parts += [match[1] for match in re.finditer(r'\sname="([^"]* [^"]*)"', text)]
            words = [part.replace("\0", " ").strip() for part in parts]
            yield from (each for each in words if re.search(r"[^\W\d_]{2,}", each) and each not in NAMES)
        elif text in CODE | NAMES or text.startswith("#version"):
            continue
        elif re.search(r"[^\W\d_]{2,}[,.:;]? [^\W\d_]{2,}", text) or re.fullmatch(r"[A-Z][a-z]+[.…]?", text):
            yield text


def test_both_tables_have_the_same_keys_parameters_and_plurals():
    english, german = TABLES["en"], TABLES["de"]
    assert list(english) == list(german)
    for key, text in english.items():
        other = german[key]
        assert parameters(text) == parameters(other), key
        assert type(text) is type(other), key
        assert isinstance(text, str) or list(text) == list(other) == ["one", "other"], key
        assert all(
            each.strip() for each in ([text, other] if isinstance(text, str) else [*text.values(), *other.values()])
        )


def test_the_tables_are_used_and_whole():
    used = {text for source in SOURCES.values() for text, _ in literals(source)}
    assert [key for key in TABLES["en"] if key not in used] == []
    calls = 0
    for name, source in SOURCES.items():
        for call in re.finditer(r"(?<![\w.])t\(", source):
            behind = closing_call(source, call.end() - 1)
            arguments = re.sub(r'=== "\w+"', "", source[call.end() : behind - 1])
            # Elements among the values have texts of their own, which are calls of their own.
            brace = arguments.find("{")
            keys = re.findall(r'"([\w.]+)"', arguments if brace < 0 else arguments[:brace])
            keys = [key for key in keys if "." in key or key in TABLES["en"]]
            assert all(key in TABLES["en"] for key in keys), (name, keys)
            given = set(re.findall(r"[{,]\s*(\w+)(?=\s*[:,}])", arguments[brace:])) if brace >= 0 else set()
            for key in keys:
                plural = set() if isinstance(TABLES["en"][key], str) else {"count"}
                assert parameters(TABLES["en"][key]) | plural <= given, (name, key, given)
                calls += 1
    assert calls > 200


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_said_past_the_tables(name):
    assert list(said(SOURCES[name])) == []


@pytest.mark.parametrize(
    "source",
    [
        "html`<p>Nothing here</p>`",
        'html`<p>${a ? html`<b class="x">Ja</b>` : ""}</p>`',
        "html`<p>${count} images</p>`",
        'html`<button aria-label="Close">${x}</button>`',
        'html`<input placeholder="your name" />`',
        'html`<${Chip} name="the filter" />`',
        'say("Taken back.")',
        "say(`${count} images.`, `It is ${name}`)",
        'const LINKS = [["search", "Search"]];',
        'new ApiError(0, /"/.test(x) ? "" : "The server does not answer.")',
    ],
)
def test_what_is_said_past_the_tables_is_found(source):
    assert list(said(source))


@pytest.mark.parametrize(
    "source",
    [
        '// It says "Nothing here"\nt("close")',
        'html`<p class="a b">${t("close")} · ${n} × ${m}</p>`',
        "html`<p class=${`tile open ${kind}`}><kbd>n</kbd></p>`",
        'text.replace(/["`]/g, "")',
    ],
)
def test_what_is_said_by_the_tables_is_not(source):
    assert list(said(source)) == []
