"""What goes from one laboratory to another: a run as an archive, and several of them side by side."""
