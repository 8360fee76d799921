"""`builder: layered`: an image of base, requirements and model, of which a next version changes just the last."""
