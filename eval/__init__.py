"""What a finished job is worth: metrics over its views, as plain functions over features and pixels.

Alphabet: V views of a job; images (V,3,H,W) and opacities (V,1,H,W) in [0, 1]; features (V,D) of unit length.
"""

SCORES, STAMPS = "scores.csv", "scores.json"  # of a job
# what a need is called in references and tables
JUDGES = {"clip": "encoder", "iqa": "encoder_iqa", "clip2": "encoder_2", "reward": "reward"}
