"""Where is everybody, and how do I reach them: the directory (in this release in one process)."""
