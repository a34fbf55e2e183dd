"""Training of the world's models: `python -m world.train {vae,unet,clip}`, and `--check` of their quality."""
