"""What the web client refuses and understands, without a server."""

import asyncio
import gc
import threading
from concurrent.futures import thread
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from openmofi.plugins.fetch import FetchSettings
from openmofi.plugins.fetch.rows import RowFetcher
from openmofi.plugins.fetch.web import Failure, _checked, _require_welcome, _seconds, host_of, is_public


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"]
    + ["240.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"]
    + ["2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1"],
)
def test_addresses_of_private_networks_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0), ("7", 7), (" 120 ", 120), ("-3", 0), ("soon", 0), ("1e9", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after_is_a_number_or_nothing(text, seconds):
    assert _seconds(text) == seconds


def test_retry_after_may_be_a_date():
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert 80 < _seconds(format_datetime(later, usegmt=True)) <= 90


@pytest.mark.parametrize(
    ("tags", "refused"),
    [
        ([], False),
        (["noarchive"], False),
        (["noai"], True),
        (["noarchive, NoImageAI"], True),
        (["all", "noindex"], True),
        (["openmofi: noimageindex"], True),
        (["OpenMOFI : noai"], True),
        (["otherbot: noai"], False),
        (["noai, unavailable_after: 25 Jun 2010 15:00:00 PST"], True),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST"], False),
    ],
)
def test_an_x_robots_tag_is_heeded_where_it_is_for_all_or_for_us(tags, refused):
    if refused:
        with pytest.raises(Failure, match="X-Robots-Tag"):
            _require_welcome(tags, "openmofi")
    else:
        _require_welcome(tags, "openmofi")


@pytest.mark.parametrize(
    "address",
    ["", " ", "x", "ftp://a/b", "file:///etc/passwd", "http://", "http://[::1", "javascript:alert(1)", "//a/b"],
)
def test_anything_but_an_http_url_is_a_failure(address):
    with pytest.raises(Failure, match="URL"):
        _checked(address)
    assert host_of(address) == ""


def test_a_url_is_read_as_browsers_read_it():
    assert str(_checked(" http://Example.com/ü x.jpg#part ")) == "http://example.com/%C3%BC%20x.jpg"
    assert host_of(None) == ""


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [("openmofi/0.1.0", "openmofi"), ("Our-Bot (me@example.org)", "our-bot"), (" X/1 openmofi/2", "x"), ("", "")],
)
def test_robots_know_the_name_in_the_user_agent(user_agent, name):
    assert FetchSettings(user_agent=user_agent).agent == name
    assert FetchSettings().agent == "openmofi"


def test_an_own_column_cannot_be_kept():
    from openmofi.errors import UsageError

    with pytest.raises(UsageError, match="'sha256', which is a column of the output"):
        FetchSettings(keep_columns=("score", "sha256"))


def test_the_garbage_collector_waits_for_nobody():
    """It may take a client while another one starts a thread, and closing starts threads, too."""
    holder = [RowFetcher(FetchSettings())]
    holder.append(holder)
    del holder

    async def collect():
        with thread._global_shutdown_lock:
            gc.collect()

    collecting = threading.Thread(target=lambda: asyncio.run(collect()), daemon=True)
    collecting.start()
    collecting.join(60)
    assert not collecting.is_alive()
