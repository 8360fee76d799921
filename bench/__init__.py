"""Measurements that people repeat: `make bench`."""
