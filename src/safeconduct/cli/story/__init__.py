"""The story: June 2026 played over the wire with the vendors' own clients, every cell compared with what is expected.

Owns the expected outcomes; nothing that serves imports this package.
"""
