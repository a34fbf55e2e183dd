"""The scores of a run: who judges it, and as many jobs at once as there is room for."""
