"""What a GPU makes of all this, in a few minutes of one: `python -m engine.bench.gpu`."""
