"""How a database of any earlier release becomes one of this release: Alembic revisions, run by `upgrade`, one file for each version.

A revision that was released never changes, and imports nothing of the present: it says what was true then.
"""
