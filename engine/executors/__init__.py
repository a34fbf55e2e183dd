"""Where jobs run: local processes, and beside them whatever else takes jobs and tells their news."""
