"""Programs of the host: what they print is collected, however much it is."""

from pyoci.programs import run_program


def test_more_output_than_a_pipe_holds():
    """Their standard output blocks: a program that finds the pipe full must not fail."""
    size = 300_000
    status, text = run_program("/bin/sh", ["sh", "-c", f"printf '%0{size}d' 0"], [], b"", 30, whole=True)
    assert (status, len(text)) == (0, size)
