"""Passports, their status lists, mandates and the tokens got with them.

Owns what is signed and how it is verified; refuses to decide whether a holder may use a model.
"""
