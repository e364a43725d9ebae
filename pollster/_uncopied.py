"""`Uncopied`: what stands for something that there is once."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["Uncopied"]


class Uncopied:
    """What can't be copied: its copy would change, and end, what the original stands for."""

    __slots__ = ()

    def __reduce__(self) -> "NoReturn":
        raise TypeError(
            f"{self!r} can't be copied or pickled: pass on the object itself, or make another"
        )
