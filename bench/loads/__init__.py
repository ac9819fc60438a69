"""What `bench/gateway.py` loads gateways with: pinned processes, upstreams, generators. Measures nothing by itself."""
