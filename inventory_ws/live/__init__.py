"""From the log to the sockets. Imports pg; of a product it knows the id, and of HTTP the request of a socket.

Read in this order: eventlog, the SQL of the log; frames; log, what this process knows of it; feed, which follows its end; stream,
one client; hub, which owns the feed, the streams and every task; watch, the same events for Python.
"""
