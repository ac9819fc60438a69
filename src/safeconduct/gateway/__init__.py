"""Enforcement without I/O: HTTP messages, routes, bodies, wire formats, metering, open streams.

Owns what a request may look like, what reaches an upstream and what a caller is told. Refuses to open a socket, to read a
clock and to decide: decisions come from `decision`, bytes come from and go to whoever calls.
"""
