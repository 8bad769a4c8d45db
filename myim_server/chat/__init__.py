"""The rules of chat: who may come in, who gets what and when.

No SQL, no sockets, no clocks: what happens and what time it is are handed in, so that every rule can be driven by a test or a search.
"""
