"""Decisions about events, routes and dispatches. Nothing does I/O or reads a clock, except `http_answers`."""
