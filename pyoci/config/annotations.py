"""The annotations that change what pyoci does; all others are only kept.  ``features`` tells which they are."""

# Not in the specification, but crun's; Podman and Buildah set it for --group-add keep-groups.
KEEP_GROUPS = "run.oci.keep_original_groups"
SECCOMP_RECEIVER = "run.oci.seccomp.receiver"
# annotations.md of the image specification: what kill sends unless it is told.
STOP_SIGNAL = "org.opencontainers.image.stopSignal"

HONOURED = (STOP_SIGNAL, KEEP_GROUPS, SECCOMP_RECEIVER)
