"""From the log to the sockets."""
