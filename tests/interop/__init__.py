"""Real callers (podman, containerd) drive the runtime under test."""
