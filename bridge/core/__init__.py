"""Decisions about events, routes, dispatches and findings. Nothing here does I/O or reads a clock, except `http_answers`."""
