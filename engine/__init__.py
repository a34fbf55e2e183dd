"""From recipes and prompts to finished job folders: the loop, what it is made of, and what survives a crash."""
