"""The twin of crowd.c, for where there is no C compiler: the same commands and answers, at a client's price in Python."""

import asyncio
import json
import re
import sys
import time

from .client import DEFLATE, RSV1, Client, dial

ID = re.compile(rb'"id":(\d+)')
MADE = re.compile(rb'"descripcion":"@(\d+)')


class Crowd:
    def __init__(self, port: int) -> None:
        self.port = port
        self.clients: list[Client] = []
        self.expected: list[int] = []
        self.reached: dict[int, float] = {}
        self.counts = dict.fromkeys(("welcomed", "recovered", "frames", "gaps", "repeats"), 0)
        self.delays: list[float] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.began, self.until, self.forgotten, self.timing = 0.0, 0, 0, False

    async def open(self, count: int) -> None:
        for number in range(count):
            self.clients.append(await dial(self.port, lambda *heard, number=number: self.hear(number, *heard)))
        self.expected = [0] * count

    async def again(self, number: int, target: str) -> None:
        self.clients[number] = await dial(self.port, lambda *heard: self.hear(number, *heard))
        self.clients[number].upgrade(self.port, target)

    def hear(self, number: int, first: int, payload: bytes) -> None:
        counts = self.counts
        if payload.startswith(b'{"type":"CONNECTION'):
            counts["welcomed"] += 1
            counts["recovered"] += b'"recovered":true' in payload
            return
        counts["frames"] += 1
        if first & RSV1 or not (found := ID.search(payload, 0, 64)):
            return
        event, expected = int(found[1]), self.expected[number]
        counts["repeats"] += event < expected
        counts["gaps"] += max(event - expected, 0)
        self.expected[number] = max(event + 1, expected)
        if event >= self.until:
            self.reached.setdefault(number, time.monotonic() - self.began)
        if self.timing and (made := MADE.search(payload)):
            self.delays.append(time.time() * 1e3 - int(made[1]) / 1e3)

    def obey(self, command: str, *words: str) -> None:
        if command == "go":
            self.began = time.monotonic()
            for client in self.clients:
                client.upgrade(self.port, words[0], DEFLATE if words[1:] else "")
        elif command == "leave":
            for client in self.clients:
                client.transport.abort()
        elif command == "again":
            self.began = time.monotonic()
            for number in range(len(self.clients)):
                self.tasks.append(asyncio.create_task(self.again(number, words[0])))
        elif command == "stall":
            for client in self.clients:
                client.transport.pause_reading()
        elif command == "time":
            self.timing = True
        elif command == "reset":
            self.counts["frames"] = 0
            self.forgotten = sum(client.size for client in self.clients)
            self.delays.clear()
        elif command == "expect":
            after, self.until = map(int, words)
            self.expected = [after + 1] * len(self.clients)
            self.reached.clear()

    def report(self) -> dict[str, float]:
        times, delays = sorted(self.reached.values()) or [0.0], sorted(self.delays) or [0.0]
        return self.counts | {
            "open": sum(not client.gone.done() for client in self.clients),
            "deflating": sum(b"permessage-deflate" in client.answer for client in self.clients),
            "bytes": sum(client.size for client in self.clients) - self.forgotten,
            "reached": len(self.reached),
            "half": times[len(times) // 2],
            "last": times[-1],
            "samples": len(self.delays),
            "p50": delays[len(delays) // 2],
            "p99": delays[int(len(delays) * 0.99)],
            "max": delays[-1],
        }


async def main(port: int, count: int) -> None:
    crowd = Crowd(port)
    await crowd.open(count)
    print(json.dumps(crowd.report()), flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := (await commands.readline()).decode():
        crowd.obey(*line.split())
        print(json.dumps(crowd.report()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
