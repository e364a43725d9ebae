"""Reads which symbols a shared library exports: ELF of 32 and 64 bits, and Mach-O of 64."""

import struct
from collections.abc import Iterator
from pathlib import Path

DYNAMIC_SYMBOLS = 11  # SHT_DYNSYM
SYMBOL_TABLE = 2  # LC_SYMTAB
MACHO_64 = 0xFEEDFACF
OF_THE_LINKER = {"__dso_handle", "_mh_dylib_header"}  # in every Mach-O library


def text_at(image: bytes, offset: int) -> str:
    """Returns the text that begins at an offset and ends with a zero."""
    return image[offset : image.index(0, offset)].decode()


def of_elf(image: bytes) -> Iterator[str]:
    """Yields the global symbols that are defined in the dynamic table, and visible (elf(5))."""
    wide = image[4] == 2
    header = struct.unpack_from("<16x2HI3QI6H" if wide else "<16x2HI3II6H", image)
    start, size, count = header[5], header[10], header[11]
    shape = "<2I4Q2I2Q" if wide else "<10I"
    sections = [struct.unpack_from(shape, image, start + n * size) for n in range(count)]
    for section in sections:
        kind, offset, length, link = section[1], section[4], section[5], section[6]
        if kind != DYNAMIC_SYMBOLS:
            continue
        names = sections[link][4]
        for name, info, other, where in symbols_of_elf(image[offset : offset + length], wide):
            if where and info >> 4 and other & 3 in (0, 3):
                yield text_at(image, names + name)


def symbols_of_elf(table: bytes, wide: bool) -> Iterator[tuple[int, int, int, int]]:
    """Yields name, info, other and section of each symbol."""
    if wide:
        yield from struct.iter_unpack("<I2BH16x", table)
    else:
        yield from struct.iter_unpack("<I8x2BH", table)


def of_macho(image: bytes) -> Iterator[str]:
    """Yields the symbols that are defined, external and not private (<mach-o/nlist.h>)."""
    (commands,) = struct.unpack_from("<16xI", image)
    at = 32
    for _ in range(commands):
        command, size = struct.unpack_from("<2I", image, at)
        if command == SYMBOL_TABLE:
            table, count, names = struct.unpack_from("<8x3I", image, at)
            for name, kind in struct.iter_unpack("<IB11x", image[table : table + 16 * count]):
                # N_STAB, N_PEXT and N_EXT; N_TYPE
                if kind & 0xF1 == 1 and kind & 0x0E:
                    yield text_at(image, names + name).removeprefix("_")
        at += size


def exports(library: Path) -> set[str]:
    """Returns the names, as C has them."""
    image = library.read_bytes()
    if int.from_bytes(image[:4], "little") == MACHO_64:
        return set(of_macho(image)) - OF_THE_LINKER
    if image[:4] != b"\x7fELF":
        raise ValueError(f"{library} is neither ELF nor Mach-O of 64 bits")
    return set(of_elf(image))
