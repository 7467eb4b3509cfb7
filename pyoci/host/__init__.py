"""The parent's work on the kernel: id maps, hooks, the console, the conversation with the stage."""
