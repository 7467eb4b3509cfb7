"""The verbs, one module for each; they never import each other."""
