"""Cgroups: the group of processes that a container is, and what it may use.

    cgroup    one cgroup in every hierarchy of the host: made, entered, frozen, killed, removed
    layout    which hierarchies the host has, and where a container's cgroup lies (create only)
    limits    which resource is written to which hierarchy (create and update)
    v1 v2     the values for the files; devices holds the device rules
    entry     how a process comes in
    freezer   how all of them are stopped
    writes    one value for one file, and why the kernel refuses it
    files     reading, writing, making and removing in a cgroup file system
"""
