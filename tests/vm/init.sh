#!/bin/sh
# The first process of the virtual machine. The directory of this script is the parameters' and the results' place
# on the host: its files `command` (a shell script), `needed` (host directories, one a line), `log` and `status`.
# The root is the host's own file system, read-only; everything that a test writes is on tmpfs.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
here=${0%/*}

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
[ -e /dev/stdin ] || ln -s /proc/self/fd/0 /dev/stdin

needed=$(cat "$here/needed")
for directory in /run /tmp /var/tmp /root; do
    case $directory in
    /root) mode=0700 ;;
    /run) mode=0755 ;;
    *) mode=1777 ;;
    esac
    mount -t tmpfs -o mode=$mode tmpfs $directory
done
# What the command needs of the host may lie below a directory that was just covered.
for directory in $needed; do
    [ -d "$directory" ] && continue
    mkdir -p "$directory"
    mount -t hostfs -o "ro,$directory" none "$directory"
done
mkdir -p "$here"
mount -t hostfs -o "$here" none "$here"

ip link set lo up
hostname uml
# Every controller of version 1 in a hierarchy of its own, as distributions had it before version 2.
mount_v1() {
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for controller in $(busybox awk 'NR > 1 && $4 { print $1 }' /proc/cgroups) name=systemd; do
        directory=/sys/fs/cgroup/${controller#name=}
        mkdir "$directory"
        case $controller in name=*) controller=none,$controller ;; esac
        mount -t cgroup -o "$controller" cgroup "$directory" || rmdir "$directory"
    done
}

# Only this process leaves the root cgroup: a kernel thread with real-time priority that left it would make the kernel
# refuse the cpu controller.
mount_v2() {
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir /sys/fs/cgroup/init
    echo $$ >/sys/fs/cgroup/init/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
}

"mount_$(cat "$here/cgroups")"

sh "$here/command" >"$here/log" 2>&1 </dev/null
echo $? >"$here/status"
sync
busybox poweroff -f
