"""Cgroups: the processes of a container as a group, and the limits of that group.

    layout     the hierarchies of the host, and the place of a container's cgroup in them (create only)
    cgroup     one cgroup in every hierarchy of the host: create, enter, freeze, kill, delete
    limits     which resource is written to which hierarchy (create and update)
    v1, v2     linux.resources as values for files; devices has the device rules
    planned    the same values without a host, for ``plan``
    entry      starting a process in a cgroup
    unfit      why a cgroup of v2 refuses processes
    freezer    freezing and thawing all processes
    oom        the counter of processes that were killed for lack of memory
    writes     writing one value to one file, and explaining why the kernel refuses it
    files      reading, writing, creating and removing in a cgroup file system
"""
