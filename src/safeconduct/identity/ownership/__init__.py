"""Ownership: who is owned, or controlled, by somebody on a list. Edges, regimes, least fixed points, explanations; no I/O."""
