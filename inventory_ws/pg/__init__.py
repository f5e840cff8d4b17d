"""PostgreSQL through aiopg. Imports nothing of the package; all that it knows of products is their schema.

Read in this order: errors; aiopg_fixes, the driver without its faults; connection, which prepares statements; hosts and lanes;
database, the pool; schema, which the service applies at its start.
"""
