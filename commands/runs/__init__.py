"""Commands that read runs: their tables, pages and archives, the gate; no job is done."""
