"""Outbound HTTP to providers. Owns connections, pooling and timeouts; refuses to know who asks or why."""
