"""Passkeys (W3C Web Authentication Level 3): what a browser sends back, verified. Pure: no I/O, no clock, no randomness."""
