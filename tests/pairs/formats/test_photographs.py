"""Texts inside photographs and their sidecars, as exiftool, Lightroom and digiKam write them."""

import io

import pytest
from PIL import Image

from openmofi.pairs import ReadSettings, read_pairs
from openmofi.plugins.dataset_export.photo_tools import sidecar
from openmofi.plugins.dataset_export.rows import Classes, ImageLabel, Row
from openmofi.schema import PairStatus
from openmofi.storage import expand_shards

RDF = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
{}</rdf:Description></rdf:RDF></x:xmpmeta>"""
TITLE = (
    "><dc:title><rdf:Alt><rdf:li xml:lang='de'>Kraniche</rdf:li><rdf:li xml:lang='x-default'>{}</rdf:li></rdf:Alt>"
    "</dc:title>"
)
KEYWORDS = "<dc:subject><rdf:Bag><rdf:li>crane</rdf:li><rdf:li>mist &amp; dawn</rdf:li></rdf:Bag></dc:subject>"


def picture(kind="JPEG", **options):
    buffer = io.BytesIO()
    Image.effect_noise((600, 600), 90).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def iptc(*datasets, resource=b"8BIM\x04\x04"):
    """A JPEG with IPTC as Photoshop and exiftool keep it."""
    body = b"".join(b"\x1c\x02" + bytes([number]) + len(text).to_bytes(2) + text for number, text in datasets)
    block = b"Photoshop 3.0\0" + resource + b"\0\0" + len(body).to_bytes(4) + body + b"\0" * (len(body) % 2)
    plain = picture()
    return plain[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2) + block + plain[2:]


def read(folder, *, paths_only=False, **settings):
    (shard,) = expand_shards([str(folder)])
    pairs = read_pairs(shard, ReadSettings(**settings), paths_only=paths_only, texts=True)
    return {pair.key: (pair.text, pair.kinds) for pair in pairs}


@pytest.mark.parametrize("paths_only", [False, True])
@pytest.mark.parametrize(("kind", "ending"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")])
def test_xmp_in_an_image_is_a_text_of_each_kind(tmp_path, kind, ending, paths_only):
    packet = RDF.format(TITLE.format("Cranes at dawn") + KEYWORDS).encode()
    options = {"tiffinfo": {700: packet}} if kind == "TIFF" else {"xmp": packet}
    content = picture(kind) + packet if kind == "PNG" else picture(kind, **options)  # exiftool puts a PNG's at the end
    (tmp_path / f"a.{ending}").write_bytes(content)
    (tmp_path / "b.jpg").write_bytes(picture())
    assert read(tmp_path, paths_only=paths_only) == {
        "a": ("Cranes at dawn\ncrane, mist & dawn", (("title", 14), ("keywords", 33))),
        "b": ("", ()),
    }


@pytest.mark.parametrize("name", ["a.xmp", "a.jpg.xmp", "a.JPG.XMP"])
def test_a_sidecar_counts_before_xmp_and_xmp_before_iptc(tmp_path, name):
    content = iptc(
        (105, b"Headline"), (120, "Kräne".encode("cp1252")), (25, b"k1"), (25, "k2 ü".encode()), (5, b"slug")
    )
    xmp = RDF.format(TITLE.format("of the image")).encode()
    at = content.index(b"\xff\xdb")
    block = b"http://ns.adobe.com/xap/1.0/\0" + xmp
    segment = b"\xff\xe1" + (len(block) + 2).to_bytes(2) + block
    (tmp_path / "a.jpg").write_bytes(content[:at] + segment + content[at:])
    whole = "of the image\nHeadline\nKräne\nk1, k2 ü"
    assert read(tmp_path)["a"][0] == whole
    (tmp_path / name).write_text(RDF.format('photoshop:Headline="of the sidecar">'), encoding="utf-16")
    assert read(tmp_path)["a"][0] == whole.replace("Headline", "of the sidecar")
    assert read(tmp_path, text_column="keywords") == {"a": ("k1, k2 ü", (("keywords", 8),))}


def test_texts_beside_images_leave_the_images_texts_unread(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(iptc((120, b"inside")))
    (tmp_path / "notes.txt").write_text("of no image")
    assert read(tmp_path)["b"][0] == "inside"
    (tmp_path / "a.txt").write_text("beside")
    assert {key: text for key, (text, _) in read(tmp_path).items()} == {"a": "beside", "b": "", "notes": "of no image"}


def test_labels_of_ours_are_no_evidence_but_what_people_add_to_them_is(tmp_path):
    classes = Classes(["Q1", "Q2"], ["crane", "R&D <x>"], ["crane", "R&D <x>"], [("bird",), ()])
    labels = tuple(ImageLabel(number, f"Q{number + 1}", classes.names[number], 0.9) for number in (0, 1))
    (tmp_path / "a.jpg").write_bytes(picture())
    ours = sidecar(Row("s", "a", "", labels, None, "", ""), classes)
    (tmp_path / "a.jpg.xmp").write_text(ours)
    assert read(tmp_path) == {"a": ("", ())}
    joined = ours.replace("<dc:subject><rdf:Bag>", "<dc:subject><rdf:Bag><rdf:li>harbour</rdf:li>")
    (tmp_path / "a.jpg.xmp").write_text(joined)
    assert read(tmp_path) == {"a": ("harbour", (("keywords", 7),))}


OURS = (
    '<rdf:Description xmlns:openmofi="https://openmofi.org/ns/1.0/"><openmofi:keywords><rdf:Bag>'
    "<rdf:li>crane</rdf:li></rdf:Bag></openmofi:keywords></rdf:Description>"
)


def test_labels_of_ours_are_known_from_another_description(tmp_path):
    """exiftool writes an rdf:Description a namespace."""
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "a.jpg.xmp").write_text(RDF.format(">" + KEYWORDS).replace("</rdf:RDF>", f"{OURS}</rdf:RDF>"))
    assert read(tmp_path)["a"][0] == "mist & dawn"


@pytest.mark.parametrize("beside", [True, False], ids=["in the sidecar", "in the image"])
def test_copies_of_our_labels_are_no_evidence_wherever_they_stand(tmp_path, beside):
    """One source says which are ours; the image's XMP, its IPTC and the sidecar have copies."""
    plain, owned = RDF.format(">" + KEYWORDS), RDF.format(">").replace("</rdf:RDF>", f"{OURS}</rdf:RDF>")
    (tmp_path / "a.jpg").write_bytes(iptc((25, b"crane"), (25, b"harbour")))
    (tmp_path / "a.jpg.xmp").write_text(owned)
    assert read(tmp_path)["a"][0] == "harbour"
    (tmp_path / "a.jpg").write_bytes(iptc((25, b"crane")) + (plain if beside else owned).encode())
    (tmp_path / "a.jpg.xmp").write_text(owned if beside else plain)
    assert read(tmp_path)["a"][0] == "mist & dawn"


