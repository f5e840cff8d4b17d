"""The program around the application. May import every other folder.

Read in this order: main, from the start to the exit status; flags; addresses, where it listens and what it prints; tls; logs;
embedded, a PostgreSQL of its own.
"""
