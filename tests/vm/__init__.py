"""Other machines for the suite: User-Mode Linux, and a pure cgroup v2 view of this host."""
