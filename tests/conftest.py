from gevent import monkey; monkey.patch_all()  # noqa: E702, D100  # before anything that opens a socket or a lock
"""What all tests share: the process is patched, as the node's is."""
