"""Write the golden plans anew: ``make golden``, then read the difference before you commit it."""

from tests.golden.plans import GOLDEN, written

if __name__ == "__main__":
    for old in GOLDEN.glob("*.plan.*"):
        old.unlink()
    for name, text in written().items():
        (GOLDEN / name).write_text(text)
