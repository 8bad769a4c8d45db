"""Writes garbage into the directory's maps: what a stranger in the same Hazelcast, or a fault, could leave there.

What lives here: one process that lives for some seconds. What must not: the cluster's secret (whoever knows it can write anything) or any
judgement. It writes random bytes, entries kept from earlier, entries under another's key, huge ones, pickles, other types; and it deletes.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import os  # noqa: E402
import pickle  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from random import Random  # noqa: E402

import gevent  # noqa: E402
from hazelcast.serialization.data import Data  # noqa: E402

from cluster.entries import ONLINE, SERVERS  # noqa: E402
from cluster.hazelcast_client import NoAnswer, RawMap, Value, block_of, connect, gather  # noqa: E402

HUGE_BYTES = 200_000
CONNECT_SECONDS = 10.0
LOOK_SECONDS = 1.0
LARGEST_KEPT = 2_000
_PICKLE_TYPE = (-120).to_bytes(4, "big", signed=True)
_LONG_TYPE = (-8).to_bytes(4, "big", signed=True)


class Mutator:
    """Spoils both maps, one entry at a time, and remembers what it has seen there."""

    def __init__(self, maps: dict[str, RawMap], random: Random) -> None:
        self._maps, self._random = maps, random
        self._seen: dict[str, list[tuple[bytes, Value]]] = {name: [] for name in maps}
        self.written = 0

    def look(self) -> None:
        """Remember what stands in the maps now."""
        for name, content in self._maps.items():
            for outcome in gather([content.read_all()], 2.0):
                if isinstance(outcome, list):
                    found = [(bytes(key.buffer[12:]), Value(value)) for key, value in outcome]
                    self._seen[name] = (self._seen[name] + found)[-LARGEST_KEPT:]

    def spoil(self) -> None:
        """One deed."""
        random = self._random
        name = ONLINE if random.random() < 0.8 else SERVERS
        content, seen = self._maps[name], self._seen[name]
        key, kept = random.choice(seen) if seen else (random.randbytes(8), Value.of(b""))
        match random.randrange(8):
            case 0:
                content.put(key, Value.of(random.randbytes(random.choice((0, 1, 17, 60, 300)))), 60)
            case 1:
                content.put(key, kept, 60)  # as it was some time ago
            case 2:
                content.put(random.choice(seen)[0] if seen else key, kept, 60)  # somebody else's
            case 3:
                content.delete(block_of(key))
            case 4:
                content.put(random.randbytes(random.choice((0, 3, 8, 20))), kept, 60)
            case 5:
                spoilt = bytearray(kept.data or b"-")
                spoilt[random.randrange(len(spoilt))] ^= 1 << random.randrange(8)
                content.put(key, Value.of(bytes(spoilt)), 60)
            case 6:
                bomb = pickle.dumps(Bomb()) if random.random() < 0.5 else random.randbytes(8)
                kind = _PICKLE_TYPE if len(bomb) != 8 else _LONG_TYPE
                content.put(key, Value(Data(bytes(4) + kind + bomb)), 60)  # type: ignore[no-untyped-call]
            case _:
                if random.random() < 0.05:
                    content.put(key, Value.of(bytes(HUGE_BYTES)), 60)
        self.written += 1


class Bomb:
    """Whoever unpickles it ends, and the run is red."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (99,)


def main() -> None:
    """Live for `seconds`."""
    said = json.loads(Path(sys.argv[1]).read_text())
    name = Path(said["cluster_name_file"]).read_text().strip()
    until = time.monotonic() + said["seconds"]
    try:
        connected = connect(said["members"], name, (ONLINE, SERVERS), CONNECT_SECONDS)
    except NoAnswer as why:
        print(f"no directory to spoil: {why}")
        return
    mutator, looked = Mutator(connected.maps, Random(said["seed"])), 0.0
    while time.monotonic() < until and connected.is_alive:
        if time.monotonic() - looked > LOOK_SECONDS:
            mutator.look()
            looked = time.monotonic()
        mutator.spoil()
        gevent.sleep(1 / said["rate"])
    print(f"wrote {mutator.written}")
    connected.close()


if __name__ == "__main__":
    main()
