"""A GitHub, a runner and servers on this machine, for `make demo` and the tests."""
