"""The transparency log: C2SP tlog-tiles with a write-ahead log in front. Sees bytes only, knows nothing of what they mean."""
