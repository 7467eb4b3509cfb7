"""One file for each attack or kind of attack; its docstring tells the lesson."""
