"""The commands beside `serve`: each a thin shell around the parts that do the work."""
