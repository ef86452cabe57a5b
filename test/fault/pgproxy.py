#!/usr/bin/env python3
"""pgproxy.py TARGET_SOCKET LISTEN... - stands between services and PostgreSQL.

Listens on each LISTEN, a unix socket or a TCP port of 127.0.0.1, and passes what comes to
TARGET_SOCKET, a unix socket.  It reads just enough of PostgreSQL's protocol to see COMMIT being answered, and does as told on
standard input, one command a line (N counts them from 0):

    cut N TIMES  the next TIMES answers to a COMMIT on LISTEN N are swallowed, each with its
                 connection: the transaction stands, and whoever asked for it is not told
    stall N MS   the next answer to a COMMIT, and all behind it, comes MS milliseconds late
    drop N       every connection of LISTEN N is cut at once
    calm         forgets the cuts and stalls that have not happened yet

Each cut and stall that happened is told on standard output: "cut 0".  Ends with its standard
input.  https://www.postgresql.org/docs/15/protocol-message-formats.html
"""
import asyncio
import contextlib
import logging
import os
import sys

COMMITTED = b"COMMIT\0"  # the tag of a CommandComplete ('C') that ends a transaction
GONE = (OSError, asyncio.IncompleteReadError)


def messages(buffer):
    """The whole messages at the beginning of the buffer, taken out of it."""
    at = 0
    while len(buffer) - at >= 5:
        end = at + 1 + int.from_bytes(buffer[at + 1:at + 5], "big")
        if end > len(buffer):
            break
        yield bytes(buffer[at:end])
        at = end
    del buffer[:at]


class Door:
    """One listening socket, what is to happen to it, and its connections."""

    def __init__(self, number, target):
        self.number, self.target = number, target
        self.links = set()
        self.calm()

    def calm(self):
        self.cuts = self.stall_ms = 0

    def drop(self):
        for link in list(self.links):
            for writer in link:
                writer.transport.abort()

    async def meet(self, client, to_client):
        try:
            server, to_server = await asyncio.open_unix_connection(self.target)
        except OSError:
            to_client.transport.abort()
            return
        link = (to_client, to_server)
        self.links.add(link)
        ways = [asyncio.ensure_future(self.pass_on(client, to_server)),
                asyncio.ensure_future(self.watch(server, to_client))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        if ways[1].done():
            ways[0].cancel()
        else:  # the client hung up; the server may have words of its own, to nobody
            ways[1].cancel()
        self.links.discard(link)
        for writer in link:
            with contextlib.suppress(*GONE):
                writer.close()

    @staticmethod
    async def pass_on(reader, writer):
        with contextlib.suppress(*GONE):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()

    async def watch(self, reader, writer):
        buffer = bytearray()
        with contextlib.suppress(*GONE):
            while data := await reader.read(1 << 16):
                buffer += data
                for message in messages(buffer):
                    if message[:1] == b"C" and message[5:] == COMMITTED:
                        if not await self.at_commit():
                            return
                    writer.write(message)
                await writer.drain()

    async def at_commit(self):
        """False: swallow it, and cut."""
        if self.cuts > 0:
            self.cuts -= 1
            print(f"cut {self.number}", flush=True)
            return False
        if self.stall_ms > 0:
            seconds, self.stall_ms = self.stall_ms / 1000, 0
            print(f"stall {self.number}", flush=True)
            await asyncio.sleep(seconds)
        return True


def obey(doors, line):
    word, *numbers = line.split()
    numbers = [int(number) for number in numbers]
    if word == "calm":
        for door in doors:
            door.calm()
    elif word == "cut":
        doors[numbers[0]].cuts += numbers[1]
    elif word == "stall":
        doors[numbers[0]].stall_ms = numbers[1]
    elif word == "drop":
        doors[numbers[0]].drop()
    else:
        raise SystemExit(f"pgproxy does not know {line!r}")


async def main():
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of connections that broke
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    target, *places = sys.argv[1:]
    doors = [Door(number, target) for number in range(len(places))]
    for door, place in zip(doors, places):
        if place.isdigit():
            await asyncio.start_server(door.meet, "127.0.0.1", int(place))
        else:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            await asyncio.start_unix_server(door.meet, place)
            os.chmod(place, 0o777)  # as PostgreSQL's: the services have users of their own
    print("ready", flush=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        obey(doors, line.decode())


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
