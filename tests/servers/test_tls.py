"""Redis over TLS, its Sentinels too: whom we trust, and who we are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.certificates import make_certificate
from tests.redis_servers import Server, sentinel, server
from worker.config import Settings
from worker.errors import ConfigurationError, RedisAwayError
from worker.wiring_redis import connected


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1, its key in the same file."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "redis", "IP:127.0.0.1")


@asynccontextmanager
async def over_tls(
    behind: Server, certificate: Path, *, port: int = 0, asks_for_one: bool = False
) -> AsyncIterator[int]:
    """Speak TLS in front of a server, as its own TLS port would, on a port that it gives."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    if asks_for_one:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server, from_server = await asyncio.open_connection("127.0.0.1", behind.port)
        await asyncio.gather(pass_on(reader, from_server), pass_on(to_server, writer))

    front = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        yield front.sockets[0].getsockname()[1]
    finally:
        front.close()


async def pings(url: str) -> bool:
    async with connected(Settings(redis_url=url)) as redis:
        return bool(await redis.ping())


async def test_a_server_is_believed_by_the_certificates_that_are_named(
    certificate: Path, tmp_path: Path
) -> None:
    with server(tmp_path / "redis") as redis:
        async with over_tls(redis, certificate) as port:
            url = f"rediss://127.0.0.1:{port}/0"
            assert await pings(f"{url}?ssl_ca_certs={certificate}")
            assert await pings(f"{url}?ssl_ca_certs={certificate}&ssl_check_hostname=true")
            assert await pings(f"{url}?ssl_cert_reqs=none")
            with pytest.raises(ConfigurationError, match="CERTIFICATE_VERIFY_FAILED") as refused:
                await pings(url)
            assert not isinstance(refused.value, RedisAwayError), "it is not waited for"


async def test_a_server_that_asks_who_we_are_is_told(certificate: Path, tmp_path: Path) -> None:
    with server(tmp_path / "redis") as redis:
        async with over_tls(redis, certificate, asks_for_one=True) as port:
            url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
            assert await pings(f"{url}&ssl_certfile={certificate}&ssl_keyfile={certificate}")
            with pytest.raises(ConfigurationError, match="DREAMHOOK_REDIS_URL"):
                await pings(url)


async def test_sentinels_and_the_server_they_name_are_both_spoken_to_over_tls(
    certificate: Path, tmp_path: Path
) -> None:
    with server(tmp_path / "redis") as redis:
        async with over_tls(redis, certificate) as port:
            # The Sentinel names the port that speaks TLS, where it finds nobody to talk to itself.
            with sentinel(tmp_path / "sentinel", "dream", redis) as watching:
                watching.client().execute_command("SENTINEL", "REMOVE", "dream")
                watching.client().execute_command(
                    "SENTINEL", "MONITOR", "dream", "127.0.0.1", port, 1
                )
                async with over_tls(watching, certificate) as asked:
                    url = f"rediss+sentinel://127.0.0.1:{asked}/dream?ssl_ca_certs={certificate}"
                    assert await pings(url)


async def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"no file /nowhere/ca\.pem.*ssl_ca_certs"):
        await pings("rediss://127.0.0.1:1/0?ssl_ca_certs=/nowhere/ca.pem")
