"""What an attacker would try: none of it reads a file, writes, runs in a browser, or says what is inside."""

import io
import json
import socket
import struct
import zlib

import pytest
from PIL import Image
from search_world import colour_encoder, coloured, write_colour_kb, write_images
from served_world import served

from openmofi.errors import UsageError
from openmofi.knowledge import KnowledgeBase
from openmofi.plugins.server import ServeSettings
from openmofi.plugins.server.app import page_files
from openmofi.plugins.server.guard import Sessions
from openmofi.search import Index, build

TOKEN = "a-token-of-thirty-two-characters"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; manifest-src 'self'"
)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../../../etc/passwd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static//etc/passwd",
        "/etc/passwd",
        "/static/..%2f..%2fserver%2fapp.py",
        "/static/../server/app.py",
        "/api/images/../../etc/passwd",
        "/api/images/..%2f1/original",
        "/api/images/%00/original",
        "/static/index.html%00.js",
        "/static/__init__.py",
        "//etc/passwd",
        "/static/\\..\\..\\etc\\passwd",
    ],
)
def test_no_path_reaches_the_file_system(reader, path):
    answer = reader.get(path)
    assert answer.status_code in (404, 422), answer.text
    assert "root:" not in answer.text


def test_only_the_page_s_own_files_are_served(reader):
    assert "/" in page_files()
    assert not any(name.endswith((".py", ".map")) for name in page_files())
    for name, file in page_files().items():
        assert reader.get(name).content == file.data


@pytest.mark.parametrize(
    "image",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "../1",
        1.5,
        True,
        [1],
        {"a": 1},
        -1,
        0,
        2**63,
    ],
)
def test_an_example_is_an_id_never_a_path_or_address(reader, image):
    answer = reader.post("/api/search", json={"examples": [{"image": image}]})
    assert answer.status_code == 422 if image is not True else answer.status_code in (200, 422)
    assert "root:" not in answer.text