BOMB = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "damaged",
    [
        BOMB.encode() + RDF.format(TITLE.format("&a;&b;")).encode(),
        (BOMB + RDF.format(TITLE.format("&a;&b;"))).encode("utf-16"),
        RDF.format(TITLE.format("x")).encode()[:-30],
        b"<rdf:RDF/>",
        b"",
        b"\xff\xfe\0",
        b"<a>" * 300_000,
    ],
)
def test_a_strangers_sidecar_is_data(tmp_path, damaged):
    (tmp_path / "a.jpg").write_bytes(iptc((120, b"inside")))
    (tmp_path / "a.xmp").write_bytes(damaged)
    assert read(tmp_path)["a"][0] == "inside"


def test_damaged_iptc_gives_what_it_holds(tmp_path):
    sound = iptc((120, b"inside"), (25, b"k" * 40))
    place = sound.index(b"8BIM")
    for cut in range(place, place + 70):
        (tmp_path / f"{cut}.jpg").write_bytes(sound[:cut])
    texts = [text for text, _ in read(tmp_path).values()]
    assert texts[0] == ""
    assert texts[-1] == "inside\n" + "k" * 40
    assert all("inside\nkkk".startswith(text[:9]) for text in texts)
    (tmp_path / "b.jpg").write_bytes(iptc((120, b"x"), resource=b"8BIM\x04\x05") + b"<rdf:RDF " * 30_000)
    assert read(tmp_path)["b"][0] == ""


def test_a_folder_of_photographs_without_texts_keeps_its_rows(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture())
    (shard,) = expand_shards([str(tmp_path)])
    assert [pair.status for pair in read_pairs(shard)] == [PairStatus.TEXT_MISSING]
