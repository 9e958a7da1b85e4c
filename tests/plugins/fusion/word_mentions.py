"""Every word of a text as a mention."""

from openmofi.schema import Mention


def spans(text):
    """Every word as a mention, known or not."""
    places, at = [], 0
    for word in text.split():
        start = text.index(word, at)
        at = start + len(word)
        places.append(Mention(start, at, word, "test"))
    return places


def link(linker, *texts):
    """The links of all words of texts."""
    return linker.link(texts, [spans(text) for text in texts])
