"""What is computed, not how: recipes, their tables, variants, rules from files, equal budgets."""
