"""One verb, one module; they never import each other."""
