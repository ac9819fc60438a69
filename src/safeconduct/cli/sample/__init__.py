"""The sample: the people, organisations, models and orders of June 2026 as data, and how they are enrolled through the API.

A reconstruction from the press: models and their companies are those it named; everybody else is made up and says so.
"""
