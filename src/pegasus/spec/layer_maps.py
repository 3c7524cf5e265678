"""Which layers of a teacher a student begins with, and which it is compared with while it learns.

For 16 and 12 layers the tables are those of Shleifer and Rush (2020, "Pre-trained Summarization
Distillation"); for other depths the layers are spread evenly, the first and the last among those that a
student begins with, and the last among those that it is compared with.
"""

from __future__ import annotations

from pegasus.errors import BadSetting

_FIRST = {
    16: {
        1: (0,), 2: (0, 15), 3: (0, 8, 15), 4: (0, 5, 10, 15), 6: (0, 3, 6, 9, 12, 15),
        8: (0, 2, 4, 6, 8, 10, 12, 15), 9: (0, 1, 3, 5, 7, 9, 11, 13, 15),
        12: (0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15),
    },
    12: {
        1: (0,), 2: (0, 6), 3: (0, 6, 11), 4: (0, 4, 8, 11), 6: (0, 2, 4, 7, 9, 11),
        9: (0, 1, 2, 4, 5, 7, 9, 10, 11),
    },
}  # fmt: skip
_COMPARED = {
    16: {1: (15,), 4: (4, 9, 12, 15), 8: (1, 3, 5, 7, 9, 11, 13, 15)},
    12: {1: (11,), 2: (5, 11), 3: (3, 7, 11), 6: (1, 3, 5, 8, 10, 11)},
}


def first_layers(teacher: int, student: int) -> tuple[int, ...]:
    """The teacher's layers that a student of so many layers begins with, from 0.

    Raises:
        BadSetting: the student is deeper, or has no layer.
    """
    _check(teacher, student)
    if student == teacher:
        return tuple(range(teacher))
    if student in _FIRST.get(teacher, {}):
        return _FIRST[teacher][student]
    # Halves are rounded up, so that the later layers, which say most of the output, are kept.
    return tuple(int(i * (teacher - 1) / max(1, student - 1) + 0.5) for i in range(student))


def compared_layers(teacher: int, student: int) -> tuple[int, ...]:
    """For each layer of a student the teacher's layer whose output its own is compared with, from 0.

    Raises:
        BadSetting: the student is deeper, or has no layer.
    """
    _check(teacher, student)
    if student in _COMPARED.get(teacher, {}):
        return _COMPARED[teacher][student]
    return tuple(int((i + 1) * teacher / student + 0.5) - 1 for i in range(student))


def _check(teacher: int, student: int) -> None:
    if not 1 <= student <= teacher:
        raise BadSetting(
            f"a student of {student} layers cannot be made from {teacher}: give 1 to {teacher} layers"
        )
