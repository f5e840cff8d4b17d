"""PostgreSQL through aiopg."""