def test_no_address_that_a_client_or_an_index_names_is_asked(tmp_path):
    """SSRF: whoever listens there hears nothing."""
    folder = write_images(tmp_path / "images", 1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/x.png"
        build([str(folder)], colour_encoder(), tmp_path / "index")
        index = Index.open(tmp_path / "index", colour_encoder())
        index.connection.execute(
            "UPDATE images SET url = ?, text = ?, columns = ?",
            (address, address, json.dumps({"image": address, "url": address})),
        )
        for file in folder.glob("*.png"):
            file.unlink()  # where it came from is known, and not asked instead
        with served(index, rate=0) as client:
            filters = {"folder": address, "licence": address, "columns": {"url": address, address: "*"}}
            for path, body in (
                ("search", {"text": address}),
                ("search", {"text": "a", "filters": filters}),
                ("search", {"entity": address}),
                ("search", {"examples": [{"upload": address}]}),
                ("recognise", {"upload": address}),
                ("recognise", {"image": address}),
                ("uploads", {"url": address}),
                ("session", {"token": address}),
                ("verdicts", [{"shard": address, "key": address, "entity": "c:red", "verdict": "y"}]),
            ):
                assert client.post(f"/api/{path}", json=body).status_code < 500
            for path in (
                "images/1/original",
                "images/1/thumbnail",
                "images/1/recognise",
                f"entities/{address}",
                f"entities?prefix={address}",
                f"review?entity={address}",
                f"images/1/recognise?region={address}",
            ):
                assert client.get(f"/api/{path}").status_code < 500
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/info",
        "/api/images/1",
        "/api/images/1/original",
        "/api/images/999",
        "/nothing",
        "/healthz",
        "/metrics",
        "/api/openapi.json",
    ],
)
def test_every_answer_has_the_headers(reader, path):
    headers = reader.get(path).headers
    assert headers["content-security-policy"] == POLICY
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def png_of(width, height):
    """A PNG that says that it is so large, and holds next to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def uploaded(client, data):
    answer = client.post("/api/uploads", content=data, headers={"Content-Type": "image/png"})
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json().get("error", "")


@pytest.mark.parametrize(
    ("data", "status", "sentence"),
    [
        (png_of(60_000, 60_000), 413, "too many pixels"),
        (
            b"GIF89a"
            + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0)
            + b","
            + struct.pack("<HHHHB", 0, 0, 60_000, 60_000, 0)
            + b"\x08\xff"
            + bytes(255)
            + b"\x00;",
            413,
            "too many pixels",
        ),
        (
            b"BM"
            + struct.pack("<IHHIIiiHHIIiiII", 154, 0, 0, 54, 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
            + bytes(99),
            413,
            "too many pixels",
        ),
        (png_of(2_000, 2_000), 422, "not an image"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', 415, "SVG"),
        (b"%PDF-1.4", 415, "PDF"),
        (b"", 422, "no bytes"),
        (b"GIF89a", 422, "not an image"),
        (b"<html><script>alert(1)</script>", 415, "HTML"),
        (coloured("red")[:200], 422, "not an image"),
    ],
)
def test_what_is_no_image_is_refused_kindly(reader, data, status, sentence):
    got, error = uploaded(reader, data)
    assert got == status, error
    assert sentence in error


def test_an_upload_that_is_too_large_is_refused_and_not_kept(index):
    with served(index, max_upload_bytes=100_000) as client:
        assert uploaded(client, bytes(150_000)) == (413, "This file has 0 MB, more than 0 MB.")
        assert uploaded(client, bytes(500_000)) == (413, "The request is too large.")

        def parts():  # without a length
            for _ in range(100):
                yield bytes(10_000)

        assert uploaded(client, parts())[0] == 413
        assert uploaded(client, coloured("red"))[0] == 201


def test_uploads_are_forgotten_the_oldest_first():
    from openmofi.plugins.server.context import Uploads
    from openmofi.plugins.server.messages import Refused

    data = [coloured("red", seed) for seed in range(3)]
    uploads = Uploads(10**6, kept_bytes=len(data[1]) + len(data[2]) + 10)
    kept = [uploads.add(each).upload for each in data]
    with pytest.raises(Refused, match="not there any more"):
        uploads.get(kept[0])
    assert [uploads.get(each) for each in kept[1:]] == data[1:]
    expired = Uploads(10**6, kept_seconds=-1)
    with pytest.raises(Refused):
        expired.get(expired.add(data[0]).upload)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 100_000, 400),
        (b'{"filters":{"columns":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}}", 400),
        (b'{"text":"' + b"a" * 2_000_000 + b'"}', 413),
        (b'{"text":"' + b"a" * 5_000 + b'"}', 422),
        (json.dumps({"more": list(range(1, 5_000))}).encode(), 422),
        (b'{"text":"\\ud800"}', 422),
        (b'{"a', 400),
        (b'{"until":NaN}', 422),
        (b'{"examples":[{"image":1,"weight":1e999}]}', 422),
        (b"\xff\xfe", 400),
        (b"", 422),
        (b'{"limit":1000000000000000000000000000}', 422),
        (b'{"nothing":1}', 422),
        (b'{"filters":{"since":"yesterday"}}', 422),
        (b'{"examples":[{"image":1,"upload":"a"}]}', 422),
    ],
)
def test_odd_json_is_refused_with_a_sentence(reader, body, status):
    answer = reader.post("/api/search", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "hint", "request_id"}
    assert len(answer.text) < 2_000


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"limit": 0}, "limit: expected `int` >= 1."),
        ({"more": [1, 0]}, "more[1]: expected `int` >= 1."),
        ({"filters": {"min_probability": 2}}, "filters.min_probability: expected `float` <= 1.0."),
        (
            {"examples": [{"image": 1, "region": {"lft": 0}}]},
            "examples[0].region: object contains unknown field `lft`.",
        ),
        ({"like": [1]}, "the request: object contains unknown field `like`."),
        ([], "the request: expected `object`, got `array`."),
        ({"filters": {"since": "yesterday"}}, "since is 'yesterday', not a day."),
        ({"examples": [{"image": 1, "region": {"left": 0.5, "right": 0.5}}]}, "The region 0.5,0,0.5,1 does not lie"),
    ],
)
def test_a_bound_of_a_query_is_named(reader, body, sentence):
    answer = reader.post("/api/search", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(sentence)


@pytest.mark.parametrize(
    ("kind", "status"),
    [("application/json; charset=utf-8", 200), ("application/search+json", 200), ("application/jsonp", 422), ("", 422)],
)
def test_a_body_is_json_by_its_content_type(reader, kind, status):
    answer = reader.post("/api/search", content=b'{"limit": 1}', headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text


def test_deep_and_oversized_json_is_refused_everywhere(reader):
    described = reader.get("/api/openapi.json").json()["paths"]
    paths = [
        path
        for path, methods in described.items()
        if "application/json" in methods.get("post", {}).get("requestBody", {}).get("content", {})
    ]
    assert {"/api/search", "/api/recognise", "/api/verdicts", "/api/images", "/api/session"} <= set(paths)
    for path in paths:
        for body in (b"[" * 200_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"[" + b"1," * 600_000 + b"1]"):
            answer = reader.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 413, 422), (path, answer.text[:200])
            assert set(answer.json()) == {"error", "hint", "request_id"}
            assert len(answer.text) < 2_000


def test_forms_are_not_read(client):
    """A page of another origin may send forms and text without asking; JSON it may not."""
    body = json.dumps([{"shard": "images", "key": "red-1", "entity": "c:red", "verdict": "n"}])
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert client.post("/api/verdicts", content=body, headers={"Content-Type": kind}).status_code == 422
    assert client.get("/api/verdicts").json() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_origins_cannot_write(client, headers):
    assert (
        client.post(
            "/api/verdicts", json=[{"shard": "a", "key": "b", "entity": "c", "verdict": "y"}], headers=headers
        ).status_code
        == 403
    )
    assert client.post("/api/search", json={}, headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[::2]:8000"])
def test_another_name_that_points_here_is_not_answered(reader, host):
    """DNS rebinding: a page of a stranger whose name leads to this machine."""
    answer = reader.get("/api/info", headers={"Host": host})
    assert answer.status_code == 421
    assert "images" not in answer.json()


def test_names_that_are_ours_are_answered(index):
    with served(index, hosts=("images.example",)) as client:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "images.example"):
            assert client.get("/api/info", headers={"Host": host}).status_code == 200


def test_the_token_is_asked_for(index):
    with served(index, host="0.0.0.0", token=TOKEN) as client:
        assert client.get("/").status_code == client.get("/healthz").status_code == 200
        routes = [
            ("GET", "/api/info"),
            ("POST", "/api/search"),
            ("GET", "/api/images/1/original"),
            ("GET", "/metrics"),
            ("POST", "/api/verdicts"),
            ("GET", "/api/openapi.json"),
            ("GET", "/api/nothing"),
            ("POST", "/api/uploads"),
            ("GET", "//api/info"),
            ("GET", "/api/verdicts.parquet"),
            ("DELETE", "/api/verdicts/1"),
        ]
        for method, path in routes:
            for given in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer \xe9"):
                headers = {"Authorization": given.encode("latin-1")} if given else {}
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == (404 if path.startswith("//") else 401), path
                assert TOKEN not in answer.text
        assert client.get("/api/info", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_session_by_the_token(index):
    with served(index, host="0.0.0.0", token=TOKEN) as client:
        assert client.post("/api/session", json={"token": "wrong"}).status_code == 401
        answer = client.post("/api/session", json={"token": TOKEN})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert client.get("/api/images/1/thumbnail").status_code == 200
        value = client.cookies["openmofi_session_8000"]
        client.delete("/api/session")
        assert client.get("/api/images/1/thumbnail").status_code == 401
        for cookie in (value, value.partition(".")[0], f"{value.partition('.')[0]}.", ".", "guessed", "é"):
            answer = client.get("/api/info", headers={"Cookie": f"openmofi_session_8000={cookie}".encode()})
            assert answer.status_code == 401, cookie


def test_a_sign_out_ends_its_own_session_alone(index):
    with served(index, token=TOKEN) as client:
        cookies = []
        for _ in range(2):
            client.post("/api/session", json={"token": TOKEN})
            cookies.append(client.cookies["openmofi_session_8000"])
            client.cookies.clear()
        codes = []
        for cookie in cookies:
            headers = {"Cookie": f"openmofi_session_8000={cookie}"}
            client.delete("/api/session", headers=headers)
            codes.append(
                [
                    client.get("/api/info", headers={"Cookie": f"openmofi_session_8000={each}"}).status_code
                    for each in cookies
                ]
            )
    assert codes == [[401, 200], [401, 401]]


def test_sessions_outlive_a_restart_and_end_with_the_token(index):
    def codes(cookies, token=TOKEN):
        with served(index, token=token) as client:
            return [
                client.get("/api/info", headers={"Cookie": f"openmofi_session_8000={cookie}"}).status_code
                for cookie in cookies
            ]

    with served(index, token=TOKEN) as client:
        client.post("/api/session", json={"token": TOKEN})
        cookie = client.cookies["openmofi_session_8000"]
    name, _, signature = cookie.partition(".")
    forged = [f"9{name}.{signature}", f"{name}.{signature[:-1]}0x", f"{name}.", f".{signature}"]
    assert codes([cookie, *forged]) == [200, 401, 401, 401, 401]
    assert codes([cookie], TOKEN[::-1]) == [401]


def test_a_session_ends_after_thirty_days():
    now = [1e9]
    sessions = Sessions(TOKEN, lambda: now[0])
    cookie = sessions.begin()
    now[0] += 30 * 24 * 3600 - 1
    assert sessions.has(cookie)
    now[0] += 2
    assert not sessions.has(cookie)


def test_the_page_s_address_with_the_token_begins_a_session(index):
    settings = ServeSettings()
    assert len(settings.token) >= 32
    assert settings.token != ServeSettings().token
    assert settings.token not in repr(settings)
    with served(index, token=TOKEN, rate=0) as client:
        assert client.get("/api/info").status_code == 401
        for given in ("wrong", TOKEN[:-1], ""):
            answer = client.get("/", params={"token": given})
            assert answer.status_code == 200  # the page, which asks for it
            assert not client.cookies
        answer = client.get("/", params={"token": TOKEN}, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert TOKEN not in answer.headers["set-cookie"]
        assert client.get("/api/info").json()["token"] is True
        script = next(name for name in page_files() if name.endswith(".js"))
        assert client.get(script, params={"token": TOKEN}).status_code == 200


def test_guessing_tokens_by_the_page_s_address_is_slow(index):
    with served(index, token=TOKEN, rate=1) as client:
        codes = [
            client.get("/", params={"token": str(number)}, follow_redirects=False).status_code for number in range(10)
        ]
    assert codes[0] == 303
    assert codes[-1] == 429


def test_two_servers_of_a_host_have_two_cookies(index):
    with served(index, token=TOKEN) as client:
        client.post("/api/session", json={"token": TOKEN})
        client.get("http://127.0.0.1:9000/", params={"token": TOKEN})
        assert set(client.cookies) == {"openmofi_session_8000", "openmofi_session_9000"}


def test_the_token_is_compared_in_constant_time(index, monkeypatch):
    import secrets

    compared, true = [], secrets.compare_digest
    monkeypatch.setattr(secrets, "compare_digest", lambda a, b: compared.append(b) or true(a, b))
    with served(index, host="0.0.0.0", token=TOKEN) as client:
        client.get("/api/info", headers={"Authorization": "Bearer a"})
        client.post("/api/session", json={"token": "a"})
        client.get("/api/info", headers={"Cookie": "openmofi_session_8000=a"})
    assert len(compared) == 3


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "images.example", ""])
def test_nobody_else_is_listened_to_without_a_token(host):
    with pytest.raises(UsageError, match="Without a token"):
        ServeSettings(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_needs_none(host):
    assert ServeSettings(host).loopback
    assert ServeSettings(host).made_token
    assert ServeSettings(host, no_token=True).token == ""


def test_who_asks_for_no_token_gets_none_and_others_are_not_let_in(index):
    with served(index, no_token=True) as client:
        assert client.get("/api/info").json()["token"] is False
    with pytest.raises(UsageError, match="Without a token"):
        ServeSettings("0.0.0.0", no_token=True)
    with pytest.raises(UsageError, match="Leave one of the two out"):
        ServeSettings(token=TOKEN, no_token=True)
    with pytest.raises(UsageError, match="not an address"):
        ServeSettings(proxies=("proxy.example",))


@pytest.mark.parametrize("token", ["short", "with\nline-breaks-and-more", "é" * 20])
def test_a_bad_token_is_refused(token):
    with pytest.raises(UsageError, match="token"):
        ServeSettings(token=token)


def test_html_in_captions_names_and_file_names_stays_text(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    folder = write_images(tmp_path / "images", 1)
    (folder / "red-0.png").rename(folder / f"{evil}-0.png")
    (folder / "blue-0.png").rename(folder / 'a"; filename="b.html-0.png')
    build(
        [str(folder)],
        colour_encoder(),
        tmp_path / "index",
        kb=KnowledgeBase.open(write_colour_kb(tmp_path / "kb")),
        entities="all",
    )
    index = Index.open(tmp_path / "index", colour_encoder())
    index.connection.execute("UPDATE images SET text = ?", (evil,))
    index.connection.execute("UPDATE entities SET name = ?", (evil,))
    with served(index) as client:
        for path in ("/api/images/1", "/api/entities", f"/api/entities/{evil}", f"/{evil}"):
            assert client.get(path).headers["content-type"] == "application/json"
        hits = client.post("/api/search", json={"text": evil}).json()["hits"]
        assert len(hits) == 6
        for image in (hit["image"]["id"] for hit in hits):
            answer = client.get(f"/api/images/{image}/original")
            assert answer.headers["content-disposition"] == f'inline; filename="image-{image}.png"'


def test_an_image_that_is_html_is_never_shown_as_a_page():
    from openmofi.plugins.server.routes import _type

    for data in (b"<html><script>alert(1)</script>", b"<svg onload=alert(1)>", b"", b"\x00" * 20):
        assert _type(data) == ("application/octet-stream", "bin")
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "WEBP")
    assert _type(out.getvalue()) == ("image/webp", "webp")


def test_what_goes_wrong_inside_stays_inside(index, client, monkeypatch):
    def broken(*_):
        raise RuntimeError("secret of /home")

    monkeypatch.setattr(type(index), "info", broken)
    answer = client.get("/api/info", headers={"X-Request-ID": "mine-1"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["content-security-policy"] == POLICY


def test_a_request_id_cannot_carry_anything(reader):
    for given in ("a b", "a\tb", "x" * 65, "<script>"):
        assert reader.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] != given
