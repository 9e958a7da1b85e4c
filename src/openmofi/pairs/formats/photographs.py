"""Texts that photo tools keep with a photograph: in an XMP sidecar, or in the image as XMP or IPTC.

| kind | XMP | IPTC (of JPEGs) |
|---|---|---|
| `title` | `dc:title` | Object Name |
| `headline` | `photoshop:Headline` | Headline |
| `description` | `dc:description` | Caption-Abstract |
| `keywords` | `dc:subject` | Keywords |

Of each kind the first counts that says something: the sidecar's, then the image's XMP, then its IPTC. Of a text in
several languages the default counts. Keywords that are labels of ours, as `openmofi dataset export --format xmp` writes
them, count as nothing wherever they stand, once one of these says so: a label is no evidence of itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from openmofi.pairs.formats.columns import joined_texts
from openmofi.pairs.read_settings import ReadSettings
from openmofi.pairs.text import TextParts, from_str
from openmofi.storage.encodings import decoded

HEAD, TAIL = 256 << 10, 64 << 10
"""Bytes at the beginning and at the end of an image that are searched."""
_MAX_SIDECAR = 4 << 20
XMP_NAMESPACE = "https://openmofi.org/ns/1.0/"
_DC, _RDF = "{http://purl.org/dc/elements/1.1/}", "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_PROPERTIES = {
    "title": f"{_DC}title",
    "headline": "{http://ns.adobe.com/photoshop/1.0/}Headline",
    "description": f"{_DC}description",
    "keywords": f"{_DC}subject",
}
_OPENS, _CLOSES = b"<rdf:RDF", b"</rdf:RDF>"
_DATASETS = {5: "title", 105: "headline", 120: "description", 25: "keywords"}


@dataclass
class Photographs:
    """Reads the texts of a folder's photographs.

    Attributes:
        settings: `text_column` may name some of the kinds; else all are read.
        sidecars: paths of the XMP sidecars, by the key and the extension that they have without `.xmp`.
        read: reads at most so many bytes of a file; `None` where it cannot be read.
    """

    settings: ReadSettings
    sidecars: Mapping[tuple[str, str], str]
    read: Callable[[str, int], bytes | None]

    def texts(self, key: str, extension: str, ends: bytes) -> TextParts:
        """Return the texts of an image whose first `HEAD` and last `TAIL` bytes are `ends`."""
        found, settings = [], self.settings
        if path := self.sidecars.get((key, extension)) or self.sidecars.get((key, extension.rpartition(".")[0])):
            found.append(_xmp(self.read(path, _MAX_SIDECAR) or b""))
        if (start := ends.find(_OPENS)) >= 0:
            found.append(_xmp(ends[start : ends.find(_CLOSES, start) + len(_CLOSES)]))
        found.append(_iptc(ends, settings.encoding or "cp1252"))
        ours = {word for each in found for word in each.get("labels", ())}
        for each in found:
            each["keywords"] = [word for word in each.get("keywords", ()) if word not in ours]
        named = (settings.text_column,) if isinstance(settings.text_column, str) else settings.text_column
        texts = {
            kind: from_str(
                ", ".join(next((each[kind] for each in found if each.get(kind)), ())), settings.max_text_chars
            ).text
            for kind in [name for name in named if name in _PROPERTIES] or _PROPERTIES
        }
        text, kinds = joined_texts(texts)
        return TextParts(text or None, kinds)


def _xmp(packet: bytes) -> dict[str, list[str]]:
    """Return a packet's texts, and our `labels`; none of a damaged one, or of one with entities, as XMP never has."""
    text = decoded(packet, "")
    text = text.decode("utf-8-sig", "replace") if isinstance(text, bytes) else text
    try:
        root = ElementTree.fromstring("" if "<!DOCTYPE" in text else text.strip())
    except (ElementTree.ParseError, ValueError):
        return {}
    rdf = root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")
    own = [] if rdf is None else rdf.iter(f"{{{XMP_NAMESPACE}}}keywords")
    texts = {"labels": [(item.text or "").strip() for node in own for item in node.iter(f"{_RDF}li")]}
    for about in () if rdf is None else rdf.findall(f"{_RDF}Description"):
        for kind, name in _PROPERTIES.items():
            values = [about.get(name, "")]  # RDF's short form
            if (node := about.find(name)) is not None:
                items = list(node.iter(f"{_RDF}li")) or [node]
                default = [item for item in items if "x-default" in item.attrib.values()]
                values = [item.text or "" for item in (items if kind == "keywords" else (default or items)[:1])]
            texts[kind] = texts.get(kind) or [said for each in values if (said := each.strip())]
    return texts


def _iptc(data: bytes, encoding: str) -> dict[str, list[str]]:
    """Return the texts among Photoshop's resources of a JPEG, in UTF-8 or else in `encoding`."""
    place = data.find(b"8BIM\x04\x04", max(data.find(b"Photoshop 3.0\0"), 0)) + 6
    if place < 6 or not data.startswith(b"\xff\xd8"):
        return {}
    place += (data[place : place + 1] or b"\0")[0] // 2 * 2 + 6  # its name, of an even length, and its size
    values: dict[str, list[str]] = {}
    while len(head := data[place : place + 5]) == 5 and head[0] == 0x1C:
        size = int.from_bytes(head[3:])
        place += 5 + size
        if head[1] == 2 and (kind := _DATASETS.get(head[2])):
            raw = data[place - size : place].strip(b"\0 \r\n")
            values.setdefault(kind, []).extend([_text(raw, encoding)] if raw else ())
    return {kind: texts if kind == "keywords" else texts[:1] for kind, texts in values.items()}


def _text(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode(encoding, "replace")
