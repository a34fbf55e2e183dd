"""How a view is pulled toward the prior: one short file per rule."""
