"""The annotations that change what pyoci does, listed by ``features``; all others are only passed on."""

# crun's, not in the specification; Podman and Buildah set it for --group-add keep-groups.
KEEP_GROUPS = "run.oci.keep_original_groups"
SECCOMP_RECEIVER = "run.oci.seccomp.receiver"
# annotations.md of the image specification: the signal that ``kill`` sends if the caller names none.
STOP_SIGNAL = "org.opencontainers.image.stopSignal"

HONOURED = (STOP_SIGNAL, KEEP_GROUPS, SECCOMP_RECEIVER)
