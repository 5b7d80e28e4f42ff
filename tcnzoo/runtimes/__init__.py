"""Runtimes: what an exporter answers, exporting, and the report of it."""
