"""Everything that is durable: accounts, terminals, offline messages, receipts, ticket keys, throttles and counters.

The only room that speaks SQL. Rules about who may do what, the wire and other centers stay outside: a caller hands in values and `now`, and
gets values back. Begin at `engine.open_store`.
"""
