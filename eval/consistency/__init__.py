"""Whether a job's views are those of one object: measures that ask for no truth."""
