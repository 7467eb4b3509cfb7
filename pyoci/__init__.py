"""pyoci: an OCI container runtime. A container is compiled to a plan, then executed."""

__version__ = "0.1.0"
