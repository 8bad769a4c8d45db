"""Which endpoints may link to the centers: what operators admitted and revoked.

What must not live here: what becomes of a revoked one's link (`myim_server.node_links`). An endpoint is known by the SHA-256 of its public
key, the very number operators compare, and its node id is the first 63 bits of that. A revoked row stays, so that operators can see it.
"""

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from myim_server.store.database import Database
from myim_server.store.schema import endpoints


class NameInUse(Exception):
    """Another endpoint that may link has this name."""


class EndpointRow(NamedTuple):
    """An endpoint; fingerprint: 64 hex digits; admitted, revoked: microseconds since 1970, revoked None while it may link."""

    node: int
    fingerprint: str
    name: str
    admitted: int
    revoked: int | None


def node_of(fingerprint: str) -> int:
    """The node id in a fingerprint (64 hex digits)."""
    return int(fingerprint[:16], 16) >> 1


class Endpoints:
    """All endpoints that were ever admitted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[EndpointRow]:
        """All of them, by name."""
        columns = (endpoints.c.node, endpoints.c.fingerprint, endpoints.c.name, endpoints.c.admitted, endpoints.c.revoked)
        rows = self._database.read(lambda connection: connection.execute(select(*columns).order_by(endpoints.c.name)).all())
        return [EndpointRow(node, bytes(fingerprint).hex(), name, admitted, revoked) for node, fingerprint, name, admitted, revoked in rows]

    def admit(self, fingerprint: str, name: str, now: int) -> EndpointRow:
        """Lets an endpoint link from now on, a revoked one again; raises NameInUse where another that may link has its name.

        A revoked one gives its name up: the machine that takes its place is mostly called like it.
        """
        row = EndpointRow(node_of(fingerprint), fingerprint, name, now, None)

        def admit(connection: Connection) -> None:
            called_so = (endpoints.c.name == name) & (endpoints.c.node != row.node)
            if connection.scalar(select(endpoints.c.node).where(called_so & endpoints.c.revoked.is_(None))) is not None:
                raise NameInUse(name)
            connection.execute(delete(endpoints).where(called_so | (endpoints.c.node == row.node)))
            connection.execute(insert(endpoints), {**row._asdict(), "fingerprint": bytes.fromhex(fingerprint)})

        self._database.write(admit)
        return row

    def revoke(self, node: int, now: int) -> bool:
        """Ends an endpoint's right to link; False if it had none."""
        mine = (endpoints.c.node == node) & endpoints.c.revoked.is_(None)
        change = update(endpoints).where(mine).values(revoked=now)
        return self._database.write(lambda connection: bool(connection.execute(change).rowcount))
