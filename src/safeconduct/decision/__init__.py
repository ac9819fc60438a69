"""The decision: `decide(request, state, now) -> Permit | Deny`.

Pure: no I/O, no clock, no framework. Every check runs; every failing reason is returned, most severe first.
"""
