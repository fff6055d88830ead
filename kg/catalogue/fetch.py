"""One picture by URL, from a public address only.

A catalogue is written by others: a URL in it must not make this machine read its own network. Every hop's name is
resolved first, refused if any of its addresses is not public, and the connection goes to the very address that was
checked, so that a second, different answer of the name server changes nothing.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import time

import httpx

from kg.errors import BadPicture, PictureAway, TooLarge

__all__ = ["fetch"]

MAX_HOPS = 5
LATER = (408, 425, 429)  # answers that ask to come again, as those from 500 on do
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # gateways pass these on to the IPv4 address in the last 32 bits


def fetch(url: str, *, max_bytes: int, timeout_s: float, private: bool = False) -> bytes:
    """The body at `url`.

    Args:
        url: http or https.
        max_bytes: the transfer stops once it is longer.
        timeout_s: for all hops together.
        private: also fetch from private, loopback and link-local addresses.

    Raises:
        BadPicture: another scheme, a name that does not resolve, an address that is not public, a status but 200, too
            many redirects, a transfer that fails or takes too long; a `PictureAway` where another time may be better.
        TooLarge: a body above `max_bytes`.
    """
    deadline = time.monotonic() + timeout_s
    # Not through a proxy of the environment: it would resolve the name again, unchecked.
    # Not compressed: a picture gains nothing by it, and what unpacks can be a bomb.
    headers = {"user-agent": "skugraph", "accept-encoding": "identity"}
    with httpx.Client(trust_env=False, timeout=timeout_s, headers=headers) as client:
        try:
            target = httpx.URL(url)
            for _ in range(MAX_HOPS):
                request = _pinned(client, target, private)
                with contextlib.closing(client.send(request, stream=True)) as reply:
                    if reply.has_redirect_location:
                        target = target.join(reply.headers["location"])
                        continue
                    if reply.status_code != 200:
                        later = reply.status_code in LATER or reply.status_code >= 500
                        kind = PictureAway if later else BadPicture
                        raise kind(f"picture {url}: the server answers {reply.status_code}")
                    return _body(reply, url, max_bytes, deadline)
        except httpx.TransportError as error:
            raise PictureAway(f"picture {url}: {type(error).__name__} {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise BadPicture(f"picture {url}: {type(error).__name__} {error}") from error
    raise BadPicture(f"picture {url}: more than {MAX_HOPS} redirects")


def _pinned(client: httpx.Client, url: httpx.URL, private: bool) -> httpx.Request:
    """The request to the checked address, under the name of the host (also in TLS)."""
    if url.scheme not in ("http", "https") or not url.host:
        raise BadPicture(f"picture {url}: not an http or https address")
    try:
        found = socket.getaddrinfo(url.host, url.port or url.scheme, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, OverflowError) as error:  # also a label too long, a port that is none
        later = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        kind = PictureAway if later else BadPicture
        raise kind(f"picture {url}: {url.host} does not resolve ({error})") from error
    addresses = [ipaddress.ip_address(str(address[0]).split("%")[0]) for *_, address in found]
    if not private and (bad := next((a for a in addresses if not _public(a)), None)):
        raise BadPicture(
            f"picture {url}: {url.host} is {bad}, not a public address",
            hint="SKUGRAPH_FETCH_PRIVATE=1 allows it",
        )
    host = url.netloc.decode("ascii").rsplit("@", 1)[-1]
    return client.build_request(
        "GET",
        url.copy_with(host=str(addresses[0])),
        headers={"host": host},
        extensions={"sni_hostname": url.raw_host.decode("ascii")},
    )


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    inner = getattr(address, "ipv4_mapped", None) or getattr(address, "sixtofour", None)
    if address in NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.is_global and not address.is_multicast and (inner is None or _public(inner))


def _body(reply: httpx.Response, url: str, max_bytes: int, deadline: float) -> bytes:
    body = bytearray()
    for chunk in reply.iter_raw(1 << 16):
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"picture {url}: larger than {max_bytes / 1e6:g} MB")
        if time.monotonic() > deadline:
            raise PictureAway(f"picture {url}: the transfer takes too long")
    return bytes(body)
