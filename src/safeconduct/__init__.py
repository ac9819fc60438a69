"""Safeconduct decides, enforces and proves who may use a frontier AI model."""

__version__ = "0.1.0"
