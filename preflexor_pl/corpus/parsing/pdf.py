"""Text of a PDF, a page at a time."""

import os
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO

from preflexor_pl.corpus.parsing.pieces import MAX_TITLE, Piece, Refused

END = b"%%EOF"
TAIL_BYTES = 1024  # within which the end marker stands in a sound file


def pdf(path: str) -> Iterator[Piece]:
    """The text layer, a page at a time; an empty user password opens an encrypted file."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError

    with open(path, "rb") as file:
        try:
            reader = PdfReader(_whole(file))
            title = str((reader.metadata and reader.metadata.title) or "")[:MAX_TITLE]
            found = False
            for page in reader.pages:
                text = page.extract_text()
                found = found or bool(text.strip())
                yield {"title": title, "text": text}
        except (DependencyError, FileNotDecryptedError):
            raise Refused("encrypted") from None
        except LimitReachedError:
            raise Refused("too large unpacked") from None
    if not found:
        raise Refused("no text layer")


def _whole(file: BinaryIO) -> BinaryIO:
    """The file as it is where its end is sound, else as viewers take it.

    They ignore what follows the end, and look for the objects themselves where the table of these
    is lost. A file that breaks off among its objects would lose pages.
    """
    file.seek(-min(TAIL_BYTES, os.fstat(file.fileno()).st_size), os.SEEK_END)
    if file.read().rstrip(b"\r\n \t\x00").endswith(END):
        return file
    file.seek(0)
    data = file.read()
    last = max(data.rfind(b"endobj"), 0)
    end, start = data.rfind(END, last), data.rfind(b"startxref", last)
    if start < 0 and data.find(b"trailer", last) < 0:
        raise Refused("truncated")
    if end > start >= 0:
        return BytesIO(data[: end + len(END)])
    return BytesIO(data[: start if start >= 0 else None].rstrip() + b"\nstartxref\n0\n" + END)
