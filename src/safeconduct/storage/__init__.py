"""All SQL and all files: the vault, the subjects' data keys, the key directory, log files and the service log.

Implements ports that `app` and `audit` own; knows no rule of the domain.
"""
