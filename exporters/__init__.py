"""Exporters: a spec and neutral weights into the file of a runtime."""
