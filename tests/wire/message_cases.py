"""How one message stands in a file of worked examples. Nothing here is a test."""

from __future__ import annotations

from typing import Any

from myim_wire.messages import encode_message


def message_case(
    name: str, side: str, code: int, flags: int, user: int, target: int, time: int, content: bytes = b"", **more: Any
) -> dict[str, Any]:
    """The message and its bytes; address = (endpoint, center) may be among `more`, which is put behind."""
    address = more.pop("address", None)
    return {
        "name": name, "from": side, "command": int(code), "flags": flags | (0x80 if address else 0), "user": str(user),
        "target": str(target), "time": str(time), "content": content.hex(), "address": [str(part) for part in address] if address else None,
        "bytes": encode_message(code, flags, user, target, time, content, address).hex(), **more,
    }  # fmt: skip
