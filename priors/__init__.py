"""What a method may ask about images: diffusion priors, their schedule, guidance, inversion and texts."""
