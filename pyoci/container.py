"""The class that a Python program uses: a container and the verbs of its lifecycle."""

from pyoci.lifecycle.container import Container as Container
