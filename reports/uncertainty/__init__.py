"""How sure a table is: differences with their tests, and whether judges agree with the truth."""
