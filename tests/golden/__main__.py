"""Write the golden plans and the plans in docs/concepts.md anew: ``make golden``; read the difference before a commit."""

from tests.golden.plans import GOLDEN, written
from tests.golden.transcripts import CONCEPTS, refreshed

if __name__ == "__main__":
    for old in GOLDEN.glob("*.plan.*"):
        old.unlink()
    for name, text in written().items():
        (GOLDEN / name).write_text(text)
    CONCEPTS.write_text(refreshed(CONCEPTS.read_text()))
