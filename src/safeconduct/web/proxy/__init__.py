"""The gateway's listener: bytes of clients in, decisions enforced, answers of upstreams out."""
