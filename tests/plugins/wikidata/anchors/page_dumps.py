"""Page dumps, made: MediaWiki's XML export of some pages."""

import bz2
import gzip
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa

NAMESPACES = {
    "en": {0: "", 1: "Talk", 6: "File", 10: "Template", 14: "Category"},
    "de": {0: "", 1: "Diskussion", 6: "Datei", 10: "Vorlage", 14: "Kategorie"},
}


def page(title, text="", *, ns=0, redirect=None):
    shown = "" if redirect is None else f"<redirect title={quoteattr(redirect)} />"
    return (
        f"<page><title>{escape(title)}</title><ns>{ns}</ns><id>1</id>{shown}<revision><id>2</id>"
        f"<contributor><username>someone</username><id>3</id></contributor><model>wikitext</model>"
        f'<text bytes="{len(text)}" xml:space="preserve">{escape(text)}</text></revision></page>\n'
    )


def export(pages, language="en", dbname=None):
    spaces = "".join(
        f'<namespace key="{number}" case="first-letter">{name}</namespace>'
        for number, name in NAMESPACES.get(language, NAMESPACES["en"]).items()
    )
    return (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="{language}">\n'
        f"<siteinfo><sitename>Wikipedia</sitename><dbname>{dbname or language + 'wiki'}</dbname>"
        f"<case>first-letter</case><namespaces>{spaces}</namespaces></siteinfo>\n"
        f"{''.join(pages)}</mediawiki>\n"
    ).encode()


def multistream(data, cuts=3):
    size = len(data) // cuts + 1
    return b"".join(bz2.compress(data[start : start + size]) for start in range(0, len(data), size))


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKED = {
    ".xml": bytes,
    ".xml.bz2": bz2.compress,
    ".multistream.xml.bz2": multistream,
    ".xml.gz": gzip.compress,
    ".xml.zst": zstd,
}


def write(path, pages, language="en", **kwargs):
    suffix = next(suffix for suffix in sorted(PACKED, key=len, reverse=True) if path.name.endswith(suffix))
    path.write_bytes(PACKED[suffix](export(pages, language, **kwargs)))
    return path
