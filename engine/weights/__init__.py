"""The published weights: which they are, and how they come to this machine. Knows nothing of 3D."""
