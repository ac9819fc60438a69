"""The processes of a node: a supervisor, the worker processes on one port, and what keeps them at the record's position."""
