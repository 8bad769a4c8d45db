"""How often each node was started: the part of a message id that makes it unique over restarts. Nothing else about nodes is durable."""

from sqlalchemy import Connection, insert, select, update

from myim_server.store.database import Database
from myim_server.store.schema import nodes


class Nodes:
    """The starts of all nodes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def boot(self, node_id: int, now: int) -> int:
        """Counts this start of the node and returns the how-many-th it is, from 1, committed; no number is given twice."""

        def boot(connection: Connection) -> int:
            mine = nodes.c.id == node_id
            if not connection.execute(update(nodes).where(mine).values(boots=nodes.c.boots + 1, booted=now)).rowcount:
                connection.execute(insert(nodes), {"id": node_id, "boots": 1, "booted": now})
                return 1
            return int(connection.scalar(select(nodes.c.boots).where(mine)) or 0)

        return self._database.write(boot)
