"""What a driver's error means for the transaction it ended: try again, use another connection, or give up.

Numbers and words of the two drivers live here and nowhere else. What must not: deciding what to do about it.
"""

import enum
import sqlite3

import pymysql.err
import sqlalchemy.exc


class Fault(enum.Enum):
    """AGAIN: rolled back for another's sake. DEAD: the connection is gone. UNAVAILABLE: the database cannot do it now."""

    AGAIN = enum.auto()
    DEAD = enum.auto()
    UNAVAILABLE = enum.auto()


# Lock wait timeout, deadlock, record changed since the read.
_AGAIN = {1205, 1213, 1020}
# Gone, lost, shutdown, killed, aborted, network errors, packets out of order; 0: closed on this side.
_DEAD = {0, 2006, 2013, 2014, 2027, 2055, 1053, 1077, 1152, 1156, 1158, 1159, 1160, 1161, 1184, 1927, 4031}
# Errors that say the text or the caller is wrong; all others of the driver are the database's trouble.
_OURS = {1064, 1054, 1062, 1048, 1136, 1264, 1366, 1406}


def fault_of(error: BaseException) -> Fault | None:
    """The fault behind an error, or None if it is not the database's: a mistake of ours, a refused duplicate, an error of the caller."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return Fault.UNAVAILABLE
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        error = error.orig
    if isinstance(error, pymysql.err.MySQLError):
        return _mysql_fault(error)
    if isinstance(error, sqlite3.Error):
        return _sqlite_fault(error)
    if isinstance(error, OSError):
        return Fault.DEAD
    return None


def mysql_code(error: BaseException) -> int:
    """The server's or PyMySQL's error number; 0 where there is none."""
    code = error.args[0] if error.args else 0
    return code if isinstance(code, int) else 0


def _mysql_fault(error: pymysql.err.MySQLError) -> Fault | None:
    code = mysql_code(error)
    if code in _AGAIN:
        return Fault.AGAIN
    if code in _DEAD:
        return Fault.DEAD
    return None if code in _OURS else Fault.UNAVAILABLE


def _sqlite_fault(error: sqlite3.Error) -> Fault | None:
    # A lock was waited for already (busy_timeout), so there is no AGAIN.
    if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError):
        return None
    text = str(error)
    is_ours = "syntax error" in text or "no such column" in text or "has no column" in text or "parser" in text
    return None if is_ours else Fault.UNAVAILABLE
