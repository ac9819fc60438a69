"""Readers of lists, one module per publisher's format: bytes in, entries out. They guess nothing and open nothing."""
