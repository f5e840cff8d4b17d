"""Sockets that break the rules, beside one that keeps them."""

import asyncio
import json
import socket
import struct
import time
import zlib
from contextlib import suppress
from typing import NamedTuple

from ..tools.client import DEFLATE, REQUEST
from ..tools.service import PATIENCE, Figure, database, inventory
from .beside import others

FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
MORE, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
LIMIT = 5.0 * PATIENCE  # seconds for the service to react
END = 2.0 * PATIENCE  # seconds from its close to the connection's end


def frame(first: int, payload: bytes = b"", *, mask: bytes = b"\x5a\xa5\x0f\xf0", size: int | None = None) -> bytes:
    """A frame of a client; `size` is what it says of its length, if not the truth; without a mask, a server's frame."""
    length = len(payload) if size is None else size
    flag = 0x80 if mask else 0
    if length < 126:
        head = struct.pack("!BB", first, flag | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, flag | 126, length)
    else:
        head = struct.pack("!BBQ", first, flag | 127, length)
    if mask:
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return head + mask + payload


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(FIN | CLOSE, struct.pack("!H", code) + reason)


def deflated(payload: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


DEFLATED = deflated(b'{"type":"NADA"}')
ASK = frame(FIN | TEXT, b'{"type":"PING"}')
STAYS = 0  # the socket goes on, and answers a PING of the guide
LEAVES = -1  # it is the client that goes, in the middle
GONE = -2  # the connection ended without a close code
HANGS = -3


class Case(NamedTuple):
    """What is sent after the welcome, and how it ends: a close code, STAYS or LEAVES."""

    name: str
    data: bytes
    ends: int
    more: str = ""  # headers of the handshake


CASES = [
    Case("text", frame(FIN | TEXT, b'{"type":"NADA"}'), STAYS),
    Case("text in three fragments", frame(TEXT, b'{"ty') + frame(MORE, b'pe":1') + frame(FIN | MORE, b"}"), STAYS),
    Case("fragments with a ping between", frame(TEXT, b"{") + frame(FIN | PING) + frame(FIN | MORE, b"}"), STAYS),
    Case("empty text", frame(FIN | TEXT), STAYS),
    Case("no JSON", frame(FIN | TEXT, b"\x00"), STAYS),
    Case("JSON 4,000 deep", frame(FIN | TEXT, b"[" * 4000), STAYS),
    Case("JSON with a number of 4,000 digits", frame(FIN | TEXT, b'{"type":' + b"9" * 4000 + b"}"), STAYS),
    Case("JSON with a lone surrogate", frame(FIN | TEXT, b'{"type":"\\ud800"}'), STAYS),
    Case("room of what is no list", frame(FIN | TEXT, b'{"type":"SUBSCRIBE","productos":{"1":2}}'), STAYS),
    Case("room of numbers out of range", frame(FIN | TEXT, b'{"type":"SUBSCRIBE","productos":[1e99]}'), STAYS),
    Case("4,096 bytes", frame(FIN | TEXT, b"x" * 4096), STAYS),
    Case("unmasked", frame(FIN | TEXT, b'{"type":"NADA"}', mask=b""), STAYS),  # aiohttp does not insist
    Case("mask of zeros", frame(FIN | TEXT, b'{"type":"NADA"}', mask=bytes(4)), STAYS),
    Case("binary", frame(FIN | BINARY, b"x"), 1003),
    Case("empty binary", frame(FIN | BINARY), 1003),
    Case("binary in fragments", frame(BINARY, b"x") + frame(FIN | MORE, b"x"), 1003),
    Case("RSV1 without an extension", frame(FIN | RSV1 | TEXT, b"x"), 1002),
    Case("RSV2", frame(FIN | RSV2 | TEXT, b"x"), 1002),
    Case("RSV3", frame(FIN | RSV3 | TEXT, b"x"), 1002),
    Case("RSV3 on a ping", frame(FIN | RSV3 | PING), 1002),
    *(Case(f"reserved opcode {opcode:#x}", frame(FIN | opcode, b"x"), 1002) for opcode in (3, 4, 5, 6, 7)),
    *(Case(f"reserved opcode {opcode:#x}", frame(FIN | opcode, b"x"), 1002) for opcode in (11, 12, 13, 14, 15)),
    Case("bad UTF-8", frame(FIN | TEXT, b'{"type":"\xff"}'), 1007),
    Case("UTF-8 of a surrogate", frame(FIN | TEXT, b'"\xed\xa0\x80"'), 1007),
    Case("overlong UTF-8", frame(FIN | TEXT, b'"\xc0\xaf"'), 1007),
    Case("UTF-8 cut by the end", frame(FIN | TEXT, b"\xc3"), 1007),
    Case("bad UTF-8 in fragments", frame(TEXT, b"\xc3") + frame(FIN | MORE, b"\x28"), 1007),
    Case("UTF-8 cut by a fragment", frame(TEXT, b'"\xc3') + frame(FIN | MORE, b'\xb1"'), STAYS),
    Case("4,097 bytes", frame(FIN | TEXT, b"x" * 4097), 1009),
    Case("70,000 bytes", frame(FIN | TEXT, b"x" * 70_000), 1009),
    Case("5,000 bytes in fragments", frame(TEXT, b"x" * 2500) + frame(FIN | MORE, b"x" * 2500), 1009),
    Case("a length of 2^32, announced", frame(FIN | TEXT, b"x", size=1 << 32), 1009),
    Case("a length of 2^63 - 1, announced", frame(FIN | TEXT, b"x", size=(1 << 63) - 1), 1009),
    Case("a length of 2^64 - 1, announced", frame(FIN | TEXT, b"x", size=(1 << 64) - 1), 1009),
    Case("a short length in 64 bits", struct.pack("!BBQ", FIN | TEXT, 0xFF, 2) + bytes(4) + b"{}", STAYS),
    Case("continuation without a start", frame(FIN | MORE, b"x"), 1002),
    Case("open continuation without a start", frame(MORE, b"x"), 1002),
    Case("text amid fragments", frame(TEXT, b"x") + frame(FIN | TEXT, b"x"), 1002),
    Case("a start amid fragments", frame(TEXT, b"x") + frame(TEXT, b"x"), 1002),
    Case("text after an empty fragment", frame(TEXT) + frame(FIN | TEXT, b"{}"), STAYS),  # nor here
    Case("ping in fragments", frame(PING, b"x"), 1002),
    Case("close in fragments", frame(CLOSE, b"\x03\xe8"), 1002),
    Case("ping of 125 bytes", frame(FIN | PING, b"x" * 125), STAYS),
    Case("ping of 126 bytes", frame(FIN | PING, b"x" * 126), 1002),
    Case("close of 126 bytes", close(1000, b"x" * 124), 1002),
    Case("pong nobody asked for", frame(FIN | PONG, b"x"), STAYS),
    Case("close", close(1000), 1000),
    Case("close without a code", frame(FIN | CLOSE), 1000),
    Case("close with half a code", frame(FIN | CLOSE, b"\x03"), 1002),
    *(Case(f"close with {code}", close(code), 1002) for code in (0, 999, 1004, 1005, 1015, 1016, 2999)),
    *(Case(f"close with {code}", close(code), 1000) for code in (1006, 3000, 4999, 5000, 65535)),
    Case("close with bad UTF-8", close(1000, b"\xff"), 1007),
    Case("close, then more", close(1000) + ASK * 3, 1000),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1002),
    Case("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 1002),
    Case("deflated text", frame(FIN | RSV1 | TEXT, DEFLATED), STAYS, DEFLATE),
    Case("deflated fragments", frame(RSV1 | TEXT, DEFLATED[:2]) + frame(FIN | MORE, DEFLATED[2:]), STAYS, DEFLATE),
    Case("deflate bomb", frame(FIN | RSV1 | TEXT, deflated(bytes(3_000_000))), 1009, DEFLATE),
    Case("deflate garbage", frame(FIN | RSV1 | TEXT, b"\xff" * 20), 1000, DEFLATE),
    Case("deflated bad UTF-8", frame(FIN | RSV1 | TEXT, deflated(b"\xff")), 1007, DEFLATE),
    Case("RSV1 on a continuation", frame(RSV1 | TEXT, b"x") + frame(FIN | RSV1 | MORE, b"x"), 1002, DEFLATE),
    Case("cut in the middle of a frame", frame(FIN | TEXT, b"x" * 100)[:50], LEAVES),
    Case("cut after a header", frame(FIN | TEXT, b"x" * 100)[:2], LEAVES),
]
FLOODS = [
    Case("flood of messages", frame(FIN | TEXT, b'{"type":"NADA"}') * 50_000, 1008),
    Case("flood of pings", frame(FIN | PING) * 200_000, 1008),
    Case("flood of pongs", frame(FIN | PONG) * 200_000, 1008),
    Case("tiny fragments", frame(TEXT, b"x") + frame(MORE, b"x") * 5000, 1009),
    Case("flood of empty fragments", frame(TEXT) + frame(MORE) * 200_000 + frame(FIN | MORE, b"{}"), STAYS),
]

KEY, VERSION = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "Sec-WebSocket-Version: 13\r\n"
UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
HANDSHAKES = {
    "no key": (UPGRADE + VERSION, 400),
    "empty key": (UPGRADE + VERSION + "Sec-WebSocket-Key:\r\n", 400),
    "short key": (UPGRADE + VERSION + "Sec-WebSocket-Key: AAAA\r\n", 400),
    "key that is no base64": (UPGRADE + VERSION + "Sec-WebSocket-Key: ====\r\n", 400),
    "key that is no ASCII": (UPGRADE + VERSION + "Sec-WebSocket-Key: ñandú\r\n", 400),
    "no version": (UPGRADE + KEY, 400),
    "version 12": (UPGRADE + KEY + "Sec-WebSocket-Version: 12\r\n", 400),
    "version of words": (UPGRADE + KEY + "Sec-WebSocket-Version: trece\r\n", 400),
    "no Upgrade": ("Connection: Upgrade\r\n" + KEY + VERSION, 400),
    "Upgrade to something else": ("Upgrade: h2c\r\nConnection: Upgrade\r\n" + KEY + VERSION, 400),
    "no Connection": ("Upgrade: websocket\r\n" + KEY + VERSION, 400),
    "a subprotocol of somebody else": (UPGRADE + KEY + VERSION + "Sec-WebSocket-Protocol: chat\r\n", 400),
    "an extension of nobody": (UPGRADE + KEY + VERSION + "Sec-WebSocket-Extensions: x; y=\r\n", 101),
    "a window of 99 bits": (
        UPGRADE + KEY + VERSION + "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n",
        101,
    ),
    "a body": (UPGRADE + KEY + VERSION + "Content-Length: 5\r\n\r\nhello", 101),
}


def told(sock: socket.socket) -> int:
    """Reads until the service has said what a Case may end with."""
    buffer, file = b"", sock.makefile("rb")
    while head := file.read(2):
        size = head[1] & 127
        if size > 125:
            size = int.from_bytes(file.read({126: 2, 127: 8}[size]), "big")
        buffer = file.read(size)
        if head[0] & 15 == CLOSE:
            return int.from_bytes(buffer[:2], "big")
        if head[0] == FIN | TEXT and json.loads(buffer)["type"] == "PONG":  # an event comes compressed, with RSV1
            return STAYS
    return GONE


def ask(port: int, case: Case) -> tuple[int, float]:
    """Plays the case. Returns how it ended, and the seconds from then to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as sock:
        sock.sendall(REQUEST.format(target="/ws", port=port, more=case.more).encode())
        answer = sock.makefile("rb", buffering=0)
        while answer.readline().strip():
            pass
        with suppress(ConnectionError, TimeoutError):  # it may be closed before we have said all
            sock.sendall(case.data)
            if case.ends == STAYS:
                sock.sendall(ASK)
        if case.ends == LEAVES:
            return LEAVES, 0.0
        try:
            ends = told(sock)
        except ConnectionError:
            ends = GONE
        except TimeoutError:
            return HANGS, LIMIT
        began = time.monotonic()
        with suppress(ConnectionError):
            sock.sendall(close(1000))
            while sock.recv(1 << 16):
                pass
        return ends, time.monotonic() - began


def shake(port: int, headers: str) -> int:
    """Asks for a socket with these headers; returns the status of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as sock:
        sock.sendall(f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}\r\n".encode())
        return int(sock.recv(1 << 16).split()[1])


async def check(server: str, rounds: int = 20) -> list[Figure]:
    """Every malformed frame and handshake we know of, then floods, beside a socket that hears of changes"""
    with database(server) as dsn:
        async with inventory(dsn, "--compress") as service:
            shaken = [await asyncio.to_thread(shake, service.port, headers) for headers, _ in HANDSHAKES.values()]
            async with others(service, dsn) as seen:
                ends = await asyncio.gather(*(asyncio.to_thread(ask, service.port, case) for case in CASES))
                floods = [await asyncio.to_thread(ask, service.port, case) for case in FLOODS * rounds]
            deadline = time.monotonic() + LIMIT
            while (left := (await service.health())["sockets"]) and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
            complaints = service.complaints()
    asked = [(name, right) for name, (_, right) in HANDSHAKES.items()]
    asked += [(case.name, case.ends) for case in [*CASES, *FLOODS * rounds]]
    found = [*shaken, *(end for end, _ in [*ends, *floods])]
    bad = [f"{name}: {end}" for (name, right), end in zip(asked, found, strict=True) if end != right]
    slowest = max(seconds for _, seconds in [*ends, *floods])
    return [
        Figure("frames, handshakes, floods", "", f"{len(CASES)}, {len(HANDSHAKES)}, {len(floods)}"),
        Figure("that ended otherwise than they should", "0", f"{len(bad)} {'; '.join(bad)[:200]}".strip(), not bad),
        Figure("from the close to the connection's end, s", f"<= {END:.0f}", f"{slowest:.2f}", slowest <= END),
        Figure("sockets left in the end", "0", str(left), left == 0),
        *seen.figures(),
        complaints,
    ]
