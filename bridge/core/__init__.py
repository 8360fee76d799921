"""Decisions about events, routes and dispatches. No I/O and no clock, except in `http_answers`."""
